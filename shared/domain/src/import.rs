//! Import: parses a JSON object into a record that keeps the id and dates it had elsewhere, in an export that
//! is restored, or in another system.

use crate::error::Result;
use crate::id::{MAX_SAFE_INTEGER, TicketId, Version};
use crate::input::TicketInput;
use crate::json_object::JsonObject;
use crate::preset::Presets;
use crate::ticket::{Record, Ticket, Tombstone};
use crate::time::Timestamp;

/// The highest id that an imported record may have. It leaves a million million ids for new tickets.
pub const HIGHEST_ID: u64 = MAX_SAFE_INTEGER - 1_000_000_000_000;

impl Record {
    /// The record as it was elsewhere: a ticket, or a tombstone if it has a `deletedDate`. Absent fields get
    /// no defaults, except `updatedDate`: it defaults to the `deletedDate`, or else to the `createdDate`.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation at once. Dates may not lie after `now`.
    pub fn imported(mut object: JsonObject, presets: &Presets, now: Timestamp) -> Result<Self> {
        for field in ["id", "createdDate"] {
            object.require(field);
        }
        let id = object.text("id", importable).value();
        let created = object.text("createdDate", |text| past(text, now)).value();
        let updated = object.text("updatedDate", |text| past(text, now)).value();
        let deleted = object.text("deletedDate", |text| past(text, now)).value();
        if object.has("movedDate") {
            let _ = object.raw_text("movedDate");
            object
                .refuse("movedDate", "says that a ticket has left this customer; export the tickets of all");
        }
        let updated = updated.or(deleted).or(created);
        if let (Some(created), Some(updated)) = (created, updated)
            && updated < created
        {
            object.refuse("updatedDate", "is earlier than the createdDate");
        }
        let record = match deleted {
            None => TicketInput::complete(&mut object, presets).and_then(|fields| {
                let (created, updated) = (created?, updated?);
                Some(Self::Live(Ticket { id: id?, fields, created, updated, version: Version::FIRST }))
            }),
            Some(deleted) => {
                if updated != Some(deleted) {
                    object.refuse("deletedDate", "is not the updatedDate: nothing changes after a deletion");
                }
                TicketInput::deleted(&mut object).and_then(|customer| {
                    let (id, created, version) = (id?, created?, Version::FIRST.next());
                    let updated = deleted;
                    Some(Self::Deleted(Tombstone { id, customer, created, updated, deleted, version }))
                })
            }
        };
        object.finish(record)
    }
}

fn importable(text: &str) -> Result<TicketId, String> {
    let id: TicketId = text.parse().map_err(|error: crate::id::InvalidId| error.to_string())?;
    if id.get() > HIGHEST_ID { Err(format!("must be at most {HIGHEST_ID}")) } else { Ok(id) }
}

/// Parses a time from 1970 to `now`. The start is bounded because lists of changes read month by month.
fn past(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let time: Timestamp = text.parse().map_err(|error: crate::time::InvalidTime| error.to_string())?;
    match time {
        time if time > now => Err(format!("lies in the future: it is {now}")),
        time if time.year() < 1970 => Err("lies before 1970".into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::preset::PresetLists;

    fn imported(body: &str) -> Result<Record, Vec<(String, String)>> {
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        Record::imported(JsonObject::parse(body.as_bytes()).unwrap(), &presets, now).map_err(|error| {
            match error {
                Error::InvalidFields(violations) => {
                    violations.into_iter().map(|v| (v.field, v.detail)).collect()
                }
                other => panic!("{other:?}"),
            }
        })
    }

    #[test]
    fn a_record_keeps_its_id_and_its_dates() {
        for body in [
            r#"{"id":"7","customerID":1,"subject":"s","createdDate":"2020-01-01T00:00:00.000Z","updatedDate":"2021-01-01T00:00:00.000Z"}"#,
            r#"{"id":"7","customerID":1,"createdDate":"2020-01-01T00:00:00.000Z","updatedDate":"2021-01-01T00:00:00.000Z","deletedDate":"2021-01-01T00:00:00.000Z"}"#,
        ] {
            assert_eq!(serde_json::to_string(&imported(body).unwrap()).unwrap(), body);
        }
    }

    #[test]
    fn every_violation_is_named_at_once() {
        let bad = |body: &str| -> Vec<String> {
            let mut fields: Vec<_> =
                imported(body).unwrap_err().into_iter().map(|(field, _)| field).collect();
            fields.sort();
            fields
        };
        assert_eq!(bad("{}"), ["createdDate", "customerID", "id", "subject"]);
        assert_eq!(
            bad(
                r#"{"id":"0","customerID":1,"subject":"s","status":"done","createdDate":"2027-01-01","updatedDate":"1969-12-31"}"#
            ),
            ["createdDate", "id", "status", "updatedDate"]
        );
        assert_eq!(
            bad(
                r#"{"id":"1","customerID":1,"subject":"s","createdDate":"2020-01-02","deletedDate":"2020-01-03"}"#
            ),
            ["subject"]
        );
        assert_eq!(
            bad(
                r#"{"id":"1","customerID":1,"subject":"s","createdDate":"2020-01-02","updatedDate":"2020-01-01"}"#
            ),
            ["updatedDate"]
        );
        assert_eq!(
            bad(
                r#"{"id":"1","customerID":1,"subject":"s","createdDate":"2020-01-01","movedDate":"2020-01-02"}"#
            ),
            ["movedDate"]
        );
        let highest =
            format!(r#"{{"id":"{}","customerID":1,"subject":"s","createdDate":"2020-01-01"}}"#, HIGHEST_ID);
        assert!(imported(&highest).is_ok());
        assert_eq!(bad(&highest.replace(&HIGHEST_ID.to_string(), &(HIGHEST_ID + 1).to_string())), ["id"]);
    }

    #[test]
    fn ids_are_left_for_a_million_million_new_tickets() {
        assert_eq!(MAX_SAFE_INTEGER - HIGHEST_ID, 1_000_000_000_000);
    }

    #[test]
    fn a_date_lies_from_1970_to_now() {
        let created = |text: &str| {
            imported(&format!(r#"{{"id":"1","customerID":1,"subject":"s","createdDate":"{text}"}}"#))
                .map(drop)
        };
        assert!(created("2026-11-24T00:00:00Z").is_ok() && created("1970-01-01").is_ok());
        let refused = |text: &str| created(text).unwrap_err().swap_remove(0);
        let (field, detail) = refused("2026-11-24T00:00:00.001Z");
        assert_eq!(field, "createdDate");
        assert!(detail.starts_with("lies in the future"), "{detail}");
        assert_eq!(refused("1969-12-31T23:59:59.999Z").1, "lies before 1970");
    }

    #[test]
    fn a_ticket_that_never_changed_was_last_changed_when_it_was_created() {
        let body = r#"{"id":"1","customerID":1,"subject":"s","createdDate":"2020-01-02"}"#;
        let Record::Live(ticket) = imported(body).unwrap() else { panic!() };
        assert_eq!((ticket.updated, ticket.version), (ticket.created, Version::FIRST));
        let same = body.replace('}', r#","updatedDate":"2020-01-02"}"#);
        assert_eq!(imported(&same).unwrap(), Record::Live(ticket));
    }

    #[test]
    fn a_deletion_is_the_last_change_and_leaves_no_field() {
        let deleted = |members: &str| {
            let stamps = r#""id":"1","customerID":1,"createdDate":"2020-01-02","deletedDate":"2020-01-03""#;
            imported(&format!("{{{stamps}{members}}}"))
        };
        let Record::Deleted(tombstone) = deleted("").unwrap() else { panic!() };
        assert_eq!((tombstone.updated, tombstone.version), (tombstone.deleted, Version::FIRST.next()));
        for (members, field) in [
            (r#","updatedDate":"2020-01-02""#, "deletedDate"),
            (r#","updatedDate":"2020-01-04""#, "deletedDate"),
            (r#","status":"open""#, "status"),
            (r#","users":"u""#, "users"),
        ] {
            assert_eq!(deleted(members).unwrap_err()[0].0, field, "{members}");
        }
        assert!(deleted(r#","owner":null,"updatedDate":"2020-01-03""#).is_ok(), "null is no value");
    }
}
