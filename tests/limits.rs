//! Tests that a key's limit holds over all instances, costs few writes, and does not disturb other keys. They
//! show what docs/api.md and docs/operations.md say about limits and rotated keys.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::Method;
use support::model::{Faults, Model};
use support::simulation::simulate;
use support::{Answer, Api, Options, answer, time};
use tickets_domain::{ApiKey, BearerToken, Clock, Error, KeyStore, Meter, Scope, Timestamp};
use tickets_repository::{DynamoDb, Keys, schema};
use tokio::time::Instant;

/// The number of instances that check the same key, each with its own clock.
const INSTANCES: usize = 50;
/// The most milliseconds by which clocks differ.
const SKEW: i64 = 150;

/// A request as seen by an instance.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The true time of the request, in milliseconds after the key was made.
    at: i64,
    admitted: bool,
    /// Whether it was admitted without a lease, because none could be had.
    on_trust: bool,
}

/// Sends `rate` requests a second with a key of this limit for `seconds`, at random moments and to random
/// instances, over a model with these faults. Returns the requests, and the number of writes.
fn offer(
    seed: u64,
    limit: Option<&'static str>,
    rate: f64,
    seconds: f64,
    faults: Faults,
) -> (Vec<Seen>, u64) {
    simulate(seed, async move {
        let model = Model::new(seed).await;
        let (epoch, start) = (time("2026-11-25T08:00:00Z"), Instant::now());
        let clock = Clock::new(move || epoch.plus(start.elapsed()));
        let token = BearerToken::generate().unwrap();
        let limit = limit.map(|limit| limit.parse().unwrap());
        let key = ApiKey { limit, ..ApiKey::new(&token, Scope::ALL, clock.now()) };
        Keys::new(DynamoDb::new(&model.sdk_config()), schema::API_KEYS, clock.clone())
            .insert(&key)
            .await
            .unwrap();
        let created = clock.now();
        model.limit_partitions();
        model.set(faults);
        let instances: Vec<_> = (0..INSTANCES)
            .map(|_| {
                let (skew, clock) = (fastrand::i64(-SKEW..=SKEW), clock.clone());
                let clock = Clock::new(move || Timestamp::from_millis(clock.now().millis() + skew).unwrap());
                Rc::new(Keys::new(DynamoDb::new(&model.sdk_config()), schema::API_KEYS, clock))
            })
            .collect();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let mut requests = Vec::new();
        let began = Instant::now();
        for at in 0..(rate * seconds) as u64 {
            tokio::time::sleep_until(began + Duration::from_secs_f64((at as f64 + fastrand::f64()) / rate))
                .await;
            let (keys, id) = (Rc::clone(&instances[fastrand::usize(..INSTANCES)]), key.id.clone());
            let (seen, clock) = (Rc::clone(&seen), clock.clone());
            requests.push(tokio::task::spawn_local(async move {
                let Ok(Some(key)) = keys.find(&id, &Meter::default()).await else { return };
                let at = clock.now().millis() - created.millis();
                let (admitted, on_trust) = match keys.count(&key, &Meter::default()).await {
                    Ok(quota) => (true, quota.is_some_and(|quota| quota.uncounted.is_some())),
                    Err(Error::RateLimited(quota)) => {
                        assert_eq!(quota.remaining, 0);
                        (false, false)
                    }
                    Err(Error::Throttled(_)) => (false, false),
                    Err(error) => panic!("{error}"),
                };
                seen.borrow_mut().push(Seen { at, admitted, on_trust });
            }));
        }
        for request in requests {
            request.await.unwrap();
        }
        let writes = model.usage().0.get("UpdateItem").copied().unwrap_or_default();
        (seen.take(), writes)
    })
}

/// The number of requests admitted from one instant to another.
fn admitted(seen: &[Seen], from: i64, to: i64) -> i64 {
    let within = seen.iter().filter(|seen| seen.admitted && (from..to).contains(&seen.at));
    within.count().try_into().unwrap()
}

#[test]
fn no_window_admits_more_requests_than_the_limit() {
    for (seed, limit, requests, window, windows) in [
        (1, "600/m", 600, 60_000, 2),
        (2, "100/s", 100, 1000, 6),
        (3, "10/m", 10, 60_000, 4),
        (4, "300/h", 300, 3_600_000, 2),
    ] {
        // Ten times the allowed rate, to fifty instances, over a database that is slow now and then.
        let rate = 10.0 * requests as f64 / (window as f64 / 1e3);
        let slow = Faults { delay: 0.05, longest_delay: Duration::from_millis(60), ..Faults::default() };
        let (seen, writes) = offer(seed, Some(limit), rate, windows as f64 * window as f64 / 1e3, slow);
        assert!(seen.iter().all(|seen| !seen.on_trust), "{limit}: every lease was to be had");
        for n in 0..windows {
            let (from, to) = (n * window, (n + 1) * window);
            // Near a window's ends, instances count a request in either window, depending on their clocks.
            let inside = admitted(&seen, from + 2 * SKEW, to - 2 * SKEW);
            assert!(inside <= requests, "{limit}: {inside} in window {n}");
            let all = admitted(&seen, from - 2 * SKEW, to);
            assert!(all >= requests, "{limit}: only {all} in window {n}, whatever instances hold");
        }
        // Any interval as long as a window admits at most two windows' limits.
        for start in (0..windows * window - window).step_by(usize::try_from(window / 20).unwrap()) {
            let any = admitted(&seen, start, start + window);
            assert!(any <= 2 * requests, "{limit}: {any} from {start} ms on");
        }
        // Each lease takes at least a 256th of the limit; and each instance makes calls at the start of each
        // window.
        let most = windows as u64 * (requests.min(256) as u64 + 2 * INSTANCES as u64) + 2 * INSTANCES as u64;
        println!(
            "{limit}: {} requests, {} let in, {writes} writes",
            seen.len(),
            admitted(&seen, 0, i64::MAX)
        );
        assert!(writes <= most, "{limit}: {writes} writes");
    }
}

#[test]
fn without_a_lease_callers_are_admitted_on_trust_one_lease_at_a_time() {
    let failing = Faults { error_before: 0.3, only: Some("UpdateItem"), ..Faults::default() };
    let (seen, _) = offer(5, Some("600/m"), 100.0, 60.0, failing);
    let on_trust = seen.iter().filter(|seen| seen.on_trust).count();
    assert!(on_trust > 20, "the fault happens: {on_trust}");
    let (limit, lease) = (600, 600 / 16);
    let all = admitted(&seen, 0, i64::MAX);
    assert!(all <= limit + on_trust as i64 * lease, "{all} with {on_trust} leases on trust");
    assert!(
        all < seen.len() as i64 / 2,
        "and still most of what is too much is refused: {all} of {}",
        seen.len()
    );
    // If no lease is answered, every request is admitted: nobody is refused because the database fails.
    let silent = Faults { error_before: 1.0, only: Some("UpdateItem"), ..Faults::default() };
    let (seen, _) = offer(6, Some("600/m"), 100.0, 10.0, silent);
    assert!(seen.iter().all(|seen| seen.admitted));
}

#[test]
fn a_throttled_lease_lets_nobody_in() {
    let throttled = Faults { throttle: 1.0, only: Some("UpdateItem"), ..Faults::default() };
    let (seen, _) = offer(9, Some("600/m"), 100.0, 10.0, throttled);
    assert!(seen.len() == 1000 && seen.iter().all(|seen| !seen.admitted));
}

#[test]
fn a_caller_that_keeps_to_the_limit_is_not_refused() {
    // Four fifths of the limit, from fifty instances: each leases a few requests that it does not use.
    let (seen, writes) = offer(7, Some("600/m"), 8.0, 120.0, Faults::default());
    assert_eq!(admitted(&seen, 0, i64::MAX), seen.len() as i64);
    assert!(writes < seen.len() as u64, "{writes} writes for {} requests", seen.len());
}

#[test]
fn a_key_without_a_limit_costs_a_write_an_hour() {
    let (seen, writes) = offer(8, None, 0.5, 3.0 * 3600.0, Faults::default());
    assert_eq!(admitted(&seen, 0, i64::MAX), seen.len() as i64);
    // And a few refused leases, when several instances notice at the same time that an hour has passed.
    assert!((3..=3 + INSTANCES as u64).contains(&writes), "{writes} writes for {} requests", seen.len());
}

/// An API whose clock the test moves.
async fn api() -> (Api, Arc<AtomicI64>) {
    let millis = Arc::new(AtomicI64::new(time("2026-03-01").millis()));
    let shown = Arc::clone(&millis);
    let clock = Clock::new(move || Timestamp::from_millis(shown.load(Ordering::SeqCst)).unwrap());
    (Api::start_with(Options { clock: Some(clock), ..Options::default() }).await, millis)
}

async fn get(api: &Api, path: &str, key: &str) -> Answer {
    answer(api.anonymous(Method::GET, path).bearer_auth(key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_says_what_is_left_and_a_refusal_when_to_come_back() {
    let (api, millis) = api().await;
    let made = time("2026-03-01");
    let limited = |limit: &'static str| {
        api.make_key(move |key| (key.created, key.limit) = (made, Some(limit.parse().unwrap())))
    };
    let (key, free) = (limited("3/m").await, api.make_key(|_| {}).await);
    millis.fetch_add(20_000, Ordering::SeqCst);
    // Every request counts, whatever its answer.
    for (path, status, left) in
        [("/tickets/", 200, 2), ("/tickets/7", 404, 1), ("/tickets/?colour=red", 400, 0)]
    {
        let answer = get(&api, path, &key).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=3;w=60");
        assert_eq!(answer.header("ratelimit"), format!("\"key\";r={left};t=40"));
        assert_eq!(answer.header("retry-after"), "");
    }
    millis.fetch_add(500, Ordering::SeqCst);
    let refused = get(&api, "/tickets/", &key).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.json()["type"], "urn:tickets:problem:rate-limited");
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!((refused.header("ratelimit"), refused.header("retry-after")), ("\"key\";r=0;t=40", "40"));
    assert_eq!(refused.header("ratelimit-policy"), "\"key\";q=3;w=60");
    // Neither another key nor a wrong secret is affected.
    let other = get(&api, "/tickets/", &free).await;
    assert_eq!((other.status, other.header("ratelimit")), (200, ""));
    let (id, _) = key.rsplit_once('_').unwrap();
    let wrong = get(&api, "/tickets/", &format!("{id}_{}", "ab".repeat(32))).await;
    assert_eq!((wrong.status, wrong.header("ratelimit")), (401, ""));
    // One millisecond before Retry-After has passed, and just after.
    millis.fetch_add(39_499, Ordering::SeqCst);
    assert_eq!(get(&api, "/tickets/", &key).await.status, 429);
    millis.fetch_add(1, Ordering::SeqCst);
    let again = get(&api, "/tickets/", &key).await;
    assert_eq!((again.status, again.header("ratelimit")), (200, "\"key\";r=2;t=60"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_has_two_secrets_for_a_while_and_stays_the_same_key() {
    let (api, millis) = api().await;
    let old = api.make_key(|_| {}).await;
    let id: tickets_domain::KeyId = old.split('_').nth(1).unwrap().parse().unwrap();
    assert_eq!(get(&api, "/tickets/", &old).await.status, 200, "instances remember it");
    millis.fetch_add(6_000, Ordering::SeqCst);

    let clock = api.app.as_ref().unwrap().clock.clone();
    let admin = Keys::new(DynamoDb::new(&api.database), &api.tables.1, clock.clone());
    let renewed = BearerToken::renew(id.clone()).unwrap();
    admin.rotate(&renewed, clock.now().plus(Duration::from_secs(3600))).await.unwrap();
    let new = renewed.reveal();
    assert_eq!(
        get(&api, "/tickets/", &new).await.status,
        200,
        "at once, although the former one is remembered"
    );
    assert_eq!(get(&api, "/tickets/", &old).await.status, 200);
    // For idempotency, the old and the new secret are the same key.
    let create = async |key: &str| {
        let request =
            api.anonymous(Method::POST, "/tickets/").bearer_auth(key).header("idempotency-key", "r");
        answer(request.json(&serde_json::json!({"customerID": 1, "subject": "s"}))).await
    };
    let (first, second) = (create(&old).await, create(&new).await);
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(first.json()["id"], second.json()["id"]);

    millis.fetch_add(3_599_999, Ordering::SeqCst);
    assert_eq!(get(&api, "/tickets/", &old).await.status, 200);
    millis.fetch_add(1, Ordering::SeqCst);
    assert_eq!(get(&api, "/tickets/", &old).await.status, 401, "to the millisecond");
    assert_eq!(get(&api, "/tickets/", &new).await.status, 200);

    // After a leak, the old secret lasts only as long as instances remember it.
    let last = BearerToken::renew(id.clone()).unwrap();
    admin.rotate(&last, clock.now()).await.unwrap();
    millis.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(get(&api, "/tickets/", &new).await.status, 401);
    assert_eq!(get(&api, "/tickets/", &last.reveal()).await.status, 200);
    admin.revoke(&id).await.unwrap();
    let dead = BearerToken::renew(id).unwrap();
    assert!(matches!(admin.rotate(&dead, clock.now()).await, Err(Error::NotFound)), "a revoked key stays so");
}
