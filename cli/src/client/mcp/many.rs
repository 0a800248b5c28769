//! The tools for many tickets: get some by their ids, change some, count them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tickets_domain::count::TicketCounts;
use tickets_domain::filter::MAX_IDS;
use tickets_domain::json_object::MOST_ROWS;
use tickets_domain::{ListEnd, TicketId, Violation};
use tickets_http::list::Parameter;

use super::ToolError;
use super::arguments::Arguments;
use super::budget;
use super::tool::{change, cut, parsed, query};
use crate::client::Client;

/// The ids of the tickets.
pub(super) const IDS: &str = "ids";
/// The most characters shown of a refusal, which may be one of many.
const SHOWN: usize = 250;

// A hundred of each: one request.
const _: () = assert!(MAX_IDS == MOST_ROWS);

/// The schema of [`IDS`].
pub(super) fn ids_schema() -> Value {
    json!({
        "type": "array",
        "items": {"type": "string", "pattern": "^[1-9][0-9]{0,15}$"},
        "minItems": 1,
        "maxItems": MAX_IDS,
        "description": "The tickets' ids",
    })
}

/// Takes the ids, each once and ascending.
fn ids(arguments: &mut Arguments) -> BTreeSet<TicketId> {
    let mut ids = BTreeSet::new();
    for id in arguments.names(IDS) {
        match id.parse() {
            Ok(id) => drop(ids.insert(id)),
            Err(error) => arguments.refuse(IDS, format!("{id}: {error}")),
        }
    }
    if !(1..=MAX_IDS).contains(&ids.len()) {
        arguments.refuse(IDS, format!("must be 1 to {MAX_IDS} ids"));
    }
    ids
}

/// Gets tickets by their ids.
pub(super) async fn get(client: &Client, arguments: Map<String, Value>) -> Result<Value, ToolError> {
    let given = arguments.clone();
    let mut arguments = Arguments::new(arguments);
    let mut ids = ids(&mut arguments);
    arguments.finish(&[IDS])?;
    let asked = ids.iter().map(TicketId::to_string).collect::<Vec<_>>().join(",");
    let page = client.list("/tickets/", &[(Parameter::Id.name(), asked)]).await?;
    let tickets: Result<Vec<_>, _> = page.rows.iter().map(|row| parsed(&row.json).map(cut)).collect();
    // The arguments are as long as the ids that are absent and those of the next call together.
    let (tickets, is_cut) = budget::fitting(tickets?, &given);
    let shown: BTreeSet<u64> = page.rows.iter().take(tickets.len()).map(|row| row.id).collect();
    let reached = match page.end {
        ListEnd::More { after, .. } => Some(after),
        ListEnd::Complete => None,
    };
    let reached = if is_cut { shown.last().copied() } else { reached };
    let later = reached.map(|reached| ids.extract_if(.., |id| id.get() > reached).collect::<Vec<_>>());
    let absent: Vec<_> = ids.into_iter().filter(|id| !shown.contains(&id.get())).collect();
    let mut answer = json!({"tickets": tickets, "absent": absent});
    if let Some(later) = later.filter(|later| !later.is_empty()) {
        answer["next"] = json!({IDS: later});
    }
    Ok(answer)
}

/// Makes the same change of some tickets.
pub(super) async fn update(client: &Client, arguments: Map<String, Value>) -> Result<Value, ToolError> {
    let mut arguments = Arguments::new(arguments);
    let ids = ids(&mut arguments);
    let change = change(arguments)?;
    if change.is_empty() {
        return Err(ToolError::Arguments(vec![Violation::new(IDS, "come with nothing to change")]));
    }
    let row = |id: &TicketId| {
        let mut row = change.clone();
        row.insert("id".into(), id.to_string().into());
        Value::from(row).to_string()
    };
    let results = client.update_all(&ids.iter().map(row).collect::<Vec<_>>()).await?;
    let (mut updated, mut refused) = (Vec::new(), BTreeMap::<String, Vec<TicketId>>::new());
    for (id, result) in ids.into_iter().zip(results) {
        match result {
            Ok(tag) => updated.push(json!({"id": id, "version": tag.map(|tag| tag.to_string())})),
            Err(error) => {
                let why = error.to_string().chars().take(SHOWN).collect();
                refused.entry(why).or_default().push(id);
            }
        }
    }
    let refused: Vec<_> = refused.into_iter().map(|(why, ids)| json!({"why": why, IDS: ids})).collect();
    Ok(json!({"updated": updated, "refused": refused}))
}

/// Counts tickets. The API checks the filters.
pub(super) async fn count(client: &Client, arguments: Map<String, Value>) -> Result<Value, ToolError> {
    let mut arguments = Arguments::new(arguments);
    let query = query(&mut arguments);
    arguments.rest()?;
    let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let (_, TicketCounts { total, complete, counts }) = client.counts(&query).await?;
    let groups = counts.len();
    let counts = counts.into_iter().map(|group| cut(json!(group))).collect();
    let (counts, is_cut) = budget::fitting(counts, &Map::new());
    let mut answer = json!({"total": total, "complete": complete, "counts": counts});
    if is_cut {
        let left = groups - answer["counts"].as_array().map_or(0, Vec::len);
        answer["note"] = format!("{left} smaller groups are left out").into();
    }
    Ok(answer)
}
