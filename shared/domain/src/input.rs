//! What a JSON object says of a ticket's fields: of a new ticket, of a change, alone or in a batch, or of an imported
//! record.
//! The private function `take` is the only map from the names in JSON to the parsers of their values.

use std::collections::BTreeSet;
use std::{fmt, mem};

use crate::error::{Error, Result, Violation, Violations};
use crate::id::{CustomerId, InvalidId, TicketId};
use crate::json_object::{JsonObject, Patch};
use crate::precondition::{IfMatch, Preconditions};
use crate::preset::{Choice, Choices, Preset, Presets};
use crate::text::{Content, Email, Note, Subject};
use crate::ticket::{TEXT_FIELDS, Ticket, TicketFields};
use crate::time::{DateOrTime, Timestamp};

const ID: &str = "id";
/// The version that a row of a batch of changes requires.
pub const IF_MATCH: &str = "ifMatch";
/// The dates that the service assigns.
const DATES: [&str; 2] = ["createdDate", "updatedDate"];
/// The fields that the service assigns. A change may have them, because people send back what they fetched: its
/// dates are ignored, and its id must be the ticket's.
pub const ASSIGNED: [&str; 3] = [ID, DATES[0], DATES[1]];

const CUSTOMER: &str = "customerID";
const SUBJECT: &str = "subject";
/// The fields that every ticket has.
pub const REQUIRED: [&str; 2] = [CUSTOMER, SUBJECT];

/// What a JSON object says of each field of a ticket.
#[derive(Debug, Clone)]
pub struct TicketInput {
    customer: Patch<CustomerId>,
    ticket_type: Patch<Given<Choice>>,
    status: Patch<Given<Choice>>,
    priority: Patch<Given<Choice>>,
    email: Patch<Given<Email>>,
    subject: Patch<Given<Subject>>,
    content: Patch<Given<Content>>,
    owner: Patch<Given<Choice>>,
    users: Patch<Given<Note>>,
    departments: Patch<Given<Note>>,
    suppliers: Patch<Given<Note>>,
    followup: Patch<Given<DateOrTime>>,
    action_required: Patch<Given<DateOrTime>>,
    /// The values of preset fields as the object has them, where some configuration accepts them.
    sent: Choices,
    /// What a change says of the ticket's id.
    id: Patch<String>,
}

/// A text for a field.
#[derive(Debug, Clone)]
enum Given<T> {
    Valid(T),
    /// Why the text is refused, unless the ticket has it: a ticket from before a change of the configuration or of
    /// the rules can be sent back as it was fetched.
    Refused {
        text: String,
        refusal: Violation,
    },
}

impl<T: Clone + fmt::Display> Patch<Given<T>> {
    /// The value of a field that was `old`. Notes a refusal, unless the field was what is given.
    fn over(self, old: Option<&T>, violations: &mut Violations) -> Option<T> {
        match self {
            Self::Absent => old.cloned(),
            Self::Null => None,
            Self::Value(Given::Valid(value)) => Some(value),
            Self::Value(Given::Refused { text, refusal }) => {
                let kept = old.filter(|old| old.to_string() == text);
                if kept.is_none() {
                    violations.push(refusal);
                }
                kept.cloned()
            }
        }
    }
}

/// A new ticket as a body asks for it.
///
/// Whether it can be made depends on the presets, which change from one deployment to the next. A request that is
/// repeated after such a change gets its first answer, so this also knows what the body says whatever is configured.
#[derive(Debug, Clone)]
pub struct NewTicket {
    /// The fields by the presets of today, defaults included.
    fields: TicketFields,
    /// The values of preset fields as the body has them.
    sent: Choices,
    /// The values that are not configured today.
    refused: Violations,
}

impl NewTicket {
    /// Parses the body of a create.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation at once, if the body is refused whatever is configured.
    pub fn parse(mut object: JsonObject, presets: &Presets) -> Result<Self> {
        for field in REQUIRED {
            object.require(field);
        }
        let input = TicketInput::take(&mut object, presets);
        let mut violations = mem::take(&mut object.violations);
        for field in ASSIGNED {
            if object.has(field) {
                object.refuse(field, "is assigned by the service; leave it out of a new ticket");
            }
            object.ignore(field);
        }
        let (sent, unconfigured) = (input.sent.clone(), input.unconfigured());
        let mut refused = Violations::default();
        let fields = input.over(None, &mut refused);
        let names = object.into_violations();
        match fields {
            // All that is refused is not configured, and may have been.
            Some(fields) if violations.is_empty() && names.is_empty() && refused.len() == unconfigured => {
                let fields = TicketFields {
                    status: fields.status.or_else(|| presets.new_status()),
                    priority: fields.priority.or_else(|| presets.new_priority()),
                    ..fields
                };
                Ok(Self { fields, sent, refused })
            }
            Some(_) | None => {
                violations.append(refused);
                violations.append(names);
                Err(Error::InvalidFields(violations))
            }
        }
    }

    pub fn customer(&self) -> CustomerId {
        self.fields.customer
    }

    /// The fields of the ticket, by the presets of today.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every value that is not configured.
    pub fn fields(&self) -> Result<&TicketFields> {
        if self.refused.is_empty() {
            Ok(&self.fields)
        } else {
            Err(Error::InvalidFields(self.refused.clone()))
        }
    }

    /// What the service puts into the preset fields instead of what is given: defaults, and configured spellings.
    pub fn filled_in(&self) -> Choices {
        let Self { fields, sent, .. } = self;
        let filled_in = |stored: &Option<Choice>, sent| stored.clone().filter(|stored| Some(stored) != sent);
        Choices {
            ticket_type: filled_in(&fields.ticket_type, sent.ticket_type.as_ref()),
            status: filled_in(&fields.status, sent.status.as_ref()),
            priority: filled_in(&fields.priority, sent.priority.as_ref()),
            owner: filled_in(&fields.owner, sent.owner.as_ref()),
        }
    }

    /// The fields of the ticket that was made of the same body when the service filled in these values.
    pub fn fields_with(&self, filled_in: Choices) -> TicketFields {
        let sent = self.sent.clone();
        TicketFields {
            ticket_type: filled_in.ticket_type.or(sent.ticket_type),
            status: filled_in.status.or(sent.status),
            priority: filled_in.priority.or(sent.priority),
            owner: filled_in.owner.or(sent.owner),
            ..self.fields.clone()
        }
    }
}

impl TicketInput {
    /// Takes the fields out of the object, which notes every value of a wrong type.
    fn take(object: &mut JsonObject, presets: &Presets) -> Self {
        let mut sent = Choices::default();
        Self {
            customer: customer(object),
            ticket_type: chosen(object, "ticketType", &presets.ticket_type, &mut sent.ticket_type),
            status: chosen(object, "status", &presets.status, &mut sent.status),
            priority: chosen(object, "ticketPriority", &presets.priority, &mut sent.priority),
            email: given(object, "customerEmail", str::parse),
            subject: given(object, SUBJECT, str::parse),
            content: given(object, "ticketContent", str::parse),
            owner: chosen(object, "owner", &presets.owner, &mut sent.owner),
            users: given(object, "users", str::parse),
            departments: given(object, "departments", str::parse),
            suppliers: given(object, "ticketSuppliers", str::parse),
            followup: given(object, "ticketFollowupDate", str::parse),
            action_required: given(object, "ticketActionRequired", str::parse),
            sent,
            id: Patch::Absent,
        }
    }

    /// How many values of preset fields are refused that another configuration accepts.
    fn unconfigured(&self) -> usize {
        let Self { ticket_type, status, priority, owner, sent, .. } = self;
        let given = [
            (ticket_type, &sent.ticket_type),
            (status, &sent.status),
            (priority, &sent.priority),
            (owner, &sent.owner),
        ];
        let is_unconfigured = |(given, sent): &(&Patch<Given<Choice>>, &Option<Choice>)| {
            sent.is_some() && matches!(given, Patch::Value(Given::Refused { .. }))
        };
        given.iter().filter(|given| is_unconfigured(given)).count()
    }

    /// The fields of a ticket that had those of `old`, or of a new one if there is no `old`. Notes each text that is
    /// refused, unless `old` has it. `None` if a required field has no value.
    fn over(self, old: Option<&TicketFields>, violations: &mut Violations) -> Option<TicketFields> {
        // All of them first, so that every refusal is noted.
        let subject = self.subject.over(old.map(|old| &old.subject), violations);
        let ticket_type = self.ticket_type.over(old.and_then(|old| old.ticket_type.as_ref()), violations);
        let status = self.status.over(old.and_then(|old| old.status.as_ref()), violations);
        let priority = self.priority.over(old.and_then(|old| old.priority.as_ref()), violations);
        let email = self.email.over(old.and_then(|old| old.email.as_ref()), violations);
        let content = self.content.over(old.and_then(|old| old.content.as_ref()), violations);
        let owner = self.owner.over(old.and_then(|old| old.owner.as_ref()), violations);
        let users = self.users.over(old.and_then(|old| old.users.as_ref()), violations);
        let departments = self.departments.over(old.and_then(|old| old.departments.as_ref()), violations);
        let suppliers = self.suppliers.over(old.and_then(|old| old.suppliers.as_ref()), violations);
        let followup = self.followup.over(old.and_then(|old| old.followup.as_ref()), violations);
        let action_required =
            self.action_required.over(old.and_then(|old| old.action_required.as_ref()), violations);
        Some(TicketFields {
            customer: self.customer.value().or(old.map(|old| old.customer))?,
            ticket_type,
            status,
            priority,
            email,
            subject: subject?,
            content,
            owner,
            users,
            departments,
            suppliers,
            followup,
            action_required,
        })
    }

    /// Takes all fields of a ticket as they are given, without defaults. `None` if a required field is missing
    /// or wrong; the object has then noted a violation.
    pub(crate) fn complete(object: &mut JsonObject, presets: &Presets) -> Option<TicketFields> {
        for field in REQUIRED {
            object.require(field);
        }
        Self::take(object, presets).over(None, &mut object.violations)
    }

    /// Takes the customer of a deleted ticket, and refuses a value of any other field.
    pub(crate) fn deleted(object: &mut JsonObject) -> Option<CustomerId> {
        for (field, _) in TEXT_FIELDS {
            let given = object.has(field);
            object.ignore(field);
            if given {
                object.refuse(field, "is given, but a deleted ticket has none");
            }
        }
        object.require(CUSTOMER);
        customer(object).value()
    }

    /// The fields of a new ticket, with the presets' defaults for status and priority.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation at once.
    pub fn create(object: JsonObject, presets: &Presets) -> Result<TicketFields> {
        NewTicket::parse(object, presets)?.fields().cloned()
    }

    /// A change of the fields that the object names; `null` clears a field.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation that can be found without the ticket.
    pub fn change(mut object: JsonObject, presets: &Presets) -> Result<Self> {
        for field in REQUIRED {
            if object.is_null(field) {
                object.refuse(field, "is required; it cannot be cleared");
            }
        }
        let mut input = Self::take(&mut object, presets);
        input.id = object.raw_text(ID);
        for date in DATES {
            object.ignore(date);
        }
        let mut violations = object.into_violations();
        if violations.is_empty() {
            return Ok(input);
        }
        // Report everything at once: also the values that `apply` would refuse later.
        let _ = input.over(None, &mut violations);
        Err(Error::InvalidFields(violations))
    }

    /// The changed ticket, or `None` if the change makes no difference.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation that depends on the ticket: texts that are refused and
    /// that it does not have, and another id than the ticket's.
    pub fn apply(&self, ticket: &Ticket, now: Timestamp) -> Result<Option<Ticket>> {
        let mut violations = Violations::default();
        let id = ticket.id.to_string();
        match &self.id {
            Patch::Value(given) if *given != id => violations
                .push(Violation::new(ID, format!("is assigned by the service; the ticket has {id}"))),
            Patch::Null => {
                violations.push(Violation::new(ID, "is assigned by the service; it cannot be cleared"));
            }
            Patch::Value(_) | Patch::Absent => {}
        }
        let fields = self.clone().over(Some(&ticket.fields), &mut violations);
        match fields {
            Some(fields) if violations.is_empty() => Ok((fields != ticket.fields).then(|| Ticket {
                fields,
                updated: now.after(ticket.updated),
                version: ticket.version.next(),
                ..ticket.clone()
            })),
            Some(_) | None => Err(Error::InvalidFields(violations)),
        }
    }
}

/// A row of a batch of changes: what an update of this ticket would be told by its path, headers and body.
#[derive(Debug, Clone)]
pub struct TicketChange {
    pub id: TicketId,
    pub preconditions: Preconditions,
    pub input: TicketInput,
}

impl TicketChange {
    /// Parses the rows of a batch, each on its own. `if_match` reads the tags of a row's `ifMatch`.
    ///
    /// # Errors
    /// Of a row: [`Error::InvalidFields`] as for [`TicketInput::change`], and if its id is missing, invalid, or in an
    /// earlier row.
    pub fn parse_rows<E: fmt::Display>(
        rows: Vec<Result<JsonObject>>,
        presets: &Presets,
        if_match: impl Fn(&str) -> Result<IfMatch, E>,
    ) -> Vec<Result<Self>> {
        let mut ids = BTreeSet::new();
        let parse = |row: Result<JsonObject>| {
            let mut object = row?;
            object.require(ID);
            let id = object.text(ID, |text| {
                let id = text.parse().map_err(|error: InvalidId| error.to_string())?;
                if ids.insert(id) {
                    Ok(id)
                } else {
                    Err("is in an earlier row; a batch changes a ticket once".to_owned())
                }
            });
            let if_match = object.text(IF_MATCH, |text| if_match(text).map_err(|error| error.to_string()));
            let input = TicketInput::change(object, presets)?;
            let id = id.value().ok_or_else(|| Error::internal("a row without an id was not refused"))?;
            let preconditions =
                Preconditions { if_match: if_match.value().unwrap_or_default(), ..Preconditions::default() };
            Ok(Self { id, preconditions, input })
        };
        rows.into_iter().map(parse).collect()
    }
}

fn customer(object: &mut JsonObject) -> Patch<CustomerId> {
    object.number(CUSTOMER, CustomerId::try_from)
}

/// Takes a field that is a string in JSON.
fn given<T, E: fmt::Display>(
    object: &mut JsonObject,
    field: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Patch<Given<T>> {
    object.text(field, |text| {
        Ok::<_, String>(parse(text).map_or_else(
            |error| Given::Refused { text: text.to_owned(), refusal: Violation::new(field, error) },
            Given::Valid,
        ))
    })
}

/// Takes a preset field. Notes the value as it is `sent`, if some configuration accepts it.
fn chosen(
    object: &mut JsonObject,
    field: &'static str,
    preset: &Preset,
    sent: &mut Option<Choice>,
) -> Patch<Given<Choice>> {
    given(object, field, |text| {
        *sent = Preset::default().choose(text).ok();
        preset.choose(text)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::id::TicketId;
    use crate::preset::PresetLists;

    fn presets() -> Presets {
        Presets::parse(&PresetLists::default()).unwrap()
    }

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn ticket(body: Value) -> Ticket {
        let object = JsonObject::parse(body.to_string().as_bytes()).unwrap();
        Ticket::new(TicketId::FIRST, TicketInput::create(object, &presets()).unwrap(), time(1000))
    }

    fn change(body: &Value) -> Result<TicketInput> {
        TicketInput::change(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets())
    }

    fn violations<T: std::fmt::Debug>(result: Result<T>) -> Vec<String> {
        match result {
            Err(Error::InvalidFields(violations)) => violations.into_iter().map(|v| v.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn create(body: &str) -> Result<TicketFields, Vec<(String, String)>> {
        let object = JsonObject::parse(body.as_bytes()).unwrap();
        TicketInput::create(object, &presets()).map_err(|error| match error {
            Error::InvalidFields(violations) => violations.into_iter().map(|v| (v.field, v.detail)).collect(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn customer_and_subject_are_enough_and_the_rest_is_preset_or_absent() {
        let fields = create(r#"{"customerID": 7, "subject": "Help"}"#).unwrap();
        assert_eq!(
            serde_json::to_value(&fields).unwrap(),
            json!({"customerID": 7, "subject": "Help", "status": "open", "ticketPriority": "normal"})
        );
    }

    #[test]
    fn every_violation_is_reported_at_once() {
        let body = r#"{"customerID": 0, "subject": "", "status": "done", "customerEmail": "ada", "users": 5,
                       "ticketFollowupDate": "soon", "id": "1", "colour": "red"}"#;
        let mut fields: Vec<_> = create(body).unwrap_err().into_iter().map(|(field, _)| field).collect();
        fields.sort();
        assert_eq!(
            fields,
            [
                "colour",
                "customerEmail",
                "customerID",
                "id",
                "status",
                "subject",
                "ticketFollowupDate",
                "users"
            ]
        );
    }

    #[test]
    fn required_fields_are_named_when_absent_or_null() {
        let expected = |field: &str| (field.to_owned(), "is required".to_owned());
        assert_eq!(create("{}").unwrap_err(), [expected("customerID"), expected("subject")]);
        assert_eq!(create(r#"{"customerID": null, "subject": "a"}"#).unwrap_err(), [expected("customerID")]);
    }

    #[test]
    fn a_customer_is_a_positive_whole_number_that_json_keeps_exact() {
        for bad in ["0", "-1", "1.5", "9007199254740992", "1e99"] {
            assert!(create(&format!(r#"{{"customerID": {bad}, "subject": "a"}}"#)).is_err(), "{bad}");
        }
        for good in ["1", "9007199254740991", "42.0", "1e3"] {
            assert!(create(&format!(r#"{{"customerID": {good}, "subject": "a"}}"#)).is_ok(), "{good}");
        }
        assert_eq!(
            create(r#"{"customerID": "7", "subject": "a"}"#).unwrap_err()[0].1,
            "must be a number, not a string"
        );
    }

    #[test]
    fn one_invalid_optional_field_refuses_a_ticket() {
        for (member, field) in [
            (r#""status":"done""#, "status"),
            (r#""customerEmail":"ada""#, "customerEmail"),
            (r#""colour":"red""#, "colour"),
            (r#""id":"1""#, "id"),
        ] {
            let refused = create(&format!(r#"{{"customerID":7,"subject":"a",{member}}}"#)).unwrap_err();
            assert_eq!(refused.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }

    #[test]
    fn what_was_fetched_can_be_sent_back_and_changes_nothing() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a", "owner": "grace"}));
        let body = serde_json::to_value(&ticket).unwrap();
        assert_eq!(change(&body).unwrap().apply(&ticket, time(2000)).unwrap(), None);
    }

    #[test]
    fn a_change_has_the_ticket_s_own_id_or_none() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a"}));
        let refused = |id: Value| {
            let change = change(&json!({"id": id, "status": "done"}));
            violations(change.and_then(|change| change.apply(&ticket, time(2000))))
        };
        for id in [json!("2"), json!("01"), json!(null), json!(1), json!(["1"])] {
            assert_eq!(refused(id.clone()), ["id", "status"], "{id}");
        }
        assert_eq!(refused(json!("1")), ["status"]);
    }

    #[test]
    fn the_dates_in_a_change_are_ignored_whatever_they_are() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a"}));
        for date in [
            json!("1970-01-01T02:00:01+02:00"),
            json!("Thu Jan  1 00:00:01 1970"),
            json!(null),
            json!(1000),
            json!({"date": "1970-01-01", "timezone": "UTC"}),
            json!([[true]]),
        ] {
            let body = json!({"createdDate": date, "updatedDate": date, "subject": "b"});
            let changed = change(&body).unwrap().apply(&ticket, time(2000)).unwrap().unwrap();
            assert_eq!((changed.created, changed.updated), (time(1000), time(2000)), "{date}");
            assert_eq!(changed.fields.subject.as_str(), "b");
            let only = json!({"createdDate": date, "updatedDate": date});
            assert_eq!(change(&only).unwrap().apply(&ticket, time(2000)).unwrap(), None, "{date}");
        }
    }

    #[test]
    fn a_new_ticket_has_no_assigned_field_of_any_kind() {
        for field in ASSIGNED {
            for value in ["\"1\"", "7", "{}", "\"2026-01-01\""] {
                let body = format!(r#"{{"customerID":7,"subject":"a","{field}":{value}}}"#);
                let refused = create(&body).unwrap_err();
                assert_eq!(refused.len(), 1, "{body}");
                assert_eq!(refused[0].0, field);
                assert!(refused[0].1.contains("leave it out"), "{refused:?}");
            }
            assert!(create(&format!(r#"{{"customerID":7,"subject":"a","{field}":null}}"#)).is_ok());
        }
    }

    fn configured(statuses: &str, priorities: &str, owners: &str) -> Presets {
        Presets::parse(&PresetLists { statuses, priorities, owners, ..PresetLists::default() }).unwrap()
    }

    fn new_ticket(body: &Value, presets: &Presets) -> Result<NewTicket> {
        NewTicket::parse(JsonObject::parse(body.to_string().as_bytes()).unwrap(), presets)
    }

    #[test]
    fn a_value_that_is_not_configured_today_is_kept_apart_from_one_that_never_was_valid() {
        let body = json!({"customerID": 7, "subject": "a", "status": "waiting", "owner": "ada"});
        let today = new_ticket(&body, &configured("open", "normal", "grace")).unwrap();
        assert_eq!(violations(today.fields()), ["status", "owner"]);
        assert_eq!(today.customer().get(), 7);
        // What is wrong whatever is configured is told together with what is not configured.
        let body = json!({"customerID": 7, "subject": "", "status": "waiting", "createdDate": "2026-01-01"});
        let mut fields = violations(new_ticket(&body, &configured("open", "normal", "")));
        fields.sort();
        assert_eq!(fields, ["createdDate", "status", "subject"]);
        let long = json!({"customerID": 7, "subject": "a", "status": "s".repeat(5000)});
        assert_eq!(violations(new_ticket(&long, &presets())), ["status"], "no configuration accepts it");
    }

    #[test]
    fn only_what_the_body_does_not_say_is_filled_in() {
        let body =
            json!({"customerID": 7, "subject": "a", "status": "OPEN", "ticketType": "sales", "owner": "ada"});
        let filled_in = new_ticket(&body, &presets()).unwrap().filled_in();
        let json = serde_json::to_value(filled_in).unwrap();
        assert_eq!(json, json!({"status": "open", "ticketPriority": "normal"}));
    }

    #[test]
    fn null_clears_a_field_but_not_a_required_one() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a", "owner": "grace"}));
        let cleared = change(&json!({"owner": null})).unwrap().apply(&ticket, time(2000)).unwrap().unwrap();
        assert_eq!(cleared.fields.owner, None);
        assert_eq!(
            violations(change(&json!({"customerID": null, "subject": null}))),
            ["customerID", "subject"]
        );
    }

    #[test]
    fn a_value_that_is_no_longer_configured_can_be_kept_but_not_set() {
        let presets =
            Presets::parse(&PresetLists { statuses: "new, old", ..PresetLists::default() }).unwrap();
        let ticket = ticket(json!({"customerID": 7, "subject": "a", "status": "closed"}));
        let parse = |body: Value| {
            TicketInput::change(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets)
        };
        let kept =
            parse(json!({"status": "closed", "subject": "b"})).unwrap().apply(&ticket, time(2000)).unwrap();
        assert_eq!(kept.unwrap().fields.status, ticket.fields.status);
        assert_eq!(
            violations(parse(json!({"status": "open"})).unwrap().apply(&ticket, time(2000))),
            ["status"]
        );
    }

    #[test]
    fn a_text_from_before_a_rule_can_be_kept_but_not_set() {
        let mut old = ticket(json!({"customerID": 7, "subject": "a"}));
        let stored = json!({
            "customerID": 7, "subject": "a\r\nb", "customerEmail": "ada@localhost", "ticketContent": "\0",
            "owner": " ada", "users": "\0", "ticketFollowupDate": "0024-11-03",
        });
        old.fields = serde_json::from_value(stored.clone()).unwrap();
        let closed = change(&json!({"status": "closed"})).unwrap().apply(&old, time(2000)).unwrap().unwrap();
        assert_eq!(closed.fields.subject, old.fields.subject);
        // A line is stored without white space around it from then on.
        let back = change(&stored).unwrap().apply(&old, time(2000)).unwrap().unwrap();
        assert_eq!(serde_json::to_value(&back.fields).unwrap(), {
            let mut trimmed = stored.clone();
            trimmed["owner"] = json!("ada");
            trimmed
        });
        let other = ticket(json!({"customerID": 7, "subject": "b"}));
        let refused = violations(change(&stored).unwrap().apply(&other, time(2000)));
        assert_eq!(refused, ["subject", "customerEmail", "ticketContent", "users", "ticketFollowupDate"]);
    }

    #[test]
    fn violations_with_and_without_the_ticket_are_reported_together() {
        assert_eq!(
            violations(change(&json!({"customerID": 0, "customerEmail": "x", "status": "done"}))),
            ["customerID", "status", "customerEmail"]
        );
    }

    #[test]
    fn updated_rises_even_when_the_clock_does_not() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a"}));
        let changed = change(&json!({"subject": "b"})).unwrap().apply(&ticket, time(500)).unwrap().unwrap();
        assert_eq!(changed.updated, time(1001));
        assert_eq!(changed.delete(time(0)).updated, time(1002));
        assert_eq!(changed.created, time(1000));
    }

    /// Any valid change, as a body.
    fn body() -> impl Strategy<Value = Value> {
        let text = |field: &'static str, values: &'static [Option<&'static str>]| {
            proptest::option::of(proptest::sample::select(values))
                .prop_map(move |value| value.map(|v| (field, json!(v))))
        };
        (
            text("subject", &[Some("a"), Some("b")]),
            text("status", &[Some("OPEN"), Some("closed"), None]),
            text("owner", &[Some("ada"), Some("grace"), None]),
            text("ticketFollowupDate", &[Some("2026-01-02"), Some("2026-01-02T03:04"), None]),
            proptest::option::of(1u64..3).prop_map(|id| id.map(|id| ("customerID", json!(id)))),
        )
            .prop_map(|(a, b, c, d, e)| {
                let members =
                    [a, b, c, d, e].into_iter().flatten().map(|(name, value)| (name.to_owned(), value));
                Value::Object(members.collect())
            })
    }

    proptest! {
        #[test]
        fn a_change_applied_twice_changes_nothing_the_second_time(body in body()) {
            let ticket = ticket(json!({"customerID": 7, "subject": "start", "owner": "ada"}));
            let change = change(&body).unwrap();
            if let Some(once) = change.apply(&ticket, time(2000)).unwrap() {
                prop_assert_eq!(once.version, ticket.version.next());
                prop_assert_eq!(change.apply(&once, time(3000)).unwrap(), None);
            }
        }

        #[test]
        fn the_later_change_wins_field_by_field(first in body(), second in body()) {
            let ticket = ticket(json!({"customerID": 7, "subject": "start", "owner": "ada"}));
            let apply = |body: &Value, ticket: &Ticket| {
                change(body).unwrap().apply(ticket, time(2000)).unwrap().unwrap_or_else(|| ticket.clone())
            };
            let one_by_one = apply(&second, &apply(&first, &ticket));
            let mut both = first.as_object().unwrap().clone();
            both.extend(second.as_object().unwrap().clone());
            prop_assert_eq!(one_by_one.fields, apply(&Value::Object(both), &ticket).fields);
        }

        #[test]
        fn fields_not_given_stay(body in body()) {
            let ticket = ticket(json!({"customerID": 7, "subject": "start", "owner": "ada", "users": "u"}));
            if let Some(changed) = change(&body).unwrap().apply(&ticket, time(2000)).unwrap() {
                let (old, new) = (serde_json::to_value(&ticket).unwrap(), serde_json::to_value(&changed).unwrap());
                for (name, value) in old.as_object().unwrap() {
                    if body.get(name).is_none() && name != "updatedDate" {
                        prop_assert_eq!(new.get(name), Some(value));
                    }
                }
            }
        }
    }
}
