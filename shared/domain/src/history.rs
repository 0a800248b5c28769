//! The history of a ticket: one entry for each version.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::id::Version;
use crate::key::KeyId;
use crate::ticket::{Record, TicketFields};
use crate::time::Timestamp;

/// What a version did to the ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Created,
    Updated,
    Deleted,
}

/// Who made one version of a ticket, when, and what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HistoryEntry {
    /// The version: 1 when the ticket was created, one more with every change.
    pub version: Version,
    /// The `updatedDate` of this version.
    pub date: Timestamp,
    /// What it did.
    pub change: ChangeKind,
    /// The id of the key that did it.
    pub by: KeyId,
    /// The fields that changed, with their values after the change; null where a field was cleared, and once the ticket is deleted.
    pub fields: Map<String, Value>,
}

impl HistoryEntry {
    /// The entry for the change from `before` to `after` that `by` made. `None` if `after` is a departure, or
    /// has the same version as `before`.
    pub fn of(before: Option<&Record>, after: &Record, by: KeyId) -> Result<Option<Self>> {
        let before = match before {
            Some(Record::Live(ticket)) => Some(ticket),
            Some(Record::Deleted(_) | Record::Departed(_)) | None => None,
        };
        let (version, date, change, fields) = match after {
            Record::Live(ticket) => {
                let change = if before.is_some() { ChangeKind::Updated } else { ChangeKind::Created };
                let fields = changed(before.map(|ticket| &ticket.fields), &ticket.fields)?;
                (ticket.version, ticket.updated, change, fields)
            }
            Record::Deleted(tombstone) => {
                (tombstone.version, tombstone.updated, ChangeKind::Deleted, Map::new())
            }
            Record::Departed(_) => return Ok(None),
        };
        let is_new = before.is_none_or(|ticket| ticket.version != version);
        Ok(is_new.then_some(Self { version, date, change, by, fields }))
    }

    /// The entry as it is shown after the ticket was deleted: field names stay, values become null.
    #[must_use]
    pub fn without_values(mut self) -> Self {
        self.fields.values_mut().for_each(|value| *value = Value::Null);
        self
    }
}

/// The fields that differ, with their values in `after`; null for those that only `before` has.
fn changed(before: Option<&TicketFields>, after: &TicketFields) -> Result<Map<String, Value>> {
    let mut before = before.map(members).transpose()?.unwrap_or_default();
    let mut changed = members(after)?;
    changed.retain(|name, value| before.remove(name).as_ref() != Some(value));
    changed.extend(before.into_iter().map(|(name, _)| (name, Value::Null)));
    Ok(changed)
}

fn members(fields: &TicketFields) -> Result<Map<String, Value>> {
    match serde_json::to_value(fields).map_err(Error::internal)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::internal("a ticket's fields are no JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{JsonObject, PresetLists, Presets, Ticket, TicketId, TicketInput};

    fn presets() -> Presets {
        Presets::parse(&PresetLists::default()).unwrap()
    }

    fn object(body: Value) -> JsonObject {
        JsonObject::parse(body.to_string().as_bytes()).unwrap()
    }

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn ticket() -> Ticket {
        let fields = object(json!({"customerID": 42, "subject": "s", "owner": "ada", "users": "u"}));
        Ticket::new(TicketId::FIRST, TicketInput::create(fields, &presets()).unwrap(), time(1000))
    }

    fn changed_by(body: Value, before: &Ticket) -> Ticket {
        TicketInput::change(object(body), &presets()).unwrap().apply(before, time(2000)).unwrap().unwrap()
    }

    fn entry(before: Option<Record>, after: Record) -> Option<HistoryEntry> {
        HistoryEntry::of(before.as_ref(), &after, "ada".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_creation_has_every_field_that_is_set_presets_included() {
        let entry = entry(None, Record::Live(ticket())).unwrap();
        assert_eq!(
            serde_json::to_value(&entry).unwrap(),
            json!({
                "version": 1, "date": "1970-01-01T00:00:01.000Z", "change": "created", "by": "ada",
                "fields": {"customerID": 42, "subject": "s", "owner": "ada", "users": "u", "status": "open",
                    "ticketPriority": "normal"},
            })
        );
    }

    #[test]
    fn an_update_has_what_changed_and_null_for_what_was_cleared() {
        let (before, body) =
            (ticket(), json!({"owner": "grace", "users": null, "subject": "s", "departments": "d"}));
        let after = changed_by(body, &before);
        let entry = entry(Some(Record::Live(before)), Record::Live(after)).unwrap();
        assert_eq!((entry.version.get(), entry.change), (2, ChangeKind::Updated));
        assert_eq!(Value::Object(entry.fields), json!({"owner": "grace", "users": null, "departments": "d"}));
    }

    #[test]
    fn a_deletion_has_no_fields_and_removes_the_values_from_earlier_entries() {
        let before = ticket();
        let after = Record::Deleted(before.delete(time(3000)));
        let deletion = entry(Some(Record::Live(before.clone())), after).unwrap();
        assert_eq!((deletion.version.get(), deletion.change), (2, ChangeKind::Deleted));
        assert_eq!((deletion.date, deletion.fields.len()), (time(3000), 0));
        let shown = entry(None, Record::Live(before)).unwrap().without_values();
        assert_eq!(shown.fields.len(), 6);
        assert!(shown.fields.values().all(Value::is_null));
    }

    #[test]
    fn the_same_version_again_makes_no_entry() {
        assert_eq!(entry(Some(Record::Live(ticket())), Record::Live(ticket())), None);
    }
}
