//! A model of DynamoDB that fails as the real one may, in front of the embedded engine.
//!
//! The engine runs one call at a time, shows every write at once, and never throttles. The model is the SDK's
//! HTTP client and adds what is missing:
//! - **latencies** around published medians, with tails ([`latency`]);
//! - **partitions** of the table and of each index, limited to 1,000 write and 3,000 read units a second
//!   ([`Partitions`]); a full partition of an index refuses the write to the table;
//! - **indexes** that catch up item by item, in random order ([`Indexes`]), and eventually consistent reads;
//! - **pages** that end early, or name a last key after which nothing comes, and batches that are half done;
//! - **answers** that are errors, late, or lost before or after the effect ([`Faults`]);
//! - **callers** that die between any two calls ([`Model::mortal`]).
//!
//! A test of one fault does not wait for chance: it stops a call with a [`Hold`], and decides how it goes on.
//!
//! Everything is drawn from a seed, no socket is used, and all waiting uses Tokio's clock. On a paused clock
//! a run takes no time and can be repeated exactly.

mod hold;
mod indexes;
mod partitions;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use fastrand::Rng;
use serde_json::{Map, Value, json};
use tickets_domain::Timestamp;
use tickets_engine::{Database, Refusal};
use tickets_repository::http_client::local_config;
use tickets_repository::{DynamoDb, schema};
use tokio::sync::watch;
use tokio::time::Instant;

pub use hold::{Hold, Point};
use indexes::Indexes;
use partitions::Partitions;

/// An item as in a request: attributes with their types.
pub(crate) type Item = Map<String, Value>;

/// The faults: the probability of each per call, and their sizes.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The call is throttled and has no effect.
    pub throttle: f64,
    /// A write is refused because of another transaction.
    pub conflict: f64,
    /// 500 without an effect.
    pub error_before: f64,
    /// 500 after the effect.
    pub error_after: f64,
    /// Access is denied, as with an expired credential. The call has no effect.
    pub denied: f64,
    /// The connection is reset before the request is read.
    pub reset_before: f64,
    /// The connection is reset after the effect.
    pub reset_after: f64,
    /// The call waits before its effect, or before its answer.
    pub delay: f64,
    /// The shortest delay.
    pub shortest_delay: Duration,
    /// The longest delay.
    pub longest_delay: Duration,
    /// A mortal caller dies with this call, before or after its effect.
    pub death: f64,
    /// One call stops until the test lets it go on.
    pub hold: Option<Hold>,
    /// A batch leaves some of its keys unprocessed.
    pub unprocessed: f64,
    /// A query ends its page after a few items.
    pub short_page: f64,
    /// A query names a last key although nothing follows.
    pub needless_key: f64,
    /// The longest lag of an index or an eventually consistent read, drawn for each change.
    pub lag: Duration,
    /// Disturb only calls of this operation; `None` for all.
    pub only: Option<&'static str>,
    /// Disturb only calls that contain this text; `None` for all.
    pub mentions: Option<&'static str>,
}

impl Faults {
    /// A bad day: some of every fault.
    pub fn everything() -> Self {
        Self {
            throttle: 0.03,
            conflict: 0.02,
            error_before: 0.02,
            error_after: 0.02,
            denied: 0.0,
            reset_before: 0.02,
            reset_after: 0.03,
            delay: 0.1,
            shortest_delay: Duration::ZERO,
            longest_delay: Duration::from_millis(1400),
            death: 0.02,
            hold: None,
            unprocessed: 0.2,
            short_page: 0.2,
            needless_key: 0.3,
            lag: Duration::from_secs(4),
            only: None,
            mentions: None,
        }
    }

    /// Whether they concern this call.
    fn concern(&self, operation: &str, body: &Value) -> bool {
        self.only.is_none_or(|only| only == operation)
            && self.mentions.is_none_or(|text| body.to_string().contains(text))
    }

    /// Stops a call at this point if it is to be held. Returns whether it goes on.
    async fn pass(&self, point: Point) -> bool {
        match &self.hold {
            Some(hold) if hold.stops(point) => hold.goes_on().await,
            _ => true,
        }
    }
}

/// An answer that no DynamoDB gives: it breaks a part of the design on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Consistent reads of tickets by key return a state this old.
    StaleFetch(Duration),
    /// Tickets do not say when the id before them was reserved, so every missing id looks closed.
    ClosedIds,
    /// A void is acknowledged, but not put.
    NoVoids,
    /// A claim does not keep what the service filled in.
    ForgottenDefaults,
    /// A new ticket's time was taken before its id was reserved, and the reservation took this long.
    EarlyStamp(Duration),
    /// A departure is acknowledged, but not put.
    NoDepartures,
    /// A ticket that is fetched together with a departure is missing.
    BelievedDepartures,
    /// One shard of every bucket, and of every month of events, is empty.
    MissingShard,
    /// An entry of the history is put even if there is one already.
    RepeatedEntries,
    /// A version that is not recorded yet is not erased.
    NoErasures,
    /// A webhook's events that were not accepted are not stored: its cursor passes them.
    DroppedHolds,
    /// The events that were accepted beyond a webhook's cursor are not stored.
    DroppedAccepted,
    /// A webhook is saved, and its lease taken, whoever holds the lease.
    UncheckedLease,
    /// The time at which an entry of the history was recorded was taken this long before it was put.
    EarlyRecord(Duration),
}

/// A state of an item, and when it began.
type Image = (Instant, Option<Item>);

struct State {
    rng: Rng,
    faults: Faults,
    lie: Option<Lie>,
    /// The latest states of every item of the tickets' table, oldest first.
    images: HashMap<(String, String), Vec<Image>>,
    /// The records of the tickets' stream, if a test reads it.
    stream: Option<Vec<Value>>,
    /// The number of records in the stream so far.
    streamed: u64,
    indexes: Indexes,
    partitions: Option<Partitions>,
    /// The items of transactions in progress.
    locked: Vec<String>,
    injected: BTreeMap<&'static str, u64>,
    /// For each operation, the calls that took effect or were refused by a condition.
    calls: BTreeMap<String, u64>,
    written: f64,
}

/// The model, with the engine that it uses.
#[derive(Clone)]
pub struct Model {
    database: Database,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Model")
    }
}

/// A caller that can die. From then on its calls have no effect, and it gets no answers.
#[derive(Debug, Clone)]
pub struct Mortal {
    model: Model,
    dead: watch::Sender<bool>,
}

/// The result of a call: a status and a body, or a broken connection.
type Outcome = Result<(u16, String), ConnectorError>;

/// Published medians in milliseconds: GetItem 4, PutItem 7, UpdateItem 5, Query 7, TransactWriteItems 25
/// (sources in docs/performance.md).
fn median(operation: &str) -> f64 {
    match operation {
        "GetItem" => 4.0,
        "UpdateItem" => 5.0,
        "TransactWriteItems" => 25.0,
        _ => 7.0,
    }
}

/// A random latency around the median: log-normal, so the 99th percentile is 2.2 medians. One call in 500
/// takes ten times as long.
fn latency(operation: &str, rng: &mut Rng) -> Duration {
    // The sum of twelve draws approximates a normal distribution (Irwin and Hall).
    let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    let tail = if rng.u32(..500) == 0 { 10.0 } else { 1.0 };
    Duration::from_secs_f64(median(operation) * (normal * 0.34).exp() * tail / 1e3)
}

impl Model {
    /// A model with its tables, without faults at first.
    pub async fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::with_seed(seed),
            faults: Faults::default(),
            lie: None,
            images: HashMap::new(),
            stream: None,
            streamed: 0,
            indexes: Indexes::new(),
            partitions: None,
            locked: Vec::new(),
            injected: BTreeMap::new(),
            calls: BTreeMap::new(),
            written: 0.0,
        };
        let database = Database::memory().expect("a database");
        let model = Self { database, state: Arc::new(Mutex::new(state)) };
        let dynamodb = DynamoDb::new(&model.sdk_config());
        schema::create_tables(&dynamodb, schema::TICKETS, schema::API_KEYS).await.expect("tables");
        schema::create_history_table(&dynamodb, schema::HISTORY).await.expect("a table");
        schema::create_webhook_table(&dynamodb, schema::WEBHOOKS).await.expect("a table");
        model
    }

    /// The engine behind the model, without faults.
    pub fn engine(&self) -> &Database {
        &self.database
    }

    /// The SDK's configuration for the model.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(self.clone())
    }

    pub fn mortal(&self) -> Mortal {
        Mortal { model: self.clone(), dead: watch::Sender::new(false) }
    }

    /// Makes these faults happen from now on.
    pub fn set(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Makes the model lie like this from now on, or not at all.
    pub fn lie(&self, lie: Option<Lie>) {
        self.state().lie = lie;
    }

    /// Limits the units of each partition from now on.
    pub fn limit_partitions(&self) {
        self.state().partitions = Some(Partitions::default());
    }

    /// Sets the counter as if `id` were the last id given out, so that later tickets are in the buckets from
    /// there on.
    pub fn skip_to(&self, id: u64) {
        let item = json!({
            "bucket": {"S": "counter"}, "id": {"N": "0"}, "last": {"N": id.to_string()},
            "firstMonth": {"S": "2026-11"}, "epoch": {"S": "first"},
        });
        self.dispatch("PutItem", &json!({"TableName": schema::TICKETS, "Item": item})).expect("a counter");
    }

    /// Keeps the writes to the tickets' table from now on, for [`Model::take_stream`].
    pub fn keep_stream(&self) {
        self.state().stream.get_or_insert_default();
    }

    /// The writes to the tickets' table since the last call, as stream records in the order of their effects.
    pub fn take_stream(&self) -> Vec<Value> {
        self.state().stream.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How often each fault has happened so far.
    pub fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.state().injected.clone()
    }

    /// The number of calls of each operation, and the write units of all.
    pub fn usage(&self) -> (BTreeMap<String, u64>, f64) {
        let state = self.state();
        (state.calls.clone(), state.written)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(self, caller: Option<Mortal>, operation: String, body: Value) -> Outcome {
        let (faults, took) = {
            let mut state = self.state();
            let took = latency(&operation, &mut state.rng);
            let disturbed = state.faults.concern(&operation, &body);
            (if disturbed { state.faults.clone() } else { Faults::default() }, took)
        };
        let locks = self.lock(&operation, &body);
        let (Ok(locked) | Err(locked)) = &locks;
        let unlock =
            Unlock { model: self.clone(), locked: if locks.is_ok() { locked.clone() } else { Vec::new() } };
        tokio::time::sleep(took / 2 + self.delay(&faults)).await;
        let dies = caller.is_some() && self.happens("death", faults.death);
        let dies_before = dies && self.state().rng.bool();
        let goes_on = faults.pass(Point::Effect).await;
        if dies_before || !goes_on || caller.as_ref().is_some_and(Mortal::is_dead) {
            return die(caller).await;
        }
        let before = [
            ("throttled", faults.throttle, error("ProvisionedThroughputExceededException")),
            ("denied", faults.denied, error("AccessDeniedException")),
            ("500 before", faults.error_before, server_error()),
        ];
        for (fault, probability, answer) in before {
            if self.happens(fault, probability) {
                return Ok(answer);
            }
        }
        if locks.is_err() || operation == "PutItem" && self.happens("conflict", faults.conflict) {
            let count = body["TransactItems"].as_array().map_or(0, Vec::len);
            return Ok(conflict(count));
        }
        if self.happens("reset before", faults.reset_before) {
            return Err(reset());
        }
        let answer = self.run(&operation, body, &faults);
        drop(unlock);
        if dies || !faults.pass(Point::Answer).await {
            return die(caller).await;
        }
        tokio::time::sleep(took / 2 + self.delay(&faults)).await;
        if self.happens("500 after", faults.error_after) {
            return Ok(server_error());
        }
        if self.happens("reset after", faults.reset_after) {
            return Err(reset());
        }
        Ok(answer)
    }

    fn happens(&self, what: &'static str, probability: f64) -> bool {
        let mut state = self.state();
        let happens = probability > 0.0 && state.rng.f64() < probability;
        if happens {
            *state.injected.entry(what).or_default() += 1;
        }
        happens
    }

    fn delay(&self, faults: &Faults) -> Duration {
        if !self.happens("delay", faults.delay) {
            return Duration::ZERO;
        }
        let range = faults.longest_delay.saturating_sub(faults.shortest_delay);
        faults.shortest_delay + range.mul_f64(self.state().rng.f64())
    }

    /// Locks the items of a transaction; `Err` if one is locked. A single write only checks. This API has no
    /// transactions, but the former design had, and is measured for comparison.
    fn lock(&self, operation: &str, body: &Value) -> Result<Vec<String>, Vec<String>> {
        let mut state = self.state();
        let key = |call: &Value| {
            let item = if call["Key"].is_null() { &call["Item"] } else { &call["Key"] };
            format!("{}{}", item["bucket"], item["id"])
        };
        let wanted: Vec<String> = match operation {
            "TransactWriteItems" => {
                let calls = body["TransactItems"].as_array().into_iter().flatten();
                calls.flat_map(|call| call.as_object().into_iter().flat_map(Map::values)).map(key).collect()
            }
            "PutItem" | "UpdateItem" => {
                let busy = state.locked.contains(&key(body));
                return if busy { Err(Vec::new()) } else { Ok(Vec::new()) };
            }
            _ => return Ok(Vec::new()),
        };
        if wanted.iter().any(|key| state.locked.contains(key)) {
            return Err(Vec::new());
        }
        state.locked.extend(wanted.iter().cloned());
        Ok(wanted)
    }

    /// Dates a new ticket too early if a lie says so.
    fn stamp_early(&self, operation: &str, body: &mut Value) {
        let Some(Lie::EarlyStamp(earlier)) = self.state().lie else { return };
        let item = &mut body["Item"];
        if operation != "PutItem" || item["version"]["N"] != "1" {
            return;
        }
        let stamp = item["createdDate"]["N"].as_str().and_then(|millis| millis.parse().ok());
        let stamp =
            stamp.and_then(|millis| Timestamp::from_millis(millis).ok()).expect("a time").minus(earlier);
        let shard = item["updatedMonth"]["S"].as_str().and_then(|month| month.split_once('#'));
        let shard = shard.map(|(_, shard)| shard.to_owned()).expect("a shard");
        item["updatedMonth"] = json!({"S": format!("{}#{shard}", &stamp.to_string()[..7])});
        let stamp = json!({"N": stamp.millis().to_string()});
        (item["createdDate"], item["updatedDate"]) = (stamp.clone(), stamp);
    }

    /// Removes from a claim what the service filled in, if a lie says so.
    fn forget_defaults(&self, operation: &str, body: &mut Value) {
        if operation == "PutItem"
            && self.state().lie == Some(Lie::ForgottenDefaults)
            && let Some(item) = body["Item"].as_object_mut()
        {
            item.remove("filledIn");
        }
    }

    /// Runs a call on the engine, with the faults that affect data and not the connection.
    fn run(&self, operation: &str, mut body: Value, faults: &Faults) -> (u16, String) {
        *self.state().calls.entry(operation.to_owned()).or_default() += 1;
        if self.swallows(operation, &body) {
            return (200, "{}".into());
        }
        if let Err(full) = self.consume_before(operation, &mut body) {
            return full;
        }
        self.stamp_early(operation, &mut body);
        self.forget_defaults(operation, &mut body);
        let spoilt = self.spoil_history(operation, &mut body);
        self.spoil_webhook(operation, &mut body);
        if operation == "Query" && self.happens("short page", faults.short_page) {
            let limit = body["Limit"].as_u64().unwrap_or(100).min(self.state().rng.u64(1..5));
            body["Limit"] = json!(limit);
        }
        if operation == "Query" && body["IndexName"].is_string() {
            let mut state = self.state();
            *state.injected.entry("index read").or_default() += 1;
            let month = body["ExpressionAttributeValues"][":month"]["S"].as_str();
            if body["IndexName"] == schema::BY_RECORDED
                && state.lie == Some(Lie::MissingShard)
                && month.is_some_and(|month| month.ends_with("#3"))
            {
                return (200, json!({"Items": [], "Count": 0, "ScannedCount": 0}).to_string());
            }
            return (200, state.indexes.query(&body));
        }
        let mut left = Value::Null;
        if operation == "BatchGetItem" && self.happens("unprocessed", faults.unprocessed) {
            left = self.leave_some(&mut body);
        }
        // Always ask for the consumed capacity; it is removed again if the caller did not ask.
        let asked = body["ReturnConsumedCapacity"].is_string();
        if matches!(operation, "PutItem" | "UpdateItem" | "DeleteItem" | "TransactWriteItems") {
            body["ReturnConsumedCapacity"] = json!("INDEXES");
        }
        let result = self.dispatch(operation, &body);
        let mut answer = match result {
            Ok(answer) => answer,
            Err(_) if spoilt => return (200, "{}".into()),
            Err(refusal) => {
                // A failed condition costs as much as a write.
                self.state().written += 1.0;
                return refusal.response();
            }
        };
        self.consume_after(operation, &body, &answer["ConsumedCapacity"]);
        if !asked {
            answer.as_object_mut().map(|answer| answer.remove("ConsumedCapacity"));
        }
        self.remember(operation, &body, faults);
        match operation {
            "Query" => self.query_answer(&body, &mut answer, faults),
            "GetItem" if body["ConsistentRead"] != true => self.as_of_before(&mut answer["Item"], faults.lag),
            "BatchGetItem" => {
                self.fetch_answer(&mut answer);
                if !left.is_null() {
                    answer["UnprocessedKeys"] = left;
                }
            }
            _ => {}
        }
        (200, answer.to_string())
    }

    /// Whether a lie claims that this write is done.
    fn swallows(&self, operation: &str, body: &Value) -> bool {
        let item = &body["Item"];
        operation == "PutItem"
            && match self.state().lie {
                Some(Lie::NoVoids) => item["voidedDate"].is_object(),
                Some(Lie::NoDepartures) => {
                    item["bucket"]["S"].as_str().is_some_and(|bucket| bucket.starts_with("departures"))
                }
                _ => false,
            }
    }

    /// Breaks a write to the history if a lie says so. The write is then acknowledged, whatever its result.
    fn spoil_history(&self, operation: &str, body: &mut Value) -> bool {
        if body["TableName"] != schema::HISTORY {
            return false;
        }
        match self.state().lie {
            Some(Lie::EarlyRecord(earlier)) if operation == "PutItem" => {
                let recorded = &mut body["Item"][schema::RECORDED];
                let millis = recorded["N"].as_str().and_then(|millis| millis.parse().ok());
                let stamp = millis.and_then(|millis| Timestamp::from_millis(millis).ok()).expect("a time");
                *recorded = json!({"N": stamp.minus(earlier).millis().to_string()});
                false
            }
            Some(Lie::RepeatedEntries) if operation == "PutItem" && body["Item"]["date"].is_object() => {
                if let Some(put) = body.as_object_mut() {
                    put.remove("ConditionExpression");
                    put.remove("ExpressionAttributeNames");
                }
                true
            }
            Some(Lie::NoErasures) if operation == "UpdateItem" && body["ConditionExpression"].is_null() => {
                body["ConditionExpression"] = json!("attribute_exists(#values)");
                true
            }
            _ => false,
        }
    }

    /// Breaks how a webhook is saved if a lie says so.
    fn spoil_webhook(&self, operation: &str, body: &mut Value) {
        if body["TableName"] != schema::WEBHOOKS || operation != "UpdateItem" {
            return;
        }
        let lie = self.state().lie;
        let mut forget = |what: &str| {
            if let Some(delivery) = body.pointer_mut("/ExpressionAttributeValues/:delivery/M") {
                delivery.as_object_mut().map(|delivery| delivery.remove(what));
            }
        };
        match lie {
            Some(Lie::DroppedHolds) => forget("held"),
            Some(Lie::DroppedAccepted) => forget("accepted"),
            Some(Lie::UncheckedLease) => {
                let condition = body["ConditionExpression"].as_str().unwrap_or_default();
                body["ConditionExpression"] = json!(format!("attribute_exists(webhookId) OR ({condition})"));
            }
            _ => {}
        }
    }

    /// Refuses a call whose partition has no units left; leaves such keys of a batch unprocessed.
    fn consume_before(&self, operation: &str, body: &mut Value) -> Result<(), (u16, String)> {
        let mut state = self.state();
        let State { partitions, injected, .. } = &mut *state;
        let Some(partitions) = partitions else { return Ok(()) };
        if partitions.admit(operation, body) {
            return Ok(());
        }
        *injected.entry("partition full").or_default() += 1;
        Err(error("ProvisionedThroughputExceededException"))
    }

    fn consume_after(&self, operation: &str, body: &Value, consumed: &Value) {
        let mut state = self.state();
        if matches!(operation, "PutItem" | "UpdateItem" | "DeleteItem" | "TransactWriteItems") {
            let units = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
            state.written += match consumed.as_array() {
                Some(tables) => tables.iter().map(units).sum(),
                None => units(consumed),
            };
        }
        if let Some(partitions) = &mut state.partitions {
            partitions.consume(operation, body, consumed);
        }
    }

    fn query_answer(&self, body: &Value, answer: &mut Value, faults: &Faults) {
        let lie = self.state().lie;
        if lie == Some(Lie::MissingShard)
            && body["ExpressionAttributeValues"][":bucket"]["S"].as_str().is_some_and(|b| b.ends_with("#3"))
        {
            *answer = json!({"Items": [], "Count": 0, "ScannedCount": 0});
        }
        let items = answer["Items"].as_array_mut().into_iter().flatten();
        if lie == Some(Lie::ClosedIds) {
            items
                .for_each(|item| drop(item.as_object_mut().and_then(|item| item.remove("previousReserved"))));
        }
        let last = answer["Items"].as_array().and_then(|items| items.last()).cloned();
        if let Some(last) = last.filter(|_| answer["LastEvaluatedKey"].is_null())
            && self.happens("needless key", faults.needless_key)
        {
            let values = &body["ExpressionAttributeValues"];
            answer["LastEvaluatedKey"] = match body["TableName"].as_str() {
                Some(schema::HISTORY) => json!({"ticket": values[":ticket"], "version": last["version"]}),
                Some(schema::WEBHOOKS) => json!({"kind": values[":kind"], "webhookId": last["webhookId"]}),
                _ => json!({"bucket": last["bucket"], "id": last["id"]}),
            };
        }
    }

    fn fetch_answer(&self, answer: &mut Value) {
        let lie = self.state().lie;
        let tables = answer["Responses"].as_object_mut().into_iter().flat_map(Map::values_mut);
        for items in tables.filter_map(Value::as_array_mut) {
            match lie {
                Some(Lie::StaleFetch(lag)) => {
                    for item in items.iter_mut() {
                        self.as_of(item, Instant::now().checked_sub(lag));
                    }
                    items.retain(Value::is_object);
                }
                Some(Lie::BelievedDepartures) => {
                    let departed: Vec<Value> = items
                        .iter()
                        .filter(|item| is_departure(item))
                        .map(|item| item["id"].clone())
                        .collect();
                    items.retain(|item| is_departure(item) || !departed.contains(&item["id"]));
                }
                Some(Lie::ClosedIds) => {
                    for item in items.iter_mut().filter_map(Value::as_object_mut) {
                        item.remove("previousReserved");
                    }
                }
                _ => {}
            }
        }
    }

    /// Replaces an item by an earlier state, as an eventually consistent read may return it.
    fn as_of_before(&self, item: &mut Value, lag: Duration) {
        if !lag.is_zero() && item.is_object() {
            let ago = lag.mul_f64(self.state().rng.f64());
            self.as_of(item, Instant::now().checked_sub(ago));
        }
    }

    fn as_of(&self, item: &mut Value, then: Option<Instant>) {
        let state = self.state();
        let images = state.images.get(&base_key(item));
        let image = images.and_then(|images| images.iter().rev().find(|(since, _)| Some(*since) <= then));
        match (images, image) {
            (Some(_), Some((_, image))) => *item = image.clone().map_or(Value::Null, Value::Object),
            (Some(_), None) => *item = Value::Null,
            (None, _) => {}
        }
    }

    fn dispatch(&self, operation: &str, body: &Value) -> Result<Value, Refusal> {
        assert!(
            !matches!(operation, "Scan" | "TransactGetItems"),
            "{operation} is not expected of the product"
        );
        tickets_engine::call(&self.database, operation, body, serde_json::value::Serializer)
    }

    /// Remembers what a call has written, and when each index learns of it.
    fn remember(&self, operation: &str, body: &Value, faults: &Faults) {
        if body["TableName"] == schema::HISTORY {
            return self.remember_entry(operation, body, faults);
        }
        let puts: Vec<&Value> = match operation {
            "PutItem" if body["TableName"] == schema::TICKETS => vec![&body["Item"]],
            "TransactWriteItems" => {
                let calls = body["TransactItems"].as_array().into_iter().flatten();
                calls.map(|call| &call["Put"]["Item"]).collect()
            }
            "BatchWriteItem" => {
                let requests = body["RequestItems"][schema::TICKETS].as_array().into_iter().flatten();
                requests.map(|request| &request["PutRequest"]["Item"]).collect()
            }
            _ => return,
        };
        let hold = faults.hold.as_ref().filter(|hold| hold.stops(Point::Indexes));
        let mut state = self.state();
        let now = Instant::now();
        for item in puts.into_iter().filter_map(Value::as_object) {
            let State { rng, images, indexes, stream, streamed, .. } = &mut *state;
            let key = base_key(&Value::Object(item.clone()));
            if let Some(hold) = hold {
                tokio::spawn(self.clone().learn_later(hold.clone(), key.clone()));
            }
            let images = images.entry(key).or_default();
            if let Some(stream) = stream {
                *streamed += 1;
                let before = images.last().and_then(|(_, before)| before.clone());
                stream.push(stream_record(*streamed, before, item));
            }
            images.push((now, Some(item.clone())));
            // No read is further behind than eight versions.
            if images.len() > 8 {
                images.remove(0);
            }
            if hold.is_none() {
                indexes.learn(item, || now + faults.lag.mul_f64(rng.f64()));
            }
        }
    }

    /// Shows the indexes what is under a key once the hold lets them.
    async fn learn_later(self, hold: Hold, key: (String, String)) {
        if hold.goes_on().await {
            let mut state = self.state();
            let State { images, indexes, .. } = &mut *state;
            if let Some((_, Some(item))) = images.get(&key).and_then(|images| images.last()) {
                indexes.learn(item, Instant::now);
            }
        }
    }

    /// Remembers when the history's index learns of a write.
    fn remember_entry(&self, operation: &str, body: &Value, faults: &Faults) {
        let item = match operation {
            "PutItem" => body["Item"].clone(),
            "UpdateItem" => {
                let get = json!({"TableName": schema::HISTORY, "Key": body["Key"], "ConsistentRead": true});
                self.dispatch("GetItem", &get).expect("an item")["Item"].clone()
            }
            _ => return,
        };
        let Value::Object(item) = item else { return };
        let mut state = self.state();
        let State { rng, indexes, .. } = &mut *state;
        match faults.hold.as_ref().filter(|hold| hold.stops(Point::Indexes)).cloned() {
            Some(hold) => {
                let model = self.clone();
                tokio::spawn(async move {
                    if hold.goes_on().await {
                        model.state().indexes.learn(&item, Instant::now);
                    }
                });
            }
            None => {
                let now = Instant::now();
                indexes.learn(&item, || now + faults.lag.mul_f64(rng.f64()));
            }
        }
    }

    /// Takes keys out of a batch, and returns them as unprocessed.
    fn leave_some(&self, body: &mut Value) -> Value {
        let mut left = Map::new();
        let mut state = self.state();
        for (table, request) in body["RequestItems"].as_object_mut().expect("tables") {
            let keys = request["Keys"].as_array_mut().expect("keys");
            if keys.len() > 1 {
                let rest = keys.split_off(state.rng.usize(1..keys.len()));
                left.insert(table.clone(), json!({"Keys": rest, "ConsistentRead": true}));
            }
        }
        if left.is_empty() { Value::Null } else { left.into() }
    }
}

/// Unlocks a transaction's items when dropped.
struct Unlock {
    model: Model,
    locked: Vec<String>,
}

impl Drop for Unlock {
    fn drop(&mut self) {
        self.model.state().locked.retain(|key| !self.locked.contains(key));
    }
}

impl Mortal {
    /// The SDK's configuration for this caller's calls of the database.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(self.clone())
    }

    /// Waits until the caller is dead.
    pub async fn death(&self) {
        // Never fails: `self` holds the sender.
        let _ = self.dead.subscribe().wait_for(|dead| *dead).await;
    }

    fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }
}

/// Ends a caller with its call.
async fn die(caller: Option<Mortal>) -> Outcome {
    if let Some(caller) = caller {
        caller.dead.send_replace(true);
    }
    std::future::pending().await
}

fn sdk_config(connector: impl HttpConnector + 'static) -> SdkConfig {
    let connector = SharedHttpConnector::new(connector);
    let http_client = http_client_fn(move |_, _| connector.clone());
    local_config("http://localhost").into_builder().http_client(http_client).build()
}

fn is_departure(item: &Value) -> bool {
    item["bucket"]["S"].as_str().is_some_and(|bucket| bucket.starts_with("departures"))
}

/// A write as a stream record.
fn stream_record(number: u64, before: Option<Item>, after: &Item) -> Value {
    let mut record = json!({
        "eventID": format!("{number:032x}"), "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "eventName": if before.is_some() { "MODIFY" } else { "INSERT" }, "awsRegion": "us-east-1",
        "dynamodb": {
            "Keys": {"bucket": after["bucket"], "id": after["id"]},
            "NewImage": after,
            "SequenceNumber": format!("{number:024}"),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    });
    if let Some(before) = before {
        record["dynamodb"]["OldImage"] = before.into();
    }
    record
}

/// An item's bucket and id.
fn base_key(item: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&item["bucket"]["S"]), text(&item["id"]["N"]))
}

fn error(kind: &str) -> (u16, String) {
    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "injected"});
    (400, body.to_string())
}

fn server_error() -> (u16, String) {
    (500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#.into())
}

/// The error if another transaction has locked the item, or one of a transaction's items.
fn conflict(count: usize) -> (u16, String) {
    if count == 0 {
        return error("TransactionConflictException");
    }
    let reasons: Vec<Value> = (0..count)
        .map(|item| json!({"Code": if item == 0 { "TransactionConflict" } else { "None" }, "Message": "injected"}))
        .collect();
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
        "CancellationReasons": reasons,
    });
    (400, body.to_string())
}

fn reset() -> ConnectorError {
    ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

fn serve(model: Model, caller: Option<Mortal>, request: &HttpRequest) -> HttpConnectorFuture {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let body = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
    HttpConnectorFuture::new(async move {
        // In a task of its own: a sent request takes effect even if nobody waits for the answer any more.
        let outcome = tokio::spawn(model.call(caller, operation, body)).await;
        let (status, body) = outcome.map_err(|panic| ConnectorError::other(panic.into(), None))??;
        let status = status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None))?;
        Ok(HttpResponse::new(status, SdkBody::from(body)))
    })
}

impl HttpConnector for Model {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        serve(self.clone(), None, &request)
    }
}

impl HttpConnector for Mortal {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        serve(self.model.clone(), Some(self.clone()), &request)
    }
}
