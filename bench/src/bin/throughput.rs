//! Measures what the API sustains on the model of DynamoDB: a burst of creates, and steady rates of creates
//! and updates. Each request has an instance to itself. Time is virtual: latencies, throttling and deadlines
//! are the model's, and the speed of this machine does not matter.
//!
//! ```sh
//! cargo run --release -p tickets-bench --bin throughput -- SECONDS
//! ```
//!
//! The exit code is 1 if a request was refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use support::simulation::{Simulation, simulate};
use tickets_domain::Settings;
use tokio::time::Instant;

/// The results of requests.
#[derive(Default)]
struct Tally {
    took: Vec<f64>,
    statuses: BTreeMap<u16, u64>,
}

impl Tally {
    /// Prints a row, and returns how many were refused.
    fn print(&mut self, what: &str, seconds: f64, units: f64) -> u64 {
        self.took.sort_by(f64::total_cmp);
        let at = |share: f64| self.took[((self.took.len() - 1) as f64 * share) as usize];
        let (sent, done) = (self.took.len(), self.statuses.iter().filter(|(status, _)| **status < 300));
        let done: u64 = done.map(|(_, count)| count).sum();
        println!(
            "| {what} | {sent} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.1} |",
            done as f64 / seconds,
            at(0.5),
            at(0.99),
            at(1.0),
            sent as u64 - done,
            units / sent as f64,
        );
        sent as u64 - done
    }
}

fn body(content: usize) -> Value {
    json!({"customerID": 1 + fastrand::u64(..1000), "subject": "s", "ticketContent": "x".repeat(content)})
}

async fn send(api: Simulation, method: &'static str, path: String, body: Value, tally: Rc<RefCell<Tally>>) {
    let began = Instant::now();
    let reply = api.call(method, &path, &[], Some(&body)).await;
    let mut tally = tally.borrow_mut();
    tally.took.push(began.elapsed().as_secs_f64() * 1e3);
    *tally.statuses.entry(reply.status).or_default() += 1;
}

/// Sends each request at its time, and waits for all. Instances are warm: they know the key.
async fn offer(
    api: &Simulation,
    what: &str,
    count: usize,
    rate: Option<f64>,
    request: impl Fn(usize) -> (&'static str, String, Value),
) -> u64 {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let (_, before) = api.model.usage();
    let began = Instant::now();
    let mut sent = Vec::with_capacity(count);
    for at in 0..count {
        if let Some(rate) = rate {
            // Steady on average, at a random moment within each slot.
            tokio::time::sleep_until(began + Duration::from_secs_f64((at as f64 + fastrand::f64()) / rate))
                .await;
        }
        let (method, path, body) = request(at);
        sent.push(tokio::task::spawn_local(send(api.clone(), method, path, body, Rc::clone(&tally))));
    }
    for request in sent {
        let _ = request.await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let units = api.model.usage().1 - before;
    tally.borrow_mut().print(what, seconds, units)
}

/// Runs a scenario on a model of its own.
fn run<F: Future<Output = u64>>(scenario: impl FnOnce(Simulation) -> F) -> u64 {
    simulate(1, async {
        let api = Simulation::start(1, Settings::default()).await;
        api.model.limit_partitions();
        // As many instances as will be needed at once, each of which looks up the key.
        let warm: Vec<_> = (0..500)
            .map(|_| {
                let api = api.clone();
                tokio::task::spawn_local(async move { api.call("GET", "/tickets/1", &[], None).await })
            })
            .collect();
        for call in warm {
            let _ = call.await;
        }
        scenario(api).await
    })
}

fn main() -> ExitCode {
    let seconds: usize = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 60,
        Some(Ok(seconds)) => seconds,
        Some(Err(_)) => {
            eprintln!("usage: throughput SECONDS");
            return ExitCode::from(2);
        }
    };
    let create = |content: usize| move |_: usize| ("POST", "/tickets/".to_owned(), body(content));
    println!("| what | requests | done/s | p50 ms | p99 ms | longest ms | refused | write units each |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let mut refused = 0;
    for at_once in [200, 500] {
        let what = format!("{at_once} creates at once, 0.5 KB");
        refused += run(|api| async move { offer(&api, &what, at_once, None, create(300)).await });
    }
    for (rate, content, size) in [
        (50, 300, "0.5 KB"),
        (300, 300, "0.5 KB"),
        (1000, 300, "0.5 KB"),
        (330, 2_800, "3 KB"),
        (200, 19_900, "20 KB"),
    ] {
        let what = format!("{rate} creates/s, {size}");
        run(
            |api| async move { offer(&api, &what, rate * seconds, Some(rate as f64), create(content)).await },
        );
    }
    refused += run(|api| async move {
        let rate = 2000;
        let tickets = (rate * seconds).min(20_000);
        for at in 0..tickets / 500 {
            let requests: Vec<_> = (0..500)
                .map(|_| {
                    let api = api.clone();
                    tokio::task::spawn_local(async move {
                        // Fill the table at a rate that it can take.
                        tokio::time::sleep(Duration::from_millis(fastrand::u64(..1000))).await;
                        api.call("POST", "/tickets/", &[], Some(&body(300))).await
                    })
                })
                .collect();
            for request in requests {
                assert!(request.await.is_ok_and(|reply| reply.status == 201), "filling, round {at}");
            }
        }
        let update = |at: usize| {
            let body = json!({"users": format!("{at}")});
            ("PATCH", format!("/tickets/{}", 1 + at % tickets), body)
        };
        offer(&api, &format!("{rate} updates/s, 0.5 KB"), rate * seconds, Some(rate as f64), update).await
    });
    if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
