//! Creators that share nothing but the table, as Lambda instances do: how many creates a second get
//! through, and how many give up at the write deadline.
//!
//! ```sh
//! cargo run --release -p tickets-tests --example contention -- CREATORS SECONDS
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tickets_cli::local::{Local, any_port};
use tickets_domain::{Clock, Form, Presets, TicketFields};
use tickets_repository::{Connection, Policy, Tickets, schema};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [creators, seconds] = arguments[..] else {
        eprintln!("usage: contention CREATORS SECONDS");
        return ExitCode::from(2);
    };
    let local = Local::in_memory(any_port()).await.expect("a database");
    let presets =
        Presets::parse(Presets::TYPES, Presets::STATUSES, Presets::PRIORITIES, "").expect("presets");
    let body = json!({"customerID": 1, "subject": "s", "ticketContent": "x".repeat(400)}).to_string();
    let fields =
        TicketFields::draft(Form::parse(body.as_bytes()).expect("a form"), &presets).expect("fields");
    let client = Connection::to(&local.url).open();
    let until = Instant::now() + Duration::from_secs(seconds);
    let tasks = (0..creators).map(|_| {
        let tickets = Tickets::new(client.clone(), schema::TICKETS, Clock::system(), Policy::default());
        let fields = fields.clone();
        tokio::spawn(async move {
            let (mut took, mut refused) = (Vec::new(), 0u64);
            while Instant::now() < until {
                let began = Instant::now();
                match tickets.create(&fields, None).await {
                    Ok(_) => took.push(began.elapsed()),
                    Err(_) => refused += 1,
                }
            }
            (took, refused)
        })
    });
    let outcomes = join_all(tasks).await.into_iter().flatten();
    let (took, refused): (Vec<_>, Vec<_>) = outcomes.unzip();
    let mut took: Vec<f64> = took.concat().iter().map(|took| took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get(((took.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default();
    let (rate, refused) = (took.len() as f64 / seconds as f64, refused.iter().sum::<u64>());
    println!(
        "{creators} creators: {rate:.0} creates/s, p50 {:.0} ms, p99 {:.0} ms, {refused} gave up",
        at(0.5),
        at(0.99)
    );
    ExitCode::SUCCESS
}
