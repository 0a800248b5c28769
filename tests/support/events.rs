//! Checks what readers of the feed of events have read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::stream::Histories;

/// The ticket and the version of an event.
pub fn version(event: &Value) -> (u64, u64) {
    let ticket = event["ticket"].as_str().and_then(|id| id.parse().ok()).expect("a ticket");
    (ticket, event["version"].as_u64().expect("a version"))
}

/// Checks that these are events of every version of every ticket, as the histories have them: each once, in the order
/// of their ids. A ticket's versions come in order, except for those that the stream gave up: these come late.
pub fn exact(events: &[Value], histories: &Histories, given_up: &BTreeSet<(u64, u64)>) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for event in events {
        if found.insert(version(event), event).is_some() {
            return Err(format!("{event} comes twice"));
        }
    }
    if let Some(pair) = events.windows(2).find(|pair| pair[0]["id"].as_str() >= pair[1]["id"].as_str()) {
        return Err(format!("{} comes before {}", pair[0], pair[1]));
    }
    for (ticket, entries) in histories {
        for entry in entries {
            let key = (*ticket, entry["version"].as_u64().expect("a version"));
            let event = found.remove(&key).ok_or(format!("no event of {key:?}"))?;
            let names: Vec<_> = entry["fields"].as_object().expect("fields").keys().collect();
            let kind = format!("ticket.{}", entry["change"].as_str().expect("a change"));
            let same = event["date"] == entry["date"] && event["by"] == entry["by"];
            if !same || event["type"] != kind || event["fields"] != json!(names) {
                return Err(format!("{event} is not of {entry}"));
            }
        }
    }
    if let Some(foreign) = found.values().next() {
        return Err(format!("{foreign} is of no version"));
    }
    let mut last = BTreeMap::new();
    for key in events.iter().map(version).filter(|key| !given_up.contains(key)) {
        if last.insert(key.0, key.1).is_some_and(|last| last > key.1) {
            return Err(format!("{key:?} comes after a later version"));
        }
    }
    Ok(())
}

/// The events of all these that a key restricted to this customer sees: the ticket is that customer's, or was until
/// that change.
pub fn of_customer(events: &[Value], customer: u64) -> BTreeSet<(u64, u64)> {
    let customers: BTreeMap<_, _> =
        events.iter().map(|event| (version(event), &event["customerID"])).collect();
    let is_of = |key: &(u64, u64)| customers.get(key).is_some_and(|found| **found == customer);
    let sees = |(ticket, version): &(u64, u64)| is_of(&(*ticket, *version)) || is_of(&(*ticket, version - 1));
    customers.keys().copied().filter(sees).collect()
}
