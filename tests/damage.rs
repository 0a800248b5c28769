//! The log has nothing of what could not be read. Every answer of the database holds tickets, keys or histories; here
//! it comes damaged, whatever the call, and no line may have a piece of it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use axum::body::Body;
use axum::http::Request;
use export_tickets::{Exporter, Invocation, Store};
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use support::model::Model;
use support::simulation::simulate;
use tickets_app::{App, Config};
use tickets_cli::server::gateway::{Gateway, Payload};
use tickets_domain::{ApiKey, BearerToken, Clock, Scope, Timestamp};
use tickets_http::log::{Form, Log};
use tickets_http::route::BASE_PATH;
use tickets_repository::{DynamoDb, Keys, schema};
use tower::ServiceExt;

use crate::log::{MOST_OF_A_LINE, Paper};

/// The calls that functions make.
const OPERATIONS: [&str; 5] = ["GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem"];

/// A piece of a secret of this length is one too many: nothing else in a line is like it.
const PIECE: usize = 8;

/// How an answer is damaged.
#[derive(Debug, Clone)]
enum Damage {
    /// Its end is missing.
    Cut(Index),
    /// A byte is another one.
    Changed(Index, u8),
    /// Its values are of another type.
    Retyped(&'static str, &'static str),
    /// It has another status.
    Status(u16),
    /// It is said to be of another type.
    ContentType(&'static str),
    /// It is inside of something else, at the mark.
    Inside(&'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    let types =
        [("{\"S\":", "{\"N\":"), ("{\"N\":", "{\"S\":"), ("{\"S\":", "{\"L\":"), ("{\"M\":", "{\"S\":")];
    let around = [
        "[@]",
        "\"@\"",
        "{\"Item\":@}",
        "{\"__type\":\"x#ValidationException\",\"message\":\"Value '@' at 'item' failed\"}",
        "{\"__type\":\"@\"}",
        "{\"__type\":\"x#AccessDeniedException\",\"Message\":\"{@}\"}",
    ];
    prop_oneof![
        4 => any::<Index>().prop_map(Damage::Cut),
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Changed(at, byte)),
        2 => select(types.to_vec()).prop_map(|(from, to)| Damage::Retyped(from, to)),
        1 => select(&[400_u16, 403, 404, 413, 500, 503][..]).prop_map(Damage::Status),
        1 => select(&["text/html", "application/cbor"][..]).prop_map(Damage::ContentType),
        2 => select(around.to_vec()).prop_map(Damage::Inside),
    ]
}

impl Damage {
    fn done_to(&self, status: u16, body: &str) -> (u16, Vec<u8>, &'static str) {
        const JSON: &str = "application/x-amz-json-1.0";
        let bytes = body.as_bytes();
        match self {
            Self::Cut(at) => (status, bytes[..at.index(bytes.len().max(1))].to_vec(), JSON),
            Self::Changed(at, byte) => {
                let mut changed = bytes.to_vec();
                if !changed.is_empty() {
                    let at = at.index(changed.len());
                    changed[at] = *byte;
                }
                (status, changed, JSON)
            }
            Self::Retyped(from, to) => (status, body.replace(from, to).into_bytes(), JSON),
            Self::Status(status) => (*status, bytes.to_vec(), JSON),
            Self::ContentType(kind) => (status, bytes.to_vec(), kind),
            Self::Inside(around) => {
                let (before, after) = around.split_once('@').unwrap();
                // Inside of a text it is escaped.
                let inside = if before.ends_with(['"', '\'', '{'])
                    && around.matches('"').count() > 0
                    && !around.contains(":@")
                {
                    let escaped = json!(body).to_string();
                    escaped[1..escaped.len() - 1].to_owned()
                } else {
                    body.to_owned()
                };
                let status = if around.contains("__type") { 400 } else { status };
                (status, format!("{before}{inside}{after}").into_bytes(), JSON)
            }
        }
    }
}

/// The model, which answers one operation with damage.
#[derive(Debug, Clone)]
struct Damaging {
    engine: Model,
    operation: &'static str,
    damage: Damage,
    damaged: Arc<Mutex<u32>>,
}

impl HttpConnector for Damaging {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let is_meant = target.ends_with(&format!(".{}", self.operation));
        let (answer, damaging) = (self.engine.call(request), self.clone());
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if !is_meant {
                return Ok(answer);
            }
            *damaging.damaged.lock().unwrap() += 1;
            let body = std::str::from_utf8(answer.body().bytes().unwrap()).unwrap();
            let (status, body, kind) = damaging.damage.done_to(answer.status().as_u16(), body);
            let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
            answer.headers_mut().insert("content-type", kind);
            Ok(answer)
        })
    }
}

impl Damaging {
    fn sdk_config(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(self.clone());
        let client = http_client_fn(move |_, _| connector.clone());
        self.engine.sdk_config().into_builder().http_client(client).build()
    }
}

/// What no line may have a piece of, and the lines.
struct Logged {
    secrets: Vec<String>,
    lines: Vec<Value>,
    damaged: u32,
}

fn app(sdk_config: &SdkConfig, paper: &Paper, clock: Clock) -> Arc<App> {
    let config = Config::from_lookup(|_| None).unwrap();
    let log = Log::to(config.log.clone(), Form::Json, paper.clone());
    Arc::new(App { log, ..App::open(config, sdk_config, clock) })
}

async fn send(app: &Arc<App>, key: &str, method: &str, path: &str, body: &Value) {
    let request = Request::builder()
        .method(method)
        .uri(format!("{BASE_PATH}{path}"))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .header("idempotency-key", "k");
    let router = Gateway { app: Arc::clone(app), payload: Payload::Rest }.into_router();
    router.oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
}

/// Sends requests to every function, runs those that no caller starts, and returns what they logged.
async fn log_of(operation: &'static str, damage: Damage) -> Logged {
    let (engine, paper) = (Model::new(1).await, Paper::default());
    engine.keep_stream();
    let token = BearerToken::generate().unwrap();
    let key = ApiKey {
        note: Some("NoteOfTheKeyThatIsSecret".into()),
        limit: "1000000/h".parse().ok(),
        ..ApiKey::new(&token, Scope::ALL, Clock::system().now())
    };
    let hash = serde_json::to_value(&key.hash).unwrap().as_str().unwrap().to_owned();
    Keys::new(DynamoDb::new(&engine.sdk_config()), schema::API_KEYS, Clock::system())
        .insert(&key)
        .await
        .unwrap();
    let ticket = json!({
        "customerID": 7, "subject": "SubjectThatIsSecret", "ticketContent": "ContentThatIsSecret ".repeat(40),
        "customerEmail": "address.that.is.secret@example.com", "owner": "OwnerThatIsSecret",
    });
    let mut secrets: Vec<String> =
        ticket.as_object().unwrap().values().filter_map(Value::as_str).map(str::to_owned).collect();
    secrets.extend(["LaterSubjectOfSecrets", "NoteOfTheKeyThatIsSecret"].map(str::to_owned));
    secrets.extend([hash, token.reveal().rsplit('_').next().unwrap().to_owned()]);
    let (key, began) = (token.reveal(), Clock::system().now());
    let sound = app(&engine.sdk_config(), &paper, Clock::system());
    send(&sound, &key, "POST", "/tickets/", &ticket).await;
    send(&sound, &key, "PATCH", "/tickets/1", &json!({"subject": "LaterSubjectOfSecrets"})).await;
    let records = json!({"Records": engine.take_stream()}).to_string();
    record_changes::answer(&sound.history, serde_json::from_str(&records).unwrap()).await;

    let damaging =
        Damaging { engine: engine.clone(), operation, damage: damage.clone(), damaged: Arc::default() };
    let sdk_config = damaging.sdk_config();
    for (method, path, body) in [
        ("GET", "/tickets/1", Value::Null),
        ("GET", "/tickets/", Value::Null),
        ("GET", "/tickets/?updatedSince=2020-01-01", Value::Null),
        ("GET", "/tickets/?open=true", Value::Null),
        ("GET", "/customers/7/tickets/?updatedSince=2020-01-01", Value::Null),
        ("GET", "/tickets/1/history/", Value::Null),
        ("GET", "/ticket-configuration/", Value::Null),
        ("POST", "/tickets/", ticket.clone()),
        ("POST", "/tickets/", json!([ticket, ticket, ticket])),
        ("PATCH", "/tickets/1", json!({"subject": "SubjectThatIsSecret"})),
        ("DELETE", "/tickets/1", Value::Null),
    ] {
        // Each time an instance that remembers nothing.
        send(&app(&sdk_config, &paper, Clock::system()), &key, method, path, &body).await;
    }
    // By then what was recorded has settled. The feed is read from its start, and without looking for that.
    let later = Clock::new(|| Clock::system().now().plus(Duration::from_secs(60)));
    for path in ["/events/".to_owned(), format!("/events/?since={began}")] {
        send(&app(&sdk_config, &paper, later.clone()), &key, "GET", &path, &Value::Null).await;
    }
    let records = json!({"Records": engine.take_stream()}).to_string();
    let broken = app(&sdk_config, &paper, Clock::system());
    // The stream's records may be damaged as well, as far as Lambda can still deliver them.
    let (_, retyped, _) = damage.done_to(200, &records);
    for event in [records.as_bytes(), &retyped] {
        if let Ok(event) = serde_json::from_slice(event) {
            let event = LambdaEvent::new(event, Context::default());
            record_changes::answer_logged(&broken.history, &broken.log, &Clock::system(), event).await;
        }
    }
    let exporter = Exporter::new(broken.tickets.clone(), Store::new(InMemory::new()), later);
    let invocation = Invocation { deadline: Timestamp::MAX, request_id: None, trace: None };
    let _ = export_tickets::answer_logged(&exporter, &broken.log, Default::default(), &invocation).await;
    let damaged = *damaging.damaged.lock().unwrap();
    Logged { secrets, lines: paper.take(), damaged }
}

/// A piece of a secret that the line has.
fn leak(line: &str, secrets: &[String]) -> Option<String> {
    let pieces: HashSet<&[u8]> = secrets.iter().flat_map(|secret| secret.as_bytes().windows(PIECE)).collect();
    let found = line.as_bytes().windows(PIECE).find(|window| pieces.contains(window))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_line_has_a_piece_of_an_answer(operation in select(&OPERATIONS[..]), damage in damage()) {
        let logged = simulate(1, log_of(operation, damage));
        prop_assert!(logged.damaged > 0, "{operation} is called");
        for line in &logged.lines {
            let line = line.to_string();
            prop_assert_eq!(leak(&line, &logged.secrets), None, "{}", line);
            prop_assert!(line.len() < MOST_OF_A_LINE, "{} bytes: {}", line.len(), line);
        }
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_told_by_status_and_length() {
    for operation in OPERATIONS {
        let logged = simulate(1, log_of(operation, Damage::Inside("[@]")));
        let causes: Vec<_> = logged.lines.iter().filter_map(|line| line["cause"].as_str()).collect();
        let told = |cause: &&&str| match operation {
            // If the answer of a put cannot be read, what the put did is looked up. What is told is the refusal.
            "PutItem" => cause.starts_with("400 no code, ") && cause.ends_with(" bytes: "),
            _ => cause.starts_with("an answer that cannot be read: 200, ") && cause.ends_with(" bytes"),
        };
        assert!(causes.iter().any(|cause| told(&cause)), "{operation}: {causes:?}");
    }
}
