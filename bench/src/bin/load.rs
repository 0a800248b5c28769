//! Load test of a running API with many concurrent clients: creates, updates, gets and lists. At the end it
//! walks the list and looks for every acknowledged ticket.
//!
//! ```sh
//! cargo run --release -p tickets-bench --bin load -- BASE_URL KEY CLIENTS SECONDS [creates]
//! ```
//!
//! With `creates`, every request is a create.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tickets_cli::client::http_client;

/// The results of all clients.
#[derive(Default)]
struct Seen {
    created: std::sync::Mutex<HashSet<u64>>,
    unavailable: AtomicU64,
    failed: AtomicU64,
    highest: AtomicU64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, key, clients, seconds, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: load BASE_URL KEY CLIENTS SECONDS [creates]");
        return ExitCode::from(2);
    };
    let (Ok(clients), Ok(seconds)) = (clients.parse::<u64>(), seconds.parse()) else {
        eprintln!("CLIENTS and SECONDS are numbers");
        return ExitCode::from(2);
    };
    let only_creates = rest.first().is_some_and(|word| word == "creates");
    let seen = Arc::new(Seen::default());
    let until = Instant::now() + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..clients)
        .map(|at| tokio::spawn(client(base.clone(), key.clone(), at, until, only_creates, Arc::clone(&seen))))
        .collect();
    let mut latencies: Vec<(&str, Duration)> = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap_or_default());
    }
    for kind in ["create", "update", "get", "list"] {
        let mut times: Vec<_> = latencies
            .iter()
            .filter(|(of, _)| *of == kind)
            .map(|(_, took)| took.as_secs_f64() * 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            times.get(((times.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default()
        };
        let rate = times.len() as f64 / seconds as f64;
        println!(
            "{kind:6}  {rate:8.1}/s  p50 {:7.1} ms  p99 {:7.1} ms  max {:7.1} ms",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    let lost = lost(base, key, &seen).await;
    let (unavailable, failed) =
        (seen.unavailable.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed));
    println!("503: {unavailable}, other failures: {failed}, acknowledged tickets lost: {lost}");
    if failed + lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn client(
    base: String,
    key: String,
    number: u64,
    until: Instant,
    only_creates: bool,
    seen: Arc<Seen>,
) -> Vec<(&'static str, Duration)> {
    let http = http_client().build().unwrap_or_default();
    let mut rng = fastrand::Rng::with_seed(number);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let highest = seen.highest.load(Ordering::Relaxed).max(1);
        let id = rng.u64(1..=highest);
        let call =
            |method: Method, path: &str| http.request(method, format!("{base}{path}")).bearer_auth(&key);
        let subject = format!("Load {number}");
        let (kind, request): (_, RequestBuilder) = match if only_creates { 0 } else { rng.u32(0..10) } {
            0..=2 => {
                let body =
                    json!({"customerID": number + 1, "subject": subject, "ticketContent": "x".repeat(400)});
                ("create", call(Method::POST, "/tickets/").json(&body))
            }
            3..=4 => {
                let body = json!({"users": rng.u64(..).to_string()});
                ("update", call(Method::PATCH, &format!("/tickets/{id}")).json(&body))
            }
            5..=7 => ("get", call(Method::GET, &format!("/tickets/{id}"))),
            _ => {
                ("list", call(Method::GET, &format!("/tickets/?limit=50&idAfter={}", id.saturating_sub(50))))
            }
        };
        let began = Instant::now();
        let Ok(response) = request.send().await else {
            seen.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap_or_default();
        latencies.push((kind, began.elapsed()));
        match status {
            201 => {
                let id = body["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
                seen.highest.fetch_max(id, Ordering::Relaxed);
                if let Ok(mut created) = seen.created.lock() {
                    created.insert(id);
                }
            }
            200 | 404 => {}
            503 => drop(seen.unavailable.fetch_add(1, Ordering::Relaxed)),
            other => {
                eprintln!("{kind}: {other} {body}");
                seen.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    latencies
}

/// The number of acknowledged tickets that a full walk does not find.
async fn lost(base: &str, key: &str, seen: &Seen) -> u64 {
    let mut missing = seen.created.lock().map(|created| created.clone()).unwrap_or_default();
    let (http, mut after) = (http_client().build().unwrap_or_default(), 0);
    loop {
        let page = http.get(format!("{base}/tickets/?idAfter={after}")).bearer_auth(key).send().await;
        let Ok(page) = page else { return missing.len() as u64 };
        let page: Vec<Value> = page.json().await.unwrap_or_default();
        let Some(last) = page.last() else { return missing.len() as u64 };
        after = last["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
        for ticket in &page {
            missing.remove(&ticket["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default());
        }
    }
}
