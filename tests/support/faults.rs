//! A DynamoDB that misbehaves as the real one may: the embedded engine, reached through the SDK by an
//! HTTP client that throttles, cancels, fails, hangs, drops connections before and after the commit,
//! cuts batches and pages short, and reads indexes as they were a while ago.
//!
//! Everything is drawn from a seed, nothing touches a socket, and all waiting is Tokio's: on a paused
//! clock a run takes no time and can be repeated exactly.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use fastrand::Rng;
use serde_json::{Map, Value, json};
use tickets_repository::{Connection, schema};
use tokio::time::Instant;

/// How often what goes wrong, each a probability per call, and how far.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The call is throttled; it has no effect.
    pub throttle: f64,
    /// A transaction is cancelled, or a write refused, because of another transaction.
    pub conflict: f64,
    /// Which item of a transaction conflicts; any if not said.
    pub conflicting: Option<usize>,
    /// 500 without an effect.
    pub error_before: f64,
    /// 500 after the effect.
    pub error_after: f64,
    /// The connection is reset before the request is read.
    pub reset_before: f64,
    /// The connection is reset after the effect.
    pub reset_after: f64,
    /// The call waits before its effect, or before its answer.
    pub delay: f64,
    /// How long at most.
    pub longest_delay: Duration,
    /// A batch leaves some of its keys unprocessed.
    pub unprocessed: f64,
    /// A query ends its page after a few items.
    pub short_page: f64,
    /// How far an index is behind at most: drawn for each change.
    pub index_lag: Duration,
    /// Only calls of this operation are disturbed; all if not said.
    pub only: Option<&'static str>,
    /// Sabotage: tickets are fetched as they were this long ago, as a read that is not consistent may.
    pub stale_fetch: Duration,
    /// Sabotage: the sequence is advanced on its own, and the ticket put a while later.
    pub split_create: bool,
}

impl Faults {
    /// A bad day: of everything some.
    pub fn everything() -> Self {
        Self {
            throttle: 0.03,
            conflict: 0.05,
            error_before: 0.02,
            error_after: 0.02,
            reset_before: 0.02,
            reset_after: 0.03,
            delay: 0.1,
            longest_delay: Duration::from_millis(1400),
            unprocessed: 0.2,
            short_page: 0.2,
            index_lag: Duration::from_secs(4),
            ..Self::default()
        }
    }
}

/// A ticket as it was written, when, and when the indexes got to know of it.
struct Image {
    written: Instant,
    visible: Instant,
    item: Map<String, Value>,
}

struct State {
    rng: Rng,
    faults: Faults,
    /// The images of every ticket, oldest first.
    history: BTreeMap<u64, Vec<Image>>,
    injected: BTreeMap<&'static str, u64>,
}

/// The engine with its faults.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

/// What a call comes to: a status and a body, or a broken connection.
type Outcome = Result<(u16, String), ConnectorError>;

impl Engine {
    /// An engine with its tables, which behaves until told otherwise.
    pub async fn new(seed: u64) -> Self {
        let database = Database::memory().expect("a database");
        let state = State {
            rng: Rng::with_seed(seed),
            faults: Faults::default(),
            history: BTreeMap::new(),
            injected: BTreeMap::new(),
        };
        let engine = Self { database, state: Arc::new(Mutex::new(state)) };
        let client = engine.connection().open();
        schema::create_tables(&client, schema::TICKETS, schema::API_KEYS).await.expect("tables");
        engine
    }

    /// How to reach it.
    pub fn connection(&self) -> Connection {
        let connector = SharedHttpConnector::new(self.clone());
        let http_client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        Connection { http_client: Some(http_client), ..Connection::to("http://localhost") }
    }

    /// From now on these faults happen.
    pub fn set(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// As if this were the highest id given out: what is created then is in the buckets from there on.
    pub fn skip_to(&self, id: u64) {
        let (bucket, last) = (json!({"S": "sequence"}), json!({"N": id.to_string()}));
        let item = json!({"bucket": bucket, "id": {"N": "0"}, "last": last, "firstMonth": {"S": "2026-11"}});
        let put = json!({"TableName": schema::TICKETS, "Item": item});
        self.dispatch("PutItem", &put).expect("a sequence");
    }

    /// How often each fault has happened.
    pub fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.state().injected.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(self, operation: String, mut body: Value) -> Outcome {
        let faults = {
            let state = self.state();
            let disturbed = state.faults.only.is_none_or(|only| only == operation);
            if disturbed { state.faults.clone() } else { Faults::default() }
        };
        self.delay(&faults).await;
        if self.happens("throttled", faults.throttle) {
            return Ok(error("ProvisionedThroughputExceededException"));
        }
        if operation == "TransactWriteItems" && self.happens("conflict", faults.conflict) {
            let count = body["TransactItems"].as_array().map_or(1, Vec::len);
            let at = faults.conflicting.unwrap_or_else(|| self.state().rng.usize(..count));
            return Ok(conflict(at, count));
        }
        if operation == "PutItem" && self.happens("conflict", faults.conflict) {
            return Ok(error("TransactionConflictException"));
        }
        if self.happens("500 before", faults.error_before) {
            return Ok((500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#.into()));
        }
        if self.happens("reset before", faults.reset_before) {
            return Err(reset());
        }
        if operation == "TransactWriteItems" && faults.split_create {
            let mut rest = body.clone();
            body["TransactItems"].as_array_mut().expect("items").truncate(1);
            rest["TransactItems"].as_array_mut().expect("items").remove(0);
            for part in [&mut body, &mut rest] {
                part.as_object_mut().expect("an object").remove("ClientRequestToken");
            }
            if let (status @ 400.., error) = self.run(&operation, body, &faults) {
                return Ok((status, error));
            }
            let wait = self.state().rng.u64(..900);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            return Ok(self.run(&operation, rest, &faults));
        }
        let answer = self.run(&operation, body, &faults);
        self.delay(&faults).await;
        if self.happens("500 after", faults.error_after) {
            return Ok((500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#.into()));
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

    async fn delay(&self, faults: &Faults) {
        // Even a good call takes a little: without it nothing would ever overlap.
        let mut wait = Duration::from_micros(self.state().rng.u64(200..3000));
        if self.happens("delay", faults.delay) {
            wait += faults.longest_delay.mul_f64(self.state().rng.f64());
        }
        tokio::time::sleep(wait).await;
    }

    /// Runs a call on the engine, with what is wrong of its data and not of its way.
    fn run(&self, operation: &str, mut body: Value, faults: &Faults) -> (u16, String) {
        if operation == "Query" && self.happens("short page", faults.short_page) {
            let limit = body["Limit"].as_u64().unwrap_or(100).min(self.state().rng.u64(1..5));
            body["Limit"] = json!(limit);
        }
        let mut left = Value::Null;
        if operation == "BatchGetItem" && self.happens("unprocessed", faults.unprocessed) {
            left = self.leave_some(&mut body);
        }
        let result = self.dispatch(operation, &body);
        let mut answer = match result {
            Ok(answer) => answer,
            Err(error) => return (error.status_code(), error.to_json()),
        };
        self.remember(operation, &body, faults.index_lag);
        if operation == "Query" && body.get("IndexName").is_some() {
            self.answer_as_of_before(&body, &mut answer);
        }
        if operation == "BatchGetItem" {
            if !faults.stale_fetch.is_zero() {
                self.fetch_as_of_before(&mut answer, faults.stale_fetch);
            }
            if !left.is_null() {
                answer["UnprocessedKeys"] = left;
            }
        }
        (200, answer.to_string())
    }

    fn dispatch(&self, operation: &str, body: &Value) -> Result<Value, DynoxideError> {
        fn parsed<T: serde::de::DeserializeOwned>(body: &Value) -> T {
            serde_json::from_value(body.clone()).expect("a request")
        }
        fn shown(response: impl serde::Serialize) -> Value {
            serde_json::to_value(response).expect("a response")
        }
        let database = &self.database;
        Ok(match operation {
            "GetItem" => shown(database.get_item(parsed(body))?),
            "PutItem" => shown(database.put_item(parsed(body))?),
            "UpdateItem" => shown(database.update_item(parsed(body))?),
            "Query" => shown(database.query(parsed(body))?),
            "BatchGetItem" => shown(database.batch_get_item(parsed(body))?),
            "TransactWriteItems" => shown(database.transact_write_items(parsed(body))?),
            "CreateTable" => shown(database.create_table(parsed(body))?),
            "UpdateTimeToLive" => shown(database.update_time_to_live(parsed(body))?),
            other => panic!("{other} is not expected of the product"),
        })
    }

    /// Remembers the tickets that a call has written, and when the indexes get to know of it.
    fn remember(&self, operation: &str, body: &Value, lag: Duration) {
        let puts: Vec<&Value> = match operation {
            "PutItem" => vec![body],
            "TransactWriteItems" => {
                body["TransactItems"].as_array().into_iter().flatten().map(|item| &item["Put"]).collect()
            }
            _ => return,
        };
        let mut state = self.state();
        for item in puts.into_iter().filter_map(|put| put["Item"].as_object()) {
            if !item.contains_key("updatedMonth") {
                continue;
            }
            let visible = Instant::now() + lag.mul_f64(state.rng.f64());
            let images = state.history.entry(number(item, "id")).or_default();
            // A repeated transaction has no second effect.
            if images.last().is_some_and(|last| last.item == *item) {
                continue;
            }
            let visible = images.last().map_or(visible, |last| visible.max(last.visible));
            images.push(Image { written: Instant::now(), visible, item: item.clone() });
        }
    }

    /// The tickets that the indexes do not know as they are: as they know them, if at all.
    fn behind(&self) -> BTreeMap<u64, Option<Map<String, Value>>> {
        let now = Instant::now();
        let state = self.state();
        let behind =
            state.history.iter().filter(|(_, images)| images.last().is_some_and(|last| last.visible > now));
        behind
            .map(|(id, images)| {
                (*id, images.iter().rev().find(|image| image.visible <= now).map(|image| image.item.clone()))
            })
            .collect()
    }

    fn answer_as_of_before(&self, body: &Value, answer: &mut Value) {
        let behind = self.behind();
        if behind.is_empty() {
            return;
        }
        let values = &body["ExpressionAttributeValues"];
        let bound = |name: &str| values[name]["N"].as_str().and_then(|text| text.parse::<u64>().ok());
        let by_updated = body["IndexName"] == schema::BY_UPDATED;
        let sort = |item: &Map<String, Value>| {
            if by_updated {
                (number(item, "updatedDate"), number(item, "id"))
            } else {
                (number(item, "id"), 0)
            }
        };
        let after = body["ExclusiveStartKey"].as_object().map(&sort);
        let until = answer["LastEvaluatedKey"].as_object().map(&sort);
        let matches = |item: &Map<String, Value>| {
            let key = if by_updated {
                let updated = number(item, "updatedDate");
                item["updatedMonth"] == values[":month"]
                    && bound(":since").is_some_and(|since| since <= updated)
                    && bound(":until").is_some_and(|until| updated <= until)
            } else {
                item["customerID"] == values[":customer"]
                    && bound(":after").is_some_and(|after| after < number(item, "id"))
            };
            key && after.is_none_or(|after| after < sort(item))
                && until.is_none_or(|until| sort(item) <= until)
        };
        let Some(items) = answer["Items"].as_array_mut() else { return };
        items.retain(|item| !behind.contains_key(&number(item.as_object().expect("an item"), "id")));
        items.extend(behind.into_values().flatten().filter(matches).map(Value::Object));
        items.sort_by_key(|item| sort(item.as_object().expect("an item")));
        answer["Count"] = json!(items.len());
        *self.state().injected.entry("stale index").or_default() += 1;
    }

    fn fetch_as_of_before(&self, answer: &mut Value, lag: Duration) {
        let state = self.state();
        let now = Instant::now();
        let before = |item: Value| {
            let images = &state.history[&number(item.as_object().expect("an item"), "id")];
            let image = images.iter().rev().find(|image| image.written + lag <= now);
            image.map(|image| Value::Object(image.item.clone()))
        };
        let tables = answer["Responses"].as_object_mut().into_iter().flat_map(Map::values_mut);
        for items in tables.filter_map(Value::as_array_mut) {
            *items = std::mem::take(items).into_iter().filter_map(before).collect();
        }
    }

    /// Takes keys out of a batch, and gives them as it has to give back.
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

fn number(item: &Map<String, Value>, name: &str) -> u64 {
    item[name]["N"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn error(kind: &str) -> (u16, String) {
    (
        400,
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "injected"})
            .to_string(),
    )
}

fn conflict(at: usize, count: usize) -> (u16, String) {
    let reasons: Vec<Value> = (0..count)
        .map(|item| {
            if item == at {
                json!({"Code": "TransactionConflict", "Message": "injected"})
            } else {
                json!({"Code": "None"})
            }
        })
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

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        let engine = self.clone();
        HttpConnectorFuture::new(async move {
            // On a task of its own: what was sent takes effect whether or not anybody still waits for it.
            let outcome = tokio::spawn(engine.call(operation, body)).await;
            let (status, body) = outcome.map_err(|panic| ConnectorError::other(panic.into(), None))??;
            let status = status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}
