//! What the API answers when the database fails, fault by fault.

use std::time::Duration;

use serde_json::{Value, json};
use support::model::{Faults, Point};
use support::simulation::{Reply, Simulation, simulate};
use tickets_domain::Settings;
use tickets_repository::{DynamoDb, Keys, schema};

const SETTLE: Duration = Duration::from_secs(10);

/// Runs a test with several seeds, because faults are random.
fn each_seed<F: Future<Output = ()>>(test: impl Fn(Simulation, u64) -> F) {
    with_seeds(20, test);
}

/// Runs a test with so many seeds.
fn with_seeds<F: Future<Output = ()>>(seeds: u64, test: impl Fn(Simulation, u64) -> F) {
    for seed in 1..=seeds {
        let settings = Settings { settle: SETTLE, ..Settings::default() };
        let run = async { test(Simulation::start(seed, settings).await, seed).await };
        simulate(seed, run);
    }
}

fn body(subject: &str) -> Value {
    json!({"customerID": 7, "subject": subject})
}

async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

async fn create(api: &Simulation) -> Reply {
    api.call("POST", "/tickets/", &[], Some(&body("s"))).await
}

/// Creates a ticket without faults; then the faults begin.
async fn disturbed(api: &Simulation, faults: Faults) -> String {
    assert_eq!(create(api).await.status, 201);
    api.model.set(faults);
    "/tickets/1".to_owned()
}

async fn count(api: &Simulation) -> usize {
    api.model.set(Faults::default());
    api.get("/tickets/?includeDeleted=true").await.body.as_array().expect("a list").len()
}

fn assert_retry(reply: &Reply, kind: &str) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(
        (reply.header("retry-after"), reply.header("content-type")),
        ("1", "application/problem+json")
    );
    assert_eq!(reply.body["type"], format!("urn:tickets:problem:{kind}"));
    let text = reply.body.to_string().to_lowercase();
    assert!(!text.contains("injected") && !text.contains("dynamo") && !text.contains("throughput"), "{text}");
}

/// Matches only calls that put a ticket, not those for a claim or void.
const TICKET: Option<&str> = Some("subject");
/// Matches every call for the first ticket: puts, voids and reads.
const FIRST: Option<&str> = Some("0#1");

#[test]
fn a_create_whose_answer_is_lost_is_one_ticket() {
    each_seed(|api, seed| async move {
        let faults = Faults { mentions: TICKET, ..Faults::default() };
        api.model.set(match seed % 2 {
            0 => Faults { reset_after: 0.7, ..faults },
            _ => Faults { error_after: 0.7, ..faults },
        });
        let created = create(&api).await;
        assert_eq!((created.status, created.body["id"].as_str()), (201, Some("1")));
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_create_whose_every_answer_is_lost_is_found_by_reading_back() {
    each_seed(|api, _| async move {
        api.model.set(Faults { reset_after: 1.0, mentions: TICKET, ..Faults::default() });
        let created = create(&api).await;
        assert_eq!((created.status, created.body["id"].as_str()), (201, Some("1")));
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_create_that_others_have_changed_before_its_answer_came_is_one_ticket() {
    each_seed(|api, _| async move {
        api.model.set(Faults { reset_after: 1.0, mentions: TICKET, ..Faults::default() });
        let creating = tokio::task::spawn_local({
            let api = api.clone();
            async move { create(&api).await }
        });
        wait(Duration::from_millis(40)).await;
        api.model.set(Faults::default());
        assert_eq!(api.call("PATCH", "/tickets/1", &[], Some(&json!({"owner": "ada"}))).await.status, 200);
        let created = creating.await.unwrap();
        assert_eq!((created.status, created.body["id"].as_str()), (201, Some("1")));
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_create_of_unknown_outcome_says_so_and_can_be_repeated() {
    each_seed(|api, _| async move {
        api.model.set(Faults { reset_after: 1.0, mentions: FIRST, ..Faults::default() });
        let named = [("idempotency-key", "k")];
        assert_retry(&api.call("POST", "/tickets/", &named, Some(&body("s"))).await, "undecided");
        api.model.set(Faults::default());
        let repeated = api.call("POST", "/tickets/", &named, Some(&body("s"))).await;
        assert_eq!((repeated.status, repeated.header("idempotency-replayed")), (201, "true"));
        assert_eq!(repeated.body["id"], "1");
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_written_ticket_is_never_answered_with_an_error_because_a_later_attempt_was_refused() {
    let (mut created, mut failed) = (0, 0);
    each_seed(|api, _| async move {
        let faults = Faults { reset_after: 0.5, denied: 0.5, mentions: TICKET, ..Faults::default() };
        api.model.set(faults.clone());
        let reply = create(&api).await;
        let there = count(&api).await;
        assert!(matches!((reply.status, there), (201, 1) | (500, 0)), "{reply:?}, and there are {there}");
        if there == 0 {
            return;
        }
        api.model.set(Faults { mentions: Some("\"owner\""), ..faults });
        let reply = api.call("PATCH", "/tickets/1", &[], Some(&json!({"owner": "ada"}))).await;
        api.model.set(Faults::default());
        let version = api.get("/tickets/1").await.version();
        assert!(matches!((reply.status, version), (200, 2) | (500, 1)), "{reply:?}, at {version}");
    });
    // Some seeds take the one path, some the other.
    for seed in 1..=20 {
        simulate(seed, async {
            let api = Simulation::start(seed, Settings::default()).await;
            api.model.set(Faults { reset_after: 0.5, denied: 0.5, mentions: TICKET, ..Faults::default() });
            *(if create(&api).await.status == 201 { &mut created } else { &mut failed }) += 1;
        });
    }
    assert!(created > 3 && failed > 3, "{created} created, {failed} failed");
}

#[test]
fn a_repeated_create_is_one_ticket_whichever_call_its_first_writer_died_at() {
    for (operation, call) in [("UpdateItem", "firstMonth"), ("PutItem", "claim#"), ("PutItem", "subject")] {
        for point in [Point::Effect, Point::Answer] {
            // Only latencies are random here.
            with_seeds(5, |api, seed| async move {
                let named = [("idempotency-key", "k")];
                let request = {
                    let api = api.clone();
                    async move { api.call("POST", "/tickets/", &named, Some(&body("s"))).await }
                };
                let (hold, died) = api.stop(point, operation, call, request).await;
                hold.kill();
                assert_eq!(died.await.unwrap().status, 0, "{call} {seed}");
                let began = api.clock.now();
                let repeated = api.call("POST", "/tickets/", &named, Some(&body("s"))).await;
                assert_eq!(repeated.status, 201, "{call} {seed} {repeated:?}");
                let took = api.clock.now().millis() - began.millis();
                assert!(took < 600, "a repeat is answered at once, not after {took} ms");
                let again = api.call("POST", "/tickets/", &named, Some(&body("s"))).await;
                assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &repeated.body));
                // A dead writer's id may still be open, and a list ends before it.
                wait(SETTLE).await;
                assert_eq!(count(&api).await, 1, "{call} {seed}");
            });
        }
    }
}

#[test]
fn a_slow_writer_and_whoever_repeats_its_request_get_the_same_ticket() {
    each_seed(|api, _| async move {
        let slow = Faults { delay: 1.0, longest_delay: Duration::from_millis(1900), ..Faults::default() };
        api.model.set(Faults { mentions: Some("writer"), only: Some("PutItem"), ..slow });
        let named = [("idempotency-key", "k")];
        let requests: Vec<_> = (0..4)
            .map(|_| {
                let api = api.clone();
                tokio::task::spawn_local(async move {
                    api.call("POST", "/tickets/", &named, Some(&body("s"))).await
                })
            })
            .collect();
        let mut tickets = Vec::new();
        for request in requests {
            let reply = request.await.unwrap();
            // Contention until the deadline gives an error after which a repeat is safe.
            assert!(matches!(reply.status, 201 | 409 | 503), "{reply:?}");
            tickets.extend((reply.status == 201).then_some(reply.body));
        }
        api.model.set(Faults::default());
        wait(2 * SETTLE).await;
        tickets.push(api.call("POST", "/tickets/", &named, Some(&body("s"))).await.body);
        assert!(tickets.iter().all(|ticket| *ticket == tickets[0]), "{tickets:?}");
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_create_that_gives_up_leaves_no_open_id() {
    each_seed(|api, _| async move {
        api.model.set(Faults { throttle: 1.0, mentions: TICKET, ..Faults::default() });
        assert_retry(&create(&api).await, "throttled");
        api.model.set(Faults::default());
        let created = create(&api).await;
        assert_eq!(created.body["id"], "2");
        let began = api.clock.now();
        assert_eq!(api.get("/tickets/").await.body.as_array().unwrap().len(), 1);
        assert!(api.clock.now().millis() - began.millis() < 100, "nobody waits for the first");
    });
}

#[test]
fn an_update_whose_answer_is_lost_is_applied_once_and_is_no_conflict() {
    each_seed(|api, _| async move {
        let path =
            disturbed(&api, Faults { reset_after: 0.7, only: Some("PutItem"), ..Faults::default() }).await;
        let tag = api.get(&path).await.header("etag").to_owned();
        let updated = api.call("PATCH", &path, &[("if-match", &tag)], Some(&json!({"owner": "ada"}))).await;
        assert_eq!((updated.status, updated.version()), (200, 2));
        let deleted = api.call("DELETE", &path, &[("if-match", updated.header("etag"))], None).await;
        assert_eq!(deleted.status, 204);
        assert_eq!(api.get(&path).await.status, 404);
    });
}

#[test]
fn faults_before_the_commit_are_tried_again() {
    each_seed(|api, _| async move {
        let faults = Faults {
            error_before: 0.2,
            reset_before: 0.2,
            throttle: 0.2,
            conflict: 0.2,
            ..Faults::default()
        };
        // Use an instance that knows its key: looking it up is not tested here.
        api.get("/tickets/").await;
        api.model.set(faults.clone());
        assert_eq!(create(&api).await.status, 201);
        api.model.set(Faults { only: Some("PutItem"), ..faults });
        let updated = api.call("PATCH", "/tickets/1", &[], Some(&json!({"owner": "ada"}))).await;
        assert_eq!((updated.status, updated.version()), (200, 2));
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_slow_answer_is_not_waited_for_beyond_the_write_deadline() {
    each_seed(|api, _| async move {
        let faults = Faults { delay: 1.0, longest_delay: Duration::from_secs(20), ..Faults::default() };
        let path = disturbed(&api, Faults { only: Some("PutItem"), ..faults }).await;
        let before = api.clock.now();
        let reply = api.call("PATCH", &path, &[], Some(&json!({"owner": "ada"}))).await;
        assert!(matches!(reply.status, 200 | 503), "{reply:?}");
        let took = api.clock.now().millis() - before.millis();
        assert!(took < 4000, "{took} ms: the deadline of 3 s, and a read");
    });
}

#[test]
fn throttling_to_the_end_is_a_503_and_nothing_is_written() {
    each_seed(|api, _| async move {
        let path =
            disturbed(&api, Faults { throttle: 1.0, only: Some("UpdateItem"), ..Faults::default() }).await;
        assert_retry(&create(&api).await, "throttled");
        api.model.set(Faults { throttle: 1.0, only: Some("PutItem"), ..Faults::default() });
        assert_retry(&api.call("PATCH", &path, &[], Some(&json!({"owner": "ada"}))).await, "throttled");
        assert_retry(&api.call("DELETE", &path, &[], None).await, "throttled");
        assert_eq!(count(&api).await, 1);
        assert_eq!(api.get(&path).await.version(), 1);
    });
}

#[test]
fn a_claim_contended_to_the_end_is_a_409() {
    each_seed(|api, _| async move {
        // Each writer dies after its claim and before its put, while the next one claims.
        api.model.set(Faults { mentions: TICKET, death: 1.0, ..Faults::default() });
        let named = [("idempotency-key", "k")];
        let attempts: Vec<_> = (0..40)
            .map(|n| {
                let api = api.clone();
                tokio::task::spawn_local(async move {
                    wait(Duration::from_millis(n * 100)).await;
                    api.call("POST", "/tickets/", &named, Some(&body("s"))).await
                })
            })
            .collect();
        let mut refused = 0;
        for attempt in attempts {
            let reply = attempt.await.unwrap();
            assert!(matches!(reply.status, 0 | 201 | 409), "{reply:?}");
            if reply.status == 409 {
                assert_eq!(reply.header("retry-after"), "1");
                refused += 1;
            }
        }
        assert!(refused < 40, "somebody gets as far as the ticket");
        api.model.set(Faults::default());
        wait(2 * SETTLE).await;
        api.call("POST", "/tickets/", &named, Some(&body("s"))).await;
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn an_outage_is_a_503_everywhere() {
    each_seed(|api, _| async move {
        let path = disturbed(&api, Faults { reset_before: 1.0, ..Faults::default() }).await;
        assert_retry(&api.call("GET", &path, &[], None).await, "unavailable");
        assert_retry(&api.call("GET", "/tickets/", &[], None).await, "unavailable");
        assert_retry(&api.call("GET", "/tickets/?updatedSince=2026-01-01", &[], None).await, "unavailable");
        assert_retry(&api.call("GET", "/customers/7/tickets/", &[], None).await, "unavailable");
        assert_retry(&api.call("PATCH", &path, &[], Some(&json!({"owner": "ada"}))).await, "unavailable");
        // No id could be reserved, so nothing was written.
        assert_retry(&create(&api).await, "unavailable");
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_function_starts_although_connecting_ahead_fails_once() {
    each_seed(|api, _| async move {
        api.model.set(Faults { reset_before: 1.0, ..Faults::default() });
        let before = api.model.injected();
        let dynamodb = DynamoDb::new(&api.model.sdk_config());
        Keys::new(dynamodb, schema::API_KEYS, api.clock.clone()).warm_up().await;
        let faults = |of: std::collections::BTreeMap<&str, u64>| of.values().sum::<u64>();
        assert_eq!(faults(api.model.injected()) - faults(before), 1);
        api.model.set(Faults::default());
        assert_eq!(create(&api).await.status, 201);
    });
}

#[test]
fn a_list_is_complete_or_an_error() {
    each_seed(|api, _| async move {
        for n in 0..40 {
            api.call("POST", "/tickets/", &[], Some(&body(&n.to_string()))).await;
        }
        let lists = [
            "/tickets/",
            "/tickets/?updatedSince=2026-01-01",
            "/customers/7/tickets/",
            "/customers/7/tickets/?updatedSince=2026-01-01",
        ];
        let faults = Faults {
            throttle: 0.3,
            error_before: 0.2,
            reset_after: 0.2,
            unprocessed: 0.9,
            short_page: 0.9,
            needless_key: 0.5,
            ..Faults::default()
        };
        let (mut complete, mut errors) = (0, 0);
        for list in lists {
            for operation in ["Query", "BatchGetItem", "GetItem"] {
                api.model.set(Faults { only: Some(operation), ..faults.clone() });
                let reply = api.call("GET", list, &[], None).await;
                match reply.status {
                    200 => {
                        let ids: Vec<_> = reply
                            .body
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|t| t["id"].as_str().unwrap())
                            .collect();
                        let expected: Vec<_> = (1..=40).map(|id| id.to_string()).collect();
                        assert_eq!(ids, expected);
                        assert_eq!(reply.next(), None);
                        complete += 1;
                    }
                    503 => errors += 1,
                    other => panic!("{other}"),
                }
            }
        }
        assert!(complete > 0, "some get through: {complete}, {errors} do not");
    });
}

#[test]
fn keys_left_unprocessed_are_asked_for_again() {
    each_seed(|api, _| async move {
        for n in 0..30 {
            api.call("POST", "/tickets/", &[], Some(&body(&n.to_string()))).await;
        }
        api.model.set(Faults { unprocessed: 1.0, ..Faults::default() });
        let list = api.call("GET", "/tickets/?updatedSince=2026-01-01", &[], None).await;
        assert_eq!((list.status, list.body.as_array().unwrap().len()), (200, 30));
        assert!(api.model.injected()["unprocessed"] > 0);
    });
}

#[test]
fn a_key_that_cannot_be_looked_up_lets_nobody_in() {
    each_seed(|api, _| async move {
        api.model.set(Faults { reset_before: 1.0, ..Faults::default() });
        assert_retry(&create(&api).await, "unavailable");
        assert_eq!(count(&api).await, 0);
    });
}
