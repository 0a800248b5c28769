//! What calls cost, in DynamoDB's units: it follows the result, not the table.

use crate::support::{Table, fields, fill, ids, new_ticket, page, pages, presets, read, time, writer};
use serde_json::json;
use tickets_domain::Settings;
use tickets_domain::count::{CountBy, CountQuery};
use tickets_domain::id::CustomerId;
use tickets_domain::idempotency::{Fingerprint, Idempotency};
use tickets_domain::precondition::Preconditions;
use tickets_domain::status::Statuses;
use tickets_domain::work_queue::AnyOf;
use tickets_domain::{
    Continuation, Filter, Fit, JsonObject, ListEnd, Row, TicketId, TicketInput, Timestamp, Visibility,
    WorkQueue,
};
use tickets_repository::operator::seed::{MAX_CHUNK, SeedTicket};
use tickets_repository::{Meter, Tickets};

const NOW: &str = "2026-11-23T12:00:00Z";

/// The write units of each operation on a ticket with so much content, by the operation's name.
async fn writes(content: usize) -> Vec<(&'static str, f64)> {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    let body = || new_ticket(json!({"customerID": 7, "subject": "s", "ticketContent": "x".repeat(content)}));
    let id = tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap().ticket.id();
    let mut units = vec![("create", meter.take())];
    let request = Idempotency::new(writer(), "key".parse().unwrap(), Fingerprint::new([1; 32]));
    tickets.create(&writer(), Visibility::All, &body(), Some(&request)).await.unwrap();
    // The look at the claim costs half a unit more.
    units.push(("with a key", meter.take() - 0.5));

    // Half a unit for each 4 KB, twice that for a consistent read.
    let read = (content as f64 / 4096.0).ceil();
    for (name, body) in [
        ("update", json!({"users": "u"})),
        ("reassign", json!({"owner": "o"})),
        ("status", json!({"status": "closed"})),
        ("move", json!({"customerID": 8})),
    ] {
        table.advance(1000);
        let change = TicketInput::change(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets());
        let change = change.unwrap();
        let apply = |ticket: &_, now| change.apply(ticket, now);
        tickets.update(id, &writer(), Visibility::All, &Preconditions::default(), apply).await.unwrap();
        units.push((name, meter.take() - read));
    }
    tickets.delete(id, &writer(), Visibility::All, &Preconditions::default()).await.unwrap();
    units.push(("delete", meter.take() - read));
    units
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_cost_the_ticket_once_and_lean_index_entries() {
    // 1 for the counter and 1 for a claim; 1 a KB of the ticket; 1 for each index entry, and 2 if it moves in
    // its index. An update touches byCustomer (1) and byUpdated (2); byStatus too if it changes a field of
    // work queues, twice if that is the status. A departure costs 3, and an entry leaves one customer for the
    // other.
    let most = [
        ("create", 4.0),
        ("with a key", 5.0),
        ("update", 3.0),
        ("reassign", 4.0),
        ("status", 5.0),
        ("move", 8.0),
        ("delete", 4.0),
    ];
    for (content, kilobytes) in [(300, 1.0), (3000, 4.0), (20_000, 20.0)] {
        let units = writes(content).await;
        eprintln!("content of {content} bytes: {units:?} write units");
        for ((name, units), (expected, most)) in units.into_iter().zip(most) {
            assert_eq!(name, expected);
            let most = most + kilobytes;
            assert!(units > 0.0 && units <= most, "{name} of {content} bytes: {units}, not at most {most}");
        }
    }
}

/// Adds so many tickets over half a year.
async fn fill_half_a_year(tickets: &Tickets, count: u64) {
    let start = time("2026-05-01").millis();
    let step = (time(NOW).millis() - start) / count as i64;
    let samples: Vec<_> = (0..count)
        .map(|at| {
            let stamp = Timestamp::from_millis(start + step * at as i64).unwrap();
            // Customer 1 has the last 100 tickets, whatever the size of the table.
            let customer = if at + 100 >= count { 1 } else { 2 + at % 50 };
            let content = "x".repeat(300);
            let fields = fields(json!({"customerID": customer, "subject": "s", "ticketContent": content}));
            SeedTicket { fields, created: stamp, updated: stamp }
        })
        .collect();
    for chunk in samples.chunks(MAX_CHUNK) {
        tickets.append(&writer(), chunk).await.unwrap();
    }
}

/// The read units of a get, and of three lists of 100 tickets, in a table of so many.
async fn reads(count: u64) -> [f64; 4] {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    fill_half_a_year(&tickets, count).await;
    let hundredth = (time(NOW).millis() - time("2026-05-01").millis()) / count as i64 * 100;
    let since = time(NOW).minus(std::time::Duration::from_millis(hundredth.unsigned_abs()));
    let since = Filter { updated_since: Some(since), limit: Some(100), ..Filter::default() };
    let near_the_end = Filter { id_after: count - 100, ..Filter::default() };
    let customer = Filter { customer: Some(CustomerId::try_from(1).unwrap()), ..Filter::default() };
    meter.take();
    tickets.get(count.try_into().unwrap(), Visibility::All).await.unwrap();
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
    let (small, large) = (reads(1000).await, reads(8000).await);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_s_list_of_changes_costs_what_the_smaller_index_does() {
    let table = Table::new("2026-01-30").await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    // Customer 1 has 4,000 tickets, none of them changed; customer 2 has 20, on a day when everything
    // changed.
    fill(&tickets, 4000, 1, time("2026-01-01")).await;
    let since = time("2026-01-20");
    let changed: Vec<_> = (0..4000)
        .map(|at| {
            let fields = fields(json!({"customerID": if at % 200 == 0 { 2 } else { 3 }, "subject": "s"}));
            SeedTicket { fields, created: since, updated: since }
        })
        .collect();
    for chunk in changed.chunks(tickets_repository::operator::seed::MAX_CHUNK) {
        tickets.append(&writer(), chunk).await.unwrap();
    }
    let units = async |customer: u64, since: &str| {
        let customer = Some(CustomerId::try_from(customer).unwrap());
        let filter = Filter { customer, updated_since: Some(time(since)), ..Filter::default() };
        meter.take();
        let (records, _) = page(&tickets, &filter).await;
        (records.len(), meter.take())
    };
    let (found, cost) = units(1, "2026-01-25").await;
    assert!(found == 0 && cost <= 8.0, "nothing changed, and it costs {cost}");
    let (found, cost) = units(2, "2026-01-20").await;
    assert!(found == 20 && cost <= 20.0 + 14.0, "20 tickets cost {cost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_large_tickets_are_fetched_than_a_page_holds() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    let content = "x".repeat(256 * 1024);
    let large: Vec<_> = (0..60)
        .map(|_| {
            let body = json!({"customerID": 1, "subject": "s", "ticketContent": content});
            SeedTicket { fields: fields(body), created: time("2026-01-02"), updated: time("2026-01-02") }
        })
        .collect();
    for chunk in large.chunks(10) {
        tickets.append(&writer(), chunk).await.unwrap();
    }
    for filter in [
        Filter::default(),
        Filter { updated_since: Some(time("2026-01-01")), ..Filter::default() },
        Filter { customer: Some(CustomerId::try_from(1).unwrap()), ..Filter::default() },
    ] {
        meter.take();
        let mut taken = 0;
        // A reply of 6 MB has room for 23.
        let take = |_: &Row| {
            taken += 1;
            if taken > 23 { Fit::Full } else { Fit::Added }
        };
        tickets.list(&filter, &Continuation::default(), Visibility::All, take).await.unwrap();
        let (fetched, returned) = (meter.take() / 65.0, 23.0);
        assert!(fetched <= 1.5 * returned, "{filter:?}: {fetched} fetched for {returned}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_changes_does_not_pay_for_all_of_them() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let settings = Settings { most_keys: 400, most_ids: 400, ..Settings::default() };
    let tickets = table.tickets(settings).metered(meter.clone());
    let since = time("2026-01-20");
    // One ticket in thirty has changed, so that none are neighbours, and as many as a list reads keys of.
    let seeds: Vec<_> = (0..12_000)
        .map(|at| {
            let updated = if at % 30 == 0 { since } else { time("2026-01-02") };
            let fields = fields(json!({"customerID": 1, "subject": "s"}));
            SeedTicket { fields, created: time("2026-01-01"), updated }
        })
        .collect();
    for chunk in seeds.chunks(tickets_repository::operator::seed::MAX_CHUNK) {
        tickets.append(&writer(), chunk).await.unwrap();
    }
    let mut filter = Filter { updated_since: Some(since), limit: Some(100), ..Filter::default() };
    let (mut found, mut costs) = (Continuation::default(), Vec::new());
    loop {
        meter.take();
        let (records, end) = read(&tickets, &filter, &found).await;
        costs.push(meter.take());
        assert_eq!(records.len(), 100);
        match end {
            ListEnd::Complete => break,
            ListEnd::More { after, found: next } => (filter.id_after, found) = (after, next),
        }
    }
    assert_eq!(costs.len(), 4);
    assert!(costs.iter().all(|cost| *cost <= 300.0), "{costs:?}");
    let later = &costs[1..];
    assert!(
        later.iter().all(|cost| *cost <= 102.0),
        "what the first page found out is found out again: {costs:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_of_many_changes_costs_little_more_than_a_page_by_id() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings { most_keys: 2000, ..Settings::default() }).metered(meter.clone());
    fill(&tickets, 3000, 1, time("2026-01-01")).await;
    let mut costs = Vec::new();
    for id_after in [0, 100, 1500] {
        let by_id = Filter { id_after, limit: Some(100), ..Filter::default() };
        let changed = Filter { updated_since: Some(time("2026-01-01")), ..by_id.clone() };
        meter.take();
        page(&tickets, &by_id).await;
        let cost = meter.take();
        // As a loop on `idAfter` asks, which knows no continuation.
        let (records, end) = read(&tickets, &changed, &Continuation::Unknown).await;
        let last = id_after + 100;
        assert_eq!((records.len(), end), (100, ListEnd::More { after: last, found: Continuation::Walk }));
        costs.push((cost, meter.take()));
    }
    eprintln!("a page by id, and one of changes: {costs:?} read units");
    // 200 keys before the walk begins and 400 beside it: some 60 a unit, rounded up for each of eight queries.
    assert!(costs.iter().all(|(by_id, changed)| *changed <= by_id + 14.0), "{costs:?}");
    // Far below three times what its hundred tickets cost one by one.
    assert!(costs.iter().all(|(_, changed)| *changed <= 100.0), "{costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_changes_cost_no_walk() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    fill(&tickets, 3000, 1, time("2026-01-01")).await;
    let since = time("2026-01-20");
    fill(&tickets, 90, 1, since).await;
    let changed = Filter { updated_since: Some(since), ..Filter::default() };
    meter.take();
    assert_eq!(page(&tickets, &changed).await.0.len(), 90);
    let cost = meter.take();
    // A unit each, the counter, and four queries of each month since.
    assert!(cost <= 90.0 + 1.0 + 11.0 * 2.0 + 2.0, "{cost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_over_dense_changes_costs_what_a_page_by_id_does() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings { most_keys: 500, ..Settings::default() }).metered(meter.clone());
    fill(&tickets, 3000, 1, time("2026-01-01")).await;
    let limit = Some(100);
    let by_id = Filter { id_after: 100, limit, ..Filter::default() };
    let changed = Filter { updated_since: Some(time("2026-01-01")), ..by_id.clone() };
    meter.take();
    page(&tickets, &by_id).await;
    let cost = meter.take();
    let (records, end) = read(&tickets, &changed, &Continuation::Walk).await;
    assert_eq!((records.len(), end), (100, ListEnd::More { after: 200, found: Continuation::Walk }));
    assert!(meter.take() <= cost + 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_high_ids_are_found_without_reading_every_bucket() {
    let table = Table::new("2026-03-01T00:00:00Z").await;
    let meter = Meter::counting();
    let tickets =
        table.tickets(Settings { most_keys: 50, most_ids: 60, ..Settings::default() }).metered(meter.clone());
    fill(&tickets, 7800, 3, time("2026-01-01")).await;
    let since = time("2026-02-01");
    fill(&tickets, 200, 3, since).await;
    let mut changed: Vec<u64> = (7801..=8000).collect();
    let all = Filter { updated_since: Some(since), ..Filter::default() };
    let first = Filter { limit: Some(10), ..all.clone() };

    meter.take();
    let (records, more) = page(&tickets, &first).await;
    assert_eq!((ids(&records), more), ((7801..=7810).collect(), true));
    let jumped = meter.take();
    page(&tickets, &Filter::default()).await;
    let walk = meter.take();
    assert!(jumped < walk, "{jumped} units, where a walk over everything takes {walk}");

    // Some in between, also at a bucket's ends, with gaps that a page ends in and gaps it does not.
    for id in [1, 999, 1000, 2500, 2501, 3999, 6000] {
        let change = TicketInput::change(JsonObject::parse(br#"{"owner": "o"}"#).unwrap(), &presets());
        let change = change.unwrap();
        let apply = |ticket: &_, now| change.apply(ticket, now);
        let ticket = TicketId::try_from(id).unwrap();
        tickets.update(ticket, &writer(), Visibility::All, &Preconditions::default(), apply).await.unwrap();
        changed.push(id);
    }
    changed.sort_unstable();
    for limit in [None, Some(3), Some(1000)] {
        assert_eq!(ids(&pages(&tickets, &Filter { limit, ..all.clone() }).await), changed, "{limit:?}");
    }
    let until = Filter { updated_until: Some(since), ..all.clone() };
    assert_eq!(ids(&pages(&tickets, &until).await), [7801]);
    let beyond = Filter { id_after: 7990, ..all };
    assert_eq!(ids(&pages(&tickets, &beyond).await), (7991..=8000).collect::<Vec<_>>());
}

/// A table of so many tickets. 400 of them, spread over it, are open; 20 of those are Grace's.
async fn desk(count: u64) -> (Table, Tickets, Meter) {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    let open = count / 400;
    let seeds: Vec<_> = (0..count)
        .map(|at| {
            let status = if at % open == 0 { "open" } else { "closed" };
            let owner = if at % (20 * open) == 0 { "Grace" } else { "ada" };
            let fields = fields(json!({"customerID": 1, "subject": "s", "status": status, "owner": owner}));
            SeedTicket { fields, created: time("2026-01-01"), updated: time("2026-01-02") }
        })
        .collect();
    for chunk in seeds.chunks(MAX_CHUNK) {
        tickets.append(&writer(), chunk).await.unwrap();
    }
    (table, tickets, meter)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_work_queue_in_which_nothing_matches_ends_after_its_allowance() {
    let presets = presets();
    let table = Table::new(NOW).await;
    // Ada has all tickets but the last one, which is Grace's.
    let seeds: Vec<_> = (1..=3000)
        .map(|at| {
            let owner = if at == 3000 { "grace" } else { "ada" };
            let fields = fields(json!({"customerID": 1, "subject": "s", "status": "open", "owner": owner}));
            SeedTicket { fields, created: time("2026-11-01"), updated: time("2026-11-02") }
        })
        .collect();
    for chunk in seeds.chunks(MAX_CHUNK) {
        table.tickets(Settings::default()).append(&writer(), chunk).await.unwrap();
    }
    let (customer, since) = (Some(CustomerId::try_from(1).unwrap()), Some(time("2026-11-01")));
    let owners = Some(AnyOf::of(&presets.owner.choose_any("grace").unwrap()));
    let queue = WorkQueue { owners, ..WorkQueue::default() };
    let graces = || Filter { queue: queue.clone(), ..Filter::default() };
    let open = WorkQueue { statuses: Some(Statuses::open(true, &presets)), ..queue.clone() };
    let open = || Filter { queue: open.clone(), ..Filter::default() };
    // What is read for nothing is keys, tickets that are fetched, or tickets in order. The last step may go beyond the
    // allowance: by a query of each partition, or a bucket.
    for (name, filter, most_keys, allowance, step) in [
        ("open", open(), 12_000, 10.0, 10.0),
        ("open, pages of one", Filter { limit: Some(1), ..open() }, 12_000, 10.0, 10.0),
        ("a customer's", Filter { customer, ..graces() }, 12_000, 300.0, 60.0),
        ("a customer's, pages of one", Filter { customer, limit: Some(1), ..graces() }, 12_000, 300.0, 60.0),
        ("a customer's open", Filter { customer, ..open() }, 12_000, 15.0, 15.0),
        ("changes", Filter { updated_since: since, ..graces() }, 12_000, 60.0, 100.0),
        ("many changes", Filter { updated_since: since, ..graces() }, 1000, 60.0, 100.0),
        ("open changes", Filter { updated_since: since, ..open() }, 12_000, 20.0, 15.0),
        ("a customer's changes", Filter { customer, updated_since: since, ..graces() }, 12_000, 300.0, 60.0),
    ] {
        let meter = Meter::counting();
        let settings = Settings { most_keys, most_vain_units: allowance, ..Settings::default() };
        let tickets = table.tickets(settings).metered(meter.clone());
        let (mut filter, mut found, mut costs) = (filter, Continuation::default(), Vec::new());
        let mut listed = Vec::new();
        loop {
            let (records, end) = read(&tickets, &filter, &found).await;
            costs.push(meter.take());
            listed.extend(ids(&records));
            let ListEnd::More { after, found: next } = end else { break };
            assert!(after > filter.id_after, "{name}: it goes on after {after}");
            (filter.id_after, found) = (after, next.to_string().parse().unwrap_or_default());
        }
        eprintln!("{name}: {costs:?} read units");
        assert_eq!(listed, [3000], "{name}");
        assert!(costs.len() > 1 && costs.iter().all(|cost| *cost <= allowance + step), "{name}: {costs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_asked_for_by_id_cost_a_unit_each() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    fill(&tickets, 2000, 2, time("2026-01-01")).await;
    let known: Vec<u64> = (1..=100).map(|at| at * 19).collect();
    let asked = known.iter().map(|id| TicketId::try_from(*id).unwrap()).collect();
    let filter = Filter { ids: Some(asked), ..Filter::default() };
    meter.take();
    let (records, more) = page(&tickets, &filter).await;
    assert_eq!((ids(&records), more), (known.clone(), false));
    assert_eq!(meter.take(), 101.0, "with the counter, for the epoch");
    let own = Filter { customer: Some(CustomerId::try_from(1).unwrap()), limit: Some(10), ..filter };
    let (records, more) = page(&tickets, &own).await;
    // Customer 1 has the odd ones.
    assert_eq!((ids(&records), more), (known.into_iter().filter(|id| id % 2 == 1).take(10).collect(), true));
    assert!(meter.take() <= 50.0, "no more than the page has room for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_costs_what_it_holds_whatever_the_table_has() {
    let presets = presets();
    let open = || Some(Statuses::open(true, &presets));
    let grace = || Some(AnyOf::of(&presets.owner.choose_any("grace").unwrap()));
    let closed = Some(Statuses::any_of(&presets.any_status().choose_any("closed").unwrap()));
    // A page of 100: its tickets, and half a unit for each partition of each status. Grace's page: the keys
    // of all 400 open tickets, of some 200 bytes, read once, and her 20 tickets.
    let asked = [
        ("open", WorkQueue { statuses: open(), ..WorkQueue::default() }, Some(100), None, 100, 112.0),
        ("closed", WorkQueue { statuses: closed, ..WorkQueue::default() }, Some(100), None, 100, 108.0),
        (
            "grace's",
            WorkQueue { statuses: open(), owners: grace(), ..WorkQueue::default() },
            None,
            None,
            20,
            40.0,
        ),
        (
            "grace's, of customer 1",
            WorkQueue { statuses: open(), owners: grace(), ..WorkQueue::default() },
            None,
            Some(1),
            20,
            60.0,
        ),
    ];
    let mut before: Option<Vec<f64>> = None;
    for count in [800, 4000] {
        let (_table, tickets, meter) = desk(count).await;
        let mut costs = Vec::new();
        for (name, queue, limit, customer, expected, most) in &asked {
            let customer = customer.map(|id: u64| CustomerId::try_from(id).unwrap());
            let filter = Filter { queue: queue.clone(), limit: *limit, customer, ..Filter::default() };
            meter.take();
            let (records, _) = page(&tickets, &filter).await;
            costs.push(meter.take());
            assert_eq!(records.len(), *expected, "{name}");
            assert!(costs.last().unwrap() <= most, "{name} of {count}: {costs:?}");
        }
        eprintln!("work queues of {count} tickets: {costs:?} read units");
        if let Some(before) = &before {
            // With a customer both indexes are read, and how far each is ahead differs.
            let flat = before.iter().zip(&costs).all(|(small, large)| *large <= small * 1.5);
            assert!(flat, "{before:?} grew to {costs:?}");
        }
        before = Some(costs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_costs_a_unit_for_some_sixty_tickets_and_nothing_for_those_of_other_statuses() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    let units = async || {
        let statuses = Statuses::open(true, &presets());
        let query = CountQuery { by: vec![CountBy::Owner], statuses, queue: WorkQueue::default() };
        meter.take();
        let (counter, complete) = tickets.count(&query, Visibility::All).await.unwrap();
        (counter.finish(complete, &presets()), meter.take())
    };
    fill(&tickets, 3000, 1, time("2026-01-01")).await;
    let (counted, few) = units().await;
    assert_eq!((counted.total, counted.complete), (3000, true));
    assert!(few <= 3000.0 / 50.0 + 6.0, "{few}");
    let closed = fields(json!({"customerID": 1, "subject": "s", "status": "closed"}));
    let closed = SeedTicket { fields: closed, created: time("2026-02-01"), updated: time("2026-02-01") };
    for chunk in vec![closed; 3000].chunks(MAX_CHUNK) {
        tickets.append(&writer(), chunk).await.unwrap();
    }
    assert_eq!(units().await, (counted, few));
    eprintln!("a count of 3,000 tickets: {few} read units");
}
