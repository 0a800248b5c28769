//! Tests of the scheduled export: the store equals the table, even if runs are cut off, killed, repeated or
//! run at the same time.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;

use export_tickets::{Event, Exporter, Outcome, Store, answer};
use fastrand::Rng;
use flate2::read::GzDecoder;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use serde_json::{Value, json};
use tickets_app::Config;
use tickets_cli::server::local::{Local, any_port};
use tickets_domain::Settings;
use tickets_domain::precondition::Preconditions;
use tickets_domain::{
    Clock, Continuation, Error, Filter, Fit, JsonObject, KeyId, ListEnd, NewTicket, Presets, TicketId,
    TicketInput, Timestamp, Visibility,
};
use tickets_repository::Tickets;
use tickets_repository::checkpoint::ExportKind;
use tickets_repository::http_client::local_config;

use crate::exactness::number;

/// A table, a store of exports, and a clock that the test moves.
struct World {
    tickets: Tickets,
    exporter: Exporter,
    store: Store,
    presets: Presets,
    millis: Arc<AtomicI64>,
    _database: Local,
}

const SETTLE: Duration = Duration::from_secs(10);

/// The writer of all records here.
fn writer() -> KeyId {
    "writer".parse().unwrap()
}

impl World {
    /// A world with objects of about `part_bytes` before compression. Lists read at most `most_keys` keys.
    async fn new(part_bytes: usize, most_keys: usize) -> Self {
        let database = Local::in_memory(any_port()).await.unwrap();
        let millis = Arc::new(AtomicI64::new(support::time("2026-11-30T12:00:00Z").millis()));
        let shown = Arc::clone(&millis);
        // Each reading of the clock takes a millisecond.
        let clock =
            Clock::new(move || Timestamp::from_millis(shown.fetch_add(1, Ordering::Relaxed)).unwrap());
        let settings = Settings { settle: SETTLE, most_keys, ..Settings::default() };
        let tickets = Tickets::new(database.dynamodb(), "Tickets", clock.clone(), settings);
        // A put takes time, so that a run can be killed before it has an effect.
        let slow =
            ThrottleConfig { wait_put_per_call: Duration::from_millis(1), ..ThrottleConfig::default() };
        let store = Store::new(ThrottledStore::new(InMemory::new(), slow));
        let exporter = Exporter::new(tickets.clone(), store.clone(), clock).with_part_bytes(part_bytes);
        let presets = Config::from_lookup(|_| None).unwrap().presets;
        Self { tickets, exporter, store, presets, millis, _database: database }
    }

    fn pass(&self, time: Duration) {
        self.millis.fetch_add(time.as_millis() as i64, Ordering::Relaxed);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::Relaxed)).unwrap()
    }

    async fn create(&self, rng: &mut Rng) -> u64 {
        let content: String = (0..rng.usize(0..300)).map(|_| rng.alphanumeric()).collect();
        let body = json!({"customerID": rng.u64(1..9), "subject": "s", "ticketContent": content});
        let object = JsonObject::parse(body.to_string().as_bytes()).unwrap();
        let new = NewTicket::parse(object, &self.presets).unwrap();
        self.tickets.create(&writer(), Visibility::All, &new, None).await.unwrap().ticket.id().get()
    }

    /// Changes or deletes a random ticket.
    async fn disturb(&self, rng: &mut Rng, last: u64) {
        let id = TicketId::try_from(rng.u64(1..=last)).unwrap();
        let outcome = if rng.u8(0..5) == 0 {
            self.tickets.delete(id, &writer(), Visibility::All, &Preconditions::default()).await.map(drop)
        } else {
            let body = json!({"subject": format!("changed {}", rng.u32(..))}).to_string();
            let change =
                TicketInput::change(JsonObject::parse(body.as_bytes()).unwrap(), &self.presets).unwrap();
            let apply = |ticket: &_, now| change.apply(ticket, now);
            self.tickets
                .update(id, &writer(), Visibility::All, &Preconditions::default(), apply)
                .await
                .map(drop)
        };
        assert!(matches!(outcome, Ok(()) | Err(Error::NotFound)), "{outcome:?}");
    }

    async fn run(&self) -> Outcome {
        answer(&self.exporter, Event::default(), Timestamp::MAX).await.unwrap()
    }

    /// The keys of all objects below `folder`, sorted.
    async fn objects(&self, folder: &str) -> Vec<String> {
        let mut found = self.store.keys(folder).await.unwrap();
        found.sort();
        found
    }

    async fn body(&self, key: &str) -> Vec<u8> {
        self.store.get(key).await.unwrap().unwrap().body
    }

    /// The records of an object.
    async fn records(&self, key: &str) -> Vec<Value> {
        let lines = BufReader::new(GzDecoder::new(&*self.body(key).await))
            .lines()
            .map(Result::unwrap)
            .collect::<Vec<_>>();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The newest record of each ticket in the store.
    async fn copy(&self) -> BTreeMap<u64, Value> {
        let mut copy: BTreeMap<u64, Value> = BTreeMap::new();
        for object in self.objects("tickets").await {
            for record in self.records(&object).await {
                let id = record["id"].as_str().unwrap().parse().unwrap();
                let updated = |record: &Value| record["updatedDate"].as_str().unwrap().to_owned();
                if copy.get(&id).is_none_or(|old| updated(old) <= updated(&record)) {
                    copy.insert(id, record);
                }
            }
        }
        copy
    }

    async fn table(&self) -> BTreeMap<u64, Value> {
        let (mut table, mut id_after) = (BTreeMap::new(), 0);
        loop {
            let filter = Filter { include_deleted: true, id_after, ..Filter::default() };
            let take = |row: &tickets_domain::Row| {
                id_after = row.key.id.get();
                table.insert(id_after, serde_json::from_str(&row.json).unwrap());
                Fit::Added
            };
            let listed = self.tickets.list(&filter, &Continuation::default(), Visibility::All, take).await;
            if listed.unwrap().end == ListEnd::Complete {
                return table;
            }
        }
    }

    async fn manifests(&self) -> Vec<Value> {
        let mut manifests = Vec::new();
        for key in self.objects("manifests").await {
            manifests.push(serde_json::from_slice(&self.body(&key).await).unwrap());
        }
        manifests
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_stores_what_changed_since_the_last_one_deletions_included() {
    let (world, mut rng) = (World::new(1 << 20, 20_000).await, Rng::with_seed(1));
    for _ in 0..30 {
        world.create(&mut rng).await;
    }
    world.pass(SETTLE * 2);
    let first = world.run().await;
    assert!(first.complete && first.since.is_none());
    assert_eq!((first.objects, first.records, first.watermark), (1, 30, Some(first.until)));
    assert_eq!(world.copy().await, world.table().await);

    world
        .tickets
        .delete(TicketId::FIRST, &writer(), Visibility::All, &Preconditions::default())
        .await
        .unwrap();
    world.create(&mut rng).await;
    world.pass(SETTLE * 2);
    let second = world.run().await;
    assert_eq!((second.since, second.records), (first.watermark, 2));
    assert!(second.until > first.until);
    assert_eq!(world.copy().await, world.table().await);
    assert!(world.copy().await[&1]["deletedDate"].is_string());

    // Nothing changed: the manifest says so, and there is no object.
    let third = world.run().await;
    assert_eq!((third.since, third.objects), (second.watermark, 0));
    let names: Vec<_> =
        world.manifests().await.iter().map(|m| m["objects"].as_array().unwrap().len()).collect();
    assert_eq!(names, [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_fresher_than_the_horizon_waits_for_the_next_run() {
    let (world, mut rng) = (World::new(1 << 20, 20_000).await, Rng::with_seed(2));
    world.create(&mut rng).await;
    world.pass(SETTLE * 2);
    world.create(&mut rng).await;
    assert_eq!(world.run().await.records, 1);
    world.pass(SETTLE * 2);
    assert_eq!(world.run().await.records, 1);
    assert_eq!(world.copy().await, world.table().await);
}

#[tokio::test(start_paused = true)]
async fn objects_are_bounded_and_manifests_name_every_one() {
    let (world, mut rng) = (World::new(4096, 20_000).await, Rng::with_seed(3));
    for _ in 0..100 {
        world.create(&mut rng).await;
    }
    world.pass(SETTLE * 2);
    let outcome = world.run().await;
    assert!(outcome.objects > 5, "{outcome:?}");
    let objects = world.objects("tickets").await;
    assert_eq!(objects.len() as u64, outcome.objects);
    let mut named = Vec::new();
    for manifest in world.manifests().await {
        assert_eq!(manifest["complete"], true);
        assert_eq!(manifest["records"], 100);
        for object in manifest["objects"].as_array().unwrap() {
            let key = object["key"].as_str().unwrap();
            assert_eq!(object["records"].as_u64().unwrap() as usize, world.records(key).await.len());
            assert_eq!(object["bytes"].as_u64().unwrap() as usize, world.body(key).await.len());
            named.push(key.to_owned());
        }
    }
    assert_eq!(named, objects);
    for object in objects {
        let lines: usize = world.records(&object).await.iter().map(|record| record.to_string().len()).sum();
        assert!(lines < 4096 + 1000, "{lines} bytes in an object");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_short_of_time_stops_between_parts_and_the_next_goes_on() {
    let (world, mut rng) = (World::new(2048, 20_000).await, Rng::with_seed(4));
    for _ in 0..60 {
        world.create(&mut rng).await;
    }
    world.pass(SETTLE * 2);
    let (mut runs, mut objects, mut last) = (0, 0, None);
    loop {
        // Each reading of the clock takes a millisecond, so only a few tickets fit into one run.
        let deadline = world.now().plus(Duration::from_secs(45) + Duration::from_millis(16));
        let outcome = world.exporter.run(ExportKind::Scheduled, deadline).await.unwrap();
        (runs, objects) = (runs + 1, objects + outcome.objects);
        assert_eq!(outcome.watermark.is_some(), outcome.complete);
        assert!(last.is_none_or(|until| until == outcome.until), "it is one pass");
        last = Some(outcome.until);
        if outcome.complete {
            break;
        }
        assert!(runs < 100, "it gets nowhere");
    }
    assert!(runs > 3, "{runs} runs");
    assert_eq!(world.objects("tickets").await.len() as u64, objects);
    assert_eq!(world.copy().await, world.table().await);
    let manifests = world.manifests().await;
    assert_eq!(manifests.iter().filter(|manifest| manifest["complete"] == true).count(), 1);
    let named: usize = manifests.iter().map(|manifest| manifest["objects"].as_array().unwrap().len()).sum();
    assert_eq!(named as u64, objects);
}

/// Polls a future at most `polls` times and then drops it, as a kill would. `None` if it was dropped.
async fn killed_after<T>(polls: u32, run: impl Future<Output = T>) -> Option<T> {
    let (mut run, mut left) = (Box::pin(run), polls);
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        run.as_mut().poll(context).map(Some)
    })
    .await
}

/// Runs exports that are killed at random points, some at the same time, while tickets change.
async fn is_exact(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let most_keys = if rng.bool() { 20_000 } else { 10 };
    let world = World::new(rng.usize(1500..6000), most_keys).await;
    let mut last = 0;
    for _ in 0..6 {
        for _ in 0..rng.u32(5..20) {
            last = world.create(&mut rng).await;
        }
        for _ in 0..rng.u32(0..8) {
            world.disturb(&mut rng, last).await;
            world.pass(Duration::from_secs(rng.u64(0..8)));
        }
        for _ in 0..rng.u32(0..4) {
            let (first, second) = (rng.u32(1..60), rng.u32(1..60));
            let run = || world.exporter.run(ExportKind::Scheduled, Timestamp::MAX);
            if rng.bool() {
                killed_after(first, run()).await.transpose().unwrap();
            } else {
                let (one, other) = tokio::join!(killed_after(first, run()), killed_after(second, run()));
                one.transpose().unwrap();
                other.transpose().unwrap();
            }
            world.disturb(&mut rng, last).await;
        }
        world.pass(Duration::from_secs(rng.u64(0..30)));
    }
    world.pass(SETTLE * 2);
    // The first run finishes what was begun, the second exports what changed since.
    for _ in 0..2 {
        assert!(world.run().await.complete);
    }
    assert_eq!(world.copy().await, world.table().await, "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn killed_and_overlapping_runs_lose_nothing() {
    for seed in 0..number("EXPORT_SEEDS", 8) {
        is_exact(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_run_s_successor_stores_the_same_objects_and_no_more() {
    for polls in 1..80 {
        let (world, mut rng) = (World::new(2048, 20_000).await, Rng::with_seed(7));
        for _ in 0..25 {
            world.create(&mut rng).await;
        }
        world.pass(SETTLE * 2);
        let whole = killed_after(polls, world.exporter.run(ExportKind::Scheduled, Timestamp::MAX)).await;
        let end = world.run().await;
        assert!(end.complete);
        let mut stored = 0;
        for object in world.objects("tickets").await {
            stored += world.records(&object).await.len();
        }
        assert_eq!(stored, 25, "killed after {polls} polls: every ticket is in one object");
        assert_eq!(world.copy().await, world.table().await);
        if whole.is_some() {
            assert!(polls > 20, "runs were killed in {polls} places only");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_by_hand_repeats_what_changed_since_and_moves_no_watermark_back() {
    let (world, mut rng) = (World::new(2048, 20_000).await, Rng::with_seed(5));
    for _ in 0..20 {
        world.create(&mut rng).await;
    }
    let middle = world.now();
    for _ in 0..10 {
        world.create(&mut rng).await;
    }
    world.pass(SETTLE * 2);
    let scheduled = world.run().await;
    let before = world.objects("tickets").await;

    let event = Event { since: Some(middle) };
    let outcome = answer(&world.exporter, event.clone(), Timestamp::MAX).await.unwrap();
    assert!(outcome.complete && outcome.since == Some(middle) && outcome.records == 10, "{outcome:?}");
    let again: Vec<_> = world.objects("tickets").await.into_iter().filter(|o| !before.contains(o)).collect();
    assert_eq!(again.len() as u64, outcome.objects);
    assert_eq!(world.run().await.since, scheduled.watermark, "the schedule goes on where it was");

    // An export that does not fit into its run continues in the next scheduled one.
    let deadline = world.now().plus(Duration::from_secs(45) + Duration::from_millis(8));
    assert!(!answer(&world.exporter, event, deadline).await.unwrap().complete);
    assert!(world.exporter.is_asked_again().await.unwrap());
    assert!(world.run().await.complete);
    assert!(!world.exporter.is_asked_again().await.unwrap());
}

#[tokio::test]
async fn a_store_that_is_away_fails_the_run_and_loses_nothing() {
    let (world, mut rng) = (World::new(2048, 20_000).await, Rng::with_seed(6));
    for _ in 0..20 {
        world.create(&mut rng).await;
    }
    world.pass(SETTLE * 2);
    // Nobody listens at the discard port.
    let nowhere = Store::bucket("exports", &local_config("http://127.0.0.1:9"), None).await.unwrap();
    let now = world.now();
    let broken = Exporter::new(world.tickets.clone(), nowhere, Clock::new(move || now)).with_part_bytes(2048);
    let failed = broken.run(ExportKind::Scheduled, Timestamp::MAX).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    assert!(world.run().await.complete);
    assert_eq!(world.copy().await, world.table().await);
}
