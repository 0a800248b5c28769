//! Measures how a greedy caller affects another one, on the model of DynamoDB. A polite caller creates and
//! gets tickets: alone, beside a key that creates at ten times its limit, and beside the same key without a
//! limit. Time is virtual.
//!
//! ```sh
//! cargo run --release -p tickets-bench --bin limits -- SECONDS
//! ```
//!
//! The exit code is 1 if the greedy key with a limit makes the polite caller's 99th percentile more than 1.5
//! times as long.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use support::simulation::{Simulation, simulate};
use tickets_domain::RateLimit;
use tickets_domain::Settings;
use tokio::time::Instant;

/// The greedy key's limit, and the requests that it sends a second.
const LIMIT: &str = "200/s";
const GREEDY: f64 = 2000.0;
/// The creates that the polite caller sends a second.
const POLITE: f64 = 50.0;
const MOST: f64 = 1.5;

/// The status and the milliseconds of each of a caller's requests.
type Answers = Rc<RefCell<Vec<(u16, f64)>>>;

/// Sends `rate` creates a second for `seconds`; with `reads`, also a get for each create.
async fn offer(api: Simulation, rate: f64, seconds: f64, reads: bool) -> Vec<(u16, f64)> {
    let answers = Answers::default();
    let (began, mut sent) = (Instant::now(), Vec::new());
    for at in 0..(rate * seconds) as u64 {
        tokio::time::sleep_until(began + Duration::from_secs_f64((at as f64 + fastrand::f64()) / rate)).await;
        let (api, answers) = (api.clone(), Rc::clone(&answers));
        sent.push(tokio::task::spawn_local(async move {
            let body = json!({"customerID": 1 + fastrand::u64(..1000), "subject": "s", "ticketContent": "x".repeat(300)});
            let began = Instant::now();
            let reply = match reads && at % 2 == 1 {
                true => api.call("GET", "/tickets/1", &[], None).await,
                false => api.call("POST", "/tickets/", &[], Some(&body)).await,
            };
            answers.borrow_mut().push((reply.status, began.elapsed().as_secs_f64() * 1e3));
        }));
    }
    for request in sent {
        let _ = request.await;
    }
    answers.take()
}

/// Prints a row, and returns the polite caller's 99th percentile.
fn run(what: &str, seconds: f64, greedy: Option<Option<RateLimit>>) -> f64 {
    let (polite, greedy) = simulate(1, async {
        let api = Simulation::start(1, Settings::default()).await;
        api.model.limit_partitions();
        let greedy = match greedy {
            Some(limit) => Some(api.other_caller(limit).await),
            None => None,
        };
        // Let the instances learn the keys; afterwards the clock is in the middle of a window.
        for caller in [Some(&api), greedy.as_ref()].into_iter().flatten() {
            let warm = (0..100).map(|_| {
                let caller = caller.clone();
                tokio::task::spawn_local(async move { caller.call("GET", "/tickets/1", &[], None).await })
            });
            for call in warm.collect::<Vec<_>>() {
                let _ = call.await;
            }
        }
        let others = tokio::task::spawn_local(async move {
            match greedy {
                Some(greedy) => offer(greedy, GREEDY, seconds, false).await,
                None => Vec::new(),
            }
        });
        let polite = offer(api, POLITE, seconds, true).await;
        (polite, others.await.unwrap_or_default())
    });
    let mut took: Vec<_> = polite.iter().map(|(_, took)| *took).collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let refused = polite.iter().filter(|(status, _)| *status >= 400 && *status != 404).count();
    let of = |wanted: u16| greedy.iter().filter(|(status, _)| *status == wanted).count() as f64 / seconds;
    let (p50, p99, longest) = (at(0.5), at(0.99), at(1.0));
    let (made, limited, failed) = (of(201), of(429), of(503));
    println!(
        "| {what} | {p50:.0} | {p99:.0} | {longest:.0} | {refused} | {made:.0} | {limited:.0} | {failed:.0} |"
    );
    p99
}

fn main() -> ExitCode {
    let seconds: f64 = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 20.0,
        Some(Ok(seconds)) => seconds,
        Some(Err(_)) => {
            eprintln!("usage: limits SECONDS");
            return ExitCode::from(2);
        }
    };
    println!("| the other caller | p50 ms | p99 ms | longest ms | refused | greedy: 201/s | 429/s | 503/s |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let alone = run("alone", seconds, None);
    let limited =
        run(&format!("beside {GREEDY} creates/s of a key with {LIMIT}"), seconds, Some(LIMIT.parse().ok()));
    run(&format!("beside {GREEDY} creates/s of a key without a limit"), seconds, Some(None));
    println!("\n99th percentile, beside the greedy key with a limit: {:.2} × that of alone", limited / alone);
    if limited <= MOST * alone { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
