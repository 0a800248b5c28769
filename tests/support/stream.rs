//! Delivers the stream of the model's tickets' table to the function that records it, as Lambda does on a bad
//! day. A batch has several tickets' records, each ticket's in order. Some batches are delivered twice, some
//! are cut off and delivered again. Some records are given up, and replayed by hand much later. [`recorded`]
//! checks the history that comes of it, and [`events`](crate::events) the feed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use record_changes::Event;
use serde_json::{Value, json};
use tickets_domain::Clock;
use tickets_repository::{DynamoDb, History, schema};

use crate::clients::Copy;
use crate::simulation::Simulation;

/// The entries of each ticket's history.
pub type Histories = BTreeMap<u64, Vec<Value>>;

/// The deliveries of a stream, done and pending.
pub struct Stream {
    api: Simulation,
    dynamodb: DynamoDb,
    rng: Rng,
    /// Records to be delivered, in the order of the stream.
    pending: VecDeque<Value>,
    delivered: Vec<Value>,
    /// Records that were given up.
    queue: Vec<Value>,
    /// The tickets and versions of all records that were ever given up.
    pub given_up: BTreeSet<(u64, u64)>,
}

/// The history, as an instance with this clock writes it.
pub fn history(api: &Simulation, clock: Clock) -> History {
    History::new(DynamoDb::new(&api.model.sdk_config()), schema::HISTORY, clock, api.settings.clone())
}

/// The ticket and the version that a record has, if it is a version of a ticket.
fn version(record: &Value) -> Option<(u64, u64)> {
    let number = |name: &str| record["dynamodb"]["NewImage"][name]["N"].as_str()?.parse().ok();
    Some((number("id")?, number("version")?))
}

/// The key of a record's item.
fn key(record: &Value) -> &Value {
    &record["dynamodb"]["Keys"]
}

impl Stream {
    /// Delivers the API's stream from now on.
    pub fn start(api: &Simulation, rng: Rng) -> Self {
        api.model.keep_stream();
        let dynamodb = DynamoDb::new(&api.model.sdk_config());
        let (pending, delivered, queue) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { api: api.clone(), dynamodb, rng, pending, delivered, queue, given_up: BTreeSet::new() }
    }

    /// Delivers everything written so far.
    pub async fn pass(&mut self) {
        self.pending.extend(self.api.model.take_stream());
        while !self.pending.is_empty() {
            let mut batch = self.batch();
            if self.rng.u32(..20) == 0 {
                self.given_up.extend(batch.iter().filter_map(version));
                self.queue.append(&mut batch);
                continue;
            }
            let failed = self.deliver(&batch).await;
            let again = batch.split_off(failed.unwrap_or(batch.len()));
            self.delivered.append(&mut batch);
            again.into_iter().rev().for_each(|record| self.pending.push_front(record));
            tokio::time::sleep(Duration::from_millis(self.rng.u64(..300))).await;
        }
    }

    /// Delivers the records that were given up, in random order, until all are recorded.
    pub async fn replay(&mut self) {
        self.pass().await;
        self.rng.shuffle(&mut self.queue);
        while let Some(record) = self.queue.pop() {
            while self.deliver(std::slice::from_ref(&record)).await.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Takes a part of the pending records, in order for each item, and now and then adds an old one.
    fn batch(&mut self) -> Vec<Value> {
        let size = self.rng.usize(1..20);
        let (mut batch, mut left) = (Vec::new(), VecDeque::new());
        for record in std::mem::take(&mut self.pending) {
            // A record stays behind an earlier one of the same item.
            let waits = left.iter().any(|earlier| key(earlier) == key(&record));
            if batch.len() < size && !waits && self.rng.u32(..4) > 0 {
                batch.push(record);
            } else {
                left.push_back(record);
            }
        }
        self.pending = left;
        if !self.delivered.is_empty() && self.rng.u32(..3) == 0 {
            let again = self.delivered[self.rng.usize(..self.delivered.len())].clone();
            batch.insert(self.rng.usize(..=batch.len()), again);
        }
        batch
    }

    /// Delivers a batch, and returns the index of the first record that failed. Some batches are cut off in
    /// the middle, and their answer is lost.
    async fn deliver(&mut self, batch: &[Value]) -> Option<usize> {
        // Each time by an instance with a clock of its own.
        let (clock, settings) = (self.api.skewed_clock(), self.api.settings.clone());
        let history = History::new(self.dynamodb.clone(), schema::HISTORY, clock, settings);
        let answer = deliver(&history, batch);
        let patience = if self.rng.u32(..8) == 0 {
            self.rng.u64(1..40)
        } else {
            Duration::from_secs(60).as_millis() as u64
        };
        let outcome = tokio::time::timeout(Duration::from_millis(patience), answer).await;
        outcome.unwrap_or((!batch.is_empty()).then_some(0))
    }
}

/// Delivers a batch to the function, and returns the index of the first record that it could not record.
pub async fn deliver(history: &History, batch: &[Value]) -> Option<usize> {
    let event: Event = serde_json::from_value(json!({"Records": batch})).expect("a batch");
    let outcome = record_changes::answer(history, event).await;
    let failed = &outcome.batch_item_failures.first()?.item_identifier;
    batch.iter().position(|record| record["dynamodb"]["SequenceNumber"] == **failed)
}

/// Checks that every ticket's history has its versions from 1 on, once each and in order, and ends with the
/// ticket's state. Of deleted tickets it may keep only who changed which fields, and when. Returns the histories.
pub async fn recorded(api: &Simulation, table: &Copy) -> Result<Histories, String> {
    let mut histories = Histories::new();
    let client = aws_sdk_dynamodb::Client::new(&api.model.sdk_config());
    for (id, record) in table {
        let (mut entries, mut more) = (Vec::new(), Some(String::new()));
        while let Some(query) = more {
            let reply = api.get(&format!("/tickets/{id}/history/?limit=3{query}")).await;
            entries.extend(reply.body.as_array().ok_or(format!("ticket {id}: {reply:?}"))?.iter().cloned());
            let last = entries.last().map(|entry: &Value| entry["version"].clone());
            more =
                last.filter(|_| !reply.header("link").is_empty()).map(|last| format!("&versionAfter={last}"));
        }
        histories.insert(*id, entries.clone());
        let versions: Vec<_> = entries.iter().filter_map(|entry| entry["version"].as_u64()).collect();
        let last = entries.last().ok_or(format!("ticket {id} has no history"))?;
        if !versions.iter().copied().eq(1..=entries.len() as u64) || last["date"] != record["updatedDate"] {
            return Err(format!(
                "ticket {id} has the versions {versions:?}, the last {last}, and is {record}"
            ));
        }
        let mut fields = serde_json::Map::new();
        for (at, entry) in entries.iter().enumerate() {
            let is_last = at + 1 == entries.len();
            let change = match at {
                0 => "created",
                _ if is_last && !record["deletedDate"].is_null() => "deleted",
                _ => "updated",
            };
            if entry["change"] != change {
                return Err(format!("ticket {id}: {entry} is not {change}"));
            }
            for (name, value) in entry["fields"].as_object().ok_or("no fields")? {
                fields.insert(name.clone(), value.clone());
            }
        }
        if record["deletedDate"].is_null() {
            let now = api.get(&format!("/tickets/{id}")).await;
            if now.version() != entries.len() as u64 {
                return Err(format!("ticket {id} is at version {}, not {}", now.version(), entries.len()));
            }
            let mut expected = record.clone();
            expected.as_object_mut().into_iter().for_each(|record| {
                record.retain(|name, _| !["id", "createdDate", "updatedDate"].contains(&name.as_str()));
            });
            fields.retain(|_, value| !value.is_null());
            if Value::Object(fields.clone()) != expected {
                return Err(format!("ticket {id}: its history comes to {fields:?}, not {expected}"));
            }
            continue;
        }
        // The API hides all values of a deleted ticket, so look at what is stored.
        let kept = client.query().table_name(schema::HISTORY).key_condition_expression("ticket = :ticket");
        let ticket = aws_sdk_dynamodb::types::AttributeValue::N(id.to_string());
        let kept = kept.expression_attribute_values(":ticket", ticket).send().await;
        for item in kept.map_err(|error| error.to_string())?.items() {
            let version = item["version"].as_n().cloned().unwrap_or_default();
            if item.contains_key("values") && version != entries.len().to_string() {
                return Err(format!("ticket {id} is deleted, and its history has {item:?}"));
            }
        }
    }
    Ok(histories)
}
