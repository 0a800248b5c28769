//! The ticket; the tombstone of a deleted one; the departure of one that moved to another customer; and
//! the record, which is any of these.

use serde::{Deserialize, Serialize};

use crate::id::{CustomerId, TicketId, Version};
use crate::preset::{Choice, Choices};
use crate::tag::Tag;
use crate::text::{
    CONTENT_BYTES, Content, EMAIL_BYTES, Email, NOTE_BYTES, Note, SUBJECT_CHARACTERS, Subject, TextLimit,
};
use crate::time::{DateOrTime, Timestamp};

/// The fields a caller sets. Their names and types are the contract's; one that was never set is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TicketFields {
    /// Whose ticket it is.
    #[serde(rename = "customerID")]
    pub customer: CustomerId,
    /// What kind of request it is.
    #[serde(rename = "ticketType", default, skip_serializing_if = "Option::is_none")]
    pub ticket_type: Option<Choice>,
    /// How far it is.
    #[serde(rename = "status", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Choice>,
    /// How urgent it is.
    #[serde(rename = "ticketPriority", default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Choice>,
    /// The customer's address.
    #[serde(rename = "customerEmail", default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// What it is about.
    #[serde(rename = "subject")]
    pub subject: Subject,
    /// The most recent content.
    #[serde(rename = "ticketContent", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Who works on it.
    #[serde(rename = "owner", default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Choice>,
    /// Users it concerns.
    #[serde(rename = "users", default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Note>,
    /// Departments it concerns.
    #[serde(rename = "departments", default, skip_serializing_if = "Option::is_none")]
    pub departments: Option<Note>,
    /// Suppliers it concerns.
    #[serde(rename = "ticketSuppliers", default, skip_serializing_if = "Option::is_none")]
    pub suppliers: Option<Note>,
    /// When to follow up: a date, or a time with or without an offset; given back in the precision it came in.
    #[serde(rename = "ticketFollowupDate", default, skip_serializing_if = "Option::is_none")]
    pub followup: Option<DateOrTime>,
    /// When action is required: a date, or a time with or without an offset; given back in the precision it came in.
    #[serde(rename = "ticketActionRequired", default, skip_serializing_if = "Option::is_none")]
    pub action_required: Option<DateOrTime>,
}

impl TicketFields {
    /// The values of the preset fields.
    pub fn choices(&self) -> Choices {
        Choices {
            ticket_type: self.ticket_type.clone(),
            status: self.status.clone(),
            priority: self.priority.clone(),
            owner: self.owner.clone(),
        }
    }
}

/// The text fields in the order of a ticket's JSON, each with what it holds. In the JSON, the id and the customer
/// come before these fields, and the dates after them: [`field_names`] has them all.
pub const TEXT_FIELDS: [(&str, FieldKind); 12] = [
    ("ticketType", FieldKind::Choice),
    ("status", FieldKind::Choice),
    ("ticketPriority", FieldKind::Choice),
    ("customerEmail", FieldKind::Email),
    ("subject", FieldKind::Subject),
    ("ticketContent", FieldKind::Content),
    ("owner", FieldKind::ChoiceOrNote),
    ("users", FieldKind::Note),
    ("departments", FieldKind::Note),
    ("ticketSuppliers", FieldKind::Note),
    ("ticketFollowupDate", FieldKind::DateOrTime),
    ("ticketActionRequired", FieldKind::DateOrTime),
];

/// The names of a ticket's fields, in the order of its JSON.
pub fn field_names() -> impl Iterator<Item = &'static str> {
    let texts = TEXT_FIELDS.into_iter().map(|(name, _)| name);
    ["id", "customerID"].into_iter().chain(texts).chain(["createdDate", "updatedDate"])
}

/// The fields that only tombstones and departures have.
pub const GONE_FIELDS: [&str; 2] = ["deletedDate", "movedDate"];

/// What a text field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A configured value.
    Choice,
    /// A configured value, or a note if none are configured.
    ChoiceOrNote,
    Email,
    Subject,
    Content,
    Note,
    DateOrTime,
}

impl FieldKind {
    /// Whether a text is a value as responses write it.
    pub fn is_written(self, text: &str) -> bool {
        match self {
            // A ticket keeps a text that was valid when it was written.
            Self::Choice | Self::ChoiceOrNote | Self::Email | Self::Subject | Self::Content | Self::Note => {
                true
            }
            Self::DateOrTime => DateOrTime::is_written(text),
        }
    }

    /// The length of the longest text, if the kind limits it.
    pub const fn limit(self) -> Option<TextLimit> {
        match self {
            Self::Choice | Self::DateOrTime => None,
            Self::Email => Some(TextLimit::Bytes(EMAIL_BYTES)),
            Self::Subject => Some(TextLimit::Characters(SUBJECT_CHARACTERS)),
            Self::Content => Some(TextLimit::Bytes(CONTENT_BYTES)),
            Self::ChoiceOrNote | Self::Note => Some(TextLimit::Bytes(NOTE_BYTES)),
        }
    }
}

/// Whether the JSON of a record may have a member of this name.
pub(crate) fn has_member(name: &str) -> bool {
    field_names().chain(GONE_FIELDS).any(|field| field == name)
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ticket {
    /// Assigned when it is created.
    pub id: TicketId,
    /// What callers set.
    #[serde(flatten)]
    pub fields: TicketFields,
    /// Assigned when it is created; never changes.
    #[serde(rename = "createdDate")]
    pub created: Timestamp,
    /// Assigned at every change; rises with every change.
    #[serde(rename = "updatedDate")]
    pub updated: Timestamp,
    /// Rises by one with every change. Not part of the JSON: it goes out in the `ETag`.
    #[serde(skip)]
    pub version: Version,
}

impl Ticket {
    /// A ticket just created.
    pub fn new(id: TicketId, fields: TicketFields, now: Timestamp) -> Self {
        Self { id, fields, created: now, updated: now, version: Version::FIRST }
    }

    /// The tombstone that remains if the ticket is deleted now.
    pub fn delete(&self, now: Timestamp) -> Tombstone {
        let deleted = now.after(self.updated);
        Tombstone {
            id: self.id,
            customer: self.fields.customer,
            created: self.created,
            updated: deleted,
            deleted,
            version: self.version.next(),
        }
    }
}

/// A ticket, with the tag of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedTicket {
    pub ticket: Ticket,
    pub tag: Tag,
}

impl TaggedTicket {
    pub fn id(&self) -> TicketId {
        self.ticket.id
    }
}

/// What is left of a deleted ticket, for whoever keeps a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tombstone {
    /// The id it had.
    pub id: TicketId,
    /// Whose it was.
    #[serde(rename = "customerID")]
    pub customer: CustomerId,
    /// When it was created.
    #[serde(rename = "createdDate")]
    pub created: Timestamp,
    /// When it was deleted: a deletion is a change like others.
    #[serde(rename = "updatedDate")]
    pub updated: Timestamp,
    /// When it was deleted.
    #[serde(rename = "deletedDate")]
    pub deleted: Timestamp,
    /// One more than the ticket's last.
    #[serde(skip)]
    pub version: Version,
}

/// That a ticket has left this customer: shown to whoever keeps a copy of one customer's tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Departure {
    /// The ticket's id.
    pub id: TicketId,
    /// The customer it has left.
    #[serde(rename = "customerID")]
    pub customer: CustomerId,
    /// When the ticket was created.
    #[serde(rename = "createdDate")]
    pub created: Timestamp,
    /// When it moved: for this customer's list that is its last change.
    #[serde(rename = "updatedDate")]
    pub updated: Timestamp,
    /// When it moved.
    #[serde(rename = "movedDate")]
    pub moved: Timestamp,
}

impl Departure {
    /// The departure of `before` from its customer, if `after` has another one.
    pub fn of(before: &Ticket, after: &Ticket) -> Option<Self> {
        (before.fields.customer != after.fields.customer).then_some(Self {
            id: before.id,
            customer: before.fields.customer,
            created: before.created,
            updated: after.updated,
            moved: after.updated,
        })
    }
}

/// What a list can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every record is a ticket, so boxing would only add cost"
)]
pub enum Record {
    Live(Ticket),
    Deleted(Tombstone),
    Departed(Departure),
}

/// Which kind of [`Record`] it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    Live,
    Deleted,
    Departed,
}

/// The part of a record that filters check and that the indexes store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordKey {
    pub id: TicketId,
    /// Whose ticket it is, or was.
    pub customer: CustomerId,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub state: RecordState,
}

impl Record {
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Live(ticket) => RecordKey {
                id: ticket.id,
                customer: ticket.fields.customer,
                created: ticket.created,
                updated: ticket.updated,
                state: RecordState::Live,
            },
            Self::Deleted(tombstone) => RecordKey {
                id: tombstone.id,
                customer: tombstone.customer,
                created: tombstone.created,
                updated: tombstone.updated,
                state: RecordState::Deleted,
            },
            Self::Departed(departure) => RecordKey {
                id: departure.id,
                customer: departure.customer,
                created: departure.created,
                updated: departure.updated,
                state: RecordState::Departed,
            },
        }
    }

    /// The ticket, if it is one.
    pub fn live(self) -> Option<Ticket> {
        match self {
            Self::Live(ticket) => Some(ticket),
            Self::Deleted(_) | Self::Departed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::{JsonObject, PresetLists, Presets, TicketInput};

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    /// Ticket 10 of a customer, created at 100 and changed at 200.
    fn ticket(customer: u64) -> Ticket {
        let object =
            JsonObject::parse(format!(r#"{{"customerID":{customer},"subject":"s"}}"#).as_bytes()).unwrap();
        let fields = TicketInput::create(object, &Presets::parse(&PresetLists::default()).unwrap()).unwrap();
        Ticket { updated: time(200), ..Ticket::new("10".parse().unwrap(), fields, time(100)) }
    }

    #[test]
    fn every_field_of_the_list_can_be_given_and_is_in_the_json_in_its_order() {
        let value = |kind: FieldKind| match kind {
            FieldKind::Email => "ada@example.com",
            FieldKind::DateOrTime => "2026-12-01",
            FieldKind::Choice | FieldKind::ChoiceOrNote => "whatever it is",
            FieldKind::Subject | FieldKind::Content | FieldKind::Note => "a text",
        };
        let texts = TEXT_FIELDS.map(|(name, kind)| (name.to_owned(), value(kind).into()));
        let body: Map<String, Value> =
            texts.into_iter().chain([("customerID".to_owned(), 7.into())]).collect();
        let object = JsonObject::parse(Value::from(body.clone()).to_string().as_bytes()).unwrap();
        let fields = TicketInput::create(object, &Presets::any()).unwrap();
        let json = serde_json::to_string(&Ticket::new(TicketId::FIRST, fields, time(0))).unwrap();
        let places: Vec<_> = field_names().map(|name| json.find(&format!("\"{name}\":"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{json}");
        let ticket: Map<String, Value> = serde_json::from_str(&json).unwrap();
        assert!(body.iter().all(|(name, value)| ticket[name] == *value), "{json}");
    }

    #[test]
    fn a_new_ticket_is_of_version_1_and_changed_when_it_was_created() {
        let fields = ticket(7).fields;
        let new = Ticket::new(TicketId::FIRST, fields, time(5));
        assert_eq!((new.created, new.updated, new.version), (time(5), time(5), Version::FIRST));
    }

    #[test]
    fn a_deletion_keeps_whose_the_ticket_was_and_when_it_was_created() {
        let tombstone = ticket(7).delete(time(300));
        assert_eq!((tombstone.id.get(), tombstone.customer.get(), tombstone.created), (10, 7, time(100)));
        assert_eq!((tombstone.updated, tombstone.deleted), (time(300), time(300)));
        assert_eq!(tombstone.version, Version::FIRST.next());
    }

    #[test]
    fn a_ticket_departs_where_it_changes_its_customer() {
        let (before, after) = (ticket(7), Ticket { updated: time(300), ..ticket(8) });
        let departure = Departure::of(&before, &after).unwrap();
        assert_eq!((departure.id.get(), departure.customer.get(), departure.created), (10, 7, time(100)));
        assert_eq!((departure.updated, departure.moved), (time(300), time(300)));
        assert_eq!(Departure::of(&before, &Ticket { updated: time(300), ..ticket(7) }), None);
    }

    #[test]
    fn every_kind_of_record_has_a_key() {
        let after = Ticket { updated: time(300), ..ticket(8) };
        for (record, updated, state) in [
            (Record::Live(ticket(7)), time(200), RecordState::Live),
            (Record::Deleted(ticket(7).delete(time(300))), time(300), RecordState::Deleted),
            (Record::Departed(Departure::of(&ticket(7), &after).unwrap()), time(300), RecordState::Departed),
        ] {
            let (id, customer) = (10.try_into().unwrap(), 7.try_into().unwrap());
            assert_eq!(record.key(), RecordKey { id, customer, created: time(100), updated, state });
            assert_eq!(record.live().is_some(), state == RecordState::Live);
        }
    }
}
