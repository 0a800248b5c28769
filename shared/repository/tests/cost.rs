//! What calls cost, in DynamoDB's units: it follows the result, not the table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

mod support;

use serde_json::json;
use support::{Table, fields, page, presets, time};
use tickets_domain::id::{CustomerId, Precondition};
use tickets_domain::{Filter, Form, TicketChange, Timestamp};
use tickets_repository::bulk::{MAX_CHUNK, Sample};
use tickets_repository::{Meter, Policy, Tickets};

const NOW: &str = "2026-11-23T12:00:00Z";

/// Write units of a create, an update and a deletion of a ticket with so much content.
async fn writes(content: usize) -> [f64; 3] {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Policy::default()).metered(meter.clone());
    let body = || fields(json!({"customerID": 7, "subject": "s", "ticketContent": "x".repeat(content)}));
    // The first create reads the sequence, which an instance does once.
    tickets.create(&body(), None).await.unwrap();
    meter.take();
    let id = tickets.create(&body(), None).await.unwrap().ticket.id;
    let create = meter.take();

    // Half a unit for each 4 KB, twice that for a consistent read.
    let read = (content as f64 / 4096.0).ceil();
    table.advance(1000);
    let change = TicketChange::parse(Form::parse(br#"{"status": "closed"}"#).unwrap(), &presets()).unwrap();
    tickets.update(id, None, &Precondition::None, |ticket, now| change.apply(ticket, now)).await.unwrap();
    let update = meter.take() - read;
    tickets.delete(id, None, &Precondition::None).await.unwrap();
    [create, update, meter.take() - read]
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_cost_the_ticket_once_and_lean_index_entries() {
    // Size of the content, and the most a create, an update and a deletion may cost. A transaction
    // costs double: 2 for the sequence, 2 a KB of the ticket, 1 for each index.
    for (content, most) in [(300, [6.0, 4.0, 4.0]), (3000, [12.0, 7.0, 7.0]), (20_000, [44.0, 24.0, 24.0])] {
        let units = writes(content).await;
        eprintln!("content of {content} bytes: create, update, delete cost {units:?} write units");
        for (units, most) in units.into_iter().zip(most) {
            assert!(units > 0.0 && units <= most, "{content} bytes: {units} instead of at most {most}");
        }
    }
}

async fn fill(tickets: &Tickets, count: u64) {
    let start = time("2026-05-01").millis();
    let step = (time(NOW).millis() - start) / count as i64;
    let samples: Vec<_> = (0..count)
        .map(|at| {
            let stamp = Timestamp::from_millis(start + step * at as i64).unwrap();
            // Customer 1 has the last 100 tickets, whatever the size of the table.
            let customer = if at + 100 >= count { 1 } else { 2 + at % 50 };
            let content = "x".repeat(300);
            let fields = fields(json!({"customerID": customer, "subject": "s", "ticketContent": content}));
            Sample { fields, created: stamp, updated: stamp }
        })
        .collect();
    for chunk in samples.chunks(MAX_CHUNK) {
        tickets.append(chunk).await.unwrap();
    }
}

/// Read units of a get, and of three lists of 100 tickets, in a table of so many.
async fn reads(count: u64) -> [f64; 4] {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Policy::default()).metered(meter.clone());
    fill(&tickets, count).await;
    let hundredth = (time(NOW).millis() - time("2026-05-01").millis()) / count as i64 * 100;
    let since = time(NOW).minus(std::time::Duration::from_millis(hundredth.unsigned_abs()));
    let since = Filter { updated_since: Some(since), limit: Some(100), ..Filter::default() };
    let near_the_end = Filter { id_after: count - 100, ..Filter::default() };
    let customer = Filter { customer: Some(CustomerId::try_from(1).unwrap()), ..Filter::default() };
    meter.take();
    tickets.get(count.try_into().unwrap(), None).await.unwrap();
    let mut units = [meter.take(), 0.0, 0.0, 0.0];
    for (filter, units) in [near_the_end, since, customer].iter().zip(&mut units[1..]) {
        let (records, _) = page(&tickets, filter).await;
        assert!((99..=100).contains(&records.len()), "{}", records.len());
        *units = meter.take();
    }
    units
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_cost_the_same_in_a_small_table_and_a_large_one() {
    let (small, large) = (reads(1000).await, reads(20_000).await);
    eprintln!(
        "get, idAfter near the end, updatedSince, a customer's 100: {small:?} and {large:?} read units"
    );
    assert_eq!(small[0], 1.0);
    for (small, large) in small.into_iter().zip(large) {
        // An index query may cross a month's end, which costs half a unit.
        assert!((large - small).abs() <= 1.0, "{small} grew to {large}");
        assert!(large <= 110.0, "{large} for 100 tickets of less than a unit each");
    }
}
