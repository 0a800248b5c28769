//! Records moved in under the ids they had: nothing overwritten, no id given twice, nothing hidden.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::support::{Table, counts_units, fields, fill, ids, new_ticket, pages, time, writer};
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use serde_json::json;
use tickets_domain::Settings;
use tickets_domain::id::CustomerId;
use tickets_domain::precondition::Preconditions;
use tickets_domain::{Filter, Record, Row, Ticket, TicketId, Timestamp, Tombstone, Version, Visibility};
use tickets_repository::operator::import::{Imported, ReservedRanges};
use tickets_repository::{Meter, Tickets};

const NOW: &str = "2026-11-23T12:00:00Z";

/// A short window: the clock stands still, so an import waits all of it for earlier writers.
fn patient() -> Settings {
    Settings { settle: Duration::from_millis(20), ..Settings::default() }
}

/// A ticket from elsewhere; every seventh is deleted.
fn record(id: u64) -> Record {
    let created = Timestamp::from_millis(time("2019-03-01").millis() + 3_600_000 * id as i64).unwrap();
    let updated = created.plus(Duration::from_secs(id % 5 * 86_400));
    let customer = CustomerId::try_from(1 + id % 3).unwrap();
    let (id, version) = (TicketId::try_from(id).unwrap(), Version::FIRST);
    if id.get().is_multiple_of(7) {
        let version = version.next();
        return Record::Deleted(Tombstone { id, customer, created, updated, deleted: updated, version });
    }
    let fields = fields(json!({"customerID": customer.get(), "subject": format!("moved {id}")}));
    Record::Live(Ticket { id, fields, created, updated, version })
}

fn records(ids: impl IntoIterator<Item = u64>) -> Vec<Record> {
    ids.into_iter().map(record).collect()
}

/// The rows that a list shows of records.
fn rows(records: &[Record]) -> Vec<Row> {
    records.iter().map(|record| Row::of(record).unwrap()).collect()
}

async fn reserve_ranges(tickets: &Tickets, records: &[Record]) -> ReservedRanges {
    let earliest = records.iter().map(|record| record.key().updated).min().unwrap();
    tickets.reserve_ranges(&ids(&rows(records)), earliest).await.unwrap().unwrap()
}

/// Moves all in, as the import does, and returns the result of each.
async fn import(tickets: &Tickets, records: &[Record]) -> Vec<Imported> {
    let ranges = reserve_ranges(tickets, records).await;
    let put = async |record: &Record| tickets.import(&writer(), &ranges, record).await.unwrap();
    stream::iter(records).then(put).collect().await
}

async fn create(tickets: &Tickets) -> u64 {
    let new = new_ticket(json!({"customerID": 9, "subject": "new"}));
    tickets.create(&writer(), Visibility::All, &new, None).await.unwrap().ticket.id().get()
}

fn all() -> Filter {
    Filter { include_deleted: true, ..Filter::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_in_is_in_every_list_as_it_was_and_new_ids_come_after_it() {
    let table = Table::new(NOW).await;
    let tickets = table.tickets(patient());
    let moved = records((3..60).filter(|id| id % 10 != 0));
    assert!(import(&tickets, &moved).await.iter().all(|became| *became == Imported::New));
    for record in &moved {
        if let Record::Live(ticket) = record {
            let found = tickets.get(ticket.id, Visibility::All).await.unwrap();
            assert_eq!(found.ticket, *ticket);
        }
    }
    let moved = rows(&moved);
    let since = Some(time("2019-01-01"));
    assert_eq!(pages(&tickets, &all()).await, moved, "at once, over holes");
    assert_eq!(pages(&tickets, &Filter { updated_since: since, ..all() }).await, moved);
    for customer in 1..=3 {
        let customer = Some(CustomerId::try_from(customer).unwrap());
        let expected: Vec<_> =
            moved.iter().filter(|row| Some(row.key.customer) == customer).cloned().collect();
        assert_eq!(pages(&tickets, &Filter { customer, ..all() }).await, expected);
        assert_eq!(pages(&tickets, &Filter { customer, updated_since: since, ..all() }).await, expected);
    }
    assert_eq!(create(&tickets).await, 60);
    assert_eq!(ids(&pages(&tickets, &all()).await).last(), Some(&60));
    // It is a ticket like any other.
    let third = TicketId::try_from(3).unwrap();
    tickets.delete(third, &writer(), Visibility::All, &Preconditions::default()).await.unwrap();
    assert!(tickets.get(third, Visibility::All).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_import_goes_on_where_it_died_and_leaves_what_has_changed_since() {
    let table = Table::new(NOW).await;
    let tickets = table.tickets(patient());
    let moved = records(1..=40);
    let ranges = reserve_ranges(&tickets, &moved).await;
    for record in &moved[..25] {
        assert_eq!(tickets.import(&writer(), &ranges, record).await.unwrap(), Imported::New);
    }
    // The import dies here; the API goes on.
    assert_eq!(create(&tickets).await, 41);
    tickets
        .delete(1.try_into().unwrap(), &writer(), Visibility::All, &Preconditions::default())
        .await
        .unwrap();
    let again = import(&tickets, &moved).await;
    assert_eq!(again[0], Imported::Changed);
    assert!(again[1..25].iter().all(|became| *became == Imported::There));
    assert!(again[25..].iter().all(|became| *became == Imported::New));
    let listed = pages(&tickets, &all()).await;
    assert_eq!(listed[1..40], rows(&moved[1..]));
    assert_eq!(listed[0].key.updated, table.clock.now(), "deleted as it was");
    assert_eq!(create(&tickets).await, 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_ids_interleave_can_be_moved_in_one_after_the_other() {
    let table = Table::new(NOW).await;
    let tickets = table.tickets(patient());
    for part in [records((1..100).filter(|id| id % 2 == 1)), records((1..100).filter(|id| id % 2 == 0))] {
        assert!(import(&tickets, &part).await.iter().all(|became| *became == Imported::New));
    }
    assert_eq!(pages(&tickets, &all()).await, rows(&records(1..100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_given_out_before_is_never_put() {
    let table = Table::new(NOW).await;
    let tickets = table.tickets(patient());
    assert_eq!((create(&tickets).await, create(&tickets).await), (1, 2));
    // A writer has reserved 3, and has not put its ticket yet.
    let key = [("bucket", AttributeValue::S("counter".into())), ("id", AttributeValue::N("0".into()))];
    let reserve = table
        .client
        .update_item()
        .table_name(&table.name)
        .set_key(Some(key.map(|(n, v)| (n.to_owned(), v)).into()));
    let one = AttributeValue::N("1".into());
    let reserve = reserve.update_expression("ADD #last :one").expression_attribute_names("#last", "last");
    reserve.expression_attribute_values(":one", one).send().await.unwrap();
    let moved = records(2..=5);
    assert!(!tickets.reserved_ranges().await.unwrap().admits(3.try_into().unwrap()));
    let became = import(&tickets, &moved).await;
    assert_eq!(became, [Imported::Taken, Imported::GivenOut, Imported::New, Imported::New]);
    // 3 was open. Whoever puts a record behind it has waited until it is closed: no list ends before it.
    assert_eq!(ids(&pages(&tickets, &all()).await), [1, 2, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_writers_that_began_before_it_also_where_it_is_repeated() {
    let table = Table::new(NOW).await;
    let window = Settings { settle: Duration::from_millis(1500), ..Settings::default() };
    let tickets = table.tickets(window);
    create(&tickets).await;
    let moved = records(2..=5);
    let waited = async || {
        let began = tokio::time::Instant::now();
        reserve_ranges(&tickets, &moved).await;
        began.elapsed()
    };
    for _ in 0..2 {
        assert!(waited().await >= Duration::from_millis(1500));
    }
    table.advance(1500);
    assert!(waited().await < Duration::from_millis(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_beside_an_import_get_ids_of_their_own() {
    let table = Table::new(NOW).await;
    let instances = (0..4).map(|_| table.instance()).collect::<Vec<_>>();
    let importers = [table.tickets(patient()), table.tickets(patient())];
    let moved = records(200..400);
    let writers = join_all(instances.iter().map(|tickets| async {
        let mut given = Vec::new();
        while given.len() < 25 {
            given.push(create(tickets).await);
        }
        given
    }));
    // Two imports of the same file, at the same time.
    let (given, first, second) =
        tokio::join!(writers, import(&importers[0], &moved), import(&importers[1], &moved));
    for (first, second) in first.into_iter().zip(second) {
        let news = [first, second].into_iter().filter(|became| *became == Imported::New).count();
        assert!(news == 1 && (first, second) != (Imported::Taken, Imported::New), "{first:?} {second:?}");
    }
    let given: BTreeSet<u64> = given.into_iter().flatten().collect();
    assert_eq!(given.len(), 100, "no id twice");
    assert!(given.iter().all(|id| !(200..400).contains(id)));
    table.advance(10_000);
    let listed = pages(&instances[0], &all()).await;
    let (old, new): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|row| (200..400).contains(&row.key.id.get()));
    assert_eq!(old, rows(&moved));
    assert_eq!(ids(&new).into_iter().collect::<BTreeSet<_>>(), given);
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_ranges_cost_a_list_nothing_and_are_no_gap() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(patient()).metered(meter.clone());
    fill(&tickets, 3, 1, time("2026-01-01")).await;
    let moved = records([5, 900_001, 900_002, 900_010, 5_000_001]);
    import(&tickets, &moved).await;
    assert_eq!(create(&tickets).await, 5_000_002);
    meter.take();
    table.advance(10_000);
    assert_eq!(
        ids(&pages(&tickets, &all()).await),
        [1, 2, 3, 5, 900_001, 900_002, 900_010, 5_000_001, 5_000_002]
    );
    assert!(!counts_units() || meter.take() < 60.0);
    // An id that was left out cannot come later: lists would not show it.
    assert_eq!(import(&tickets, &records([400_000])).await, [Imported::GivenOut]);
}

/// An item of the tickets' table.
async fn item(table: &Table, bucket: &str, id: &AttributeValue) -> HashMap<String, AttributeValue> {
    let get = table.client.get_item().table_name(&table.name).consistent_read(true);
    let get = get.key("bucket", AttributeValue::S(bucket.into())).key("id", id.clone());
    get.send().await.unwrap().item.unwrap()
}

async fn counter(table: &Table) -> HashMap<String, AttributeValue> {
    item(table, "counter", &AttributeValue::N("0".into())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_hundred_imports_a_create_and_a_page_cost_what_they_cost_before() {
    let table = Table::new(NOW).await;
    let meter = Meter::counting();
    let tickets = table.tickets(patient()).metered(meter.clone());
    let costs = async || {
        let id_after = create(&tickets).await - 1;
        let created = meter.take();
        let page = Filter { id_after, ..all() };
        assert_eq!(pages(&tickets, &page).await.len(), 1);
        (created, meter.take())
    };
    create(&tickets).await;
    meter.take();
    let before = costs().await;
    for n in 1..=100 {
        assert_eq!(import(&tickets, &records([n * 20_000])).await, [Imported::New]);
    }
    meter.take();
    costs().await; // An instance reads the ranges once.
    assert_eq!(costs().await, before);
    assert_eq!(counter(&table).await.len(), 7, "the counter has none of the ranges");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_an_earlier_version_left_on_the_counter_are_read_and_leave_it_with_the_next_move() {
    let table = Table::new(NOW).await;
    let tickets = table.tickets(patient());
    let moved = records([5, 6, 900_001]);
    let reserved = reserve_ranges(&tickets, &moved).await;
    assert_eq!(tickets.import(&writer(), &reserved, &moved[0]).await.unwrap(), Imported::New);
    // The counter as an earlier version wrote it.
    let mut former = counter(&table).await;
    let mut list = item(&table, "ranges", &former.remove("ranges").unwrap()).await;
    for name in ["skipped", "moved"] {
        former.insert(name.into(), list.remove(name).unwrap());
    }
    table.client.put_item().table_name(&table.name).set_item(Some(former)).send().await.unwrap();

    // An instance that knows no list, and that import goes on.
    let tickets = table.tickets(patient());
    assert_eq!(import(&tickets, &moved).await, [Imported::There, Imported::New, Imported::New]);
    assert_eq!(import(&tickets, &records([400_000])).await, [Imported::GivenOut], "it is skipped");
    let later = records([7, 1_000_001]);
    assert_eq!(import(&tickets, &later[1..]).await, [Imported::New]);
    let restored = tickets.start_epoch(500_000).await.unwrap();
    assert_eq!((restored.last, create(&tickets).await), (1_000_001, 1_500_002));
    let counter = counter(&table).await;
    assert!(
        counter.contains_key("ranges") && !counter.contains_key("skipped") && !counter.contains_key("moved")
    );
    table.advance(10_000);
    for tickets in [&tickets, &table.tickets(patient())] {
        let meter = Meter::counting();
        let listed = pages(&tickets.metered(meter.clone()), &all()).await;
        assert_eq!(ids(&listed), [5, 6, 900_001, 1_000_001, 1_500_002]);
        assert!(!counts_units() || meter.take() < 60.0, "no range is walked through");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_too_far_apart_are_refused_before_anything_is_written() {
    let table = Table::new(NOW).await;
    let tickets = table.tickets(patient());
    let sparse: Vec<u64> = (1..=1000).map(|n| n * 9_000).collect();
    let refused = tickets.reserve_ranges(&sparse, time(NOW)).await.unwrap().unwrap_err();
    assert_eq!((refused.first, refused.last), (9_000, 9_000_000));
    assert_eq!(create(&tickets).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_makes_copies_and_exports_start_over() {
    let table = Table::new(NOW).await;
    let tickets = table.tickets(patient());
    assert!(tickets.renew_epoch().await.is_err(), "there is no table to start one in");
    let epoch = async || {
        let take = |_: &Row| tickets_domain::Fit::Added;
        tickets.list(&all(), &Default::default(), Visibility::All, take).await.unwrap().epoch
    };
    import(&tickets, &records(1..=3)).await;
    let before = epoch().await;
    let new = tickets.renew_epoch().await.unwrap();
    assert!(before != new && epoch().await == new);
    assert_eq!(create(&tickets).await, 4);
}
