//! Tests that webhooks lose nothing: on the model of DynamoDB, whose stream is late, doubled and cut, with runs that
//! die, and receivers that refuse, fail, answer too late, and come back. At the end every receiver has got an event of
//! every version of every ticket that is its own.
//!
//! `WEBHOOK_SEEDS` is the number of seeds, `EXACTNESS_FIRST` the first one. `WEBHOOK_MINUTES` is how long a receiver is
//! down, and `WEBHOOK_PUSHES` the number of events that are timed, of which ten times as many are caught up with; CI uses
//! more of them than `cargo test`.

use std::time::Duration;

use deliver_webhooks::Wake;
use fastrand::Rng;
use serde_json::{Value, json};
use support::clients::{Follower, Place, table};
use support::events;
use support::files;
use support::model::Faults;
use support::simulation::{Simulation, simulate};
use support::stream::{Stream, recorded};
use support::webhooks::{Deliveries, Mood, complete, latencies, percentile, record, url};
use tickets_domain::webhook::{Secret, State};
use tickets_domain::{EventType, Settings};

use crate::exactness::{first_inexact, number};

const SETTLE: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn settings() -> Settings {
    Settings { settle: SETTLE, ..Settings::default() }
}

async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Creates, changes, moves and deletes tickets at random.
async fn writer(api: Simulation, mut rng: Rng) {
    for round in 0..12 {
        wait(Duration::from_millis(rng.u64(0..4000))).await;
        let path = format!("/tickets/{}", rng.u64(1..12));
        let _ = match rng.u32(0..10) {
            0..4 => {
                let body = json!({"customerID": rng.u64(1..4), "subject": "s"});
                api.call("POST", "/tickets/", &[], Some(&body)).await
            }
            4..8 => api.call("PATCH", &path, &[], Some(&json!({"users": format!("{round}")}))).await,
            8 => api.call("PATCH", &path, &[], Some(&json!({"customerID": rng.u64(1..4)}))).await,
            _ => api.call("DELETE", &path, &[], None).await,
        };
    }
}

/// Pauses, resumes and rotates webhooks at random, and leaves them active.
async fn operator(deliveries: &Deliveries, id: &tickets_domain::WebhookId, mut rng: Rng) {
    for _ in 0..6 {
        wait(Duration::from_secs(rng.u64(0..15))).await;
        let now = "2027-01-01".parse().expect("a time");
        // An error is a fault of the database: the operator does it again, or lets it be.
        let _ = match rng.u32(..3) {
            0 => deliveries.store.pause(id).await,
            1 => deliveries.store.resume(id, None).await,
            _ => deliveries.store.rotate(id, &Secret::generate().expect("randomness"), now).await,
        };
    }
    // A change whose answer was lost may take effect until its last attempt has ended.
    wait(SETTLE).await;
    while deliveries.store.resume(id, None).await.is_err() {}
}

/// Runs one seed. `Err` says what is not exact.
fn run(seed: u64) -> Result<(), String> {
    simulate(seed, async move {
        let mut rng = Rng::with_seed(seed);
        let api = Simulation::start(seed, settings()).await;
        api.model.set(Faults::everything());
        let mut stream = Stream::start(&api, Rng::with_seed(!seed));
        let deliveries = Deliveries::new(&api, seed);
        let all = deliveries.create("all", Mood::Bad, |_| {}).await;
        let customer = |webhook: &mut tickets_domain::Webhook| webhook.customer = 1.try_into().ok();
        deliveries.create("customer", Mood::Bad, customer).await;
        let created = |webhook: &mut tickets_domain::Webhook| webhook.types = vec![EventType::Created];
        deliveries.create("created", Mood::Bad, created).await;
        deliveries.create("down", Mood::Down, |_| {}).await;
        let names = ["all", "customer", "created", "down"];
        let schedule = deliveries.schedule(MINUTE);
        let writers: Vec<_> =
            (0..4).map(|_| tokio::task::spawn_local(writer(api.clone(), rng.fork()))).collect();
        let (operated, operates) = (deliveries.clone(), rng.fork());
        let operator = tokio::task::spawn_local(async move { operator(&operated, &all, operates).await });
        while !operator.is_finished() || writers.iter().any(|writer| !writer.is_finished()) {
            stream.pass().await;
            let (wakes, kills) = (rng.u32(..4) > 0, rng.u32(..4) == 0);
            let (woken, after) = (deliveries.clone(), Duration::from_millis(rng.u64(1..15_000)));
            if wakes {
                tokio::task::spawn_local(async move {
                    if kills {
                        woken.run_killed(Wake::Recorded, after).await;
                    } else {
                        woken.run(Wake::Recorded).await;
                    }
                });
            }
            wait(Duration::from_millis(rng.u64(100..4000))).await;
        }
        stream.replay().await;
        names.iter().for_each(|name| deliveries.network.set(&url(name), Mood::Well));
        wait(2 * SETTLE).await;
        deliveries.until_done(3 * HOUR).await?;
        schedule.abort();
        let table = table(&api).await;
        let histories = recorded(&api, &table).await?;
        let mut feed = Follower::new(Place::Cursor);
        feed.pass(&api, 1000).await;
        events::exact(&feed.seen, &histories, &stream.given_up)?;
        let mut of_customer = Follower::new(Place::Cursor);
        of_customer.pass(&api.caller_of(1).await, 1000).await;
        let created: Vec<_> =
            feed.seen.iter().filter(|event| event["type"] == "ticket.created").cloned().collect();
        for (name, should) in [
            ("all", &feed.seen),
            ("down", &feed.seen),
            ("customer", &of_customer.seen),
            ("created", &created),
        ] {
            complete(&deliveries.network.received(&url(name)), should)
                .map_err(|what| format!("{name}: {what}"))?;
        }
        let foreign = |event: &Value| !event["customerID"].is_null() && event["customerID"] != 1;
        let received = deliveries.network.received(&url("customer"));
        match received.iter().find(|received| foreign(&received.event)) {
            Some(received) => Err(format!("customer: {received:?}")),
            None => Ok(()),
        }
    })
}

#[test]
fn every_receiver_gets_every_event() {
    let first = number("EXACTNESS_FIRST", 1);
    let seeds = first..first + number("WEBHOOK_SEEDS", 8);
    if let Some((seed, what)) = first_inexact(seeds, run) {
        panic!("seed {seed}: {what}");
    }
}

/// An API without faults, with the webhooks of these receivers.
async fn start(seed: u64, receivers: &[(&str, Mood)]) -> (Simulation, Deliveries) {
    let api = Simulation::start(seed, settings()).await;
    record(&api).await;
    let deliveries = Deliveries::new(&api, seed);
    for (name, mood) in receivers {
        deliveries.create(name, *mood, |_| {}).await;
    }
    (api, deliveries)
}

async fn created(api: &Simulation, count: u64) {
    for _ in 0..count {
        let body = json!({"customerID": 1, "subject": "s"});
        assert_eq!(api.call("POST", "/tickets/", &[], Some(&body)).await.status, 201);
    }
}

/// The tickets and versions that a receiver has got, in this order.
fn versions(deliveries: &Deliveries, name: &str) -> Vec<(u64, u64)> {
    deliveries.network.received(&url(name)).iter().map(|received| events::version(&received.event)).collect()
}

#[test]
fn without_faults_each_event_is_sent_once_however_many_runs_there_are() {
    simulate(1, async {
        let (api, deliveries) = start(1, &[("a", Mood::Well)]).await;
        created(&api, 30).await;
        for _ in 0..3 {
            for id in 1..=10 {
                let body = json!({"users": api.clock.now().to_string()});
                assert_eq!(api.call("PATCH", &format!("/tickets/{id}"), &[], Some(&body)).await.status, 200);
            }
        }
        record(&api).await;
        futures::join!(
            deliveries.run(Wake::Recorded),
            deliveries.run(Wake::Recorded),
            deliveries.run(Wake::Scheduled)
        );
        wait(2 * SETTLE).await;
        deliveries.run(Wake::Scheduled).await;
        assert_eq!(deliveries.network.requests(&url("a")), 60);
        let mut found = versions(&deliveries, "a");
        for ticket in 1..=10 {
            let of: Vec<_> =
                found.iter().filter(|(id, _)| *id == ticket).map(|(_, version)| *version).collect();
            assert_eq!(of, [1, 2, 3, 4], "ticket {ticket}");
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 60);
    });
}

#[test]
fn an_event_that_is_refused_holds_up_its_own_ticket_and_is_sent_once_it_is_taken() {
    for mood in [Mood::Refuses(1), Mood::Breaks(1)] {
        simulate(1, async {
            let (api, deliveries) = start(1, &[("a", mood)]).await;
            let schedule = deliveries.schedule(MINUTE);
            created(&api, 2).await;
            let changed = async |id: u64| {
                let body = json!({"users": api.clock.now().to_string()});
                assert_eq!(api.call("PATCH", &format!("/tickets/{id}"), &[], Some(&body)).await.status, 200);
            };
            changed(1).await;
            record(&api).await;
            wait(HOUR).await;
            changed(2).await;
            record(&api).await;
            wait(2 * SETTLE + Duration::from_secs(60)).await;
            assert_eq!(versions(&deliveries, "a"), [(2, 1), (2, 2)], "{mood:?}");
            deliveries.network.set(&url("a"), Mood::Well);
            wait(HOUR + Duration::from_secs(180)).await;
            assert_eq!(versions(&deliveries, "a")[2..], [(1, 1), (1, 2)], "{mood:?}");
            schedule.abort();
        });
    }
}

#[test]
fn a_receiver_that_is_gone_or_fails_for_five_days_gets_no_more_requests_until_it_is_resumed() {
    simulate(1, async {
        let (api, deliveries) = start(1, &[]).await;
        let id = deliveries.create("a", Mood::Down, |_| {}).await;
        let schedule = deliveries.schedule(HOUR / 2);
        created(&api, 1).await;
        record(&api).await;
        wait(5 * 24 * HOUR - HOUR).await;
        assert_eq!(deliveries.store.get(&id).await.expect("a webhook").state, State::Active);
        wait(3 * HOUR).await;
        assert!(matches!(deliveries.store.get(&id).await.expect("a webhook").state, State::Disabled(..)));
        let requests = deliveries.network.requests(&url("a"));
        assert!((100..250).contains(&requests), "{requests} in five days");
        deliveries.network.set(&url("a"), Mood::Well);
        wait(HOUR).await;
        assert_eq!(deliveries.network.requests(&url("a")), requests);
        deliveries.store.resume(&id, None).await.expect("a webhook");
        wait(HOUR).await;
        assert_eq!(versions(&deliveries, "a"), [(1, 1)]);
        schedule.abort();
    });
}

/// Ten receivers that are up, and one in this mood, while a ticket is created every minute. Returns the sorted ages of
/// the events when the ten got them.
async fn ten_beside(mood: Mood) -> Vec<Duration> {
    let minutes = number("WEBHOOK_MINUTES", 10);
    let names: Vec<_> = (0..10).map(|n| format!("up{n}")).collect();
    let receivers: Vec<_> = names.iter().map(|name| (name.as_str(), Mood::Well)).collect();
    let (api, deliveries) = start(1, &receivers).await;
    deliveries.create("other", mood, |_| {}).await;
    let (schedule, began) = (deliveries.schedule(MINUTE), api.clock.now());
    let mut woken: Option<tokio::task::JoinHandle<()>> = None;
    for _ in 0..minutes {
        created(&api, 1).await;
        record(&api).await;
        // The mapping starts a run within its window of a second, but not before the last one has ended.
        let (deliveries, before) = (deliveries.clone(), woken.take());
        woken = Some(tokio::task::spawn_local(async move {
            wait(Duration::from_millis(fastrand::u64(200..1200))).await;
            if let Some(before) = before {
                let _ = before.await;
            }
            deliveries.run(Wake::Recorded).await;
        }));
        wait(Duration::from_millis(fastrand::u64(50_000..70_000))).await;
    }
    deliveries.network.set(&url("other"), Mood::Well);
    deliveries.until_done(2 * HOUR).await.expect("everything received");
    schedule.abort();
    let mut seen = versions(&deliveries, "other");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as u64, minutes, "it gets all afterwards");
    let mut ages = Vec::new();
    for name in names {
        ages.extend(latencies(&api, &deliveries.network.received(&url(&name)), began));
    }
    ages.sort_unstable();
    ages
}

#[test]
fn a_receiver_that_is_down_holds_up_no_other_and_gets_all_afterwards() {
    let [beside_one_that_is_up, beside_one_that_is_down] =
        [Mood::Well, Mood::Down].map(|mood| simulate(1, ten_beside(mood)));
    let p99 = |ages: &[Duration]| percentile(ages, 0.99);
    let (up, down) = (p99(&beside_one_that_is_up), p99(&beside_one_that_is_down));
    println!("p99 of the ten beside one that is up {up:?}, down {down:?}");
    assert!(down <= up + Duration::from_millis(300), "p99 {down:?}, not {up:?}");
}

#[test]
fn what_a_push_takes_and_costs() {
    simulate(1, async {
        let (api, deliveries) = start(1, &[("a", Mood::Well)]).await;
        let (began, pushes) = (api.clock.now(), number("WEBHOOK_PUSHES", 30));
        // One change after another, each followed by a run, as the mapping starts it within its window of a second.
        for _ in 0..pushes {
            created(&api, 1).await;
            record(&api).await;
            wait(Duration::from_millis(fastrand::u64(200..1200))).await;
            deliveries.run(Wake::Recorded).await;
            wait(2 * SETTLE).await;
        }
        let ages = latencies(&api, &deliveries.network.received(&url("a")), began);
        let (p50, p99) = (percentile(&ages, 0.5), percentile(&ages, 0.99));
        println!("a push: p50 {p50:?}, p99 {p99:?} after its event was recorded");
        assert!(p99 < Duration::from_secs(3), "{p99:?}");

        // What an idle minute reads, and what an event reads and writes.
        let run = async |wake| {
            let meter = tickets_repository::Meter::counting();
            let dynamodb = tickets_repository::DynamoDb::new(&api.model.sdk_config());
            let deliverer = deliveries.deliverer(dynamodb, api.clock.clone()).metered(meter.clone());
            deliverer.run(wake, api.clock.now().plus(Duration::from_secs(60))).await.expect("a run");
            let usage = meter.usage();
            (usage.read_units, usage.write_units)
        };
        wait(2 * SETTLE).await;
        let _ = run(Wake::Scheduled).await;
        let idle = run(Wake::Scheduled).await;
        println!("an idle minute of one webhook: {} read units, {} write units", idle.0, idle.1);
        assert!(idle.0 <= 5.0 && idle.1 == 0.0, "{idle:?}");
        created(&api, 1).await;
        record(&api).await;
        let one = run(Wake::Recorded).await;
        println!("one event: {} read units, {} write units", one.0, one.1);
        wait(2 * SETTLE).await;
        created(&api, 100).await;
        record(&api).await;
        let hundred = run(Wake::Recorded).await;
        println!("a hundred events at once: {} read units, {} write units", hundred.0, hundred.1);

        // How fast one webhook catches up.
        wait(2 * SETTLE).await;
        let _ = run(Wake::Scheduled).await;
        created(&api, 10 * pushes).await;
        record(&api).await;
        wait(2 * SETTLE).await;
        let (before, start) = (deliveries.network.requests(&url("a")), api.clock.now());
        let _ = run(Wake::Scheduled).await;
        let sent = deliveries.network.requests(&url("a")) - before;
        let seconds = (api.clock.now().millis() - start.millis()) as f64 / 1e3;
        println!("catching up: {:.0} events a second", sent as f64 / seconds);
        assert!(sent as f64 / seconds > 50.0);
    });
}

#[test]
fn a_broken_webhook_is_reported_and_holds_up_no_other() {
    simulate(1, async {
        let (api, deliveries) = start(1, &[("a", Mood::Well)]).await;
        let broken = deliveries.create("broken", Mood::Well, |_| {}).await;
        let remove = json!({
            "TableName": "Webhooks", "Key": {"kind": {"S": "webhook"}, "webhookId": {"S": broken.as_str()}},
            "UpdateExpression": "REMOVE #secret", "ExpressionAttributeNames": {"#secret": "secret"},
        });
        let target = "DynamoDB_20120810.UpdateItem";
        let (status, _) =
            tickets_engine::answer(api.model.engine(), Some(target), remove.to_string().as_bytes());
        assert_eq!(status, 200);
        created(&api, 1).await;
        record(&api).await;
        let reports = deliveries.run(Wake::Recorded).await.expect("a run");
        assert_eq!(versions(&deliveries, "a"), [(1, 1)]);
        let failed: Vec<_> = reports.iter().filter(|report| report.error.is_some()).collect();
        assert_eq!(failed.iter().map(|report| &report.id).collect::<Vec<_>>(), [&broken]);
    });
}

#[test]
fn the_sample_events_start_a_run() {
    for (name, wake) in [("stream", Wake::Recorded), ("schedule", Wake::Scheduled)] {
        let event = files::read(&format!("events/deliver-webhooks.{name}.json"));
        let event: deliver_webhooks::Event = serde_json::from_str(&event).expect("an event");
        assert_eq!(event.wake(), wake, "{name}");
    }
}
