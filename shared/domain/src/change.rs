//! Parses a JSON object into a change of a ticket, and applies the change to a ticket.

use crate::draft::ASSIGNED;
use crate::error::{Error, Result, Violation, Violations};
use crate::form::{Form, Given};
use crate::id::CustomerId;
use crate::preset::{Choice, Preset, Presets};
use crate::text::{Content, Email, Note, Subject};
use crate::ticket::{Ticket, TicketFields};
use crate::time::{DateOrTime, Timestamp};

/// A change of the fields that a body names; `null` clears a field.
#[derive(Debug, Clone)]
pub struct TicketChange {
    /// The customer the ticket moves to, if it moves.
    pub customer: Option<CustomerId>,
    subject: Option<Subject>,
    ticket_type: Given<Chosen>,
    status: Given<Chosen>,
    priority: Given<Chosen>,
    owner: Given<Chosen>,
    email: Given<Email>,
    content: Given<Content>,
    users: Given<Note>,
    departments: Given<Note>,
    suppliers: Given<Note>,
    followup: Given<DateOrTime>,
    action_required: Given<DateOrTime>,
    assigned: [Given<String>; 3],
}

/// A value for a preset field. A value that is not configured is still accepted if the ticket has it:
/// a ticket from before a change of the configuration can be sent back as it was fetched.
#[derive(Debug, Clone)]
struct Chosen {
    text: String,
    choice: Result<Choice, String>,
}

impl TicketChange {
    /// The change that a body describes.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation that can be found without the ticket.
    pub fn parse(mut form: Form, presets: &Presets) -> Result<Self> {
        let change = Self {
            customer: kept(&mut form, "customerID", |form| form.number("customerID", CustomerId::try_from)),
            ticket_type: chosen(&mut form, "ticketType", &presets.ticket_type),
            status: chosen(&mut form, "status", &presets.status),
            priority: chosen(&mut form, "ticketPriority", &presets.priority),
            email: form.text("customerEmail", str::parse),
            subject: kept(&mut form, "subject", |form| form.text("subject", str::parse)),
            content: form.text("ticketContent", str::parse),
            owner: chosen(&mut form, "owner", &presets.owner),
            users: form.text("users", str::parse),
            departments: form.text("departments", str::parse),
            suppliers: form.text("ticketSuppliers", str::parse),
            followup: form.text("ticketFollowupDate", str::parse),
            action_required: form.text("ticketActionRequired", str::parse),
            assigned: ASSIGNED.map(|field| form.raw_text(field)),
        };
        let mut violations = form.finish();
        if violations.is_empty() {
            return Ok(change);
        }
        // Report everything at once: also the values that `apply` would refuse later.
        violations.extend(change.choices().into_iter().filter_map(|(field, given)| match given {
            Given::Value(Chosen { choice: Err(detail), .. }) => Some(Violation::new(field, detail)),
            _ => None,
        }));
        Err(Error::InvalidFields(violations))
    }

    fn choices(&self) -> [(&'static str, &Given<Chosen>); 4] {
        [
            ("ticketType", &self.ticket_type),
            ("status", &self.status),
            ("ticketPriority", &self.priority),
            ("owner", &self.owner),
        ]
    }

    /// The changed ticket, or `None` if the change makes no difference.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation that depends on the ticket: values that are
    /// not configured, and assigned fields with another value than the ticket's.
    pub fn apply(&self, ticket: &Ticket, now: Timestamp) -> Result<Option<Ticket>> {
        let mut violations = Violations::default();
        let assigned = [ticket.id.to_string(), ticket.created.to_string(), ticket.updated.to_string()];
        for ((field, given), actual) in ASSIGNED.into_iter().zip(&self.assigned).zip(assigned) {
            match given {
                Given::Value(text) if !same(text, &actual) => {
                    violations.push(Violation::new(
                        field,
                        format!("is assigned by the service; the ticket has {actual}"),
                    ));
                }
                Given::Clear => {
                    violations.push(Violation::new(field, "is assigned by the service; it cannot be cleared"))
                }
                Given::Value(_) | Given::Nothing => {}
            }
        }
        let old = &ticket.fields;
        let mut choose = |field, given: &Given<Chosen>, old: &Option<Choice>| match given {
            Given::Nothing => old.clone(),
            Given::Clear => None,
            Given::Value(chosen) => match &chosen.choice {
                Ok(choice) => Some(choice.clone()),
                Err(_) if old.as_ref().is_some_and(|old| old.as_str() == chosen.text) => old.clone(),
                Err(detail) => {
                    violations.push(Violation::new(field, detail));
                    None
                }
            },
        };
        let fields = TicketFields {
            customer: self.customer.unwrap_or(old.customer),
            ticket_type: choose("ticketType", &self.ticket_type, &old.ticket_type),
            status: choose("status", &self.status, &old.status),
            priority: choose("ticketPriority", &self.priority, &old.priority),
            email: merge(&self.email, &old.email),
            subject: self.subject.as_ref().unwrap_or(&old.subject).clone(),
            content: merge(&self.content, &old.content),
            owner: choose("owner", &self.owner, &old.owner),
            users: merge(&self.users, &old.users),
            departments: merge(&self.departments, &old.departments),
            suppliers: merge(&self.suppliers, &old.suppliers),
            followup: merge(&self.followup, &old.followup),
            action_required: merge(&self.action_required, &old.action_required),
        };
        if !violations.is_empty() {
            return Err(Error::InvalidFields(violations));
        }
        if fields == *old {
            return Ok(None);
        }
        let updated = now.after(ticket.updated);
        Ok(Some(Ticket { fields, updated, version: ticket.version.next(), ..ticket.clone() }))
    }
}

/// Whether a body's value of an assigned field equals the ticket's. Times may be in any accepted form.
fn same(text: &str, actual: &str) -> bool {
    match text.parse::<Timestamp>() {
        Ok(time) => time.to_string() == actual,
        Err(_) => text == actual,
    }
}

/// Takes a required field, which can be changed but not cleared.
fn kept<T>(form: &mut Form, field: &'static str, take: impl FnOnce(&mut Form) -> Given<T>) -> Option<T> {
    match take(form) {
        Given::Value(value) => Some(value),
        Given::Nothing => None,
        Given::Clear => {
            form.refuse(field, "is required; it cannot be cleared");
            None
        }
    }
}

fn chosen(form: &mut Form, field: &'static str, preset: &Preset) -> Given<Chosen> {
    form.text(field, |text| {
        Ok::<_, String>(Chosen {
            text: text.to_owned(),
            choice: preset.choose(text).map_err(|error| error.to_string()),
        })
    })
}

fn merge<T: Clone>(given: &Given<T>, old: &Option<T>) -> Option<T> {
    match given {
        Given::Nothing => old.clone(),
        Given::Clear => None,
        Given::Value(value) => Some(value.clone()),
    }
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
        let form = Form::parse(body.to_string().as_bytes()).unwrap();
        Ticket::new(TicketId::FIRST, TicketFields::draft(form, &presets()).unwrap(), time(1000))
    }

    fn change(body: &Value) -> Result<TicketChange> {
        TicketChange::parse(Form::parse(body.to_string().as_bytes()).unwrap(), &presets())
    }

    fn violations<T: std::fmt::Debug>(result: Result<T>) -> Vec<String> {
        match result {
            Err(Error::InvalidFields(violations)) => violations.into_iter().map(|v| v.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_fetched_can_be_sent_back_and_changes_nothing() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a", "owner": "grace"}));
        let body = serde_json::to_value(&ticket).unwrap();
        assert_eq!(change(&body).unwrap().apply(&ticket, time(2000)).unwrap(), None);
    }

    #[test]
    fn assigned_fields_that_differ_are_refused_all_at_once() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a"}));
        let body = json!({"id": "2", "createdDate": "2020-01-01", "updatedDate": null, "status": "done"});
        let mut fields = violations(change(&body).unwrap().apply(&ticket, time(2000)));
        fields.sort();
        assert_eq!(fields, ["createdDate", "id", "status", "updatedDate"]);
    }

    #[test]
    fn equal_times_may_be_spelled_differently() {
        let ticket = ticket(json!({"customerID": 7, "subject": "a"}));
        let body = json!({"createdDate": "1970-01-01T02:00:01+02:00", "subject": "b"});
        let changed = change(&body).unwrap().apply(&ticket, time(2000)).unwrap().unwrap();
        assert_eq!(changed.fields.subject.as_str(), "b");
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
    fn a_value_that_is_no_longer_configured_may_stay_but_not_come() {
        let presets =
            Presets::parse(&PresetLists { statuses: "new, old", ..PresetLists::default() }).unwrap();
        let ticket = ticket(json!({"customerID": 7, "subject": "a", "status": "closed"}));
        let parse =
            |body: Value| TicketChange::parse(Form::parse(body.to_string().as_bytes()).unwrap(), &presets);
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
