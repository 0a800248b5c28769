//! Delivers the stream of the model's tickets' table to the function that records it, as Lambda does on a bad day:
//! batches over several tickets, each ticket's records in order; some delivered again, some half done and then all
//! again; some given up, and recorded by hand much later.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use record_changes::Event;
use serde_json::{Value, json};
use tickets_repository::{History, schema};

use crate::model::Model;

/// How a delivery is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is not.
    Sound,
    /// What fails is not delivered again.
    FailuresIgnored,
}

/// What is delivered, and what is to be.
pub struct Stream {
    model: Model,
    history: History,
    rng: Rng,
    delivery: Delivery,
    /// In the order of the stream.
    pending: VecDeque<Value>,
    delivered: Vec<Value>,
    /// What was given up.
    queue: Vec<Value>,
}

/// The item that a record is of.
fn key(record: &Value) -> &Value {
    &record["dynamodb"]["Keys"]
}

impl Stream {
    /// The model's stream, from now on.
    pub fn start(model: &Model, rng: Rng, delivery: Delivery) -> Self {
        model.keep_stream();
        let history = History::new(model.connection().open(), schema::HISTORY);
        let (pending, delivered, queue) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { model: model.clone(), history, rng, delivery, pending, delivered, queue }
    }

    /// Delivers what was written so far.
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

    /// Records what was given up, in any order, until it is done.
    pub async fn replay(&mut self) {
        self.pass().await;
        self.rng.shuffle(&mut self.queue);
        while let Some(record) = self.queue.pop() {
            while self.deliver(std::slice::from_ref(&record)).await.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Some of what is pending: of each item in order. And now and then something that was delivered before.
    fn batch(&mut self) -> Vec<Value> {
        let size = self.rng.usize(1..20);
        let (mut batch, mut left) = (Vec::new(), VecDeque::new());
        for record in std::mem::take(&mut self.pending) {
            // What comes after something that is left is left too.
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

    /// Delivers a batch; the first record that failed. Some batches are cut off in the middle, and nothing is heard
    /// of them.
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
