//! Lists against a model: on random histories, every combination of filters gives the same as going through
//! all records one by one, whichever index answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    Table, counts_units, each_page, fields, fill, ids, linked_pages, new_ticket, page, pages, presets, read,
    time, writer,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tickets_domain::Settings;
use tickets_domain::id::CustomerId;
use tickets_domain::precondition::Preconditions;
use tickets_domain::preset::Preset;
use tickets_domain::status::Statuses;
use tickets_domain::work_queue::AnyOf;
use tickets_domain::{
    Continuation, Departure, Error, Filter, Fit, JsonObject, ListEnd, NewTicket, PresetLists, Presets,
    Record, Row, TicketId, TicketInput, Timestamp, Visibility, WorkQueue,
};
use tickets_repository::operator::seed::SeedTicket;
use tickets_repository::{Meter, Tickets};

const START: &str = "2026-01-30T12:00:00Z";
const HOUR: i64 = 60 * 60 * 1000;

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Create {
        customer: u64,
        queue: Value,
    },
    Update {
        id: u64,
    },
    /// Changes status, owner, type, priority or due date.
    Reassign {
        id: u64,
        queue: Value,
    },
    Move {
        id: u64,
        customer: u64,
    },
    Delete {
        id: u64,
    },
    /// Time passes: none for equal dates, hours, or past the end of a month.
    Wait {
        millis: i64,
    },
}

/// The fields that work queues filter by.
fn queue_fields() -> impl Strategy<Value = Value> {
    let status =
        prop_oneof![Just(json!("open")), Just(json!("assigned")), Just(json!("closed")), Just(json!(null))];
    let owner = prop_oneof![Just(json!("Grace")), Just(json!("ada")), Just(json!(null))];
    let kind = prop_oneof![Just(json!("billing")), Just(json!("sales")), Just(json!(null))];
    let due = prop_oneof![Just(json!("2026-02-01")), Just(json!("2026-02-01T12:00:00Z")), Just(json!(null))];
    (status, owner, kind, due).prop_map(|(status, owner, kind, due)| {
        json!({"status": status, "owner": owner, "ticketType": kind, "ticketFollowupDate": due})
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..4, queue_fields()).prop_map(|(customer, queue)| Step::Create { customer, queue }),
        3 => (1u64..30).prop_map(|id| Step::Update { id }),
        2 => (1u64..30, queue_fields()).prop_map(|(id, queue)| Step::Reassign { id, queue }),
        1 => (1u64..30, 1u64..4).prop_map(|(id, customer)| Step::Move { id, customer }),
        2 => (1u64..30).prop_map(|id| Step::Delete { id }),
        2 => prop_oneof![Just(1), Just(HOUR), Just(20 * 24 * HOUR)].prop_map(|millis| Step::Wait { millis }),
    ]
}

/// The query of a list, in terms of a history's own dates.
#[derive(Debug, Clone)]
struct Question {
    customer: Option<u64>,
    ids: Option<BTreeSet<u64>>,
    id_after: u64,
    created_since: Option<usize>,
    updated_since: Option<usize>,
    updated_until: Option<usize>,
    limit: Option<usize>,
    include_deleted: bool,
    queue: WorkQueue,
}

/// Half of the queries ask for a work queue.
fn work_queue() -> impl Strategy<Value = WorkQueue> {
    let some = (
        proptest::option::of(prop_oneof![
            any::<bool>().prop_map(|open| Statuses::open(open, &crate::support::presets())),
            Just("assigned, CLOSED").prop_map(|named| {
                Statuses::any_of(&crate::support::presets().any_status().choose_any(named).unwrap())
            }),
        ]),
        proptest::option::of(Just(["GRACE ", "someone"])),
        proptest::option::of(Just("billing")),
        proptest::option::of(prop_oneof![Just("2026-02-01T00:00Z"), Just("2026-02-01T13:00Z")]),
    );
    let some = some.prop_map(|(statuses, owners, types, followup_until)| {
        let presets = crate::support::presets();
        let any_of = |preset: &Preset, values: &str| AnyOf::of(&preset.choose_any(values).unwrap());
        WorkQueue {
            statuses,
            owners: owners.map(|owners| AnyOf::of(&owners.map(|owner| presets.owner.choose(owner).unwrap()))),
            types: types.map(|types| any_of(&presets.ticket_type, types)),
            followup_until: followup_until.map(time),
            ..WorkQueue::default()
        }
    });
    prop_oneof![Just(WorkQueue::default()), some]
}

fn question() -> impl Strategy<Value = Question> {
    let stamp = || proptest::option::of(0usize..40);
    (
        proptest::option::of(1u64..5),
        proptest::option::weighted(0.2, proptest::collection::btree_set(1u64..30, 1..12)),
        0u64..25,
        stamp(),
        stamp(),
        stamp(),
        proptest::option::of(1usize..12),
        any::<bool>(),
        work_queue(),
    )
        .prop_map(
            |(
                customer,
                ids,
                id_after,
                created_since,
                updated_since,
                updated_until,
                limit,
                include_deleted,
                queue,
            )| {
                Question {
                    customer,
                    ids,
                    id_after,
                    created_since,
                    updated_since,
                    updated_until,
                    limit,
                    include_deleted,
                    queue,
                }
            },
        )
}

/// The state after a history: the records in id order, and which ticket has left which customer.
#[derive(Debug, Default)]
struct Model {
    records: Vec<Record>,
    departures: BTreeMap<(CustomerId, TicketId), Departure>,
}

/// Plays a history, and keeps a model of it.
async fn play(table: &Table, tickets: &Tickets, history: &[Step]) -> Model {
    let mut model = Model::default();
    for step in history {
        match step {
            Step::Create { customer, queue } => {
                let mut body = json!({"customerID": customer, "subject": "s"});
                let given = queue.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
                body.as_object_mut()
                    .unwrap()
                    .extend(given.map(|(name, value)| (name.clone(), value.clone())));
                // Without a status in the body a ticket gets the first configured one; here it is to have none.
                let presets = if queue["status"].is_null() { Presets::any() } else { presets() };
                let body = JsonObject::parse(body.to_string().as_bytes()).unwrap();
                let new = NewTicket::parse(body, &presets).unwrap();
                let created = tickets.create(&writer(), Visibility::All, &new, None).await;
                model.records.push(Record::Live(created.unwrap().ticket.ticket));
            }
            Step::Update { id } => {
                change(tickets, &mut model, *id, json!({"users": table.clock.now().to_string()})).await;
            }
            Step::Reassign { id, queue } => change(tickets, &mut model, *id, queue.clone()).await,
            Step::Move { id, customer } => {
                change(tickets, &mut model, *id, json!({"customerID": customer, "users": id.to_string()}))
                    .await;
            }
            Step::Delete { id } => {
                if let Some(Record::Live(ticket)) = model.records.get(*id as usize - 1).cloned() {
                    tickets
                        .delete(ticket.id, &writer(), Visibility::All, &Preconditions::default())
                        .await
                        .unwrap();
                    model.records[*id as usize - 1] = Record::Deleted(ticket.delete(table.clock.now()));
                }
            }
            Step::Wait { millis } => table.advance(*millis),
        }
    }
    model
}

async fn change(tickets: &Tickets, model: &mut Model, id: u64, body: serde_json::Value) {
    let Some(Record::Live(ticket)) = model.records.get(id as usize - 1) else { return };
    let change =
        TicketInput::change(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets()).unwrap();
    let apply = |ticket: &_, now| change.apply(ticket, now);
    let changed =
        tickets.update(ticket.id, &writer(), Visibility::All, &Preconditions::default(), apply).await;
    let changed = changed.unwrap().ticket;
    if let Some(departure) = Departure::of(ticket, &changed) {
        model.departures.insert((departure.customer, departure.id), departure);
    }
    model.records[id as usize - 1] = Record::Live(changed);
}

fn filter(question: &Question, Model { records: model, .. }: &Model) -> Filter {
    // Dates that occur, so that "inclusive" is tested.
    let stamp = |at: Option<usize>| {
        at.and_then(|at| model.get(at % model.len().max(1)).map(|record| record.key().updated))
    };
    let created = question.created_since.and_then(|at| model.get(at % model.len().max(1)));
    Filter {
        customer: question.customer.map(|id| CustomerId::try_from(id).unwrap()),
        ids: question.ids.as_ref().map(|ids| ids.iter().map(|id| TicketId::try_from(*id).unwrap()).collect()),
        id_after: question.id_after,
        created_since: created.map(|record| record.key().created),
        updated_since: stamp(question.updated_since),
        updated_until: stamp(question.updated_until),
        limit: question.limit,
        include_deleted: question.include_deleted,
        queue: question.queue.clone(),
    }
}

fn expected(filter: &Filter, model: &Model) -> Vec<Row> {
    // A ticket that has come back is no departure.
    let departed = model.departures.values().filter(|departure| {
        model.records[departure.id.get() as usize - 1].key().customer != departure.customer
    });
    let departed = departed.cloned().map(Record::Departed);
    let rows = model.records.iter().cloned().chain(departed).map(|record| Row::of(&record).unwrap());
    let mut expected: Vec<_> = rows.filter(|row| filter.matches(row).unwrap()).collect();
    expected.sort_by_key(|row| row.key.id);
    expected
}

#[test]
fn every_list_equals_a_filter_over_all_records() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: if counts_units() { 60 } else { 15 },
        failure_persistence: None,
        ..Config::default()
    });
    let strategy = (proptest::collection::vec(step(), 5..70), proptest::collection::vec(question(), 12));
    runner
        .run(&strategy, |(history, questions)| {
            runtime.block_on(async {
                let table = Table::new(START).await;
                // One list that uses indexes, and one that gives them up after three keys and walks.
                let indexed = table.tickets(Settings { most_ids: 2, ..Settings::default() });
                let walking = table.tickets(Settings { most_keys: 3, most_ids: 4, ..Settings::default() });
                // One that may read next to nothing that is not in a work queue.
                let poor =
                    Settings { most_vain_units: 1.0, most_keys: 10, most_ids: 4, ..Settings::default() };
                let poor = table.tickets(poor);
                let model = play(&table, &indexed, &history).await;
                for question in &questions {
                    let filter = filter(question, &model);
                    let expected = expected(&filter, &model);
                    for tickets in [&indexed, &walking] {
                        let pages = each_page(tickets, &filter).await;
                        let (first, more) = (&pages[0], pages.len() > 1);
                        prop_assert!(expected.starts_with(first), "{filter:?}\n{first:?}\n{expected:?}");
                        // A list that has read enough ends with what it found. It may announce a page that
                        // turns out empty, but never ends too early.
                        let bounded = tickets.settings().most_keys == 3;
                        let left = first.len() < expected.len();
                        prop_assert!(more == left || (bounded && more), "{filter:?}: {more}, {left}");
                        if let Some(limit) = filter.limit {
                            prop_assert!(first.len() == limit.min(expected.len()) || bounded);
                        }
                        prop_assert_eq!(&pages.concat(), &expected, "{:?}", filter);
                    }
                    let pages = linked_pages(&poor, &filter).await;
                    prop_assert_eq!(&pages.concat(), &expected, "{:?}", filter);
                }
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn changes_close_together_are_walked_from_the_first_of_them() {
    let table = Table::new("2026-03-01T00:00:00Z").await;
    // Too many changes to read all their keys first, and buckets without one: then all keys are read, and the walk
    // goes on at the changes, of which there are more than a `Link` carries.
    let tickets = table.tickets(Settings { most_keys: 5, most_ids: 5, ..Settings::default() });
    let first = time("2026-02-01T00:00:00Z");
    fill(&tickets, 3050, 3, first).await;
    let since = Timestamp::from_millis(first.millis() + 1000 * 3020).unwrap();
    for limit in [None, Some(7)] {
        let changed = Filter { updated_since: Some(since), limit, ..Filter::default() };
        assert_eq!(
            ids(&pages(&tickets, &changed).await),
            (3021..=3050).collect::<Vec<_>>(),
            "limit {limit:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_over_buckets_and_months() {
    let table = Table::new("2026-03-01T00:00:00Z").await;
    let indexed = table.tickets(Settings::default());
    let walking = table.tickets(Settings { most_keys: 50, ..Settings::default() });
    // Three buckets. With more, an engine in Python, which goes through its table for each query, would miss the
    // deadline of a read.
    const LAST: u64 = 2100;
    let first = time("2026-01-31T23:40:00Z");
    fill(&indexed, LAST, 3, first).await;
    for tickets in [&indexed, &walking] {
        let all = Filter::default();
        assert_eq!(ids(&pages(tickets, &all).await), (1..=LAST).collect::<Vec<_>>());
        for (after, limit) in
            [(0, 999), (0, 1000), (998, 2), (999, 1000), (1500, 1000), (LAST - 1, 1), (LAST, 1)]
        {
            let filter = Filter { id_after: after, limit: Some(limit), ..Filter::default() };
            let (records, more) = page(tickets, &filter).await;
            let last = LAST.min(after + limit as u64);
            assert_eq!(ids(&records), (after + 1..=last).collect::<Vec<_>>(), "after {after}, {limit}");
            assert_eq!(more, last < LAST);
        }
        let since = Timestamp::from_millis(first.millis() + 1000 * 1100).unwrap();
        let changed = Filter { updated_since: Some(since), ..Filter::default() };
        assert_eq!(ids(&pages(tickets, &changed).await), (1101..=LAST).collect::<Vec<_>>());
        let customer = Filter { customer: Some(CustomerId::try_from(2).unwrap()), ..changed };
        assert_eq!(
            ids(&pages(tickets, &customer).await),
            (1101..=LAST).filter(|id| id % 3 == 2).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn which_statuses_are_open_is_decided_when_a_list_is_read() {
    let table = Table::new(START).await;
    let tickets = table.tickets(Settings::default());
    for status in ["open", "assigned", "resolved", "closed"] {
        let new = new_ticket(json!({"customerID": 1, "subject": "s", "status": status}));
        tickets.create(&writer(), Visibility::All, &new, None).await.unwrap();
    }
    // The same table under another configuration, which spells a status differently, closes another one and
    // no longer knows a third.
    for (statuses, closed, open, done) in [
        ("open, assigned, resolved, closed", "resolved, closed", vec![1, 2], vec![3, 4]),
        ("Open, Assigned, Resolved, Closed", "closed", vec![1, 2, 3], vec![4]),
        ("OPEN, assigned", "resolved, closed", vec![1, 2], vec![3, 4]),
        ("open, assigned, resolved, closed", "", vec![1, 2, 3, 4], vec![]),
    ] {
        let lists = PresetLists { statuses, closed, ..PresetLists::default() };
        let presets = Presets::parse(&lists).unwrap();
        for (asked, expected) in [(true, open), (false, done)] {
            let queue = WorkQueue { statuses: Some(Statuses::open(asked, &presets)), ..WorkQueue::default() };
            let filter = Filter { queue, ..Filter::default() };
            assert_eq!(ids(&pages(&tickets, &filter).await), expected, "{statuses}, {closed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_a_page_continues_there() {
    let table = Table::new(START).await;
    let tickets = table.tickets(Settings::default());
    fill(&tickets, 30, 1, time("2026-01-01")).await;
    for since in [None, Some(time("2025-12-01"))] {
        let filter = Filter { updated_since: since, ..Filter::default() };
        let mut taken = Vec::new();
        let take = |row: &Row| {
            if taken.len() == 7 {
                return Fit::Full;
            }
            taken.push(row.key.id.get());
            Fit::Added
        };
        let listed = tickets.list(&filter, &Continuation::default(), Visibility::All, take).await.unwrap();
        assert!(matches!(listed.end, ListEnd::More { .. }));
        assert_eq!(taken, (1..=7).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_without_records_give_an_empty_list() {
    let table = Table::new(START).await;
    let tickets = table.tickets(Settings::default());
    let far = [("1000-01-01", true), ("9999-12-31", false)];
    assert!(
        page(&tickets, &Filter { updated_since: Some(time("2020-01-01")), ..Filter::default() })
            .await
            .0
            .is_empty()
    );
    fill(&tickets, 3, 1, time("2026-01-01")).await;
    for (since, any) in far {
        for filter in [
            Filter { updated_since: Some(time(since)), ..Filter::default() },
            Filter { created_since: Some(time(since)), ..Filter::default() },
        ] {
            assert_eq!(page(&tickets, &filter).await.0.len(), if any { 3 } else { 0 });
        }
    }
    let crossed = Filter {
        updated_since: Some(time("2026-01-02")),
        updated_until: Some(time("2026-01-01")),
        ..Filter::default()
    };
    assert!(page(&tickets, &crossed).await.0.is_empty());
    assert!(page(&tickets, &Filter { id_after: u64::MAX, ..Filter::default() }).await.0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_clock_is_behind_at_a_month_s_end_is_not_missed() {
    let table = Table::new("2026-02-01T00:00:01Z").await;
    let tickets = table.tickets(Settings::default());
    let body = || new_ticket(json!({"customerID": 1, "subject": "s"}));
    tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap();
    table.set(time("2026-01-31T23:59:59Z"));
    tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap();
    table.set(time("2026-02-02"));
    let filter = Filter { updated_since: Some(time("2026-01-01")), ..Filter::default() };
    assert_eq!(ids(&page(&tickets, &filter).await.0), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_clock_is_ahead_at_a_month_s_end_is_found() {
    let table = Table::new("2026-02-01T00:00:01Z").await;
    let tickets = table.tickets(Settings::default());
    tickets
        .create(&writer(), Visibility::All, &new_ticket(json!({"customerID": 1, "subject": "s"})), None)
        .await
        .unwrap();
    table.set(time("2026-01-31T23:59:59Z"));
    let filter = Filter { updated_since: Some(time("2026-01-31")), ..Filter::default() };
    assert_eq!(ids(&page(&tickets, &filter).await.0), [1]);
    assert!(tickets.get(TicketId::FIRST, Visibility::All).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_table_gives_no_id_twice_and_says_that_copies_start_over() {
    let table = Table::new(START).await;
    let tickets = table.tickets(Settings::default());
    assert!(matches!(tickets.start_epoch(1000).await, Err(Error::NotFound)));
    let epoch = async || {
        let take = |_: &Row| Fit::Added;
        let listed = tickets.list(&Filter::default(), &Continuation::default(), Visibility::All, take).await;
        listed.unwrap().epoch.to_string()
    };
    assert_eq!(epoch().await, "0");
    fill(&tickets, 5, 1, time("2026-01-01")).await;
    let before = epoch().await;
    table.advance(60_000);
    let restored = tickets.start_epoch(250_000).await.unwrap();
    assert_eq!((restored.last, restored.skipped_to), (5, 250_005));
    let after = epoch().await;
    assert!(before != after && after == restored.epoch.to_string());
    fill(&tickets, 3, 1, time("2026-01-02")).await;
    assert_eq!(epoch().await, after, "an epoch lasts");

    let meter = Meter::counting();
    let tickets = tickets.metered(meter.clone());
    // This takes no time: nothing waits for ids that were never reserved.
    assert_eq!(ids(&pages(&tickets, &Filter::default()).await), [1, 2, 3, 4, 5, 250_006, 250_007, 250_008]);
    assert!(!counts_units() || meter.take() < 20.0, "ids that were never given are not looked for");
}

/// A ticket of the largest size.
fn largest() -> SeedTicket {
    let content = "x".repeat(256 * 1024);
    let fields = fields(json!({"customerID": 1, "subject": "s", "ticketContent": content}));
    SeedTicket { fields, created: time("2026-01-02"), updated: time("2026-01-02") }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_tickets_are_read_to_the_last_whatever_ends_a_page() {
    // An engine may name a last key with nothing after it, and end a batch early.
    let table = Table::new(START).await;
    let tickets = table.tickets(Settings::default());
    for _ in 0..6 {
        tickets.append(&writer(), &[largest(), largest(), largest(), largest()]).await.unwrap();
    }
    let customer = Some(CustomerId::try_from(1).unwrap());
    let since = Some(time("2026-01-01"));
    for filter in [
        Filter::default(),
        Filter { updated_until: Some(time("2026-01-03")), ..Filter::default() },
        Filter { updated_since: since, ..Filter::default() },
        Filter { customer, ..Filter::default() },
        Filter { customer, updated_since: since, ..Filter::default() },
    ] {
        assert_eq!(ids(&pages(&tickets, &filter).await), (1..=24).collect::<Vec<_>>(), "{filter:?}");
    }
    let walking = table.tickets(Settings { most_keys: 1, ..Settings::default() });
    let changed = Filter { updated_since: since, ..Filter::default() };
    assert_eq!(ids(&pages(&walking, &changed).await), (1..=24).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_above_the_highest_known_give_an_empty_list() {
    // A ticket is created while a list is read: an index, or a `Link`, may name it.
    let table = Table::new(START).await;
    let tickets = table.tickets(Settings::default());
    fill(&tickets, 3, 1, time("2026-01-01")).await;
    let beyond = Filter { updated_since: Some(time("2026-01-01")), id_after: 3, ..Filter::default() };
    let ids = vec![TicketId::try_from(5000).unwrap()];
    for continuation in [Continuation::Walk, Continuation::Ids { ids, complete: false }] {
        let (records, end) = read(&tickets, &beyond, &continuation).await;
        assert_eq!((records, end), (Vec::new(), ListEnd::Complete), "{continuation:?}");
    }
}
