//! Tests of the log: one line for each request, with what an operator and CloudWatch need, and the same id as
//! in the gateway's access log. It contains no customer's text and no secret.

use std::hint::black_box;
use std::io::{self, Write};
use std::panic;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use lambda_http::request::LambdaRequest;
use serde_json::{Value, json};
use support::model::{Faults, Model};
use tickets_app::{App, Config};
use tickets_cli::server::gateway::{self, Gateway, Payload};
use tickets_domain::{ApiKey, BearerToken, Clock, Scope};
use tickets_http::log::{self, Form, Log};
use tickets_http::route::{BASE_PATH, ROUTES};
use tickets_repository::{DynamoDb, Keys, schema};
use tokio::time::{Duration, Instant};
use tower::ServiceExt;

/// No line has more bytes than this. A batch names up to a hundred tickets; the metrics' directive takes 700 bytes.
pub(crate) const MOST_OF_A_LINE: usize = 4096;

/// Collects what is written to the log.
#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    /// The lines written since the last call, each a JSON object.
    pub(crate) fn take(&self) -> Vec<Value> {
        let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An API over the model, with its log collected.
struct Watched {
    model: Model,
    app: Arc<App>,
    paper: Paper,
    key: BearerToken,
}

/// The status and request id of an answer, and the request's log line.
struct Seen {
    status: u16,
    request_id: String,
    line: Value,
}

impl Watched {
    async fn start() -> Self {
        let (model, paper, clock) = (Model::new(1).await, Paper::default(), Clock::system());
        let key = BearerToken::generate().unwrap();
        let store = Keys::new(DynamoDb::new(&model.sdk_config()), schema::API_KEYS, clock.clone());
        let limit = "1000/h".parse().ok();
        store.insert(&ApiKey { limit, ..ApiKey::new(&key, Scope::ALL, clock.now()) }).await.unwrap();
        let config = Config::from_lookup(|name| match name {
            "POWERTOOLS_METRICS_NAMESPACE" => Some("Desk".to_owned()),
            "AWS_LAMBDA_FUNCTION_NAME" => Some("stack-GetTicket-1".to_owned()),
            _ => None,
        });
        let config = config.unwrap();
        let log = Log::to(config.log.clone(), Form::Json, paper.clone());
        let app = Arc::new(App { log, ..App::open(config, &model.sdk_config(), clock) });
        Self { model, app, paper, key }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Seen {
        let mut request = Request::builder().method(method).uri(format!("{BASE_PATH}{path}"));
        request = request.header("content-type", "application/json");
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.key.reveal()));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let router = Gateway { app: Arc::clone(&self.app), payload: Payload::Rest }.into_router();
        let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, request_id) = (response.status().as_u16(), response.headers()["x-request-id"].clone());
        to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let mut lines = self.paper.take();
        assert_eq!(lines.len(), 1, "one line a request: {lines:?}");
        Seen { status, request_id: request_id.to_str().unwrap().to_owned(), line: lines.remove(0) }
    }
}

/// These members of a line, in this order.
fn of<const N: usize>(line: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| line[name].clone())
}

#[tokio::test(start_paused = true)]
async fn a_line_tells_who_did_what_to_which_ticket_and_what_it_took() {
    let watched = Watched::start().await;
    let key = watched.key.id.to_string();
    let ticket = json!({"customerID": 7, "subject": "Confidential", "customerEmail": "ada@example.com"});
    let named = [("idempotency-key", "order-4711-of-ada")];
    let created = watched.send("POST", "/tickets/", &named, Some(ticket.clone())).await;
    assert_eq!(created.status, 201);
    let line = &created.line;
    assert_eq!(
        of(line, ["level", "message", "service", "function", "route", "method", "status", "key", "ticket"]),
        [
            json!("INFO"),
            json!("request"),
            json!("tickets"),
            json!("create-ticket"),
            json!("/tickets"),
            json!("POST"),
            json!(201),
            json!(key),
            json!("1"),
        ]
    );
    assert_eq!((&line["cold_start"], &line["function_name"]), (&json!(true), &json!("stack-GetTicket-1")));
    assert_eq!(line["correlation_id"], created.request_id, "what the client has to ask with");
    // The key lookup, the read of the claim, the reservation, the claim, the put and the lease, with the
    // calls that these need to find out the current state.
    assert_eq!(of(line, ["ReadUnits", "Contention", "replays"]), [json!(1.5), json!(0), json!(0)]);
    assert!(line["WriteUnits"].as_f64().unwrap() >= 6.0 && line["Attempts"].as_u64().unwrap() >= 6, "{line}");

    let replayed = watched.send("POST", "/tickets/", &named, Some(ticket.clone())).await;
    assert_eq!(of(&replayed.line, ["replays", "ticket", "cold_start"]), [json!(1), json!("1"), json!(false)]);
    let read = watched.send("GET", "/tickets/1/", &[], None).await;
    assert_eq!(
        of(&read.line, ["function", "route", "ticket"]),
        [json!("get-ticket"), json!("/tickets/{id}"), json!("1")]
    );
    assert_eq!(of(&read.line, ["ReadUnits", "Attempts"]), [json!(1.0), json!(1)], "the key is remembered");
    let history = watched.send("GET", "/tickets/1/history/", &[], None).await;
    assert_eq!(of(&history.line, ["route", "ticket"]), [json!("/tickets/{id}/history"), json!("1")]);
    let batch = json!([ticket, {"customerID": 7}, ticket]);
    let batch = watched.send("POST", "/tickets/", &[], Some(batch)).await;
    assert_eq!(
        of(&batch.line, ["status", "tickets", "ticket"]),
        [json!(207), json!(["2", "3"]), Value::Null]
    );

    // No line contains customers' texts or a secret.
    let bad = watched.send("PATCH", "/tickets/Confidential?Confidential=1", &[], Some(ticket)).await;
    assert_eq!(of(&bad.line, ["status", "ticket", "ClientErrors"]), [json!(400), Value::Null, json!(1)]);
    let made_up = watched.send("CONFIDENTIAL", "/tickets/1", &[("user-agent", "Confidential")], None).await;
    assert_eq!(of(&made_up.line, ["method", "status"]), [json!("another"), json!(405)]);
    let unknown = watched.send("GET", "/tickets/1", &[("authorization", "Bearer Confidential")], None).await;
    assert_eq!(of(&unknown.line, ["status", "key", "Unauthenticated"]), [json!(401), Value::Null, json!(1)]);
    let secret = watched.key.reveal().rsplit('_').next().unwrap().to_owned();
    for seen in [created, replayed, read, history, batch, bad, made_up, unknown] {
        let line = seen.line.to_string().to_lowercase();
        for written in ["confidential", "ada@", "4711", secret.as_str()] {
            assert!(!line.contains(written), "{written} in {line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_s_metrics_are_what_cloudwatch_finds_with_the_function_as_the_one_dimension() {
    let watched = Watched::start().await;
    let Seen { line, .. } = watched.send("GET", "/tickets/1", &[], None).await;
    let metadata = line["_aws"].as_object().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["CloudWatchMetrics", "Timestamp"]);
    let stamp = metadata["Timestamp"].as_i64().unwrap();
    let written: tickets_domain::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(stamp, written.millis());
    let [directive] = metadata["CloudWatchMetrics"].as_array().unwrap().as_slice() else { panic!("{line}") };
    assert_eq!((&directive["Namespace"], &directive["Dimensions"]), (&json!("Desk"), &json!([["function"]])));
    assert_eq!(line["function"], "get-ticket");
    let metrics = directive["Metrics"].as_array().unwrap();
    let named: Vec<_> = metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
    assert_eq!(
        named,
        [
            "Requests",
            "Duration",
            "Errors",
            "ClientErrors",
            "Unauthenticated",
            "RateLimited",
            "ReadUnits",
            "WriteUnits",
            "Attempts",
            "Contention",
        ]
    );
    for metric in metrics {
        let (name, unit) = (metric["Name"].as_str().unwrap(), &metric["Unit"]);
        assert_eq!(unit, if name == "Duration" { "Milliseconds" } else { "Count" });
        assert!(line[name].is_number(), "{name} in {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_of_a_process_count_apart() {
    let watched = Watched::start().await;
    let body = json!({"customerID": 7, "subject": "s"});
    watched.send("POST", "/tickets/", &[], Some(body.clone())).await;
    let router = Gateway { app: Arc::clone(&watched.app), payload: Payload::Rest }.into_router();
    let request = |method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(format!("{BASE_PATH}{path}"));
        let request = request.header("authorization", format!("Bearer {}", watched.key.reveal()));
        request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
    };
    let calls = (0..20).map(|n| match n % 2 {
        0 => request("GET", "/tickets/1", Value::Null),
        _ => request("PATCH", "/tickets/1", json!({"users": n.to_string()})),
    });
    let answers = futures::future::join_all(calls.map(|call| router.clone().oneshot(call))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 200));
    let lines = watched.paper.take();
    assert_eq!(lines.len(), 20);
    let leases = |line: &Value| line["WriteUnits"].as_f64().unwrap() > 0.0;
    for get in lines.iter().filter(|line| line["function"] == "get-ticket" && !leases(line)) {
        assert_eq!(
            of(get, ["ReadUnits", "WriteUnits", "Attempts"]),
            [json!(1.0), json!(0.0), json!(1)],
            "{get}"
        );
    }
    // Ten writers change one ticket: nine lose at least once, and read the ticket again.
    let updates = lines.iter().filter(|line| line["function"] == "update-ticket");
    let lost: u64 = updates.map(|line| line["Contention"].as_u64().unwrap()).sum();
    assert!(lost >= 9, "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_in_the_line_with_its_cause() {
    let watched = Watched::start().await;
    watched.send("GET", "/tickets/1", &[], None).await;
    watched.model.set(Faults { denied: 1.0, only: Some("GetItem"), ..Faults::default() });
    let failed = watched.send("GET", "/tickets/1", &[], None).await;
    assert_eq!(failed.status, 500);
    let line = &failed.line;
    assert_eq!(of(line, ["level", "message", "Errors"]), [json!("ERROR"), json!("request failed"), json!(1)]);
    assert_eq!(line["kind"], "an internal error occurred");
    assert!(line["cause"].as_str().unwrap().contains("AccessDeniedException"), "{line}");
    // Without an answer to its lease the request is admitted, and the line says so.
    watched.model.set(Faults { error_before: 1.0, only: Some("UpdateItem"), ..Faults::default() });
    let mut trusted = Value::Null;
    while trusted.is_null() {
        let seen = watched.send("GET", "/ticket-configuration/", &[], None).await;
        assert_eq!(seen.status, 200);
        trusted = seen.line["limit_uncounted"].clone();
    }
    assert!(trusted.as_str().unwrap().starts_with("500 InternalServerError, "), "{trusted}");
    // A lease that was throttled had no effect: the request is refused.
    watched.model.set(Faults { throttle: 1.0, only: Some("UpdateItem"), ..Faults::default() });
    let refused = loop {
        let seen = watched.send("GET", "/ticket-configuration/", &[], None).await;
        if seen.status != 200 {
            break seen;
        }
    };
    assert_eq!((refused.status, &refused.line["Errors"]), (503, &json!(1)));
    let cause = refused.line["cause"].as_str().unwrap();
    assert!(cause.starts_with("400 ProvisionedThroughputExceededException, "), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_ids_cannot_be_reserved_tells_the_cause_once_and_counts_every_row() {
    let watched = Watched::start().await;
    let ticket = json!({"customerID": 7, "subject": "s"});
    assert_eq!(watched.send("POST", "/tickets/", &[], Some(ticket.clone())).await.status, 201);
    let faults = Faults { mentions: Some("\"counter\""), ..Faults::default() };
    for (faults, kind, cause) in [
        (
            Faults { throttle: 1.0, ..faults.clone() },
            "too many requests",
            "400 ProvisionedThroughputExceeded",
        ),
        (Faults { reset_before: 1.0, ..faults.clone() }, "temporarily unavailable", "dispatch failure"),
        (Faults { denied: 1.0, ..faults.clone() }, "an internal error", "400 AccessDeniedException"),
    ] {
        watched.model.set(faults);
        // One row is the caller's fault.
        let mut rows = vec![ticket.clone(); 99];
        rows.push(json!({"customerID": 7}));
        let line = watched.send("POST", "/tickets/", &[], Some(rows.into())).await.line;
        assert_eq!(
            of(&line, ["status", "level", "Errors"]),
            [json!(207), json!("WARN"), json!(99)],
            "{line}"
        );
        let [failed] = line["failed_rows"].as_array().unwrap().as_slice() else { panic!("{line}") };
        assert_eq!(failed["rows"], 99);
        assert!(failed["kind"].as_str().unwrap().contains(kind), "{failed}");
        assert!(failed["cause"].as_str().unwrap().starts_with(cause), "{failed}");
        assert!(line.to_string().len() < MOST_OF_A_LINE, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_changes_names_its_tickets_and_counts_the_rows_that_failed_on_our_side() {
    let watched = Watched::start().await;
    for _ in 0..2 {
        watched.send("POST", "/tickets/", &[], Some(json!({"customerID": 7, "subject": "s"}))).await;
    }
    let rows =
        |owner: &str| json!([{"id": "1", "owner": owner}, {"id": "2", "owner": owner}, {"id": "3"}, {}]);
    let line = watched.send("PATCH", "/tickets/", &[], Some(rows("ada"))).await.line;
    assert_eq!(
        of(&line, ["function", "status", "level", "Errors", "tickets"]),
        [json!("update-tickets"), json!(207), json!("INFO"), json!(0), json!(["1", "2"])],
        "{line}"
    );
    watched.model.set(Faults { denied: 1.0, only: Some("PutItem"), ..Faults::default() });
    let line = watched.send("PATCH", "/tickets/", &[], Some(rows("grace"))).await.line;
    assert_eq!(of(&line, ["status", "level", "Errors"]), [json!(207), json!("WARN"), json!(2)], "{line}");
    assert_eq!(line["failed_rows"][0]["rows"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_rows_of_a_batch_of_changes_share_one_deadline_and_those_after_it_are_not_read() {
    let watched = Watched::start().await;
    let new = vec![json!({"customerID": 7, "subject": "s"}); 100];
    watched.send("POST", "/tickets/", &[], Some(new.into())).await;
    watched.model.set(Faults { throttle: 1.0, only: Some("PutItem"), ..Faults::default() });
    let rows: Value = (1..=100).map(|id: u64| json!({"id": id.to_string(), "owner": "ada"})).collect();
    let began = Instant::now();
    let line = watched.send("PATCH", "/tickets/", &[], Some(rows)).await.line;
    assert!(began.elapsed() < Duration::from_millis(3100), "{:?}", began.elapsed());
    assert_eq!(of(&line, ["status", "Errors"]), [json!(207), json!(100)], "{line}");
    // Sixteen at a time, and the key.
    let read = line["ReadUnits"].as_f64().unwrap();
    assert!((16.0..=33.0).contains(&read), "{read}");
}

#[test]
fn a_panic_is_logged_by_its_place_alone() {
    let paper = Paper::default();
    let written = paper.clone();
    let before = panic::take_hook();
    log::panics_to(move || written.clone());
    let cut = black_box(1);
    // The message of this panic has the text.
    let panicked = panic::catch_unwind(|| "\u{e9} Confidential"[cut..].len());
    panic::set_hook(before);
    assert!(panicked.is_err());
    let lines = paper.take();
    let place = lines[0]["place"].as_str().unwrap();
    assert!(place.contains("log.rs:"), "{place}");
    assert_eq!(of(&lines[0], ["level", "message"]), [json!("ERROR"), json!("panicked")]);
    assert!(!format!("{lines:?}").contains("Confidential"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn both_logs_have_the_gateway_s_id_of_the_request() {
    let template = include_str!("../template.yaml");
    assert!(template.contains("\"requestId\":\"$context.requestId\""), "the access log");
    let watched = Watched::start().await;
    for route in &ROUTES {
        let name = route.function.name();
        for format in ["rest", "http"] {
            let path = format!("{}/../events/{name}.{format}.json", env!("CARGO_MANIFEST_DIR"));
            let event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let expected = event["requestContext"]["requestId"].clone();
            assert!(expected.is_string(), "{name}.{format}: {event}");
            let event: LambdaRequest = serde_json::from_value(event).unwrap();
            let event = lambda_http::Request::from(event);
            gateway::answer(Arc::clone(&watched.app), route.function, event).await;
            let lines = watched.paper.take();
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0]["correlation_id"], expected, "{name}.{format}");
        }
    }
}
