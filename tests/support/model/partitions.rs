//! Limits the units a second on partitions of the table and of each index.

use std::collections::HashMap;

use serde_json::Value;
use tickets_repository::schema::INDEXES;
use tokio::time::Instant;

use super::Item;

/// Units a second for one partition key (AWS: *Best practices for designing and using partition keys
/// effectively*).
const WRITES: f64 = 1000.0;
const READS: f64 = 3000.0;

/// The units that a partition has left. It refills within a second, and one call may overdraw it.
struct Bucket {
    left: f64,
    since: Instant,
}

/// The partitions used so far.
#[derive(Default)]
pub(super) struct Partitions {
    writes: HashMap<(&'static str, String), Bucket>,
    reads: HashMap<(&'static str, String), Bucket>,
}

type Used = (&'static str, String);

fn bucket(of: &mut HashMap<Used, Bucket>, used: Used, rate: f64) -> &mut Bucket {
    let now = Instant::now();
    let bucket = of.entry(used).or_insert(Bucket { left: rate, since: now });
    bucket.left = (bucket.left + rate * (now - bucket.since).as_secs_f64()).min(rate);
    bucket.since = now;
    bucket
}

/// The partitions of the table and its indexes that hold an item.
fn of_item(item: &Value) -> Vec<Used> {
    let mut used = vec![("", item["bucket"].to_string())];
    for index in &INDEXES {
        let [(partition, _), (sort, _)] = &index.key;
        if item[*partition].is_object() && item[*sort].is_object() {
            used.push((index.name, item[*partition].to_string()));
        }
    }
    used
}

fn written(operation: &str, body: &Value) -> Vec<Used> {
    match operation {
        "PutItem" => of_item(&body["Item"]),
        "UpdateItem" | "DeleteItem" => of_item(&body["Key"]),
        "TransactWriteItems" => {
            let calls = body["TransactItems"].as_array().into_iter().flatten();
            calls
                .flat_map(|call| {
                    if call["Put"].is_object() {
                        of_item(&call["Put"]["Item"])
                    } else {
                        of_item(&call["Update"]["Key"])
                    }
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

fn read(operation: &str, body: &Value) -> Option<Used> {
    match operation {
        "GetItem" => Some(("", body["Key"]["bucket"].to_string())),
        "Query" if body["IndexName"].is_null() => {
            Some(("", body["ExpressionAttributeValues"][":bucket"].to_string()))
        }
        _ => None,
    }
}

impl Partitions {
    /// Whether every partition that the call needs has units left.
    pub(super) fn admit(&mut self, operation: &str, body: &Value) -> bool {
        written(operation, body).into_iter().all(|used| bucket(&mut self.writes, used, WRITES).left > 0.0)
            && read(operation, body).is_none_or(|used| bucket(&mut self.reads, used, READS).left > 0.0)
    }

    /// Takes the units that a call has consumed.
    pub(super) fn consume(&mut self, operation: &str, body: &Value, consumed: &Value) {
        let consumed = consumed.as_array().and_then(|tables| tables.first()).unwrap_or(consumed);
        let units = |of: &Value| of["CapacityUnits"].as_f64().unwrap_or_default();
        let used = written(operation, body);
        // A transaction's units are divided evenly, which is close enough.
        let share = used.iter().filter(|(index, _)| index.is_empty()).count().max(1) as f64;
        for (index, partition) in used {
            let taken = match index {
                "" => units(&consumed["Table"]) / share,
                index => units(&consumed["GlobalSecondaryIndexes"][index]),
            };
            bucket(&mut self.writes, (index, partition), WRITES).left -= taken;
        }
        if let Some(used) = read(operation, body) {
            bucket(&mut self.reads, used, READS).left -= units(consumed);
        }
    }
}

/// The size of an item in bytes (AWS: *DynamoDB item sizes and formats*).
pub(super) fn size(item: &Item) -> usize {
    let value = |value: &Value| match value.as_object().and_then(|value| value.iter().next()) {
        Some((kind, Value::String(text))) if kind == "N" => text.len().div_ceil(2) + 1,
        Some((_, Value::String(text))) => text.len(),
        _ => 1,
    };
    item.iter().map(|(name, attribute)| name.len() + value(attribute)).sum()
}
