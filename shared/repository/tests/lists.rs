//! Lists against a model: on random histories, every combination of filters gives what going
//! through all records one by one would give, whichever way the list is answered.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

mod support;

use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use support::{Table, fields, page, pages, time};
use tickets_domain::id::{CustomerId, Precondition};
use tickets_domain::{Filter, Form, Record, TicketChange, TicketId, Timestamp};
use tickets_repository::bulk::Sample;
use tickets_repository::{Meter, Policy, Tickets};

const START: &str = "2026-01-30T12:00:00Z";
const HOUR: i64 = 60 * 60 * 1000;

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Create {
        customer: u64,
    },
    Update {
        id: u64,
    },
    Move {
        id: u64,
        customer: u64,
    },
    Delete {
        id: u64,
    },
    /// Time passes: not at all for equal stamps, hours, or over the end of a month.
    Wait {
        millis: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..4).prop_map(|customer| Step::Create { customer }),
        3 => (1u64..30).prop_map(|id| Step::Update { id }),
        1 => (1u64..30, 1u64..4).prop_map(|(id, customer)| Step::Move { id, customer }),
        2 => (1u64..30).prop_map(|id| Step::Delete { id }),
        2 => prop_oneof![Just(1), Just(HOUR), Just(20 * 24 * HOUR)].prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What a list is asked for, in terms of a history's own stamps.
#[derive(Debug, Clone)]
struct Question {
    customer: Option<u64>,
    id_after: u64,
    created_since: Option<usize>,
    updated_since: Option<usize>,
    updated_until: Option<usize>,
    limit: Option<usize>,
    include_deleted: bool,
}

fn question() -> impl Strategy<Value = Question> {
    let stamp = || proptest::option::of(0usize..40);
    (
        proptest::option::of(1u64..5),
        0u64..25,
        stamp(),
        stamp(),
        stamp(),
        proptest::option::of(1usize..12),
        any::<bool>(),
    )
        .prop_map(
            |(customer, id_after, created_since, updated_since, updated_until, limit, include_deleted)| {
                Question {
                    customer,
                    id_after,
                    created_since,
                    updated_since,
                    updated_until,
                    limit,
                    include_deleted,
                }
            },
        )
}

/// Plays a history, and keeps a model of it: the records, in id order.
async fn play(table: &Table, tickets: &Tickets, history: &[Step]) -> Vec<Record> {
    let mut model: Vec<Record> = Vec::new();
    for step in history {
        match step {
            Step::Create { customer } => {
                let created =
                    tickets.create(&fields(json!({"customerID": customer, "subject": "s"})), None).await;
                model.push(Record::Live(created.unwrap().ticket));
            }
            Step::Update { id } => {
                change(tickets, &mut model, *id, json!({"users": table.clock.now().to_string()})).await;
            }
            Step::Move { id, customer } => {
                change(tickets, &mut model, *id, json!({"customerID": customer, "users": id.to_string()}))
                    .await;
            }
            Step::Delete { id } => {
                if let Some(Record::Live(ticket)) = model.get(*id as usize - 1).cloned() {
                    tickets.delete(ticket.id, None, &Precondition::None).await.unwrap();
                    model[*id as usize - 1] = Record::Deleted(ticket.delete(table.clock.now()));
                }
            }
            Step::Wait { millis } => table.advance(*millis),
        }
    }
    model
}

async fn change(tickets: &Tickets, model: &mut [Record], id: u64, body: serde_json::Value) {
    let Some(Record::Live(ticket)) = model.get(id as usize - 1) else { return };
    let change =
        TicketChange::parse(Form::parse(body.to_string().as_bytes()).unwrap(), &support::presets()).unwrap();
    let apply = |ticket: &_, now| change.apply(ticket, now);
    let changed = tickets.update(ticket.id, None, &Precondition::None, apply).await.unwrap();
    model[id as usize - 1] = Record::Live(changed);
}

fn filter(question: &Question, model: &[Record]) -> Filter {
    // Stamps that occur, so that "inclusive" is put to the test.
    let stamp = |at: Option<usize>| {
        at.and_then(|at| model.get(at % model.len().max(1)).map(|record| record.stamps().updated))
    };
    let created = question.created_since.and_then(|at| model.get(at % model.len().max(1)));
    Filter {
        customer: question.customer.map(|id| CustomerId::try_from(id).unwrap()),
        id_after: question.id_after,
        created_since: created.map(|record| record.stamps().created),
        updated_since: stamp(question.updated_since),
        updated_until: stamp(question.updated_until),
        limit: question.limit,
        include_deleted: question.include_deleted,
    }
}

fn expected(filter: &Filter, model: &[Record]) -> Vec<Record> {
    model.iter().filter(|record| filter.matches(&record.stamps())).cloned().collect()
}

#[test]
fn every_list_is_what_a_look_at_every_record_gives() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let strategy = (proptest::collection::vec(step(), 5..70), proptest::collection::vec(question(), 12));
    runner
        .run(&strategy, |(history, questions)| {
            runtime.block_on(async {
                let table = Table::new(START).await;
                // One that reads indexes, one that gives up on them after three entries and walks.
                let indexed = table.tickets(Policy::default());
                let walking = table.tickets(Policy { most_keys: 3, ..Policy::default() });
                let model = play(&table, &indexed, &history).await;
                for question in &questions {
                    let filter = filter(question, &model);
                    let expected = expected(&filter, &model);
                    for tickets in [&indexed, &walking] {
                        let (first, more) = page(tickets, &filter).await;
                        prop_assert!(expected.starts_with(&first), "{filter:?}\n{first:?}\n{expected:?}");
                        // A list that has looked at enough ends with what it found: it may turn out that
                        // there is no more, but never that there was.
                        let bounded = tickets.policy().most_keys == 3;
                        let left = first.len() < expected.len();
                        prop_assert!(more == left || (bounded && more), "{filter:?}: {more}, {left}");
                        if let Some(limit) = filter.limit {
                            prop_assert!(first.len() == limit.min(expected.len()) || bounded);
                        }
                        prop_assert_eq!(&pages(tickets, &filter).await, &expected, "{:?}", filter);
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}

/// So many tickets at once, created a second apart.
async fn fill(tickets: &Tickets, count: u64, customers: u64, first: Timestamp) {
    let samples: Vec<_> = (0..count)
        .map(|at| {
            let stamp = Timestamp::from_millis(first.millis() + 1000 * at as i64).unwrap();
            let fields = fields(json!({"customerID": 1 + at % customers, "subject": format!("s{at}")}));
            Sample { fields, created: stamp, updated: stamp }
        })
        .collect();
    for chunk in samples.chunks(tickets_repository::bulk::MAX_CHUNK) {
        tickets.append(chunk).await.unwrap();
    }
}

fn ids(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.stamps().id.get()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_over_buckets_and_months() {
    let table = Table::new("2026-03-01T00:00:00Z").await;
    let indexed = table.tickets(Policy::default());
    let walking = table.tickets(Policy { most_keys: 50, ..Policy::default() });
    let first = time("2026-01-31T23:40:00Z");
    fill(&indexed, 2500, 3, first).await;
    for tickets in [&indexed, &walking] {
        let all = Filter::default();
        assert_eq!(ids(&pages(tickets, &all).await), (1..=2500).collect::<Vec<_>>());
        for (after, limit) in [(0, 999), (0, 1000), (998, 2), (999, 1000), (1500, 1000), (2499, 1), (2500, 1)]
        {
            let filter = Filter { id_after: after, limit: Some(limit), ..Filter::default() };
            let (records, more) = page(tickets, &filter).await;
            let last = 2500.min(after + limit as u64);
            assert_eq!(ids(&records), (after + 1..=last).collect::<Vec<_>>(), "after {after}, {limit}");
            assert_eq!(more, last < 2500);
        }
        let since = Timestamp::from_millis(first.millis() + 1000 * 1100).unwrap();
        let changed = Filter { updated_since: Some(since), ..Filter::default() };
        assert_eq!(ids(&pages(tickets, &changed).await), (1101..=2500).collect::<Vec<_>>());
        let customer = Filter { customer: Some(CustomerId::try_from(2).unwrap()), ..changed };
        assert_eq!(
            ids(&pages(tickets, &customer).await),
            (1101..=2500).filter(|id| id % 3 == 2).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_far_up_is_found_without_a_walk_to_it() {
    let table = Table::new("2026-03-01T00:00:00Z").await;
    let meter = Meter::counting();
    let tickets =
        table.tickets(Policy { most_keys: 50, most_buckets: 1, ..Policy::default() }).metered(meter.clone());
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
    pages(&tickets, &Filter { id_after: 0, limit: None, ..Filter::default() }).await;
    let walk = meter.take();
    assert!(jumped < walk / 2.0, "{jumped} units, where a walk over everything takes {walk}");

    // Some in between, at a bucket's ends among others, with gaps that a page ends in and gaps it does not.
    for id in [1, 999, 1000, 2500, 2501, 3999, 6000] {
        let ticket = tickets.get(TicketId::try_from(id).unwrap(), None).await.unwrap();
        let change = TicketChange::parse(Form::parse(br#"{"owner": "o"}"#).unwrap(), &support::presets());
        let change = change.unwrap();
        let apply = |ticket: &_, now| change.apply(ticket, now);
        tickets.update(ticket.id, None, &Precondition::None, apply).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_has_enough_gets_the_next_page_from_there() {
    let table = Table::new(START).await;
    let tickets = table.tickets(Policy::default());
    fill(&tickets, 30, 1, time("2026-01-01")).await;
    for since in [None, Some(time("2025-12-01"))] {
        let filter = Filter { updated_since: since, ..Filter::default() };
        let mut taken = Vec::new();
        let flow = tickets.list(&filter, |record| {
            if taken.len() == 7 {
                return ControlFlow::Break(());
            }
            taken.push(record.stamps().id.get());
            ControlFlow::Continue(())
        });
        assert!(flow.await.unwrap().is_break());
        assert_eq!(taken, (1..=7).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_that_hold_nothing_give_an_empty_list() {
    let table = Table::new(START).await;
    let tickets = table.tickets(Policy::default());
    let far = [("0000-01-01", true), ("9999-12-31", false)];
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
    let tickets = table.tickets(Policy::default());
    let body = || fields(json!({"customerID": 1, "subject": "s"}));
    tickets.create(&body(), None).await.unwrap();
    table.set(time("2026-01-31T23:59:59Z"));
    tickets.create(&body(), None).await.unwrap();
    table.set(time("2026-02-02"));
    let filter = Filter { updated_since: Some(time("2026-01-01")), ..Filter::default() };
    assert_eq!(ids(&page(&tickets, &filter).await.0), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_clock_is_ahead_at_a_month_s_end_is_found() {
    let table = Table::new("2026-02-01T00:00:01Z").await;
    let tickets = table.tickets(Policy::default());
    tickets.create(&fields(json!({"customerID": 1, "subject": "s"})), None).await.unwrap();
    table.set(time("2026-01-31T23:59:59Z"));
    let filter = Filter { updated_since: Some(time("2026-01-31")), ..Filter::default() };
    assert_eq!(ids(&page(&tickets, &filter).await.0), [1]);
    assert!(tickets.get(TicketId::FIRST, None).await.is_ok());
}
