//! What the API does when the database misbehaves, fault by fault.

use std::time::Duration;

use serde_json::{Value, json};
use support::faults::Faults;
use support::simulation::{Reply, Simulation, simulate};
use tickets_repository::{Keys, Policy, schema};

const SETTLE: Duration = Duration::from_secs(10);

/// Runs a test for some seeds, for a fault happens with chance.
fn each_seed<F: Future<Output = ()>>(test: impl Fn(Simulation, u64) -> F) {
    for seed in 1..=20 {
        let policy = Policy { settle: SETTLE, ..Policy::default() };
        simulate(seed, async { test(Simulation::start(seed, policy).await, seed).await });
    }
}

fn body(subject: &str) -> Value {
    json!({"customerID": 7, "subject": subject})
}

async fn create(api: &Simulation) -> Reply {
    api.call("POST", "/tickets/", &[], Some(&body("s"))).await
}

/// A ticket made while all is well; then the faults begin.
async fn disturbed(api: &Simulation, faults: Faults) -> String {
    assert_eq!(create(api).await.status, 201);
    api.engine.set(faults);
    "/tickets/1".to_owned()
}

async fn count(api: &Simulation) -> usize {
    api.engine.set(Faults::default());
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

#[test]
fn a_create_whose_answer_is_lost_after_the_commit_is_one_ticket() {
    each_seed(|api, seed| async move {
        let faults = Faults { only: Some("TransactWriteItems"), ..Faults::default() };
        api.engine.set(match seed % 2 {
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
        api.engine.set(Faults { reset_after: 1.0, only: Some("TransactWriteItems"), ..Faults::default() });
        let created = create(&api).await;
        assert_eq!((created.status, created.body["id"].as_str()), (201, Some("1")));
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn a_create_of_which_nothing_is_known_says_so_and_repeats_safely() {
    each_seed(|api, _| async move {
        // The function knows its key by now; from here on nothing comes back, not even what a look
        // at the table would tell.
        disturbed(&api, Faults { reset_after: 1.0, ..Faults::default() }).await;
        let named = [("idempotency-key", "k")];
        assert_retry(&api.call("POST", "/tickets/", &named, Some(&body("s"))).await, "undecided");
        api.engine.set(Faults::default());
        let repeated = api.call("POST", "/tickets/", &named, Some(&body("s"))).await;
        assert_eq!((repeated.status, repeated.header("idempotency-replayed")), (201, "true"));
        assert_eq!(repeated.body["id"], "2");
        assert_eq!(count(&api).await, 2);
    });
}

#[test]
fn an_update_whose_answer_is_lost_is_applied_once_and_is_no_conflict() {
    each_seed(|api, _| async move {
        let path =
            disturbed(&api, Faults { reset_after: 0.7, only: Some("PutItem"), ..Faults::default() }).await;
        let headers = [("if-match", "\"1\"")];
        let updated = api.call("PATCH", &path, &headers, Some(&json!({"owner": "ada"}))).await;
        assert_eq!((updated.status, updated.header("etag")), (200, "\"2\""));
        let deleted = api.call("DELETE", &path, &[("if-match", "\"2\"")], None).await;
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
        api.engine.set(Faults { only: Some("TransactWriteItems"), ..faults.clone() });
        assert_eq!(create(&api).await.status, 201);
        api.engine.set(Faults { only: Some("PutItem"), ..faults });
        let updated = api.call("PATCH", "/tickets/1", &[], Some(&json!({"owner": "ada"}))).await;
        assert_eq!((updated.status, updated.header("etag")), (200, "\"2\""));
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
            disturbed(&api, Faults { throttle: 1.0, only: Some("TransactWriteItems"), ..Faults::default() })
                .await;
        assert_retry(&create(&api).await, "throttled");
        api.engine.set(Faults { throttle: 1.0, only: Some("PutItem"), ..Faults::default() });
        assert_retry(&api.call("PATCH", &path, &[], Some(&json!({"owner": "ada"}))).await, "throttled");
        assert_retry(&api.call("DELETE", &path, &[], None).await, "throttled");
        assert_eq!(count(&api).await, 1);
        assert_eq!(api.get(&path).await.header("etag"), "\"1\"");
    });
}

#[test]
fn conflicts_to_the_end_are_a_503_or_for_a_named_request_a_409() {
    each_seed(|api, _| async move {
        let conflict = Faults { conflict: 1.0, conflicting: Some(0), ..Faults::default() };
        api.engine.set(conflict.clone());
        assert_retry(&create(&api).await, "contended");
        api.engine.set(Faults { conflicting: Some(2), ..conflict });
        let named = [("idempotency-key", "k")];
        let refused = api.call("POST", "/tickets/", &named, Some(&body("s"))).await;
        assert_eq!((refused.status, refused.header("retry-after")), (409, "1"));
        assert_eq!(count(&api).await, 0);
        let repeated = api.call("POST", "/tickets/", &named, Some(&body("s"))).await;
        assert_eq!((repeated.status, repeated.header("idempotency-replayed")), (201, ""));
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
        // The connection broke after the request may have been read: nobody knows.
        assert_retry(&create(&api).await, "undecided");
        assert_eq!(count(&api).await, 1);
    });
}

#[test]
fn connecting_ahead_is_one_attempt_and_where_it_fails_the_function_starts_all_the_same() {
    each_seed(|api, _| async move {
        api.engine.set(Faults { reset_before: 1.0, ..Faults::default() });
        let before = api.engine.injected();
        let client = api.engine.connection().open();
        Keys::new(client, schema::API_KEYS, api.clock.clone()).warm_up().await;
        let faults = |of: std::collections::BTreeMap<&str, u64>| of.values().sum::<u64>();
        assert_eq!(faults(api.engine.injected()) - faults(before), 1);
        api.engine.set(Faults::default());
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
            ..Faults::default()
        };
        let (mut complete, mut errors) = (0, 0);
        for list in lists {
            for operation in ["Query", "BatchGetItem", "GetItem"] {
                api.engine.set(Faults { only: Some(operation), ..faults.clone() });
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
        api.engine.set(Faults { unprocessed: 1.0, ..Faults::default() });
        let list = api.call("GET", "/tickets/?updatedSince=2026-01-01", &[], None).await;
        assert_eq!((list.status, list.body.as_array().unwrap().len()), (200, 30));
        assert!(api.engine.injected()["unprocessed"] > 0);
    });
}

#[test]
fn a_key_that_cannot_be_looked_up_lets_nobody_in() {
    each_seed(|api, _| async move {
        api.engine.set(Faults { reset_before: 1.0, ..Faults::default() });
        assert_retry(&create(&api).await, "unavailable");
        assert_eq!(count(&api).await, 0);
    });
}
