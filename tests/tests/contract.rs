//! The contract, rule by rule, through the front door: in-process with events of both formats, or
//! against an API that runs elsewhere (see `Api::each`), which other tests may use meanwhile.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::join_all;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};
use support::{Answer, Api, Options, answer, fresh_customer, time};
use tickets_app::{App, Config};
use tickets_cli::gateway::{Gateway, Payload};
use tickets_domain::{Clock, Form, Presets, TicketFields, Timestamp};
use tickets_http::list::MAX_REPLY;
use tickets_http::problem::MAX_BODY;
use tickets_http::route::BASE_PATH;
use tickets_repository::Connection;
use tickets_repository::bulk::{MAX_CHUNK, Sample};

/// A new ticket of a customer of its own.
async fn ticket(api: &Api) -> (u64, u64) {
    let customer = fresh_customer().get();
    (api.create(&json!({"customerID": customer, "subject": "Help"})).await, customer)
}

fn assert_problem(answer: &Answer, status: u16, fields: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body = answer.json();
    assert_eq!(body["status"], status);
    for member in ["type", "title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {body}");
    }
    assert_eq!(answer.fields(), fields, "{body}");
    let text = answer.text.to_lowercase();
    for secret in ["dynamo", "aws", "table", "panick", "sdk", "sqlite"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!answer.header("x-request-id").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_created_read_updated_and_deleted_with_and_without_a_trailing_slash() {
    for api in Api::each().await {
        for slash in ["", "/"] {
            let customer = fresh_customer().get();
            let body = json!({"customerID": customer, "subject": "Help"});
            let created = answer(api.request(Method::POST, &format!("/tickets{slash}")).json(&body)).await;
            assert_eq!(created.status, 201, "{created:?}");
            let ticket = created.json();
            let id = ticket["id"].as_str().unwrap();
            assert_eq!(ticket["customerID"], customer);
            assert_eq!((&ticket["status"], &ticket["ticketPriority"]), (&json!("open"), &json!("normal")));
            assert_eq!(ticket["createdDate"], ticket["updatedDate"]);
            assert!(
                ticket.get("owner").is_none() && ticket.get("ticketType").is_none(),
                "never set, so absent"
            );
            assert_eq!(created.header("etag"), "\"1\"");
            assert_eq!(created.header("location"), format!("/backend/api/v1/tickets/{id}"));

            let path = format!("/tickets/{id}{slash}");
            let read = api.get(&path).await;
            assert_eq!((read.status, read.json(), read.header("etag")), (200, ticket.clone(), "\"1\""));

            for (method, status) in [(Method::PUT, "assigned"), (Method::PATCH, "resolved")] {
                let updated = answer(api.request(method, &path).json(&json!({"status": status}))).await;
                assert_eq!(updated.status, 200, "{updated:?}");
                assert_eq!(updated.json()["status"], status);
                assert_eq!(updated.json()["subject"], "Help", "fields not given stay");
                assert_eq!(updated.json()["createdDate"], ticket["createdDate"]);
            }
            assert_eq!(api.get(&path).await.header("etag"), "\"3\"");

            let list = api.get(&format!("/customers/{customer}/tickets{slash}")).await;
            assert_eq!((list.status, list.ids()), (200, vec![id.parse().unwrap()]));
            let after = id.parse::<u64>().unwrap() - 1;
            let all = api.get(&format!("/tickets{slash}?idAfter={after}&limit=1")).await;
            assert_eq!((all.status, all.ids()), (200, vec![after + 1]));

            let deleted = api.delete(&path).await;
            assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
            assert_problem(&api.get(&path).await, 404, &[]);
            assert_problem(&api.delete(&path).await, 404, &[]);
            assert_problem(&api.patch(&path, &json!({"status": "open"})).await, 404, &[]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_comes_back_as_it_was_given() {
    for api in Api::each().await {
        let body = json!({
            "customerID": fresh_customer().get(), "ticketType": "BILLING", "status": "Assigned", "ticketPriority": "high",
            "customerEmail": "ada@example.com", "subject": "Ünï ✓ \"quoted\" \\ <b>", "ticketContent": "line\nline\u{0}\u{1f600}",
            "owner": "grace", "users": "u", "departments": "d", "ticketSuppliers": "",
            "ticketFollowupDate": "2026-12-01", "ticketActionRequired": "2026-12-01T10:00:00.5+02:00",
        });
        let id = api.create(&body).await;
        let ticket = api.get(&format!("/tickets/{id}")).await.json();
        for (name, given) in body.as_object().unwrap() {
            let expected = match name.as_str() {
                "ticketType" => json!("billing"),
                "status" => json!("assigned"),
                "ticketActionRequired" => json!("2026-12-01T08:00:00.500Z"),
                _ => given.clone(),
            };
            assert_eq!(ticket[name], expected, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_can_be_sent_back() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        let path = format!("/tickets/{id}");
        let mut fetched = api.get(&path).await.json();
        let same = answer(api.request(Method::PUT, &path).json(&fetched)).await;
        assert_eq!((same.status, same.header("etag"), same.json()), (200, "\"1\"", fetched.clone()));
        fetched["owner"] = json!("ada");
        let changed = answer(api.request(Method::PUT, &path).json(&fetched)).await;
        assert_eq!((changed.status, changed.json()["owner"].as_str()), (200, Some("ada")));
        // The dates are those of before now, so they are refused: somebody else may have changed it.
        let stale = answer(api.request(Method::PUT, &path).json(&fetched)).await;
        assert_problem(&stale, 422, &["updatedDate"]);
        let other = api.patch(&path, &json!({"id": (id + 1).to_string(), "createdDate": "2020-01-01"})).await;
        assert_problem(&other, 422, &["createdDate", "id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_clears_a_field_and_required_ones_stay() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        let path = format!("/tickets/{id}");
        api.patch(&path, &json!({"owner": "ada", "ticketFollowupDate": "2026-12-01"})).await;
        let cleared =
            api.patch(&path, &json!({"owner": null, "ticketFollowupDate": null, "users": null})).await;
        assert_eq!(cleared.status, 200);
        assert!(cleared.json().get("owner").is_none() && cleared.json().get("ticketFollowupDate").is_none());
        let refused = api.patch(&path, &json!({"customerID": null, "subject": null})).await;
        assert_problem(&refused, 422, &["customerID", "subject"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invalid_field_is_named_at_once() {
    for api in Api::each().await {
        let body = json!({"subject": "", "status": "done", "customerEmail": "x", "users": 5, "stauts": "open", "id": "1"});
        let refused = api.post(&body).await;
        assert_problem(
            &refused,
            422,
            &["customerEmail", "customerID", "id", "status", "stauts", "subject", "users"],
        );
        assert!(refused.text.contains("did you mean status?"), "{}", refused.text);
        assert!(refused.text.contains("open, assigned, resolved, closed"), "{}", refused.text);
        let (id, _) = ticket(&api).await;
        let body = json!({"customerID": 0, "status": "done", "colour": "red"});
        assert_problem(
            &api.patch(&format!("/tickets/{id}"), &body).await,
            422,
            &["colour", "customerID", "status"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_on_both_sides() {
    let api = &Api::each().await[0];
    let at = |field: &str, value: Value| {
        let mut body = json!({"customerID": fresh_customer().get(), "subject": "s"});
        body[field] = value;
        body
    };
    let max = (1u64 << 53) - 1;
    let limits = [
        ("subject", json!("ü".repeat(500)), json!("ü".repeat(501))),
        ("subject", json!("s"), json!("")),
        ("ticketContent", json!("x".repeat(256 * 1024)), json!("x".repeat(256 * 1024 + 1))),
        ("users", json!("x".repeat(4096)), json!("x".repeat(4097))),
        ("departments", json!("x".repeat(4096)), json!("x".repeat(4097))),
        ("ticketSuppliers", json!("x".repeat(4096)), json!("x".repeat(4097))),
        ("owner", json!("x".repeat(4096)), json!("x".repeat(4097))),
        ("customerID", json!(max), json!(max + 1)),
        ("customerID", json!(1), json!(0)),
        ("ticketFollowupDate", json!("9999-12-31"), json!("10000-01-01")),
    ];
    for (field, within, beyond) in limits {
        let accepted = api.post(&at(field, within)).await;
        assert_eq!(accepted.status, 201, "{field}: {accepted:?}");
        assert_problem(&api.post(&at(field, beyond)).await, 422, &[field]);
    }
    let everything = json!({
        "customerID": max, "subject": "\u{1F600}".repeat(500), "ticketContent": "\u{1}".repeat(256 * 1024),
        "users": "x".repeat(4096), "departments": "x".repeat(4096), "ticketSuppliers": "x".repeat(4096), "owner": "x".repeat(4096),
    });
    assert_eq!(api.post(&everything).await.status, 201, "every field at its limit at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_object_is_refused() {
    for api in Api::each().await {
        for body in ["", "[]", "null", "{", "{\"a\":1}}", "not json", "{\"a\":\"\\ud800\"}"] {
            let request =
                api.request(Method::POST, "/tickets/").header(CONTENT_TYPE, "application/json").body(body);
            assert_problem(&answer(request).await, 400, &[]);
        }
        let twice = r#"{"customerID": 1, "subject": "a", "subject": "b"}"#;
        let request =
            api.request(Method::POST, "/tickets/").header(CONTENT_TYPE, "application/json").body(twice);
        assert_problem(&answer(request).await, 422, &["subject"]);
        let latin1 = b"{\"customerID\": 1, \"subject\": \"\xfc\"}".to_vec();
        if api.app.is_none() {
            // cargo-lambda itself refuses a body that is not UTF-8, where API Gateway passes it in base64.
            continue;
        }
        let request =
            api.request(Method::POST, "/tickets/").header(CONTENT_TYPE, "application/json").body(latin1);
        assert_problem(&answer(request).await, 400, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_says_it_is_json_and_is_not_too_large() {
    for api in Api::each().await {
        let body = json!({"customerID": fresh_customer().get(), "subject": "s"}).to_string();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "jsonish"] {
            let request =
                api.request(Method::POST, "/tickets/").header(CONTENT_TYPE, kind).body(body.clone());
            assert_problem(&answer(request).await, 415, &[]);
        }
        assert_problem(&answer(api.request(Method::POST, "/tickets/").body(body.clone())).await, 415, &[]);
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            let request =
                api.request(Method::POST, "/tickets/").header(CONTENT_TYPE, kind).body(body.clone());
            assert_eq!(answer(request).await.status, 201, "{kind}");
        }
        let padded = format!("{body}{}", " ".repeat(2 * 1024 * 1024));
        let request =
            api.request(Method::POST, "/tickets/").header(CONTENT_TYPE, "application/json").body(padded);
        assert_problem(&answer(request).await, 413, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_has_one_spelling() {
    for api in Api::each().await {
        for id in ["0", "-1", "01", "1.0", "abc", "9007199254740992", "%20", "1%2F2", "1;x", "%00"] {
            assert_problem(&api.get(&format!("/tickets/{id}")).await, 400, &["id"]);
            assert_problem(&api.get(&format!("/customers/{id}/tickets/")).await, 400, &["id"]);
        }
        assert_problem(&api.get("/tickets/9007199254740991").await, 404, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_told_which_there_are() {
    for api in Api::each().await {
        let paths = [
            ("/tickets/1", Method::POST, "GET, PUT, PATCH, DELETE, OPTIONS"),
            ("/tickets", Method::DELETE, "GET, POST, OPTIONS"),
            ("/customers/1/tickets", Method::POST, "GET, OPTIONS"),
        ];
        for (path, method, allow) in paths {
            for slash in ["", "/"] {
                let refused = answer(api.request(method.clone(), &format!("{path}{slash}"))).await;
                assert_problem(&refused, 405, &[]);
                assert_eq!(refused.header("allow"), allow);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_guards_against_overwriting() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        let path = format!("/tickets/{id}");
        let patch = |tag: &'static str, owner: &str| {
            api.request(Method::PATCH, &path).header(IF_MATCH, tag).json(&json!({"owner": owner}))
        };
        let first = answer(patch("\"1\"", "ada")).await;
        assert_eq!((first.status, first.header("etag")), (200, "\"2\""));
        assert_problem(&answer(patch("\"1\"", "grace")).await, 412, &[]);
        assert_problem(&answer(patch("W/\"2\"", "grace")).await, 412, &[]);
        assert_problem(&answer(api.request(Method::DELETE, &path).header(IF_MATCH, "\"1\"")).await, 412, &[]);
        assert_eq!(answer(patch("\"1\", \"2\"", "grace")).await.status, 200);
        assert_eq!(answer(patch("*", "linus")).await.status, 200);

        let unchanged = answer(api.request(Method::GET, &path).header(IF_NONE_MATCH, "\"4\"")).await;
        assert_eq!((unchanged.status, unchanged.text.as_str(), unchanged.header("etag")), (304, "", "\"4\""));
        assert_eq!(answer(api.request(Method::GET, &path).header(IF_NONE_MATCH, "\"3\"")).await.status, 200);
        assert_eq!(answer(api.request(Method::DELETE, &path).header(IF_MATCH, "\"4\"")).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_create_makes_one_ticket() {
    for api in Api::each().await {
        let customer = fresh_customer().get();
        let key = format!("key-{customer}");
        let post = |key: &str, subject: &str| {
            let body = json!({"customerID": customer, "subject": subject});
            answer(api.request(Method::POST, "/tickets/").header("Idempotency-Key", key).json(&body))
        };
        let first = post(&key, "a").await;
        assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""));
        let repeats = join_all((0..10).map(|_| post(&key, "a"))).await;
        for repeat in &repeats {
            assert_eq!((repeat.status, repeat.header("idempotency-replayed")), (201, "true"), "{repeat:?}");
            assert_eq!((&repeat.text, repeat.header("etag")), (&first.text, first.header("etag")));
            assert_eq!(repeat.header("location"), first.header("location"));
        }
        assert_problem(&post(&key, "b").await, 422, &[]);
        assert_eq!(api.get(&format!("/customers/{customer}/tickets/")).await.ids().len(), 1);

        let long = "k".repeat(255);
        assert_eq!(post(&long, "a").await.status, 201);
        assert_problem(&post(&format!("{long}k"), "a").await, 400, &["Idempotency-Key"]);
        assert_problem(&post("", "a").await, 400, &["Idempotency-Key"]);

        let other = api.make_key(|_| {}).await;
        let body = json!({"customerID": customer, "subject": "c"});
        let request =
            api.anonymous(Method::POST, "/tickets/").bearer_auth(other).header("Idempotency-Key", &key);
        let others = answer(request.json(&body)).await;
        assert_eq!(
            (others.status, others.header("idempotency-replayed")),
            (201, ""),
            "keys are each caller's own"
        );
    }
}

/// Three tickets of a customer, with their ids.
async fn three(api: &Api) -> (u64, Vec<Value>) {
    let customer = fresh_customer().get();
    let mut tickets = Vec::new();
    for n in 0..3 {
        let body = json!({"customerID": customer, "subject": format!("ticket {n}")});
        tickets.push(api.post(&body).await.json());
    }
    (customer, tickets)
}

fn id(ticket: &Value) -> u64 {
    ticket["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_ascend_by_id_and_every_bound_is_as_documented() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        let path = format!("/customers/{customer}/tickets/");
        let list = async |query: &str| {
            let answer = api.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/json");
            answer.ids()
        };
        assert_eq!(api.get(&path).await.json(), json!(tickets));
        assert_eq!(list(&format!("idAfter={}", ids[0])).await, ids[1..]);
        assert_eq!(list(&format!("idAfter={}", ids[2])).await, [0; 0]);
        assert_eq!(list("idAfter=-1").await, ids);
        let date = |n: usize| tickets[n]["createdDate"].as_str().unwrap();
        // Inclusive: the ticket with just this stamp is there.
        assert!(list(&format!("createdSince={}", date(1))).await.contains(&ids[1]));
        assert!(list(&format!("updatedSince={}", date(2))).await.contains(&ids[2]));
        assert!(list(&format!("updatedUntil={}", date(0))).await.contains(&ids[0]));
        assert_eq!(list("updatedSince=2100-01-01").await, [0; 0]);
        assert_eq!(list("updatedUntil=2000-01-01").await, [0; 0]);

        let changed = api.patch(&format!("/tickets/{}", ids[0]), &json!({"status": "closed"})).await.json();
        let since = changed["updatedDate"].as_str().unwrap();
        assert!(list(&format!("updatedSince={since}")).await.contains(&ids[0]));
        assert!(
            !list(&format!("createdSince={since}&limit=1000")).await.contains(&ids[0]),
            "created earlier"
        );

        for spelled in [
            "2026-01-01",
            "2026-01-01T00:00",
            "2026-01-01%2000:00:00",
            "2026-01-01T02:00:00%2B02:00",
            "2026-01-01T02:00:00+02:00",
            "2026-01-01T00:00:00.000Z",
        ] {
            assert_eq!(list(&format!("updatedSince={spelled}")).await, ids, "{spelled}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_to_the_end_and_no_further() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        for extra in ["", "&updatedSince=2026-01-01T00:00:00%2B01:00", "&includeDeleted=true&settled=false"] {
            for limit in 1..=4 {
                let pages = api.pages(&format!("/customers/{customer}/tickets/?limit={limit}{extra}")).await;
                let walked: Vec<u64> = pages.iter().flat_map(Answer::ids).collect();
                assert_eq!(walked, ids);
                // A response that holds everything has no Link, so there are no more pages than needed.
                assert_eq!(pages.len(), 3usize.div_ceil(limit), "limit {limit}");
            }
        }
        let mut after = 0;
        let mut walked = Vec::new();
        loop {
            let page = api.get(&format!("/customers/{customer}/tickets?limit=2&idAfter={after}")).await.ids();
            let Some(last) = page.last() else { break };
            after = *last;
            walked.extend(page);
        }
        assert_eq!(walked, ids, "without reading Link");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tickets_are_listed_too() {
    for api in Api::each().await {
        let (_, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        let since = tickets[0]["createdDate"].as_str().unwrap();
        for query in [String::new(), format!("&updatedSince={since}"), format!("&createdSince={since}")] {
            let listed = api.get(&format!("/tickets/?idAfter={}{query}", ids[0] - 1)).await;
            assert!(listed.ids().is_sorted() && ids.iter().all(|id| listed.ids().contains(id)), "{query}");
            assert!(listed.json().as_array().unwrap().contains(&tickets[1]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_shown_to_who_asks() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        api.delete(&format!("/tickets/{}", ids[1])).await;
        let path = format!("/customers/{customer}/tickets/");
        assert_eq!(api.get(&path).await.ids(), [ids[0], ids[2]]);
        assert_eq!(api.get(&format!("{path}?includeDeleted=false")).await.ids(), [ids[0], ids[2]]);
        for query in ["includeDeleted", "includeDeleted=true", "includeDeleted=1&updatedSince=2026-01-01"] {
            let list = api.get(&format!("{path}?{query}")).await;
            assert_eq!(list.ids(), ids, "{query}");
            let tombstone = &list.json()[1];
            let names: Vec<&String> = tombstone.as_object().unwrap().keys().collect();
            assert_eq!(names, ["createdDate", "customerID", "deletedDate", "id", "updatedDate"]);
            assert_eq!(tombstone["updatedDate"], tombstone["deletedDate"]);
            assert_eq!(tombstone["createdDate"], tickets[1]["createdDate"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_an_error_and_not_silence() {
    for api in Api::each().await {
        for path in ["/tickets/", "/customers/1/tickets/"] {
            let refused =
                api.get(&format!("{path}?updateSince=2026-01-01&limit=0&idAfter=x&settled=maybe")).await;
            assert_problem(&refused, 400, &["idAfter", "limit", "settled", "updateSince"]);
            assert!(refused.text.contains("did you mean updatedSince?"), "{}", refused.text);
            assert_problem(&api.get(&format!("{path}?limit=1001")).await, 400, &["limit"]);
            assert_eq!(api.get(&format!("{path}?limit=1000&idAfter=9007199254740991")).await.status, 200);
            assert_problem(&api.get(&format!("{path}?limit=1&limit=2")).await, 400, &["limit"]);
            assert_problem(&api.get(&format!("{path}?updatedSince=yesterday")).await, 400, &["updatedSince"]);
            let moving = api.get(&format!("{path}?settled=true&idAfter=5")).await;
            assert_problem(&moving, 400, &["settled"]);
            assert!(moving.text.contains("updatedUntil"), "{}", moving.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_until_is_the_settle_window_ago_and_settled_holds_back_what_is_fresher() {
    for api in Api::each().await {
        let before = tickets_domain::Clock::system().now();
        let (customer, _) = three(&api).await;
        let path = format!("/customers/{customer}/tickets/");
        for list in [&path, "/tickets/?limit=1&updatedSince=2026-01-01"] {
            let answer = api.get(list).await;
            let until = support::time(answer.header("sync-until"));
            let now = tickets_domain::Clock::system().now();
            let window = std::time::Duration::from_secs(10);
            assert!(before.minus(window) <= until && until <= now.minus(window), "{until}");
        }
        assert_eq!(api.get(&format!("{path}?settled=true")).await.ids(), [0; 0], "created just now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_leads_to_the_ticket_whichever_form_it_was_posted_to() {
    for api in Api::each().await {
        for slash in ["", "/"] {
            let body = json!({"customerID": fresh_customer().get(), "subject": "Help"});
            let created = answer(api.request(Method::POST, &format!("/tickets{slash}")).json(&body)).await;
            let path = created.header("location").strip_prefix(BASE_PATH).expect("a path on the same host");
            for slash in ["", "/"] {
                let read = api.get(&format!("{path}{slash}")).await;
                assert_eq!((read.status, read.json()), (200, created.json()));
                assert_eq!(read.header("etag"), created.header("etag"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_read_like_a_create() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        for slash in ["", "/"] {
            let path = format!("/tickets/{id}{slash}");
            for method in [Method::PUT, Method::PATCH] {
                let send = async |kind: &str, body: &str| {
                    let request = api.request(method.clone(), &path).header(CONTENT_TYPE, kind);
                    answer(request.body(body.to_owned())).await
                };
                assert_problem(&send("text/plain", "{}").await, 415, &[]);
                for malformed in ["", "[]", "{", "null"] {
                    assert_problem(&send("application/json", malformed).await, 400, &[]);
                }
                let twice = r#"{"owner": "a", "owner": "b", "ownr": "c", "status": "done"}"#;
                let refused = send("application/json", twice).await;
                assert_problem(&refused, 422, &["owner", "ownr", "status"]);
                assert!(refused.text.contains("did you mean owner?"), "{}", refused.text);
                assert_eq!(send("application/json", "{}").await.header("etag"), "\"1\"", "nothing to change");
            }
        }
        assert_eq!(api.get(&format!("/tickets/{id}")).await.header("etag"), "\"1\"", "nothing was changed");
        assert_problem(&api.patch("/tickets/01", &json!({"owner": "a"})).await, 400, &["id"]);
        assert_problem(&api.delete("/tickets/x").await, 400, &["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_exactly_as_many_bytes_as_allowed_or_is_too_large() {
    for api in Api::each().await {
        let body = json!({"customerID": fresh_customer().get(), "subject": "s"}).to_string();
        for (bytes, status) in [(MAX_BODY, 201), (MAX_BODY + 1, 413)] {
            let padded = format!("{body}{}", " ".repeat(bytes - body.len()));
            let request = api.request(Method::POST, "/tickets").header(CONTENT_TYPE, "application/json");
            assert_eq!(answer(request.body(padded)).await.status, status, "{bytes} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_at_most_254_characters_and_looks_like_one() {
    let api = &Api::each().await[0];
    let with =
        |email: &str| json!({"customerID": fresh_customer().get(), "subject": "s", "customerEmail": email});
    let long = |last: usize| {
        let label = |length| "d".repeat(length);
        format!("{}@{}.{}.{}.com", "l".repeat(64), label(63), label(63), label(last))
    };
    assert_eq!((long(57).len(), long(58).len()), (254, 255));
    assert_eq!(api.post(&with(&long(57))).await.status, 201);
    assert_problem(&api.post(&with(&long(58))).await, 422, &["customerEmail"]);
    for bad in ["", "ada", "ada@localhost", "Ada <ada@example.com>", "a@b@example.com", "a\r\nb@example.com"]
    {
        assert_problem(&api.post(&with(bad)).await, 422, &["customerEmail"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_time_means_the_same_in_a_query_and_in_a_body() {
    let forms = [
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("2026-01-31T10:20", "2026-01-31T10:20:00.000Z"),
        ("2026-01-31 10:20", "2026-01-31T10:20:00.000Z"),
        ("2026-01-31T10:20:30", "2026-01-31T10:20:30.000Z"),
        ("2026-01-31 10:20:30.4", "2026-01-31T10:20:30.400Z"),
        ("2026-01-31T10:20:30.456Z", "2026-01-31T10:20:30.456Z"),
        ("2026-01-31t10:20:30.456999z", "2026-01-31T10:20:30.456Z"),
        ("2026-01-31T10:20:30+02:00", "2026-01-31T08:20:30.000Z"),
        ("2026-01-31T00:20:30.5+02:00", "2026-01-30T22:20:30.500Z"),
        ("2026-01-31 20:20:30-05:30", "2026-02-01T01:50:30.000Z"),
    ];
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        for slash in ["", "/"] {
            let path = format!("/customers/{customer}/tickets{slash}");
            for (form, means) in forms {
                // Written with care, and as people do: a space as `+`, and an offset's `+` as it is.
                let careful = form.replace('+', "%2B").replace(' ', "%20");
                for written in [careful, form.replace(' ', "+")] {
                    let until = written.replace("2026", "2096");
                    let query =
                        format!("limit=1&createdSince={written}&updatedSince={written}&updatedUntil={until}");
                    let link = api.get(&format!("{path}?{query}")).await.next().expect("two more tickets");
                    let expected = [
                        ("limit", "1"),
                        ("createdSince", means),
                        ("updatedSince", means),
                        ("updatedUntil", &means.replace("2026", "2096")),
                        ("idAfter", tickets[0]["id"].as_str().unwrap()),
                    ];
                    assert_eq!(pairs(&link), owned(expected), "{written}");
                }
            }
            for bad in
                ["", "now", "1700000000", "2026-02-30", "2026-1-2", "2026-01-31T25:00", "2026-01-31T10"]
            {
                let query = format!("createdSince={bad}&updatedSince={bad}&updatedUntil={bad}");
                let refused = api.get(&format!("{path}?{query}")).await;
                assert_problem(&refused, 400, &["createdSince", "updatedSince", "updatedUntil"]);
            }
        }
        let path = format!("/tickets/{}", tickets[0]["id"].as_str().unwrap());
        for (form, means) in forms {
            let changed =
                api.patch(&path, &json!({"ticketFollowupDate": form, "ticketActionRequired": form})).await;
            // A date stays a date: it is a day wherever its reader is.
            let means = if form.len() == 10 { form } else { means };
            for field in ["ticketFollowupDate", "ticketActionRequired"] {
                assert_eq!(changed.json()[field], means, "{form}: {changed:?}");
            }
        }
        for bad in [json!(""), json!("now"), json!("2026-02-30"), json!(1_700_000_000), json!(["2026-01-01"])]
        {
            let refused =
                api.patch(&path, &json!({"ticketFollowupDate": bad, "ticketActionRequired": bad})).await;
            assert_problem(&refused, 422, &["ticketActionRequired", "ticketFollowupDate"]);
        }
    }
}

/// The names and values of a query.
fn pairs(query: &str) -> BTreeSet<(String, String)> {
    let query = query.strip_prefix('?').expect("a reference that is only a query");
    let decode = |text: &str| text.replace("%3A", ":");
    let pairs: Vec<_> = query.split('&').map(|pair| pair.split_once('=').expect("a pair")).collect();
    let set = pairs.iter().map(|(name, value)| (decode(name), decode(value))).collect::<BTreeSet<_>>();
    assert_eq!(set.len(), pairs.len(), "{query} says nothing twice");
    set
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> BTreeSet<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_the_same_query_after_the_last_id() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        for slash in ["", "/"] {
            let path = format!("/customers/{customer}/tickets{slash}");
            let bare = api.get(&format!("{path}?limit=2")).await;
            let second = tickets[1]["id"].as_str().unwrap();
            assert_eq!(pairs(&bare.next().unwrap()), owned([("limit", "2"), ("idAfter", second)]));

            let asked = owned([
                ("limit", "1"),
                ("includeDeleted", "true"),
                ("createdSince", "2020-01-01T00:00:00.000Z"),
                ("updatedSince", "2020-01-02T00:00:00.000Z"),
                ("updatedUntil", "2099-01-03T00:00:00.000Z"),
            ]);
            let query: Vec<_> = asked.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (mut query, mut walked) = (format!("?{}&idAfter=0", query.join("&")), Vec::new());
            loop {
                let page = api.get(&format!("{path}{query}")).await;
                assert_eq!(page.ids().len(), 1);
                walked.extend(page.ids());
                let Some(next) = page.next() else { break };
                let mut expected = asked.clone();
                expected.insert(("idAfter".into(), walked.last().unwrap().to_string()));
                assert_eq!(pairs(&next), expected);
                query = next;
            }
            assert_eq!(walked, tickets.iter().map(id).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_precondition_changes_nothing() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        for slash in ["", "/"] {
            let path = format!("/tickets/{id}{slash}");
            let before = api.get(&path).await;
            for method in [Method::PUT, Method::PATCH, Method::DELETE] {
                for tag in ["\"2\"", "W/\"1\"", "\"01\"", "1", "\"\"", "\"x\", \"3\""] {
                    let request = api.request(method.clone(), &path).header(IF_MATCH, tag);
                    assert_problem(&answer(request.json(&json!({"owner": "ada"}))).await, 412, &[]);
                }
            }
            let after = api.get(&path).await;
            assert_eq!((after.header("etag"), after.json()), (before.header("etag"), before.json()));
            for tag in ["\"1\"", "W/\"1\"", "*", "\"7\", \"1\""] {
                let unchanged = answer(api.request(Method::GET, &path).header(IF_NONE_MATCH, tag)).await;
                assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""), "{tag}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_posts_at_once_with_one_key_make_one_ticket() {
    for api in Api::each().await {
        let customer = fresh_customer().get();
        let body = json!({"customerID": customer, "subject": "once"});
        let key = format!("at-once-{customer}");
        let post = || async {
            loop {
                let request = api.request(Method::POST, "/tickets/").header("Idempotency-Key", &key);
                let answer = answer(request.json(&body)).await;
                // Not decided yet: the client is told to ask again.
                if answer.status != 409 {
                    break answer;
                }
                assert_problem(&answer, 409, &[]);
                assert!(!answer.header("retry-after").is_empty());
            }
        };
        let answers = join_all((0..10).map(|_| post())).await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.text), (201, &answers[0].text));
            assert_eq!(answer.header("location"), answers[0].header("location"));
        }
        let replayed = |answer: &&Answer| answer.header("idempotency-replayed") == "true";
        assert_eq!(answers.iter().filter(replayed).count(), 9);
        assert_eq!(api.get(&format!("/customers/{customer}/tickets")).await.ids().len(), 1);

        // What it says counts, not how it is written; nor what became of the ticket since.
        let path = format!("/tickets/{}", answers[0].json()["id"].as_str().unwrap());
        api.patch(&path, &json!({"subject": "changed"})).await;
        api.delete(&path).await;
        let spaced = format!(" {{ \"subject\" : \"once\" , \"customerID\" : {customer} }} ");
        let request = api.request(Method::POST, "/tickets").header("Idempotency-Key", &key);
        let replay = answer(request.header(CONTENT_TYPE, "application/json").body(spaced)).await;
        assert_eq!((replay.status, replay.header("idempotency-replayed")), (201, "true"));
        assert_eq!(replay.text, answers[0].text, "byte for byte");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_a_change_like_others() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let path = format!("/customers/{customer}/tickets/?includeDeleted=true");
        let changed =
            api.patch(&format!("/tickets/{}", id(&tickets[1])), &json!({"owner": "ada"})).await.json();
        assert_eq!(api.delete(&format!("/tickets/{}", id(&tickets[1]))).await.status, 204);
        let tombstone = api.get(&path).await.json()[1].clone();
        assert!(tombstone["updatedDate"].as_str() > changed["updatedDate"].as_str(), "{tombstone}");
        let since = tombstone["updatedDate"].as_str().unwrap();
        assert!(api.get(&format!("{path}&updatedSince={since}")).await.ids().contains(&id(&tickets[1])));
        // Deleted tickets take no place on pages that do not show them.
        let listed = api.get(&format!("/customers/{customer}/tickets/?limit=2")).await;
        assert_eq!((listed.ids(), listed.next()), (vec![id(&tickets[0]), id(&tickets[2])], None));
        let until = changed["updatedDate"].as_str().unwrap();
        assert!(!api.get(&format!("{path}&updatedUntil={until}")).await.ids().contains(&id(&tickets[1])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_names_its_request() {
    for api in Api::each().await {
        let (id, customer) = ticket(&api).await;
        let path = format!("/tickets/{id}");
        let answers = [
            (201, api.post(&json!({"customerID": customer, "subject": "s"})).await),
            (200, api.get(&path).await),
            (304, answer(api.request(Method::GET, &path).header(IF_NONE_MATCH, "*")).await),
            (200, api.patch(&path, &json!({"owner": "ada"})).await),
            (200, api.get("/tickets/?limit=1").await),
            (200, api.get(&format!("/customers/{customer}/tickets")).await),
            (400, api.get("/tickets/x").await),
            (401, answer(api.anonymous(Method::GET, &path)).await),
            (405, answer(api.request(Method::POST, &path)).await),
            (412, answer(api.request(Method::DELETE, &path).header(IF_MATCH, "\"9\"")).await),
            (415, answer(api.request(Method::POST, "/tickets")).await),
            (422, api.post(&json!({})).await),
            (204, api.delete(&path).await),
            (404, api.get(&path).await),
        ];
        let ids: BTreeSet<_> = answers
            .iter()
            .map(|(status, answer)| {
                assert_eq!(answer.status, *status, "{answer:?}");
                assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
                answer.header("x-request-id")
            })
            .collect();
        assert_eq!(ids.len(), answers.len(), "each has a name of its own");
    }
}

// What follows needs a configuration, a clock or a table of its own, so it always runs in this process.

/// An API whose time a test sets.
async fn on_a_clock(
    payload: Payload,
    start: &str,
    environment: Vec<(&'static str, String)>,
) -> (Api, Arc<AtomicI64>) {
    let millis = Arc::new(AtomicI64::new(time(start).millis()));
    let shown = Arc::clone(&millis);
    let clock = Clock::new(move || Timestamp::from_millis(shown.load(Ordering::SeqCst)).expect("in range"));
    let options = Options { payload, environment, clock: Some(clock), ..Options::default() };
    (Api::start_with(options).await, millis)
}

/// Tickets with these bodies, all stamped `at`.
async fn append(api: &Api, bodies: impl IntoIterator<Item = Value>, at: Timestamp) {
    let presets = Presets::parse(Presets::TYPES, Presets::STATUSES, Presets::PRIORITIES, "").unwrap();
    let sample = |body: Value| {
        let form = Form::parse(body.to_string().as_bytes()).unwrap();
        Sample { fields: TicketFields::draft(form, &presets).unwrap(), created: at, updated: at }
    };
    let (tickets, mut chunk, mut bytes) = (api.tickets().await, Vec::new(), 0);
    for body in bodies {
        let size = body.to_string().len();
        // One chunk is a transaction, which takes no more than so many and so much.
        if chunk.len() == MAX_CHUNK || bytes + size > 3_000_000 {
            tickets.append(&std::mem::take(&mut chunk)).await.unwrap();
            bytes = 0;
        }
        bytes += size;
        chunk.push(sample(body));
    }
    tickets.append(&chunk).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_compared_as_numbers() {
    let api = Api::start_with(Options::default()).await;
    let bodies = (1..=1001).map(|n| json!({"customerID": 7, "subject": n.to_string()}));
    append(&api, bodies, time("2026-01-05")).await;
    for path in ["/tickets", "/customers/7/tickets"] {
        for filter in ["", "&updatedSince=2026-01-05", "&createdSince=2026-01-05&includeDeleted=true"] {
            for slash in ["", "/"] {
                for after in [8, 9, 98, 99, 997, 998] {
                    let page = api.get(&format!("{path}{slash}?limit=3&idAfter={after}{filter}")).await;
                    assert_eq!(page.ids(), [after + 1, after + 2, after + 3], "{path} {filter}");
                    assert_eq!(page.next().is_some(), after < 998, "{path} {filter} after {after}");
                }
                assert_eq!(api.get(&format!("{path}{slash}?idAfter=999{filter}")).await.ids(), [1000, 1001]);
                assert_eq!(api.get(&format!("{path}{slash}?idAfter=1001{filter}")).await.text, "[]");
            }
            // The most there may be on a page, and one more.
            let pages = api.pages(&format!("{path}?limit=1000{filter}")).await;
            let walked: Vec<_> = pages.iter().map(Answer::ids).collect();
            assert_eq!(walked, [(1..=1000).collect::<Vec<_>>(), vec![1001]], "{path} {filter}");
        }
        let everything = api.get(path).await;
        assert_eq!((everything.ids().len(), everything.next()), (1001, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_tickets_ends_before_it_is_too_large() {
    // Not under `cargo lambda watch`: it answers a function before it has read the reply, and of one of
    // megabytes it now and then never reads the rest.
    for payload in [Payload::Rest, Payload::Http] {
        let api = Api::start_with(Options { payload, ..Options::default() }).await;
        let customer = fresh_customer().get();
        // Quotes double in JSON, and again in a Lambda's reply: the worst there is but control characters.
        let body =
            json!({"customerID": customer, "subject": "large", "ticketContent": "\"".repeat(256 * 1024)});
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(api.create(&body).await);
        }
        for query in ["", "?updatedSince=2026-01-01"] {
            let pages = api.pages(&format!("/customers/{customer}/tickets/{query}")).await;
            assert!(pages.len() > 1, "they do not fit one page");
            assert!(pages.iter().all(|page| page.status == 200 && page.text.len() < 6_291_556));
            assert_eq!(pages.iter().flat_map(Answer::ids).collect::<Vec<_>>(), ids);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_what_fits_a_reply_and_not_a_ticket_more() {
    let api = Api::start_with(Options::default()).await;
    // Quotes take four bytes in a reply and control characters seven: the worst a ticket can hold.
    let contents = ["\"".repeat(256 * 1024), "\u{1}".repeat(256 * 1024), "ü".repeat(128 * 1024)];
    let bodies = contents.iter().cycle().take(30).enumerate().map(
        |(n, content)| json!({"customerID": 7, "subject": format!("large {n}"), "ticketContent": content}),
    );
    append(&api, bodies, time("2026-01-05")).await;
    let escaped = |text: &str| serde_json::to_string(text).unwrap().len();
    for (path, first) in [
        ("/tickets/", 1),
        ("/tickets/?updatedSince=2026-01-05&idAfter=20", 21),
        ("/customers/7/tickets?idAfter=20", 21),
    ] {
        let pages = api.pages(path).await;
        let lists: Vec<Vec<Value>> =
            pages.iter().map(|page| serde_json::from_str(&page.text).unwrap()).collect();
        assert_eq!(lists.iter().flatten().map(id).collect::<Vec<_>>(), (first..=30).collect::<Vec<_>>());
        for record in lists.iter().flatten() {
            let content = &contents[(id(record) as usize - 1) % contents.len()];
            assert!(record["ticketContent"] == **content, "ticket {} is whole", record["id"]);
        }
        for (at, page) in pages.iter().enumerate() {
            let size = escaped(&page.text);
            assert!(size < MAX_REPLY, "{path}: {size}");
            if let Some(next) = lists.get(at + 1) {
                let more = escaped(&next[0].to_string());
                // Headers need some of the reply, so that a little may stay empty.
                assert!(size + more > MAX_REPLY - 32 * 1024, "{path}: page {at} had room for another ticket");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presets_are_configuration_and_a_value_that_leaves_it_stays_where_it_is() {
    for payload in [Payload::Rest, Payload::Http] {
        let environment = |types: &str, statuses: &str, priorities: &str, owners: &str| {
            let names = ["TICKET_TYPES", "TICKET_STATUSES", "TICKET_PRIORITIES", "TICKET_OWNERS"];
            let values = [types, statuses, priorities, owners].map(str::to_owned);
            names.into_iter().zip(values).collect::<Vec<_>>()
        };
        let first = environment("Bug, Wish", "New, In Progress, Done", "P1, P2", "Ada, Grace");
        let mut api = Api::start_with(Options { payload, environment: first, ..Options::default() }).await;
        let created = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
        assert_eq!((&created["status"], &created["ticketPriority"]), (&json!("New"), &json!("P1")));
        let body = json!({
            "customerID": 7, "subject": "s",
            "ticketType": "BUG", "status": "in progress", "ticketPriority": "p2", "owner": "ADA",
        });
        let created = api.post(&body).await;
        let preset = json!(["Bug", "In Progress", "P2", "Ada"]);
        let fields = ["ticketType", "status", "ticketPriority", "owner"];
        let shown = |ticket: &Value| json!(fields.map(|field| ticket[field].clone()));
        assert_eq!(shown(&created.json()), preset, "in their configured spelling");
        let wrong =
            json!({"ticketType": "sales", "status": "open", "ticketPriority": "normal", "owner": "linus"});
        for refused in [api.patch("/tickets/2", &wrong).await, {
            let mut body = body.clone();
            body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            api.post(&body).await
        }] {
            assert_problem(&refused, 422, &["owner", "status", "ticketPriority", "ticketType"]);
            for allowed in ["Bug, Wish", "New, In Progress, Done", "P1, P2", "Ada, Grace"] {
                assert!(refused.text.contains(allowed), "{}", refused.text);
            }
        }

        api.base = redeployed(&api, payload, environment("task", "todo, done", "low, Normal", "linus")).await;
        let read = api.get("/tickets/2").await;
        assert_eq!((read.status, read.text), (200, created.text), "it stays readable");
        let changed = api.patch("/tickets/2", &json!({"subject": "changed"})).await;
        assert_eq!((changed.status, shown(&changed.json())), (200, preset.clone()), "and can be updated");
        let back = answer(api.request(Method::PUT, "/tickets/2/").json(&changed.json())).await;
        assert_eq!((back.status, back.header("etag")), (200, "\"2\""), "and sent back as it was fetched");
        // But it does not come back, nor to a ticket that has another.
        assert_problem(&api.patch("/tickets/2", &json!({"status": "New"})).await, 422, &["status"]);
        assert_problem(&api.patch("/tickets/1", &json!({"status": "In Progress"})).await, 422, &["status"]);
        let moved = api.patch("/tickets/2", &json!({"status": "DONE", "owner": null})).await.json();
        assert_eq!((&moved["status"], moved.get("owner")), (&json!("done"), None));
        let new = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
        assert_eq!((&new["status"], &new["ticketPriority"]), (&json!("todo"), &json!("Normal")));
    }
}

/// The base of another deployment over the same database.
async fn redeployed(api: &Api, payload: Payload, environment: Vec<(&'static str, String)>) -> String {
    let lookup = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, v)| v.clone());
    let config = Config::from_lookup(lookup).unwrap();
    let app = App::open(config, Connection::to(&api.database), Clock::system());
    let router = Gateway { app: Arc::new(app), payload }.into_router();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}{BASE_PATH}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_until_is_exactly_the_configured_window_before_the_request() {
    for (payload, seconds) in [(Payload::Rest, 10), (Payload::Http, 10), (Payload::Rest, 30)] {
        let environment = vec![("SETTLE_SECONDS", seconds.to_string())];
        let (api, clock) = on_a_clock(payload, "2026-03-01T00:00:00.005Z", environment).await;
        let created = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
        let stamp = time(created["updatedDate"].as_str().unwrap());
        assert_eq!(stamp, time("2026-03-01T00:00:00.005Z"));
        // A millisecond before it has settled, and when it just has.
        for (since, settled) in [(seconds * 1000 - 1, vec![]), (seconds * 1000, vec![1u64])] {
            clock.store(stamp.millis() + since, Ordering::SeqCst);
            let until = Timestamp::from_millis(stamp.millis() + since - seconds * 1000).unwrap();
            for path in ["/tickets", "/tickets/", "/customers/7/tickets", "/customers/7/tickets/"] {
                for query in ["", "updatedSince=2026-03-01", "createdSince=2026-03-01"] {
                    let fresh = api.get(&format!("{path}?{query}")).await;
                    assert_eq!((fresh.header("sync-until"), fresh.ids()), (&*until.to_string(), vec![1]));
                    let held_back = api.get(&format!("{path}?settled=true&{query}")).await;
                    assert_eq!(held_back.ids(), settled, "{path}?{query} {since} ms later");
                    assert_eq!(held_back.header("sync-until"), until.to_string());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_settled_list_share_the_horizon_of_the_first() {
    for payload in [Payload::Rest, Payload::Http] {
        for (path, filter) in [
            ("/tickets/", "&updatedSince=2026-01-31"),
            ("/tickets", ""),
            ("/customers/7/tickets", "&createdSince=2026-01-31"),
        ] {
            // Over a month's end.
            let (api, clock) = on_a_clock(payload, "2026-01-31T23:59:50Z", Vec::new()).await;
            for n in 0..4 {
                api.create(&json!({"customerID": 7, "subject": n.to_string()})).await;
                clock.fetch_add(1, Ordering::SeqCst);
            }
            clock.fetch_add(15_000, Ordering::SeqCst);
            let first = api.get(&format!("{path}?settled=true&limit=1{filter}")).await;
            let horizon = first.header("sync-until").to_owned();
            assert_eq!((first.ids(), horizon.as_str()), (vec![1], "2026-01-31T23:59:55.004Z"));

            // Between the pages one ticket changes and one comes, and time passes: both have settled
            // by the clock, but not by the horizon of the first page.
            api.patch("/tickets/3", &json!({"owner": "ada"})).await;
            api.create(&json!({"customerID": 7, "subject": "new"})).await;
            clock.fetch_add(60_000, Ordering::SeqCst);
            let (mut page, mut walked) = (first, Vec::new());
            loop {
                walked.extend(page.ids());
                let Some(next) = page.next() else { break };
                let asked = pairs(&next);
                assert!(asked.contains(&("settled".into(), "true".into())), "{next}");
                assert!(asked.contains(&("updatedUntil".into(), horizon.clone())), "{next}");
                page = api.get(&format!("{path}{next}")).await;
            }
            assert_eq!(walked, [1, 2, 4], "{path}");
            let next = api.get(&format!("{path}?settled=true&updatedSince={horizon}")).await;
            assert_eq!(next.ids(), [3, 5], "what was held back is in the next pass");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_horizon_cannot_be_asked_for_beyond_what_has_settled() {
    let (api, clock) = on_a_clock(Payload::Rest, "2026-03-01", Vec::new()).await;
    api.create(&json!({"customerID": 7, "subject": "settled"})).await;
    clock.fetch_add(20_000, Ordering::SeqCst);
    api.create(&json!({"customerID": 7, "subject": "fresh"})).await;
    let ahead = "updatedUntil=2030-01-01";
    for path in ["/tickets", "/customers/7/tickets"] {
        assert_eq!(api.get(&format!("{path}?settled=true&{ahead}")).await.ids(), [1]);
        assert_eq!(api.get(&format!("{path}?settled=true&idAfter=0&{ahead}")).await.ids(), [1]);
        assert_eq!(api.get(&format!("{path}?{ahead}")).await.ids(), [1, 2]);
        // Without a first page there is no horizon to keep: said, and what to do about it.
        let refused = api.get(&format!("{path}?settled&idAfter=0")).await;
        assert_problem(&refused, 400, &["settled"]);
        assert!(refused.text.contains("updatedUntil") && refused.text.contains("Link"), "{}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_change_rises_though_the_clock_does_not() {
    let (api, clock) = on_a_clock(Payload::Http, "2026-03-01T12:00:00Z", Vec::new()).await;
    let body = json!({"customerID": 7, "subject": "s"});
    let created = api.post(&body).await.json();
    clock.fetch_add(-3_600_000, Ordering::SeqCst);
    let first = api.patch("/tickets/1", &json!({"owner": "ada"})).await.json();
    let second = api.patch("/tickets/1/", &json!({"owner": "grace"})).await.json();
    assert_eq!(first["updatedDate"], "2026-03-01T12:00:00.001Z");
    assert_eq!(second["updatedDate"], "2026-03-01T12:00:00.002Z");
    let same = api.patch("/tickets/1", &json!({"owner": "grace"})).await;
    assert_eq!((same.json(), same.header("etag")), (second, "\"3\""), "an update of nothing is none");
    assert_eq!(same.json()["createdDate"], created["createdDate"]);
    api.delete("/tickets/1").await;
    let tombstone = api.get("/tickets?includeDeleted=true").await.json()[0].clone();
    assert_eq!(tombstone["deletedDate"], "2026-03-01T12:00:00.003Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_kept_for_a_day() {
    for payload in [Payload::Rest, Payload::Http] {
        let (api, clock) = on_a_clock(payload, "2026-03-01T12:00:00Z", Vec::new()).await;
        let post = async |subject: &str| {
            let body = json!({"customerID": 7, "subject": subject});
            answer(api.request(Method::POST, "/tickets/").header("Idempotency-Key", "k").json(&body)).await
        };
        let first = post("a").await;
        clock.fetch_add(24 * 60 * 60 * 1000 - 1000, Ordering::SeqCst);
        assert_eq!(post("a").await.text, first.text);
        assert_problem(&post("b").await, 422, &[]);
        clock.fetch_add(1000, Ordering::SeqCst);
        let new = post("b").await;
        assert_eq!((new.status, new.header("idempotency-replayed")), (201, ""));
        assert_eq!(new.json()["id"], "2");
    }
}
