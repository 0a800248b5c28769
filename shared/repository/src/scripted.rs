//! A DynamoDB for unit tests that answers as the test says, or as the embedded engine does within this process.
//! Nothing leaves the process, so the tests run on a paused clock.

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use serde_json::value::Serializer;
use serde_json::{Value, json};
use tickets_domain::{Clock, JsonObject, NewTicket, PresetLists, Presets, Settings, TicketFields, Timestamp};
use tickets_engine::Database;

use crate::backoff::Backoff;
use crate::dynamodb::DynamoDb;
use crate::http_client::local_config;
use crate::operator::seed::{MAX_CHUNK, SeedTicket};
use crate::schema;
use crate::tickets::Tickets;
use crate::write::WRITE_DEADLINE;

/// The time in these tests, in milliseconds.
pub(crate) const NOW: i64 = 1_764_000_000_000;

/// A status and a body.
pub(crate) type Answer = (u16, Value);

/// Calls in the order they came: the operation, and its input.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<(String, Value)>>>);

impl Calls {
    /// The inputs of an operation's calls.
    pub(crate) fn of(&self, operation: &str) -> Vec<Value> {
        let calls = self.0.lock().unwrap();
        calls.iter().filter(|(name, _)| name == operation).map(|(_, input)| input.clone()).collect()
    }
}

/// Success, with this output.
pub(crate) fn ok(output: Value) -> Answer {
    (200, output)
}

/// An error without an effect.
pub(crate) fn refused(kind: &str) -> Answer {
    (400, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "why"}))
}

/// The condition does not hold; with the item that is there.
pub(crate) fn condition_failed(item: Value) -> Answer {
    let (status, mut body) = refused("ConditionalCheckFailedException");
    if !item.is_null() {
        body["Item"] = item;
    }
    (status, body)
}

/// An error that may have had an effect.
pub(crate) fn lost() -> Answer {
    (500, json!({"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError"}))
}

/// The tickets' table of a DynamoDB that answers so, and the calls it got. All calls happen at [`NOW`].
pub(crate) fn tickets(answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> (Tickets, Calls) {
    let calls = Calls::default();
    let noted = calls.clone();
    let http_client = http_client(move |request| {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.split_once('.').unwrap().1;
        let input = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let (status, output) = answer(operation, &input);
        noted.0.lock().unwrap().push((operation.to_owned(), input));
        response(status, output.to_string())
    });
    let sdk_config = local_config("http://localhost").into_builder().http_client(http_client).build();
    let clock = Clock::new(|| Timestamp::from_millis(NOW).unwrap());
    (Tickets::new(DynamoDb::new(&sdk_config), "Tickets", clock, Settings::default()), calls)
}

/// The tickets' table of the engine, with so many tickets, and the calls it gets.
pub(crate) async fn engine(count: usize) -> (Tickets, Calls) {
    let database = Database::memory().unwrap();
    let (tickets, calls) = tickets(move |operation, input| {
        match tickets_engine::call(&database, operation, input, Serializer) {
            Ok(output) => ok(output),
            Err(refusal) => {
                let (status, body) = refusal.response();
                (status, serde_json::from_str(&body).unwrap())
            }
        }
    });
    schema::create_tables(&tickets.dynamodb, "Tickets", "ApiKeys").await.unwrap();
    append(&tickets, count).await;
    (tickets, calls)
}

/// Adds so many tickets of customer 1, created at [`NOW`].
pub(crate) async fn append(tickets: &Tickets, count: usize) {
    append_at(tickets, count, NOW).await;
}

/// Adds so many tickets of customer 1, created at this time in milliseconds.
pub(crate) async fn append_at(tickets: &Tickets, count: usize, millis: i64) {
    let at = Timestamp::from_millis(millis).unwrap();
    let seeds = vec![SeedTicket { fields: fields(json!({})), created: at, updated: at }; count];
    for chunk in seeds.chunks(MAX_CHUNK) {
        tickets.append(&"seed".parse().unwrap(), chunk).await.unwrap();
    }
}

/// Gives out so many ids under which nothing comes.
pub(crate) async fn skip(tickets: &Tickets, count: u64) {
    tickets.reserve(count, &mut Backoff::within(WRITE_DEADLINE)).await.unwrap();
}

/// The fields of a ticket of customer 1, and these.
pub(crate) fn fields(more: Value) -> TicketFields {
    new_ticket(more).fields().unwrap().clone()
}

/// A new ticket of customer 1 with these fields.
pub(crate) fn new_ticket(more: Value) -> NewTicket {
    let mut body = json!({"customerID": 1, "subject": "s"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let presets = Presets::parse(&PresetLists::default()).unwrap();
    NewTicket::parse(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets).unwrap()
}

/// A response with this status and body.
pub(crate) fn response(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), body.into())
}

/// An HTTP client whose requests this answers.
pub(crate) fn http_client(
    answer: impl Fn(HttpRequest) -> HttpResponse + Send + Sync + 'static,
) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Scripted(answer));
    http_client_fn(move |_, _| connector.clone())
}

struct Scripted<F>(F);

impl<F> fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl<F: Fn(HttpRequest) -> HttpResponse + Send + Sync> HttpConnector for Scripted<F> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(self.0(request)))
    }
}
