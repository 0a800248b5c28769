//! `tickets history`: shows the changes of a ticket as a timeline.

use std::collections::{BTreeMap, HashMap};
use std::io;

use clap::Args;
use console::Style;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tickets_domain::json::Members;
use tickets_domain::{ChangeKind, Clock, TicketId};
use tickets_repository::{Keys, schema};

use super::show::Zone;
use crate::client::Api;
use crate::error::CommandError;
use crate::operator::connect::open;
use crate::output::{Text, note, print_json, sanitize};

/// Characters shown of a value on the timeline; `--json` shows all.
const MOST_SHOWN: usize = 60;

/// Show what happened to a ticket: who changed what, when
#[derive(Debug, Clone, Args)]
pub struct History {
    /// The ticket's id
    id: TicketId,
    /// A JSON array, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    zone: Zone,
    #[command(flatten)]
    api: Api,
}

/// The parts of an entry that are shown.
#[derive(Debug, Deserialize)]
struct Shown {
    version: u64,
    date: String,
    change: ChangeKind,
    by: String,
    fields: Members,
}

impl History {
    pub async fn run(self) -> Result<(), CommandError> {
        let client = self.api.client()?;
        let mut entries: Vec<Box<RawValue>> = Vec::new();
        let mut shown: Vec<Shown> = Vec::new();
        let mut more = true;
        while more {
            let version_after = shown.last().map_or(0, |entry| entry.version);
            let page;
            (page, more) = client.history(self.id, version_after, None).await?;
            for entry in page {
                shown.push(serde_json::from_str(entry.get()).map_err(io::Error::from)?);
                entries.push(entry);
            }
        }
        if self.json {
            let text = serde_json::to_string(&entries).map_err(io::Error::from)?;
            return Ok(print_json(&text)?);
        }
        if shown.is_empty() {
            note("nothing is recorded yet; a change shows within a second or so");
            return Ok(());
        }
        // Without them the ids of the keys are shown.
        let notes = notes(&self.api).await.unwrap_or_default();
        for entry in &mut shown {
            if let Some(note) = notes.get(&entry.by) {
                entry.by.clone_from(note);
            }
        }
        Ok(timeline(&shown, self.zone).print_cut()?)
    }
}

/// The notes of a local server's keys by their ids. A note that two keys have names neither. The API tells no notes, so
/// those of a deployment's keys are not known here.
async fn notes(api: &Api) -> Result<HashMap<String, String>, CommandError> {
    let Some(data) = api.data() else { return Ok(HashMap::new()) };
    let opened = open(None, Some(&data.to_owned())).await?;
    if !opened.is_served() {
        return Ok(HashMap::new());
    }
    let keys = Keys::new(opened.dynamodb.clone(), schema::API_KEYS, Clock::system()).list().await?.keys;
    let mut owners: HashMap<String, Vec<String>> = HashMap::new();
    for key in keys {
        owners.entry(key.note.unwrap_or_default()).or_default().push(key.id.to_string());
    }
    let named = owners.into_iter().filter(|(note, ids)| !note.is_empty() && ids.len() == 1);
    Ok(named.flat_map(|(note, ids)| ids.into_iter().map(move |id| (id, note.clone()))).collect())
}

/// The timeline: each entry, with the changed fields below it.
fn timeline(entries: &[Shown], zone: Zone) -> Text {
    // After a deletion no entry has values any more.
    let is_deleted = entries.last().is_some_and(|last| last.change == ChangeKind::Deleted);
    let mut text = Text::default();
    // The fields' values before an entry, as far as earlier entries tell.
    let mut before: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut expected = 1;
    let mut is_known = true;
    for entry in entries {
        if entry.version != expected {
            (before, is_known) = (BTreeMap::new(), false);
        }
        expected = entry.version + 1;
        let change = match entry.change {
            ChangeKind::Created => (Style::new().green(), "created"),
            ChangeKind::Updated => (Style::new().yellow(), "updated"),
            ChangeKind::Deleted => (Style::new().red(), "deleted"),
        };
        if entry.version != entries[0].version {
            text.push("\n");
        }
        let (date, by) = (zone.time_in_zone(&entry.date), sanitize(&entry.by));
        text =
            text.and(format!("{}  ", sanitize(&date))).styled(change.0, change.1).and(format!("  by {by}"));
        if is_deleted {
            let names: Vec<_> = entry.fields.0.keys().map(|name| sanitize(name)).collect();
            if !names.is_empty() {
                text.push(format!("\n    {}", names.join(", ")));
            }
            continue;
        }
        for (name, after) in &entry.fields.0 {
            let from = match before.insert(name, after) {
                _ if entry.change == ChangeKind::Created => String::new(),
                Some(from) => format!("{} → ", value(from)),
                None if is_known => "- → ".to_owned(),
                None => "→ ".to_owned(),
            };
            let name = format!("{:<20}", sanitize(name));
            text =
                text.and("\n    ").styled(Style::new().bold(), name).and(format!("  {from}{}", value(after)));
        }
    }
    text
}

/// A value as text on one line.
fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".into(),
        Value::String(text) => sanitize(text).into_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entries(json: Value) -> Vec<Shown> {
        serde_json::from_value(json).unwrap()
    }

    fn shown(entries: &[Shown]) -> Text {
        timeline(entries, Zone::default())
    }

    fn entry(version: u64, change: &str, fields: Value) -> Value {
        json!({"version": version, "date": "2026-11-24T17:45:00.123Z", "change": change, "by": "ada", "fields": fields})
    }

    #[test]
    fn a_timeline_says_from_what_to_what() {
        console::set_colors_enabled(false);
        let entries = entries(json!([
            entry(1, "created", json!({"customerID": 42, "status": "open"})),
            entry(2, "updated", json!({"owner": "grace", "status": "assigned"})),
            entry(3, "updated", json!({"owner": null})),
        ]));
        let expected = "\
2026-11-24 17:45:00Z  created  by ada
    customerID            42
    status                open
2026-11-24 17:45:00Z  updated  by ada
    owner                 - → grace
    status                open → assigned
2026-11-24 17:45:00Z  updated  by ada
    owner                 grace → -";
        assert_eq!(shown(&entries).to_string(), expected);
    }

    #[test]
    fn what_was_before_is_not_made_up_where_the_timeline_does_not_begin_at_the_first_version() {
        console::set_colors_enabled(false);
        let entries = entries(json!([
            entry(3, "updated", json!({"customerID": 7})),
            entry(4, "updated", json!({"customerID": 8})),
            entry(6, "updated", json!({"customerID": 9})),
        ]));
        let lines: Vec<_> =
            shown(&entries).to_string().lines().skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "    customerID            → 7",
                "    customerID            7 → 8",
                "    customerID            → 9"
            ]
        );
    }

    #[test]
    fn nothing_in_a_value_reaches_the_terminal_as_a_command() {
        console::set_colors_enabled(false);
        let evil = "\u{1b}[2J\u{9b}31m\r\nsecond\u{202e}\u{7}";
        let entries = entries(json!([entry(1, "created", json!({"subject": evil, evil: "x"}))]));
        let text = shown(&entries).to_string();
        assert!(text.lines().count() == 3, "{text:?}");
        assert!(!text.chars().any(|c| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
    }

    #[test]
    fn a_long_value_is_cut_and_a_deleted_ticket_has_names_only() {
        console::set_colors_enabled(false);
        let long = entries(json!([entry(1, "created", json!({"ticketContent": "é".repeat(1000)}))]));
        assert!(shown(&long).to_string().ends_with(&format!("{}… (1000 characters)", "é".repeat(60))));
        let deleted = entries(json!([
            entry(1, "created", json!({"customerID": null, "subject": null})),
            entry(2, "deleted", json!({})),
        ]));
        let lines = shown(&deleted).to_string();
        assert_eq!(lines.lines().nth(1), Some("    customerID, subject"));
        assert_eq!(lines.lines().count(), 3);
    }
}
