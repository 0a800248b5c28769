//! The example values in the document. Problems come from the code that returns them.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tickets_domain::preset::Preset;
use tickets_domain::{Error, JsonObject, Presets, TicketId, TicketInput, Timestamp, Violation, Visibility};

use crate::{ListQuery, Problem, TicketConfiguration};

/// The ticket of the examples.
pub(super) const TICKET: &str = "43";
/// The customer of the examples.
pub(super) const CUSTOMER: u64 = 42;

/// The body of a create.
pub(super) fn create(presets: &Presets) -> Value {
    json!({
        "customerID": CUSTOMER,
        "ticketType": a_value(&presets.ticket_type, "billing"),
        "customerEmail": "ada@example.com",
        "subject": "Invoice 2026-118 is wrong",
        "ticketContent": "We were charged twice in October.",
        "ticketFollowupDate": "2026-11-30",
    })
}

/// The body of a batch. Its second row is refused for what no schema can express: no February has 30 days.
pub(super) fn batch(presets: &Presets) -> Value {
    json!([create(presets), refused_row()])
}

fn refused_row() -> Value {
    json!({"customerID": CUSTOMER, "subject": "Invoice 2026-119 is wrong", "ticketFollowupDate": "2026-02-30"})
}

/// The results of the batch.
pub(super) fn batch_results(presets: &Presets) -> Value {
    let object = JsonObject::parse(refused_row().to_string().as_bytes());
    let refused = object.and_then(|object| TicketInput::create(object, presets)).err();
    let created = json!({"status": 201, "ticket": ticket(presets), "etag": "\"1-0c5fe1a2\""});
    [created].into_iter().chain(refused.map(refused_result)).collect()
}

/// The result of a row that is refused.
fn refused_result(error: Error) -> Value {
    let problem = Problem::from(error);
    json!({"status": problem.status().as_u16(), "problem": problem.body()})
}

/// The body of a batch of changes. By its second row somebody has changed that ticket since.
pub(super) fn changes(presets: &Presets) -> Value {
    let mut first = patch(presets);
    first["id"] = TICKET.into();
    json!([first, {"id": "44", "ifMatch": "\"1-9b3d04e7\"", "ticketPriority": a_value(&presets.priority, "high")}])
}

/// The results of the batch of changes.
pub(super) fn change_results(presets: &Presets) -> Value {
    let mut changed = ticket(presets);
    for (field, value) in patch(presets).as_object().into_iter().flatten() {
        changed[field] = value.clone();
    }
    changed["updatedDate"] = "2026-11-24T08:00:00.000Z".into();
    if let Some(fields) = changed.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    json!([
        {"status": 200, "ticket": changed, "etag": "\"2-5e81c0f4\""},
        refused_result(Error::VersionMismatch),
    ])
}

/// The body of an update, which also clears a field.
pub(super) fn patch(presets: &Presets) -> Value {
    json!({
        "status": a_value(&presets.status, "assigned"),
        "owner": a_value(&presets.owner, "grace"),
        "ticketFollowupDate": null,
    })
}

/// The body of an update: all that a ticket's callers set, with a change.
pub(super) fn put(presets: &Presets) -> Value {
    let mut ticket = create(presets);
    ticket["status"] = json!(presets.new_status());
    ticket["ticketPriority"] = a_value(&presets.priority, "high").into();
    ticket
}

/// The ticket that [`create`] makes.
pub(super) fn ticket(presets: &Presets) -> Value {
    let mut ticket = create(presets);
    ticket["id"] = TICKET.into();
    ticket["status"] = json!(presets.new_status());
    ticket["ticketPriority"] = json!(presets.new_priority());
    ticket["createdDate"] = "2026-11-23T17:45:00.123Z".into();
    ticket["updatedDate"] = "2026-11-23T17:45:00.123Z".into();
    ticket
}

/// The configuration of a deployment with these presets, and defaults for everything else.
pub(super) fn configuration(presets: &Presets) -> Value {
    json!(TicketConfiguration::new(presets, Duration::from_secs(10), Duration::from_secs(90 * 24 * 60 * 60)))
}

/// Pages of the list of all tickets, by name.
pub(super) fn list(presets: &Presets) -> Value {
    let deleted = json!({
        "id": "44",
        "customerID": CUSTOMER,
        "createdDate": "2026-11-23T17:50:00.000Z",
        "updatedDate": "2026-11-24T08:00:00.000Z",
        "deletedDate": "2026-11-24T08:00:00.000Z",
    });
    json!({
        "tickets": {"summary": "Tickets", "value": [ticket(presets)]},
        "deleted": {"summary": "With `includeDeleted`", "value": [ticket(presets), deleted]},
        "none": {"summary": "No ticket, and no further page", "value": []},
    })
}

/// Pages of a customer's list, by name.
pub(super) fn customer_list(presets: &Presets) -> Value {
    let moved = json!({
        "id": "45",
        "customerID": CUSTOMER,
        "createdDate": "2026-11-23T17:55:00.000Z",
        "updatedDate": "2026-11-24T09:00:00.000Z",
        "movedDate": "2026-11-24T09:00:00.000Z",
    });
    json!({
        "tickets": {"summary": "Tickets", "value": [ticket(presets)]},
        "moved": {"summary": "With `includeDeleted`", "value": [ticket(presets), moved]},
    })
}

/// A history: the creation with [`create`], and the update with [`patch`].
pub(super) fn history(presets: &Presets) -> Value {
    let mut fields = create(presets);
    fields["status"] = json!(presets.new_status());
    fields["ticketPriority"] = json!(presets.new_priority());
    let entry = |version: u64, date: &str, change: &str, fields: Value| json!({"version": version, "date": date, "change": change, "by": "7f3kq2", "fields": fields});
    let created = entry(1, "2026-11-23T17:45:00.123Z", "created", fields);
    let updated = entry(2, "2026-11-24T08:00:00.000Z", "updated", patch(presets));
    json!({"history": {"summary": "A ticket that was assigned", "value": [created, updated]}})
}

/// Events: those of the entries of [`history`].
pub(super) fn events(presets: &Presets) -> Value {
    let history = history(presets);
    let event = |at: usize, id: &str| {
        let entry = &history["history"]["value"][at];
        let change = entry["change"].as_str().unwrap_or_default();
        let names: Vec<_> = entry["fields"].as_object().into_iter().flat_map(Map::keys).collect();
        json!({
            "id": id, "type": format!("ticket.{change}"), "ticket": TICKET, "customerID": CUSTOMER,
            "version": entry["version"], "date": entry["date"], "by": entry["by"], "fields": names,
            "status": entry["fields"]["status"], "ticketPriority": presets.new_priority(),
        })
    };
    let events =
        [event(0, "01a20982dcc90000000000002b0000000001"), event(1, "01a20c91a2820000000000002b0000000002")];
    json!({"events": {"summary": "A ticket that was created, and assigned", "value": events}})
}

/// Counts by status and owner.
pub(super) fn counts(presets: &Presets) -> Value {
    let group = |status: Value, owner: &str, count: u64| json!({"status": status, "owner": a_value(&presets.owner, owner), "count": count});
    let new = json!(presets.new_status());
    let counts =
        [group(new.clone(), "grace", 17), group(a_value(&presets.status, "assigned").into(), "ada", 9)];
    let counts = json!({"total": 26, "complete": true, "counts": counts});
    let waiting = json!({"total": 60_312, "complete": false, "counts": [{"status": new, "count": 60_312}]});
    json!({
        "counts": {"summary": "By status and owner", "value": counts},
        "many": {"summary": "By status: at least so many", "value": waiting},
    })
}

/// The problem of a query with mistakes.
pub(super) fn invalid_query(presets: &Presets) -> Option<Problem> {
    let query = vec![("limit", "5000"), ("updateSince", "2026-11-01")];
    ListQuery::parse(query, None, Visibility::All, presets, Timestamp::MAX).err()
}

/// The problem of a path with an invalid id.
pub(super) fn invalid_id() -> Option<Problem> {
    let invalid = "first".parse::<TicketId>().err();
    invalid.map(|error| Error::InvalidParameters(Violation::new("id", error).into()).into())
}

/// The problem of a body that is not JSON.
pub(super) fn malformed_body() -> Option<Problem> {
    JsonObject::parse(br#"{"subject": "Invoice 2026-118 is wrong""#).err().map(Problem::from)
}

/// The problem of a ticket with mistakes.
pub(super) fn invalid_fields(presets: &Presets) -> Option<Problem> {
    let body = br#"{"customerID": 42, "subject": "", "stauts": "open", "ticketType": "question"}"#;
    JsonObject::parse(body).and_then(|object| TicketInput::create(object, presets)).err().map(Problem::from)
}

/// A value of a preset: `preferred` if it is allowed, else the first.
fn a_value<'a>(preset: &'a Preset, preferred: &'a str) -> &'a str {
    match preset.values() {
        [] => preferred,
        [first, ..] => preset.values().iter().find(|value| *value == preferred).unwrap_or(first),
    }
}

#[cfg(test)]
mod tests {
    use tickets_domain::{PresetLists, Ticket};

    use super::*;

    fn every_presets() -> [Presets; 2] {
        let own = PresetLists {
            types: "Frage",
            statuses: "Offen, Erledigt",
            closed: "Erledigt",
            priorities: "p1, p2",
            owners: "Ada",
        };
        [PresetLists::default(), own].map(|lists| Presets::parse(&lists).unwrap())
    }

    #[test]
    fn the_example_of_a_body_makes_the_example_of_a_ticket() {
        for presets in every_presets() {
            let object = JsonObject::parse(create(&presets).to_string().as_bytes()).unwrap();
            let fields = TicketInput::create(object, &presets).unwrap();
            let created =
                Ticket::new(TICKET.parse().unwrap(), fields, "2026-11-23T17:45:00.123Z".parse().unwrap());
            assert_eq!(serde_json::to_value(created).unwrap(), ticket(&presets));
        }
    }

    #[test]
    fn the_examples_of_updates_are_valid() {
        for presets in every_presets() {
            for body in [put(&presets), patch(&presets)] {
                let object = JsonObject::parse(body.to_string().as_bytes()).unwrap();
                let change = TicketInput::change(object, &presets).unwrap();
                let object = JsonObject::parse(create(&presets).to_string().as_bytes()).unwrap();
                let fields = TicketInput::create(object, &presets).unwrap();
                // Whatever its id and dates are.
                let other = Ticket::new(TicketId::FIRST, fields, Timestamp::MAX);
                assert!(change.apply(&other, Timestamp::MAX).is_ok(), "{body}");
            }
        }
    }
}
