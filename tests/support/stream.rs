//! Delivers the stream of the model's tickets' table to the function that records it, as Lambda does on a bad
//! day. A batch has several tickets' records, each ticket's in order. Some batches are delivered twice, some
//! are cut off and delivered again. Some records are given up, and replayed by hand much later.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use record_changes::Event;
use serde_json::{Value, json};
use tickets_repository::{DynamoDb, History, schema};

use crate::model::Model;

/// How the delivery is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Not broken.
    Sound,
    /// Records that fail are not delivered again.
    FailuresIgnored,
}

/// The deliveries of a stream, done and pending.
pub struct Stream {
    model: Model,
    history: History,
    rng: Rng,
    delivery: Delivery,
    /// Records to be delivered, in the order of the stream.
    pending: VecDeque<Value>,
    delivered: Vec<Value>,
    /// Records that were given up.
    queue: Vec<Value>,
}

/// The key of a record's item.
fn key(record: &Value) -> &Value {
    &record["dynamodb"]["Keys"]
}

impl Stream {
    /// Delivers the model's stream from now on.
    pub fn start(model: &Model, rng: Rng, delivery: Delivery) -> Self {
        model.keep_stream();
        let history = History::new(DynamoDb::new(&model.sdk_config()), schema::HISTORY);
        let (pending, delivered, queue) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { model: model.clone(), history, rng, delivery, pending, delivered, queue }
    }

    /// Delivers everything written so far.
    pub async fn pass(&mut self) {
        self.pending.extend(self.model.take_stream());
        while !self.pending.is_empty() {
            let mut batch = self.batch();
            if self.rng.u32(..20) == 0 {
                self.queue.append(&mut batch);
                continue;
            }
            let failed = self.deliver(&batch).await;
            let failed = failed.filter(|_| self.delivery == Delivery::Sound);
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
        let event: Event = serde_json::from_value(json!({"Records": batch})).expect("a batch");
        let answer = record_changes::answer(&self.history, event);
        let patience = if self.rng.u32(..8) == 0 {
            self.rng.u64(1..40)
        } else {
            Duration::from_secs(60).as_millis() as u64
        };
        let Ok(outcome) = tokio::time::timeout(Duration::from_millis(patience), answer).await else {
            return (!batch.is_empty()).then_some(0);
        };
        let failed = &outcome.batch_item_failures.first()?.item_identifier;
        batch.iter().position(|record| record["dynamodb"]["SequenceNumber"] == **failed)
    }
}
