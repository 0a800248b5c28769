//! Tests of the API's contract, rule by rule, over HTTP: in this process with events of both formats, or
//! against a running API (see `Api::each`), which other tests may use at the same time.

mod batches;
mod counts;
mod errors;
mod fields;
mod filters;
mod lists;
mod writes;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use support::{Answer, Api, Options, fresh_customer, time};
use tickets_app::{App, Config};
use tickets_cli::server::gateway::{Gateway, Payload};
use tickets_domain::{Clock, Timestamp};
use tickets_http::route::BASE_PATH;

/// Creates a ticket of a new customer, and returns both ids.
async fn ticket(api: &Api) -> (u64, u64) {
    let customer = fresh_customer().get();
    (api.create(&json!({"customerID": customer, "subject": "Help"})).await, customer)
}

fn assert_problem(answer: &Answer, status: u16, fields: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body = answer.json();
    assert_eq!(body["status"], status);
    for member in ["type", "title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {body}");
    }
    assert_eq!(answer.fields(), fields, "{body}");
    let text = answer.text.to_lowercase();
    for secret in ["dynamo", "aws", "table", "panick", "sdk", "sqlite"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!answer.header("x-request-id").is_empty());
}

/// Creates three tickets of a new customer.
async fn three(api: &Api) -> (u64, Vec<Value>) {
    let customer = fresh_customer().get();
    let mut tickets = Vec::new();
    for n in 0..3 {
        let body = json!({"customerID": customer, "subject": format!("ticket {n}")});
        tickets.push(api.post(&body).await.json());
    }
    (customer, tickets)
}

fn id(ticket: &Value) -> u64 {
    ticket["id"].as_str().unwrap().parse().unwrap()
}

// The tests below need their own configuration, clock or table, so they always run in this process.

/// An API whose clock the test sets.
async fn on_a_clock(
    payload: Payload,
    start: &str,
    environment: Vec<(&'static str, String)>,
) -> (Api, Arc<AtomicI64>) {
    let millis = Arc::new(AtomicI64::new(time(start).millis()));
    let shown = Arc::clone(&millis);
    let clock = Clock::new(move || Timestamp::from_millis(shown.load(Ordering::SeqCst)).expect("in range"));
    let options = Options { payload, environment, clock: Some(clock), ..Options::default() };
    (Api::start_with(options).await, millis)
}

/// The environment variables of these presets.
fn presets(types: &str, statuses: &str, priorities: &str, owners: &str) -> Vec<(&'static str, String)> {
    let names = ["TICKET_TYPES", "TICKET_STATUSES", "TICKET_PRIORITIES", "TICKET_OWNERS"];
    names.into_iter().zip([types, statuses, priorities, owners].map(str::to_owned)).collect()
}

/// The base URL of a second deployment on the same database.
async fn redeployed(api: &Api, payload: Payload, environment: Vec<(&'static str, String)>) -> String {
    let lookup = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, v)| v.clone());
    let mut config = Config::from_lookup(lookup).unwrap();
    (config.tickets_table, config.api_keys_table) = api.tables.clone();
    let app = App::open(config, &api.database, Clock::system());
    let router = Gateway { app: Arc::new(app), payload }.into_router();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}{BASE_PATH}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}
