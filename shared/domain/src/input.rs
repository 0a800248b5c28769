//! What a JSON object says of a ticket's fields: of a new ticket, of a change, or of an imported record.
//! The private function `take` is the only map from the names in JSON to the parsers of their values.

use crate::error::{Error, Result, Violation, Violations};
use crate::id::CustomerId;
use crate::json_object::{JsonObject, Patch};
use crate::preset::{Choice, Choices, Preset, Presets};
use crate::text::{Content, Email, Note, Subject};
use crate::ticket::{TEXT_FIELDS, Ticket, TicketFields};
use crate::time::{DateOrTime, Timestamp};

const ID: &str = "id";
/// The dates that the service assigns.
const DATES: [&str; 2] = ["createdDate", "updatedDate"];
/// The fields that the service assigns. A change may have them, because people send back what they fetched: its
/// dates are ignored, and its id must be the ticket's.
pub const ASSIGNED: [&str; 3] = [ID, DATES[0], DATES[1]];

const CUSTOMER: &str = "customerID";
const SUBJECT: &str = "subject";
/// The fields that every ticket has.
const REQUIRED: [&str; 2] = [CUSTOMER, SUBJECT];

/// What a JSON object says of each field of a ticket.
#[derive(Debug, Clone)]
pub struct TicketInput {
    customer: Patch<CustomerId>,
    ticket_type: Patch<Chosen>,
    status: Patch<Chosen>,
    priority: Patch<Chosen>,
    email: Patch<Email>,
    subject: Patch<Subject>,
    content: Patch<Content>,
    owner: Patch<Chosen>,
    users: Patch<Note>,
    departments: Patch<Note>,
    suppliers: Patch<Note>,
    followup: Patch<DateOrTime>,
    action_required: Patch<DateOrTime>,
    /// What a change says of the ticket's id.
    id: Patch<String>,
}

/// A value for a preset field.
#[derive(Debug, Clone)]
struct Chosen {
    /// The value as the object has it.
    given: Choice,
    /// The configured value that it means; or why it is refused, unless the ticket has it: a ticket from before a
    /// change of the configuration can be sent back as it was fetched.
    configured: Result<Choice, Violation>,
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
    given: Choices,
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
        for field in ASSIGNED {
            if object.has(field) {
                object.refuse(field, "is assigned by the service; leave it out of a new ticket");
            }
            object.ignore(field);
        }
        let (given, mut refused) = (input.choices(), Violations::default());
        let fields = input.over(None, &mut refused);
        let mut violations = object.into_violations();
        match fields {
            Some(fields) if violations.is_empty() => {
                let fields = TicketFields {
                    status: fields.status.or_else(|| presets.new_status()),
                    priority: fields.priority.or_else(|| presets.new_priority()),
                    ..fields
                };
                Ok(Self { fields, given, refused })
            }
            Some(_) | None => {
                violations.extend(refused);
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
        let Self { fields, given, .. } = self;
        let filled_in =
            |stored: &Option<Choice>, given| stored.clone().filter(|stored| Some(stored) != given);
        Choices {
            ticket_type: filled_in(&fields.ticket_type, given.ticket_type.as_ref()),
            status: filled_in(&fields.status, given.status.as_ref()),
            priority: filled_in(&fields.priority, given.priority.as_ref()),
            owner: filled_in(&fields.owner, given.owner.as_ref()),
        }
    }

    /// The fields of the ticket that was made of the same body when the service filled in these values.
    pub fn fields_with(&self, filled_in: Choices) -> TicketFields {
        let given = self.given.clone();
        TicketFields {
            ticket_type: filled_in.ticket_type.or(given.ticket_type),
            status: filled_in.status.or(given.status),
            priority: filled_in.priority.or(given.priority),
            owner: filled_in.owner.or(given.owner),
            ..self.fields.clone()
        }
    }
}

impl TicketInput {
    /// Takes the fields out of the object, which notes every value that does not parse.
    fn take(object: &mut JsonObject, presets: &Presets) -> Self {
        Self {
            customer: customer(object),
            ticket_type: chosen(object, "ticketType", &presets.ticket_type),
            status: chosen(object, "status", &presets.status),
            priority: chosen(object, "ticketPriority", &presets.priority),
            email: object.text("customerEmail", str::parse),
            subject: object.text(SUBJECT, str::parse),
            content: object.text("ticketContent", str::parse),
            owner: chosen(object, "owner", &presets.owner),
            users: object.text("users", str::parse),
            departments: object.text("departments", str::parse),
            suppliers: object.text("ticketSuppliers", str::parse),
            followup: object.text("ticketFollowupDate", str::parse),
            action_required: object.text("ticketActionRequired", str::parse),
            id: Patch::Absent,
        }
    }

    /// The values of preset fields as the object has them.
    fn choices(&self) -> Choices {
        let given = |chosen: &Patch<Chosen>| chosen.clone().value().map(|chosen| chosen.given);
        Choices {
            ticket_type: given(&self.ticket_type),
            status: given(&self.status),
            priority: given(&self.priority),
            owner: given(&self.owner),
        }
    }

    /// The fields of a ticket that had those of `old`, or of a new one if there is no `old`. Notes each value
    /// that is not configured, unless `old` has it. `None` if a required field has no value.
    fn over(self, old: Option<&TicketFields>, violations: &mut Violations) -> Option<TicketFields> {
        let mut choose = |given: Patch<Chosen>, old: Option<&Choice>| match given {
            Patch::Absent => old.cloned(),
            Patch::Null => None,
            Patch::Value(Chosen { configured: Ok(choice), .. }) => Some(choice),
            Patch::Value(Chosen { given, configured: Err(refusal) }) => {
                let kept = old.filter(|old| **old == given);
                if kept.is_none() {
                    violations.push(refusal);
                }
                kept.cloned()
            }
        };
        let ticket_type = choose(self.ticket_type, old.and_then(|old| old.ticket_type.as_ref()));
        let status = choose(self.status, old.and_then(|old| old.status.as_ref()));
        let priority = choose(self.priority, old.and_then(|old| old.priority.as_ref()));
        let owner = choose(self.owner, old.and_then(|old| old.owner.as_ref()));
        Some(TicketFields {
            customer: self.customer.value().or(old.map(|old| old.customer))?,
            ticket_type,
            status,
            priority,
            email: self.email.over(old.and_then(|old| old.email.as_ref())),
            subject: self.subject.value().or_else(|| old.map(|old| old.subject.clone()))?,
            content: self.content.over(old.and_then(|old| old.content.as_ref())),
            owner,
            users: self.users.over(old.and_then(|old| old.users.as_ref())),
            departments: self.departments.over(old.and_then(|old| old.departments.as_ref())),
            suppliers: self.suppliers.over(old.and_then(|old| old.suppliers.as_ref())),
            followup: self.followup.over(old.and_then(|old| old.followup.as_ref())),
            action_required: self.action_required.over(old.and_then(|old| old.action_required.as_ref())),
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
    /// [`Error::InvalidFields`] with every violation that depends on the ticket: values that are not configured,
    /// and another id than the ticket's.
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

fn customer(object: &mut JsonObject) -> Patch<CustomerId> {
    object.number(CUSTOMER, CustomerId::try_from)
}

fn chosen(object: &mut JsonObject, field: &'static str, preset: &Preset) -> Patch<Chosen> {
    object.text(field, |text| {
        let configured = preset.choose(text);
        match (Preset::default().choose(text), configured) {
            (Ok(given), configured) => {
                let configured = configured.map_err(|error| Violation::new(field, error));
                Ok(Chosen { given, configured })
            }
            // No configuration accepts it.
            (Err(_), Err(error)) | (Err(error), Ok(_)) => Err(error),
        }
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
    fn violations_with_and_without_the_ticket_are_reported_together() {
        assert_eq!(
            violations(change(&json!({"customerEmail": "x", "status": "done"}))),
            ["customerEmail", "status"]
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

    /// Presets as deployments may have them one after the other.
    fn any_presets() -> impl Strategy<Value = Presets> {
        let statuses = proptest::sample::select(&["open, closed", "Closed, OPEN", "new", "new, open"][..]);
        let priorities = proptest::sample::select(&["low, normal", "P1, Low", "normal"][..]);
        let owners = proptest::sample::select(&["", "Ada", "ada, grace"][..]);
        (statuses, priorities, owners).prop_map(|(a, b, c)| configured(a, b, c))
    }

    /// The body of a new ticket that some presets accept.
    fn new_body() -> impl Strategy<Value = Value> {
        let choice =
            |values: &'static [Option<&'static str>]| proptest::option::of(proptest::sample::select(values));
        (
            choice(&[Some("OPEN"), Some("closed"), Some("new"), None]),
            choice(&[Some("low"), Some("P1"), None]),
            choice(&[Some("ada"), Some("grace"), None]),
        )
            .prop_map(|(status, priority, owner)| {
                let mut body = json!({"customerID": 7, "subject": "a", "users": "u"});
                for (name, value) in [("status", status), ("ticketPriority", priority), ("owner", owner)] {
                    if let Some(value) = value {
                        body[name] = json!(value);
                    }
                }
                body
            })
    }

    proptest! {
        #[test]
        fn the_same_body_has_its_first_fields_under_other_presets(
            body in new_body(), first in any_presets(), later in any_presets()
        ) {
            let created = new_ticket(&body, &first).unwrap();
            if let Ok(fields) = created.fields() {
                let repeated = new_ticket(&body, &later).unwrap();
                prop_assert_eq!(&repeated.fields_with(created.filled_in()), fields);
            }
        }

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
