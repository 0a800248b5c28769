//! Writes that race, repeat and fail: nothing lost, nothing doubled, nothing overwritten.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Table, counts_units, new_ticket, page, presets, time, writer};
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use serde_json::{Value, json};
use tickets_domain::Settings;
use tickets_domain::id::Version;
use tickets_domain::idempotency::{Fingerprint, Idempotency};
use tickets_domain::precondition::Preconditions;
use tickets_domain::{
    Error, Filter, JsonObject, NewTicket, Record, Row, TaggedTicket, TicketChange, TicketId, TicketInput,
    Visibility,
};
use tickets_repository::operator::seed::SeedTicket;
use tickets_repository::{Meter, Tickets};

const NOW: &str = "2026-11-23T12:00:00Z";

fn body() -> NewTicket {
    new_ticket(json!({"customerID": 7, "subject": "s"}))
}

async fn change(
    tickets: &Tickets,
    id: TicketId,
    preconditions: &Preconditions,
    body: Value,
) -> Result<TaggedTicket, Error> {
    let change =
        TicketInput::change(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets()).unwrap();
    tickets
        .update(id, &writer(), Visibility::All, preconditions, |ticket, now| change.apply(ticket, now))
        .await
}

fn request(key: &str, says: u8) -> Idempotency {
    Idempotency::new("caller".parse().unwrap(), key.parse().unwrap(), Fingerprint::new([says; 32]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_concurrent_creators_get_ids_of_their_own_without_a_gap() {
    let table = Table::new(NOW).await;
    // Instances of their own, which really race; and one that many share, as in the local server.
    let shared = table.instance();
    let instances = (0..10).map(|_| table.instance()).collect::<Vec<_>>();
    let racing = instances.iter().map(|tickets| async {
        let mut ids = Vec::new();
        while ids.len() < 5 {
            let created = tickets.create(&writer(), Visibility::All, &body(), None).await;
            ids.push(created.unwrap().ticket.id().get());
        }
        ids
    });
    let sharing = (0..50).map(|_| async {
        vec![shared.create(&writer(), Visibility::All, &body(), None).await.unwrap().ticket.id().get()]
    });
    let (racing, sharing) = tokio::join!(join_all(racing), join_all(sharing));
    let ids: Vec<u64> = racing.into_iter().chain(sharing).flatten().collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), (1..=100).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_sees_a_ticket_sees_all_with_lower_ids() {
    let table = Table::new(NOW).await;
    let writers = (0..4).map(|_| table.instance()).collect::<Vec<_>>();
    let write = async {
        join_all(writers.iter().map(|tickets| async {
            for _ in 0..25 {
                while tickets.create(&writer(), Visibility::All, &body(), None).await.is_err() {}
            }
        }))
        .await;
    };
    let read = async {
        let reader = table.instance();
        let mut seen = 0;
        while seen < 100 {
            let (records, _) = page(&reader, &Filter::default()).await;
            let ids: Vec<u64> = records.iter().map(|record| record.key.id.get()).collect();
            assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "a gap");
            assert!(ids.len() >= seen, "something vanished");
            seen = ids.len();
        }
    };
    tokio::join!(write, read);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_of_different_fields_lose_none() {
    let table = Table::new(NOW).await;
    let tickets = table.instance();
    let id = tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap().ticket.id();
    let names = ["owner", "users", "departments", "ticketSuppliers", "ticketContent"];
    let instances = names.iter().map(|_| table.instance()).collect::<Vec<_>>();
    let updates = instances.iter().zip(names).map(|(tickets, name)| async move {
        for round in 0..5 {
            change(tickets, id, &Preconditions::default(), json!({ name: format!("{name} {round}") }))
                .await
                .unwrap();
        }
    });
    join_all(updates).await;
    let ticket = tickets.get(id, Visibility::All).await.unwrap();
    assert_eq!(ticket.tag.version(), Version::new(26));
    let ticket = serde_json::to_value(ticket.ticket).unwrap();
    for name in names {
        assert_eq!(ticket[name], format!("{name} 4"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_updates_of_one_version_one_wins() {
    let table = Table::new(NOW).await;
    let tickets = table.instance();
    let created = tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap().ticket;
    let (id, first) = (created.id(), Preconditions::version(created.tag));
    let updates = (0..10).map(|n| change(&tickets, id, &first, json!({"users": n.to_string()})));
    let outcomes = join_all(updates).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::VersionMismatch))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_change_rises_even_when_the_clock_falls() {
    let table = Table::new(NOW).await;
    let tickets = table.instance();
    let created = tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap().ticket.ticket;
    table.advance(-60_000);
    let changed = change(&tickets, created.id, &Preconditions::default(), json!({"users": "u"})).await;
    let changed = changed.unwrap().ticket;
    assert!(changed.updated > created.updated);
    assert_eq!(changed.created, created.created);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_changes_nothing_writes_nothing() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.instance().metered(meter.clone());
    let created = tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap().ticket;
    table.advance(1000);
    meter.take();
    let same = change(&tickets, created.ticket.id, &Preconditions::default(), json!({"subject": "s"})).await;
    assert_eq!(same.unwrap(), created);
    if counts_units() {
        assert_eq!(meter.take(), 1.0, "one consistent read");
    }
    assert_eq!(created.tag.version(), Version::FIRST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_ticket_leaves_only_its_dates_which_expire() {
    let table = Table::new(NOW).await;
    let keep = Duration::from_secs(7 * 24 * 60 * 60);
    let tickets = table.tickets(Settings { keep_tombstones: keep, ..Settings::default() });
    let created = tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap().ticket.ticket;
    table.advance(5);
    tickets.delete(created.id, &writer(), Visibility::All, &Preconditions::default()).await.unwrap();
    for outcome in [
        tickets.get(created.id, Visibility::All).await.map(drop),
        change(&tickets, created.id, &Preconditions::default(), json!({"users": "u"})).await.map(drop),
        tickets.delete(created.id, &writer(), Visibility::All, &Preconditions::default()).await,
    ] {
        assert!(matches!(outcome, Err(Error::NotFound)), "{outcome:?}");
    }
    let filter = Filter { include_deleted: true, ..Filter::default() };
    let (records, _) = page(&tickets, &filter).await;
    assert_eq!(records, [Row::of(&Record::Deleted(created.delete(table.clock.now()))).unwrap()]);
    assert!(page(&tickets, &Filter::default()).await.0.is_empty());

    let item = table.client.get_item().table_name(&table.name).key("bucket", AttributeValue::S("0#1".into()));
    let item = item.key("id", AttributeValue::N("1".into())).send().await.unwrap().item.unwrap();
    let expires: i64 = item["expires"].as_n().unwrap().parse().unwrap();
    assert_eq!(expires, time("2026-11-30T12:00:00Z").millis() / 1000);
    assert!(!item.contains_key("subject") && !item.contains_key("ticketContent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_takes_effect_once() {
    let table = Table::new(NOW).await;
    let instances = (0..10).map(|_| table.instance()).collect::<Vec<_>>();
    let named = request("k", 1);
    let by = writer();
    let creates = instances.iter().map(|tickets| tickets.create(&by, Visibility::All, &NEW, Some(&named)));
    let outcomes = join_all(creates).await;
    let created: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert!(created.iter().all(|one| one.ticket == created[0].ticket), "{created:?}");
    assert_eq!(created.iter().filter(|one| !one.replayed).count(), 1);
    assert_eq!(page(&instances[0], &Filter::default()).await.0.len(), 1);
}

static NEW: std::sync::LazyLock<NewTicket> = std::sync::LazyLock::new(body);

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_known_by_caller_and_fingerprint_for_a_day() {
    let table = Table::new(NOW).await;
    let tickets = table.instance();
    let first = tickets.create(&writer(), Visibility::All, &body(), Some(&request("k", 1))).await.unwrap();
    assert!(matches!(
        tickets.create(&writer(), Visibility::All, &body(), Some(&request("k", 2))).await,
        Err(Error::IdempotencyKeyReused)
    ));
    let other = Idempotency::new("other".parse().unwrap(), "k".parse().unwrap(), Fingerprint::new([1; 32]));
    assert_eq!(
        tickets.create(&writer(), Visibility::All, &body(), Some(&other)).await.unwrap().ticket.id().get(),
        2
    );

    // A replay is the first answer, whatever has happened to the ticket since.
    tickets.delete(first.ticket.id(), &writer(), Visibility::All, &Preconditions::default()).await.unwrap();
    table.advance(24 * 60 * 60 * 1000 - 1000);
    let replay = tickets.create(&writer(), Visibility::All, &body(), Some(&request("k", 1))).await.unwrap();
    assert_eq!((replay.ticket, replay.replayed), (first.ticket, true));

    // An expired claim does not count, whether TTL has removed it or not.
    table.advance(1000);
    assert!(
        !tickets.create(&writer(), Visibility::All, &body(), Some(&request("k", 1))).await.unwrap().replayed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_in_bulk_and_one_by_one_stay_dense() {
    let table = Table::new(NOW).await;
    let (bulk, single) = (table.instance(), table.instance());
    let samples: Vec<_> = (0..20)
        .map(|_| SeedTicket {
            fields: body().fields().unwrap().clone(),
            created: time(NOW),
            updated: time(NOW),
        })
        .collect();
    let appends = async {
        for _ in 0..5 {
            while bulk.append(&writer(), &samples).await.is_err() {}
        }
    };
    let creates = async {
        for _ in 0..20 {
            while single.create(&writer(), Visibility::All, &body(), None).await.is_err() {}
        }
    };
    tokio::join!(appends, creates);
    let ids: Vec<u64> = page(&bulk, &Filter::default()).await.0.iter().map(|row| row.key.id.get()).collect();
    assert_eq!(ids, (1..=120).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reserves_once_and_costs_no_more_than_its_tickets() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    let rows = |key: Option<&str>| -> Vec<_> {
        let named = |row| {
            let key = key?.parse().unwrap();
            Some(Idempotency::of_row(writer(), key, row, Fingerprint::new([1; 32])))
        };
        (0..100).map(|row| Ok((body(), named(row)))).collect()
    };
    let ids = |created: &[Result<tickets_repository::Created, Error>]| -> Vec<u64> {
        created.iter().map(|created| created.as_ref().unwrap().ticket.id().get()).collect()
    };
    let created = tickets.create_all(&writer(), Visibility::All, &rows(None)).await;
    assert_eq!(ids(&created), (1..=100).collect::<Vec<_>>());
    // A ticket and three index entries for each, and the counter once.
    let units = meter.take();
    assert!(!counts_units() || units == 401.0, "{units}");

    let created = tickets.create_all(&writer(), Visibility::All, &rows(Some("batch"))).await;
    assert_eq!(ids(&created), (101..=200).collect::<Vec<_>>());
    let again = tickets.create_all(&writer(), Visibility::All, &rows(Some("batch"))).await;
    assert_eq!(ids(&again), ids(&created));
    assert!(again.iter().all(|created| created.as_ref().unwrap().replayed));
    let next = tickets.create(&writer(), Visibility::All, &body(), None).await.unwrap();
    assert_eq!(next.ticket.id().get(), 201, "a replay reserves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_changes_costs_what_as_many_changes_cost() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(Settings::default()).metered(meter.clone());
    let rows = vec![Ok((body(), None)); 100];
    tickets.create_all(&writer(), Visibility::All, &rows).await;
    let id = |id: u64| TicketId::try_from(id).unwrap();
    meter.take();
    let none = Preconditions::default();
    for ticket in 1..=50 {
        change(&tickets, id(ticket), &none, json!({"status": "closed"})).await.unwrap();
    }
    let alone = meter.take();
    let row =
        |id: u64| JsonObject::parse(json!({"id": id.to_string(), "status": "closed"}).to_string().as_bytes());
    let rows = TicketChange::parse_rows((51..=100).map(row).collect(), &presets(), |_| Err("unused"));
    let updated = tickets.update_all(&writer(), Visibility::All, rows).await;
    let versions = updated.into_iter().enumerate().map(|(at, row)| (at, row.unwrap()));
    for (at, TaggedTicket { ticket, tag }) in versions {
        assert_eq!((ticket.id.get(), tag.version().get()), (51 + at as u64, 2), "in the order of the rows");
    }
    assert_eq!(meter.take(), alone);
}
