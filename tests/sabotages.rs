//! One part of the design is broken on purpose in each of these tests. A schedule, written down step by step, shows
//! the fault that the part prevents: with the part it ends well, without it something is lost or doubled.
//!
//! Latencies, waits and the clocks of instances are drawn from a seed. No schedule depends on them, so each is played
//! with several seeds. docs/reliability.md has a row for each test.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use deliver_webhooks::Wake;
use serde_json::{Value, json};
use support::clients::{Connector, Copy, Follower, Place, Poller, Tail, apply, id, records, table};
use support::events;
use support::files;
use support::model::{Faults, Hold, Lie, Point};
use support::simulation::{Reply, Simulation, simulate};
use support::stream::{deliver, history, recorded};
use support::webhooks::{Deliveries, Mood, record, url};
use tickets_domain::{PresetLists, Settings};
use tokio::task::JoinHandle;

const SETTLE: Duration = Duration::from_secs(10);
/// The longest that a write takes.
const WRITE_DEADLINE: Duration = Duration::from_secs(3);
/// Within this a call stops and goes on without being repeated meanwhile: an attempt ends after a second.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Plays a schedule without the sabotage and with it. It returns what came of it and what should have: they are equal
/// without the sabotage, and differ with it.
fn is_noticed<T: PartialEq + Debug>(schedule: impl AsyncFn(Simulation, bool) -> (T, T)) {
    for seed in 1..=5 {
        for broken in [false, true] {
            let settings = Settings { settle: SETTLE, ..Settings::default() };
            let play = async { schedule(Simulation::start(seed, settings).await, broken).await };
            let (came, should) = simulate(seed, play);
            assert_eq!(came == should, !broken, "seed {seed}, broken {broken}: {came:?}, of {should:?}");
        }
    }
}

async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A create of a ticket of customer 1, with an idempotency key if one is given.
fn create(
    api: &Simulation,
    subject: &'static str,
    key: Option<&'static str>,
) -> impl Future<Output = Reply> + use<> {
    let api = api.clone();
    async move {
        let key = key.map(|key| ("idempotency-key", key));
        let body = json!({"customerID": 1, "subject": subject});
        api.call("POST", "/tickets/", key.as_slice(), Some(&body)).await
    }
}

async fn created(api: &Simulation, subject: &'static str) {
    assert_eq!(create(api, subject, None).await.status, 201);
}

/// A change of a ticket.
fn change(api: &Simulation, id: u64, body: Value) -> impl Future<Output = Reply> + use<> {
    let api = api.clone();
    async move { api.call("PATCH", &format!("/tickets/{id}"), &[], Some(&body)).await }
}

async fn changed(api: &Simulation, id: u64, body: Value) {
    assert_eq!(change(api, id, body).await.status, 200);
}

async fn deleted(api: &Simulation, id: u64) {
    assert_eq!(api.call("DELETE", &format!("/tickets/{id}"), &[], None).await.status, 204);
}

/// A job that copies a list by `Sync-Until` and `Link`.
fn job(path: &'static str) -> Poller {
    Poller::new(path, true, false)
}

#[test]
fn a_settle_window_of_zero_is_noticed() {
    // A ticket has its date, and is not in the table yet; or it is, and not in the indexes.
    for point in [Point::Effect, Point::Indexes] {
        is_noticed(async |mut api, broken| {
            if broken {
                api.settings.settle = Duration::ZERO;
            }
            let mut job = job("/tickets/");
            job.pass(&api, 100).await;
            let (put, late) = api.stop(point, "PutItem", "late", create(&api, "late", None)).await;
            wait(A_MOMENT).await;
            job.pass(&api, 100).await;
            assert!(job.copy.is_empty(), "it is not there yet");
            put.release();
            assert_eq!(late.await.unwrap().status, 201);
            wait(3 * SETTLE).await;
            job.pass(&api, 100).await;
            (job.copy, table(&api).await)
        });
    }
}

#[test]
fn a_fetch_that_is_not_consistent_is_noticed() {
    is_noticed(async |api, broken| {
        created(&api, "changes").await;
        wait(2 * SETTLE).await;
        let mut job = job("/tickets/");
        job.pass(&api, 100).await;
        changed(&api, 1, json!({"users": "u"})).await;
        // The index announces the change, and the fetch returns the ticket as it was before.
        wait(SETTLE + SETTLE / 2).await;
        api.model.lie(broken.then_some(Lie::StaleFetch(2 * SETTLE)));
        job.pass(&api, 100).await;
        wait(2 * SETTLE).await;
        job.pass(&api, 100).await;
        (job.copy, table(&api).await)
    });
}

/// A page of a settled list, with the horizon of now instead of the first page's.
fn with_the_horizon_of_now(page: &str) -> String {
    let (path, query) = page.split_once('?').expect("a query");
    let kept = query.split('&').filter(|pair| !pair.starts_with("updatedUntil="));
    format!("{path}?{}&updatedUntil=9999-12-31", kept.collect::<Vec<_>>().join("&"))
}

#[test]
fn a_settled_horizon_that_moves_from_page_to_page_is_noticed() {
    is_noticed(async |api, broken| {
        for subject in ["behind the reader", "being read", "ahead of the reader"] {
            created(&api, subject).await;
        }
        wait(2 * SETTLE).await;
        let mut connector = Connector::default();
        let mut next = connector.load(&api, &connector.first_page(1)).await;
        assert_eq!(connector.copy.len(), 1);
        for id in [1, 3] {
            changed(&api, id, json!({"users": "u"})).await;
            wait(A_MOMENT).await;
        }
        wait(2 * SETTLE).await;
        while let Some(page) = next {
            let page = if broken { with_the_horizon_of_now(&page) } else { page };
            next = connector.load(&api, &page).await;
        }
        connector.pass(&api, 100).await;
        (connector.copy, table(&api).await)
    });
}

#[test]
fn the_sync_until_of_the_last_page_instead_of_the_first_is_noticed() {
    is_noticed(async |api, broken| {
        created(&api, "behind the reader").await;
        created(&api, "ahead of the reader").await;
        wait(2 * SETTLE).await;
        let first = api.get("/tickets/?includeDeleted=true&limit=1").await;
        changed(&api, 1, json!({"users": "u"})).await;
        wait(2 * SETTLE).await;
        let last = api.get(&first.next().unwrap()).await;
        let until = if broken { &last } else { &first }.header("sync-until");
        let next = api.get(&format!("/tickets/?includeDeleted=true&updatedSince={until}")).await;
        let mut copy = Copy::new();
        [&first, &last, &next].into_iter().for_each(|page| apply(&mut copy, records(page)));
        (copy, table(&api).await)
    });
}

#[test]
fn a_list_that_passes_an_open_id_is_noticed() {
    is_noticed(async |api, broken| {
        let (put, slow) = api.stop(Point::Effect, "PutItem", "slow", create(&api, "slow", None)).await;
        created(&api, "fast").await;
        let mut tail = Tail::default();
        api.model.lie(broken.then_some(Lie::ClosedIds));
        tail.pass(&api).await;
        put.release();
        assert_eq!(slow.await.unwrap().status, 201);
        tail.pass(&api).await;
        (tail.seen, table(&api).await.into_keys().collect())
    });
}

#[test]
fn a_claim_taken_over_without_the_void_is_noticed() {
    is_noticed(async |api, broken| {
        let request = || create(&api, "once", Some("key"));
        // The first writer has claimed the key, and has not put the ticket yet.
        let (put, first) = api.stop(Point::Effect, "PutItem", "once", request()).await;
        api.model.lie(broken.then_some(Lie::NoVoids));
        let second = request().await;
        put.release();
        let first = first.await.unwrap();
        assert_eq!((first.status, second.status), (201, 201));
        let mut ids = vec![id(&first.body), id(&second.body)];
        ids.extend(table(&api).await.into_keys());
        let one = ids[0];
        (ids, vec![one; 3])
    });
}

#[test]
fn a_claim_that_does_not_keep_what_was_filled_in_is_noticed() {
    is_noticed(async |mut api, broken| {
        api.model.lie(broken.then_some(Lie::ForgottenDefaults));
        let first = create(&api, "once", Some("key")).await;
        // The answer is lost, and before the request is repeated, a new ticket has come to get another status.
        api.redeploy(&PresetLists { statuses: "new, open, closed", ..PresetLists::default() });
        let second = create(&api, "once", Some("key")).await;
        assert_eq!((first.status, second.status), (201, 201));
        (second.body, first.body)
    });
}

#[test]
fn a_stamp_taken_before_the_reservation_is_noticed() {
    is_noticed(async |api, broken| {
        // The first writer dies after its reservation. The second one reserves after it. Its stamp is older than both
        // if it was taken before a reservation that took as long as a write may.
        let (put, _) = api.stop(Point::Effect, "PutItem", "dead", create(&api, "dead", None)).await;
        put.kill();
        api.model.lie(broken.then_some(Lie::EarlyStamp(WRITE_DEADLINE)));
        created(&api, "behind the dead").await;
        // The dead writer's id is still open, so the list ends before it. `Sync-Until` comes close to the reservations.
        wait(SETTLE - Duration::from_secs(2)).await;
        let mut job = job("/tickets/");
        job.pass(&api, 100).await;
        assert!(job.copy.is_empty());
        wait(3 * SETTLE).await;
        job.pass(&api, 100).await;
        (job.copy, table(&api).await)
    });
}

#[test]
fn a_departure_that_is_not_written_is_noticed() {
    is_noticed(async |api, broken| {
        created(&api, "moves").await;
        wait(2 * SETTLE).await;
        let mut job = job("/customers/1/tickets/");
        job.pass(&api, 100).await;
        api.model.lie(broken.then_some(Lie::NoDepartures));
        changed(&api, 1, json!({"customerID": 2})).await;
        wait(2 * SETTLE).await;
        job.pass(&api, 100).await;
        let moved = &table(&api).await[&1]["updatedDate"];
        (job.copy[&1]["movedDate"].clone(), moved.clone())
    });
}

#[test]
fn a_departure_believed_without_reading_the_ticket_is_noticed() {
    is_noticed(async |api, broken| {
        created(&api, "stays").await;
        wait(2 * SETTLE).await;
        let mut job = job("/customers/1/tickets/");
        job.pass(&api, 100).await;
        // The mover dies after the departure and before the move.
        let (put, _) =
            api.stop(Point::Effect, "PutItem", "stays", change(&api, 1, json!({"customerID": 2}))).await;
        put.kill();
        wait(2 * SETTLE).await;
        api.model.lie(broken.then_some(Lie::BelievedDepartures));
        job.pass(&api, 100).await;
        (job.copy, table(&api).await)
    });
}

#[test]
fn a_shard_left_out_of_a_merge_is_noticed() {
    is_noticed(async |api, broken| {
        for subject in ["a", "b", "c", "d"] {
            created(&api, subject).await;
        }
        wait(2 * SETTLE).await;
        api.model.lie(broken.then_some(Lie::MissingShard));
        let mut job = job("/tickets/");
        job.pass(&api, 100).await;
        (job.copy, table(&api).await)
    });
}

#[test]
fn an_entry_of_the_history_put_even_if_one_is_there_is_noticed() {
    is_noticed(async |api, broken| {
        api.model.keep_stream();
        created(&api, "is erased").await;
        deleted(&api, 1).await;
        let (history, stream) = (history(&api, api.clock.clone()), api.model.take_stream());
        assert_eq!(deliver(&history, &stream).await, None);
        // The first record comes a second time.
        api.model.lie(broken.then_some(Lie::RepeatedEntries));
        assert_eq!(deliver(&history, &stream[..1]).await, None);
        (recorded(&api, &table(&api).await).await.map(drop), Ok(()))
    });
}

#[test]
fn a_deletion_that_does_not_erase_what_is_still_to_come_is_noticed() {
    is_noticed(async |api, broken| {
        api.model.keep_stream();
        created(&api, "is erased").await;
        deleted(&api, 1).await;
        let (history, stream) = (history(&api, api.clock.clone()), api.model.take_stream());
        api.model.lie(broken.then_some(Lie::NoErasures));
        for record in stream.iter().rev() {
            assert_eq!(deliver(&history, std::slice::from_ref(record)).await, None);
        }
        (recorded(&api, &table(&api).await).await.map(drop), Ok(()))
    });
}

#[test]
fn a_record_that_failed_and_is_not_delivered_again_is_noticed() {
    is_noticed(async |api, broken| {
        api.model.keep_stream();
        created(&api, "recorded").await;
        created(&api, "failed").await;
        let (history, stream) = (history(&api, api.clock.clone()), api.model.take_stream());
        api.model.set(Faults { throttle: 1.0, mentions: Some("failed"), ..Faults::default() });
        let failed = deliver(&history, &stream).await;
        assert_eq!(failed, Some(1));
        api.model.set(Faults::default());
        let again = if broken { &[] } else { &stream[1..] };
        assert_eq!(deliver(&history, again).await, None);
        (recorded(&api, &table(&api).await).await.map(drop), Ok(()))
    });
}

/// Reads the feed twice by its cursor, and says what came of it, and what should have: an event of each version.
struct Reading {
    api: Simulation,
    reader: Follower,
}

impl Reading {
    /// Keeps the stream from now on, and reads nothing yet.
    fn start(api: &Simulation) -> Self {
        api.model.keep_stream();
        Self { api: api.clone(), reader: Follower::new(Place::Cursor) }
    }

    /// Delivers a record of the stream, once the call that it makes is stopped at this point.
    async fn stopped(
        &self,
        point: Point,
        mentions: &'static str,
        record: &Value,
    ) -> (Hold, JoinHandle<Option<usize>>) {
        let (history, record) = (history(&self.api, self.api.clock.clone()), record.clone());
        let delivery = async move { deliver(&history, std::slice::from_ref(&record)).await };
        self.api.stop(point, "PutItem", mentions, delivery).await
    }

    async fn deliver(&self, record: &Value) {
        let history = history(&self.api, self.api.clock.clone());
        assert_eq!(deliver(&history, std::slice::from_ref(record)).await, None);
    }

    async fn pass(&mut self) -> usize {
        self.reader.pass(&self.api, 100).await;
        self.reader.seen.len()
    }

    async fn end(mut self) -> (Result<(), String>, Result<(), String>) {
        wait(3 * SETTLE).await;
        self.pass().await;
        let histories = recorded(&self.api, &table(&self.api).await).await.expect("histories");
        (events::exact(&self.reader.seen, &histories, &BTreeSet::new()), Ok(()))
    }
}

#[test]
fn a_horizon_of_zero_is_noticed() {
    // An event has its time, and is not in the table yet; or it is, and not in the index.
    for point in [Point::Effect, Point::Indexes] {
        is_noticed(async |mut api, broken| {
            if broken {
                api.settings.settle = Duration::ZERO;
            }
            let mut reading = Reading::start(&api);
            created(&api, "late").await;
            created(&api, "early").await;
            let stream = versions(&api);
            let (put, late) = reading.stopped(point, "late", &stream[0]).await;
            wait(A_MOMENT / 2).await;
            reading.deliver(&stream[1]).await;
            wait(A_MOMENT / 2).await;
            assert_eq!(reading.pass().await, usize::from(broken));
            put.release();
            assert_eq!(late.await.unwrap(), None);
            reading.end().await
        });
    }
}

#[test]
fn recorded_before_the_wait_for_a_retry_is_noticed() {
    is_noticed(async |api, broken| {
        let mut reading = Reading::start(&api);
        created(&api, "throttled").await;
        created(&api, "at once").await;
        let stream = versions(&api);
        // The last attempt begins just before the deadline. The time that it carries is that of the first one if
        // `recorded` was set before the waits.
        let waits = WRITE_DEADLINE - Duration::from_millis(200);
        reading.deliver(&stream[1]).await;
        wait(Duration::from_secs(1)).await;
        api.model.lie(broken.then_some(Lie::EarlyRecord(waits)));
        let (shown, put) = reading.stopped(Point::Indexes, "throttled", &stream[0]).await;
        assert_eq!(put.await.unwrap(), None);
        api.model.lie(None);
        // The index takes nearly as long as the settle window allows.
        wait(SETTLE - A_MOMENT).await;
        assert_eq!(reading.pass().await, 1);
        shown.release();
        reading.end().await
    });
}

#[test]
fn a_shard_left_out_of_the_feed_is_noticed() {
    is_noticed(async |api, broken| {
        let mut reading = Reading::start(&api);
        for subject in ["a", "b", "c", "d"] {
            created(&api, subject).await;
        }
        for record in versions(&api) {
            reading.deliver(&record).await;
        }
        wait(2 * SETTLE).await;
        api.model.lie(broken.then_some(Lie::MissingShard));
        reading.pass().await;
        api.model.lie(None);
        reading.end().await
    });
}

/// A webhook whose receiver is in this mood, and two tickets whose events are recorded.
async fn two_events(api: &Simulation, mood: Mood) -> Deliveries {
    record(api).await;
    let deliveries = Deliveries::new(api, 1);
    deliveries.create("a", mood, |_| {}).await;
    created(api, "first").await;
    created(api, "second").await;
    record(api).await;
    deliveries
}

#[test]
fn a_cursor_that_passes_a_failed_delivery_is_noticed() {
    is_noticed(async |api, broken| {
        let deliveries = two_events(&api, Mood::Refuses(1)).await;
        wait(2 * SETTLE).await;
        api.model.lie(broken.then_some(Lie::DroppedHolds));
        deliveries.run(Wake::Scheduled).await;
        api.model.lie(None);
        deliveries.network.set(&url("a"), Mood::Well);
        wait(2 * SETTLE).await;
        deliveries.run(Wake::Scheduled).await;
        let received = deliveries.network.received(&url("a"));
        let mut versions: Vec<_> = received.iter().map(|received| events::version(&received.event)).collect();
        versions.sort_unstable();
        (versions, vec![(1, 1), (2, 1)])
    });
}

#[test]
fn a_memory_that_drops_accepted_events_is_noticed() {
    is_noticed(async |api, broken| {
        let deliveries = two_events(&api, Mood::Well).await;
        // The events are young: the cursor stays before them.
        api.model.lie(broken.then_some(Lie::DroppedAccepted));
        deliveries.run(Wake::Scheduled).await;
        api.model.lie(None);
        deliveries.run(Wake::Scheduled).await;
        (deliveries.network.requests(&url("a")), 2)
    });
}

#[test]
fn a_lease_that_is_not_checked_is_noticed() {
    is_noticed(async |api, broken| {
        let deliveries = two_events(&api, Mood::Well).await;
        api.model.lie(broken.then_some(Lie::UncheckedLease));
        futures::join!(deliveries.run(Wake::Scheduled), deliveries.run(Wake::Scheduled));
        (deliveries.network.requests(&url("a")), 2)
    });
}

/// The stream's records of tickets' versions.
fn versions(api: &Simulation) -> Vec<Value> {
    let mut records = api.model.take_stream();
    records.retain(|record| record["dynamodb"]["NewImage"]["version"].is_object());
    records
}

/// The names of the tests in this file, and what the rows of docs/reliability.md's table would name theirs.
#[test]
fn the_documents_have_a_row_for_each_sabotage() {
    let tests: BTreeSet<String> = files::read("tests/sabotages.rs")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("fn ")?.strip_suffix("_is_noticed() {")?.to_owned()))
        .collect();
    let document = files::read("docs/reliability.md");
    let table = document.split_once("| sabotage | ").expect("a table").1;
    let rows: Vec<String> = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.split(" | ").next())
        .map(|sabotage| {
            let words =
                sabotage.split(|other: char| !other.is_alphanumeric()).filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join("_").to_lowercase()
        })
        .collect();
    assert_eq!(rows.len(), tests.len());
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), tests);
}
