//! Indexes that catch up item by item, in random order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Bound;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tickets_repository::schema::{HISTORY_INDEXES, HISTORY_KEY, INDEXES, Index, KeyAttribute, TICKETS_KEY};
use tokio::time::Instant;

use super::Item;
use super::partitions::size;

/// The position of an entry in its partition: the sort key, then the base key.
type Place = (i64, String, u64);

/// An index, as far as it has caught up.
struct Known {
    index: Index,
    /// The key of its table.
    table: [KeyAttribute; 2],
    partitions: BTreeMap<String, BTreeMap<Place, Entry>>,
    /// The partition and position of each item's entry.
    places: HashMap<(String, u64), (String, Place)>,
    /// When the last change of each item becomes visible.
    last: HashMap<(String, u64), Instant>,
    /// Changes that are not visible yet, by when they will be.
    coming: BinaryHeap<Reverse<(Instant, u64)>>,
    changes: HashMap<u64, Item>,
}

/// What an index has of an item. It is written once: some tests read twenty thousand entries for every page.
struct Entry {
    json: Box<RawValue>,
    /// In bytes.
    size: usize,
    /// The last key of a page that ends here.
    last_key: Value,
}

/// The answer to a query.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    count: usize,
    scanned_count: usize,
    items: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evaluated_key: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Value>,
}

/// The indexes of the tickets' table, and of the history's.
pub(super) struct Indexes {
    known: Vec<Known>,
    count: u64,
}

fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?["N"].as_str()?.parse().ok()
}

/// An item's key in its table.
fn base(item: &Item, [(partition, _), (sort, _)]: &[KeyAttribute; 2]) -> (String, u64) {
    (item[*partition].to_string(), number(item, sort).expect("a sort key").unsigned_abs())
}

impl Indexes {
    pub(super) fn new() -> Self {
        let of = |table: [KeyAttribute; 2], indexes: &[Index]| {
            indexes.iter().cloned().map(|index| (table.clone(), index)).collect::<Vec<_>>()
        };
        let indexes = [of(TICKETS_KEY, &INDEXES), of(HISTORY_KEY, &HISTORY_INDEXES)].concat();
        let known = indexes.into_iter().map(|(table, index)| Known {
            index,
            table,
            partitions: BTreeMap::new(),
            places: HashMap::new(),
            last: HashMap::new(),
            coming: BinaryHeap::new(),
            changes: HashMap::new(),
        });
        Self { known: known.collect(), count: 0 }
    }

    /// Notes a written item. Each index shows it at its own time, which `when` draws.
    pub(super) fn learn(&mut self, item: &Item, mut when: impl FnMut() -> Instant) {
        for known in &mut self.known {
            if !known.table.iter().all(|(name, _)| item.contains_key(*name)) {
                continue;
            }
            self.count += 1;
            let last = known.last.entry(base(item, &known.table)).or_insert_with(Instant::now);
            // Changes of one item become visible in their order.
            *last = when().max(*last);
            known.coming.push(Reverse((*last, self.count)));
            known.changes.insert(self.count, item.clone());
        }
    }

    /// Answers a query of an index.
    pub(super) fn query(&mut self, body: &Value) -> String {
        let known = self.known.iter_mut().find(|known| body["IndexName"] == known.index.name);
        let known = known.expect("an index");
        known.catch_up();
        known.query(body)
    }
}

impl Known {
    fn catch_up(&mut self) {
        while let Some(Reverse((when, change))) = self.coming.peek().copied()
            && when <= Instant::now()
        {
            self.coming.pop();
            let item = self.changes.remove(&change).expect("a change");
            let base = base(&item, &self.table);
            if let Some((partition, place)) = self.places.remove(&base) {
                self.partitions.get_mut(&partition).map(|entries| entries.remove(&place));
            }
            let [(partition_key, _), (sort_key, _)] = &self.index.key;
            let (Some(partition), Some(sort)) = (item.get(*partition_key), number(&item, sort_key)) else {
                continue;
            };
            let partition = partition.to_string();
            let place = (sort, base.0.clone(), base.1);
            let [(table_partition, _), (table_sort, _)] = &self.table;
            let projected = [*table_partition, *table_sort, *partition_key, *sort_key];
            let names = projected.iter().chain(self.index.includes.iter());
            let entry: Item =
                names.filter_map(|name| Some(((*name).to_owned(), item.get(*name)?.clone()))).collect();
            let entry = Entry {
                json: to_raw_value(&entry).expect("JSON"),
                size: size(&entry),
                // It also names the partition.
                last_key: projected.iter().map(|name| ((*name).to_owned(), entry[*name].clone())).collect(),
            };
            self.places.insert(base, (partition.clone(), place.clone()));
            self.partitions.entry(partition).or_default().insert(place, entry);
        }
    }

    /// Answers a query with the condition `#a = :x`, alone or with `AND #b > :y` or
    /// `AND #b BETWEEN :y AND :z`.
    fn query(&self, body: &Value) -> String {
        let condition = body["KeyConditionExpression"].as_str().expect("a condition");
        let words: Vec<&str> = condition.split_whitespace().collect();
        let value = |name: &str| &body["ExpressionAttributeValues"][name];
        let bound =
            |name: &str| value(name)["N"].as_str().and_then(|text| text.parse().ok()).expect("a number");
        let (from, to): (i64, i64) = match words[3..] {
            [] => (i64::MIN, i64::MAX),
            ["AND", _, ">", after] => (bound(after) + 1, i64::MAX),
            ["AND", _, "BETWEEN", from, "AND", to] => (bound(from), bound(to)),
            _ => panic!("{condition} is not expected of the product"),
        };
        let empty = BTreeMap::new();
        let entries = self.partitions.get(&value(words[2]).to_string()).unwrap_or(&empty);
        let [_, (sort_key, _)] = &self.index.key;
        let place = |key: &Map<String, Value>| {
            let (bucket, id) = base(key, &self.table);
            (number(key, sort_key).expect("a sort key"), bucket, id)
        };
        let first = (from, String::new(), 0);
        let start = match body["ExclusiveStartKey"].as_object() {
            Some(key) => Bound::Excluded(place(key).max(first)),
            None => Bound::Included(first),
        };
        let limit = body["Limit"].as_u64().unwrap_or(u64::MAX);
        let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
        if from <= to {
            for (at, entry) in entries.range((start, Bound::Unbounded)) {
                if at.0 > to {
                    break;
                }
                bytes += entry.size;
                items.push(&*entry.json);
                // At its limit a query names a last key, even if nothing follows.
                if items.len() as u64 >= limit || bytes >= 1024 * 1024 {
                    last = Some(&entry.last_key);
                    break;
                }
            }
        }
        let consumed_capacity = body["ReturnConsumedCapacity"].is_string().then(|| {
            let units = (bytes as f64 / 4096.0).ceil().max(1.0) / 2.0;
            json!({"TableName": body["TableName"], "CapacityUnits": units})
        });
        let answer = Answer {
            count: items.len(),
            scanned_count: items.len(),
            items,
            last_evaluated_key: last,
            consumed_capacity,
        };
        serde_json::to_string(&answer).expect("JSON")
    }
}
