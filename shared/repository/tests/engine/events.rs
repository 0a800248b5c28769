//! The feed of events: in the order in which they were recorded, whatever the clocks, and without a gap.

use std::time::Duration;

use serde_json::json;
use tickets_domain::preset::Choices;
use tickets_domain::{
    Clock, Event, EventFilter, EventType, EventsEnd, Fit, Meter, Settings, TicketId, Timestamp, Visibility,
};
use tickets_repository::History;

use crate::history::{NOW, Recorded, streamed};
use crate::support::{counts_units, fill, time, writer};

/// Everything that may be read.
const ALL: Timestamp = Timestamp::MAX;

/// A page of the feed, and how it ended.
async fn page(
    history: &History,
    filter: &EventFilter,
    visibility: Visibility,
    until: Timestamp,
) -> (Vec<Event>, EventsEnd) {
    let mut events = Vec::new();
    let take = |event: &Event| {
        events.push(event.clone());
        Fit::Added
    };
    let end = history.events(filter, visibility, until, take).await.unwrap();
    (events, end)
}

/// All events up to the time of the test.
async fn feed(recorded: &Recorded) -> Vec<Event> {
    let (events, end) =
        page(&recorded.history, &EventFilter::default(), Visibility::All, recorded.table.clock.now()).await;
    assert_eq!(end, EventsEnd::Complete);
    events
}

/// The tickets and versions of events.
fn versions(events: &[Event]) -> Vec<(u64, u64)> {
    events.iter().map(|event| (event.ticket.get(), event.version.get())).collect()
}

/// Creates a ticket and records it. `at` is when it is recorded.
async fn recorded_at(recorded: &Recorded, at: &str, customer: u64) -> TicketId {
    recorded.table.set(time(at));
    let id = recorded.create(json!({"customerID": customer, "subject": "s"})).await;
    let created = streamed(&None, &recorded.item(id).await).version().unwrap().unwrap();
    recorded.history.record(created, None).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_says_what_changed_and_how_the_ticket_is_after_it() {
    let recorded = Recorded::new().await;
    let (id, versions) = recorded.ticket(false).await;
    for version in versions {
        recorded.table.advance(1000);
        recorded.history.record(version, None).await.unwrap();
    }
    let events = feed(&recorded).await;
    let shown: Vec<_> = events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    let event = |version: u64, kind: &str, customer: u64, fields: &[&str], owner: Option<&str>| {
        let date = time(NOW).plus(Duration::from_secs(version - 1));
        let mut event = json!({
            "id": events[version as usize - 1].id, "type": kind, "ticket": id, "customerID": customer,
            "version": version, "date": date, "by": writer(), "fields": fields, "status": "open",
            "ticketPriority": "normal",
        });
        event.as_object_mut().unwrap().extend(owner.map(|owner| ("owner".to_owned(), json!(owner))));
        event
    };
    let all = ["customerID", "owner", "status", "subject", "ticketPriority"];
    assert_eq!(
        shown,
        [
            event(1, "ticket.created", 7, &all, Some("ada")),
            event(2, "ticket.updated", 7, &["owner", "subject"], None),
            event(3, "ticket.updated", 7, &["users"], None),
            event(4, "ticket.updated", 8, &["customerID"], None),
        ]
    );
    assert_eq!(events[0].id.recorded(), time(NOW).plus(Duration::from_secs(4)), "after three changes");
    // The customer that it left sees it until then.
    let of = async |customer: u64| {
        let visibility = Visibility::Only(customer.try_into().unwrap());
        page(&recorded.history, &EventFilter::default(), visibility, ALL).await.0
    };
    let left = of(7).await;
    assert_eq!(left[..3], events[..3]);
    assert_eq!((left.len(), left[3].customer, &left[3].shown), (4, None, &Choices::default()));
    assert_eq!(of(8).await, events[3..]);
    assert!(of(9).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_ticket_leaves_names_in_its_events_and_no_values_in_whatever_order_they_came() {
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 4, 2, 1, 3]] {
        let recorded = Recorded::new().await;
        let (id, all) = recorded.ticket(true).await;
        for at in order {
            recorded.table.advance(1000);
            recorded.history.record(all[at].clone(), None).await.unwrap();
        }
        let mut events = feed(&recorded).await;
        let recorded_in: Vec<_> = order.iter().map(|at| (id.get(), *at as u64 + 1)).collect();
        assert_eq!(versions(&events), recorded_in, "what came late is listed late");
        assert!(events.iter().all(|event| event.shown == Choices::default()), "{events:?}");
        events.sort_by_key(|event| event.version);
        assert_eq!(events[1].fields, ["owner", "subject"]);
        assert_eq!((events[4].kind, events[4].fields.len()), (EventType::Deleted, 0));
        let customers: Vec<_> = events.iter().map(|event| event.customer.unwrap().get()).collect();
        assert_eq!(customers, [7, 7, 7, 8, 8]);
        assert_eq!(events[3].left.map(|left| left.get()), Some(7));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_a_ticket_takes_the_values_from_its_events() {
    let recorded = Recorded::new().await;
    let (id, versions) = recorded.ticket(false).await;
    recorded.history.record(versions[0].clone(), None).await.unwrap();
    assert_ne!(feed(&recorded).await[0].shown, Choices::default());
    recorded.tickets.erase(id, &writer(), &recorded.history).await.unwrap();
    recorded.table.advance(1000);
    recorded.history.record(versions[1].clone(), None).await.unwrap();
    let events = feed(&recorded).await;
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.shown == Choices::default()), "{events:?}");
    for item in recorded.kept(id).await {
        assert!(Choices::NAMES.iter().all(|name| !item.contains_key(*name)), "{item:?}");
    }
}

/// An instance whose clock is so many seconds ahead.
fn ahead(recorded: &Recorded, seconds: u64) -> History {
    let clock = recorded.table.clock.clone();
    recorded.instance(Clock::new(move || clock.now().plus(Duration::from_secs(seconds))), Settings::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_comes_after_those_before_it_also_if_the_one_right_before_it_was_given_up() {
    for deleted in [false, true] {
        let recorded = Recorded::new().await;
        let (id, all) = recorded.ticket(deleted).await;
        let (first, last) = (&all[0], &all[all.len() - 1]);
        ahead(&recorded, 3).record(first.clone(), None).await.unwrap();
        ahead(&recorded, 0).record(last.clone(), None).await.unwrap();
        let (events, _) = page(&recorded.history, &EventFilter::default(), Visibility::All, ALL).await;
        assert_eq!(versions(&events), [1, all.len() as u64].map(|version| (id.get(), version)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_s_versions_are_in_order_though_the_clocks_of_instances_differ() {
    let recorded = Recorded::new().await;
    let instance = |seconds| ahead(&recorded, seconds);
    let (id, all) = recorded.ticket(false).await;
    // Each by an instance whose clock is further behind; two in one batch.
    let mut last = None;
    for (version, (seconds, same_batch)) in all.iter().zip([(3, false), (1, false), (1, true), (0, false)]) {
        let known = last.filter(|_| same_batch);
        last = Some(instance(seconds).record(version.clone(), known).await.unwrap());
    }
    let (events, _) = page(&recorded.history, &EventFilter::default(), Visibility::All, ALL).await;
    assert_eq!(versions(&events), [1, 2, 3, 4].map(|version| (id.get(), version)));
    assert!(events[0].id.recorded() > recorded.table.clock.now().plus(Duration::from_secs(2)));
    // What is recorded again keeps its place.
    instance(60).record(all[1].clone(), None).await.unwrap();
    assert_eq!(page(&recorded.history, &EventFilter::default(), Visibility::All, ALL).await.0, events);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_or_seeded_is_no_event_and_what_becomes_of_it_is() {
    let recorded = Recorded::new().await;
    fill(&recorded.tickets, 1, 1, time("2020-01-01")).await;
    let id = TicketId::FIRST;
    let seeded = recorded.item(id).await;
    recorded.history.record(streamed(&None, &seeded).version().unwrap().unwrap(), None).await.unwrap();
    assert!(feed(&recorded).await.is_empty());
    assert_eq!(recorded.kept(id).await.len(), 1, "its history has it");
    recorded.change(id, json!({"owner": "ada"})).await;
    let changed = streamed(&seeded, &recorded.item(id).await).version().unwrap().unwrap();
    recorded.history.record(changed, None).await.unwrap();
    assert_eq!(versions(&feed(&recorded).await), [(1, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_over_months_without_events() {
    let recorded = Recorded::new().await;
    let mut ids = Vec::new();
    for at in
        ["2024-01-31T23:59:59.999Z", "2024-02-01", "2024-02-01", "2025-07-10", "2026-11-30T23:59:59.999Z"]
    {
        ids.push(recorded_at(&recorded, at, 7).await);
    }
    recorded.table.set(time("2026-12-24"));
    let all = feed(&recorded).await;
    let expected: Vec<_> = ids.iter().map(|id| (id.get(), 1)).collect();
    assert_eq!(versions(&all), expected);
    for limit in 1..=6 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let filter = EventFilter { after, limit: Some(limit), ..EventFilter::default() };
            let (events, end) = page(&recorded.history, &filter, Visibility::All, ALL).await;
            after = events.last().map(|event| event.id);
            seen.extend(events);
            match end {
                EventsEnd::Complete => break,
                EventsEnd::Full => {}
                EventsEnd::Paused(_) => panic!("there is little to read"),
            }
        }
        assert_eq!(seen, all, "{limit}");
    }
    let since = |since: &str| EventFilter { since: Some(time(since)), ..EventFilter::default() };
    for (filter, expected) in [
        (since("1900-01-01"), &all[..]),
        (since("2024-02-01"), &all[1..]),
        (since("2024-02-01T00:00:00.001Z"), &all[3..]),
        (since("2026-12-01"), &[]),
        (since("2027-12-01"), &[]),
        (EventFilter { after: Some(all[1].id), ..since("2024-01-01") }, &all[2..]),
        (EventFilter { after: Some(all[0].id), ..since("2025-01-01") }, &all[3..]),
        (EventFilter { types: vec![EventType::Deleted], ..EventFilter::default() }, &[]),
    ] {
        assert_eq!(page(&recorded.history, &filter, Visibility::All, ALL).await.0, expected, "{filter:?}");
    }
    // Nothing after the horizon, to the millisecond.
    for (until, count) in
        [("2024-01-31T23:59:59.998Z", 0), ("2024-01-31T23:59:59.999Z", 1), ("2024-02-01", 3)]
    {
        let read = page(&recorded.history, &EventFilter::default(), Visibility::All, time(until)).await;
        assert_eq!((read.0.len(), read.1), (count, EventsEnd::Complete), "{until}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_which_little_is_seen_ends_and_the_next_one_goes_on() {
    let recorded = Recorded::new().await;
    for second in 10..50 {
        let customer = if second == 30 { 1 } else { 7 };
        recorded_at(&recorded, &format!("2026-10-31T23:59:{second}Z"), customer).await;
    }
    let last = recorded_at(&recorded, "2026-11-23T12:00:00Z", 1).await;
    let history =
        recorded.instance(recorded.table.clock.clone(), Settings { most_keys: 10, ..Settings::default() });
    let only = Visibility::Only(1.try_into().unwrap());
    for limit in [Some(1), Some(3), None] {
        let (mut filter, mut seen, mut empty) =
            (EventFilter { limit, ..EventFilter::default() }, Vec::new(), 0);
        for pages in 0.. {
            assert!(pages < 20, "pages go on");
            let (events, end) = page(&history, &filter, only, ALL).await;
            empty += usize::from(events.is_empty());
            filter.after = events.last().map(|event| event.id).or(filter.after);
            seen.extend(events);
            match end {
                EventsEnd::Complete => break,
                EventsEnd::Full => {}
                EventsEnd::Paused(reached) => {
                    assert!(filter.begins().is_none_or(|begins| begins < reached), "{reached} is further");
                    filter.since = Some(reached);
                }
            }
        }
        let seen = versions(&seen);
        assert_eq!((seen.len(), seen[1], empty > 0), (2, (last.get(), 1), limit.is_some()), "{limit:?}");
    }
}

/// The units of a page of so many events, in a month with so many.
async fn units(count: u64, limit: usize) -> f64 {
    let recorded = Recorded::new().await;
    for at in 0..count {
        let at = time("2026-11-01").plus(Duration::from_secs(at));
        recorded_at(&recorded, &at.to_string(), 7).await;
    }
    let meter = Meter::counting();
    let history = recorded.history.metered(meter.clone());
    let filter =
        EventFilter { since: Some(time("2026-11-01")), limit: Some(limit), ..EventFilter::default() };
    let (events, _) = page(&history, &filter, Visibility::All, time("2026-11-30")).await;
    assert_eq!(events.len() as u64, count.min(limit as u64));
    meter.take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_costs_its_events_however_many_there_are() {
    if !counts_units() {
        return;
    }
    // Half a unit for 4 KB, and at least that for each of four shards. Polling for nothing costs the least.
    assert_eq!(units(0, 100).await, 2.0);
    let (few, many) = (units(150, 100).await, units(600, 100).await);
    eprintln!("a page of 100 events: {few} read units of 150, {many} of 600");
    assert!(few <= 8.0 && many <= 8.0, "{few}, {many}");
}
