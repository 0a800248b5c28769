//! Compares the time that bad input takes with that of a valid request of the same size. Each ratio must be
//! at most 2. The API runs in this process. Each request is sent several times and the fastest counts,
//! because disturbances only slow it down.
//!
//! ```sh
//! cargo run --release -p tickets-bench --bin bad_input
//! ```
//!
//! The exit code is 1 if a ratio is higher.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use support::{Api, Options, answer};

const TIMES: u32 = 7;
const MOST: f64 = 2.0;

async fn fastest(api: &Api, body: &str) -> (u16, usize, Duration) {
    let mut best = (0, 0, Duration::MAX);
    for _ in 0..TIMES {
        let request = api.request(Method::POST, "/tickets/").header(CONTENT_TYPE, "application/json");
        let request = request.body(body.to_owned());
        let began = Instant::now();
        let answer = answer(request).await;
        let took = began.elapsed();
        if took < best.2 {
            best = (answer.status, answer.text.len(), took);
        }
    }
    best
}

fn members(names: impl Iterator<Item = String>) -> Value {
    Value::Object(names.map(|name| (name, Value::from(1))).collect::<Map<_, _>>())
}

/// A valid body of this size with this many rows. One ticket cannot hold as much as the largest bad input.
fn valid(bytes: usize, rows: usize) -> String {
    let content = "x".repeat((bytes / rows).saturating_sub(60));
    let row = json!({"customerID": 1, "subject": "s", "ticketContent": content});
    let batch: Value = (0..rows).map(|_| row.clone()).collect();
    if rows == 1 { row.to_string() } else { batch.to_string() }
}

#[tokio::main]
async fn main() -> ExitCode {
    let api = Api::start_with(Options { without_history: true, ..Options::default() }).await;
    let cases = [
        ("150,000 unknown members", members((0..150_000).map(|n| format!("a{n}"))).to_string()),
        ("1,990 names of 1,000 bytes", members((0..1990).map(|n| format!("{n:0>1000}"))).to_string()),
        ("9,000 names of 99 characters", members((0..9_000).map(|n| format!("{n:ü>99}"))).to_string()),
        (
            "names that are near to known ones",
            members((0..90_000).map(|n| format!("subject{n}"))).to_string(),
        ),
        ("100 rows of 1,500 unknown members", (0..100).map(|_| row(1500, 6)).collect::<Value>().to_string()),
        ("100 rows of 60 names of 90 bytes", (0..100).map(|_| row(60, 90)).collect::<Value>().to_string()),
        (
            "a value of 2 MB",
            json!({"customerID": 1, "subject": "s", "status": "q".repeat(1_990_000)}).to_string(),
        ),
        ("brackets", "[".repeat(1_990_000)),
    ];
    let mut over = false;
    println!(
        "| bad input | bytes | status | answer, bytes | ms | valid, ms | ratio |\n|---|---|---|---|---|---|---|"
    );
    for (name, body) in cases {
        // One ticket if it can be that large, else as few as possible.
        let rows = if body.starts_with("[{") { 100 } else { body.len().div_ceil(256 * 1024) };
        let (status, answered, bad) = fastest(&api, &body).await;
        let (valid_status, _, good) = fastest(&api, &valid(body.len(), rows)).await;
        assert!(valid_status == 201 || valid_status == 207, "{valid_status}");
        let ratio = bad.as_secs_f64() / good.as_secs_f64();
        over |= ratio > MOST;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "| {name} | {} | {status} | {answered} | {:.1} | {:.1} | {ratio:.2} |",
            body.len(),
            ms(bad),
            ms(good)
        );
    }
    if over { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn row(count: usize, length: usize) -> Value {
    members((0..count).map(|n| format!("{n:m>length$}")))
}
