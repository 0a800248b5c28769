//! The contract, rule by rule, through the front door: in-process with events of both formats, or
//! against an API that runs elsewhere (see `Api::each`), which other tests may use meanwhile.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use futures::future::join_all;
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};
use support::{Answer, Api, Options, answer, fresh_customer, time};
use tickets_app::{App, Config};
use tickets_cli::gateway::{Gateway, Payload};
use tickets_domain::{Clock, Form, PresetLists, Presets, TicketFields, Timestamp};
use tickets_http::list::MAX_REPLY;
use tickets_http::problem::MAX_BODY;
use tickets_http::route::BASE_PATH;
use tickets_repository::seed::{MAX_CHUNK, SeedTicket};

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
            for path in [format!("/tickets/{id}"), format!("/customers/{id}/tickets/")] {
                let refused = api.get(&path).await;
                // ministack decodes a path before it looks for the resource, and finds none: no function was asked.
                if id == "1%2F2" && !refused.header("x-amzn-errortype").is_empty() {
                    continue;
                }
                assert_problem(&refused, 400, &["id"]);
            }
        }
        assert_problem(&api.get("/tickets/9007199254740991").await, 404, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_told_which_there_are() {
    for api in Api::each().await {
        let paths = [
            ("/tickets/1", Method::POST, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            ("/tickets", Method::DELETE, "GET, HEAD, POST, OPTIONS"),
            ("/customers/1/tickets", Method::POST, "GET, HEAD, OPTIONS"),
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
            "2026-01-01T02:00:00.000000%2B0200",
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
async fn a_work_queue_holds_what_is_asked_for_and_says_what_it_cannot_answer() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let mut ids = Vec::new();
        for (status, owner, due) in [
            ("open", json!("Grace"), json!("2026-11-24")),
            ("assigned", json!("grace"), json!("2026-11-24T15:00:00Z")),
            ("assigned", json!("ada"), json!("2026-11-25")),
            ("resolved", json!("grace"), json!(null)),
            ("closed", json!("ada"), json!("2026-11-01")),
        ] {
            let mut body = json!({"customerID": customer, "subject": "s", "status": status, "owner": owner});
            if !due.is_null() {
                body["ticketFollowupDate"] = due;
            }
            let created = api.post(&body).await;
            ids.push(created.json()["id"].as_str().unwrap().to_owned());
        }
        let list = format!("/customers/{customer}/tickets/");
        let found = async |query: &str| -> Vec<usize> {
            let records = api.get(&format!("{list}?{query}")).await.json();
            let records = records.as_array().unwrap_or_else(|| panic!("{query}: {records}")).clone();
            records.iter().map(|record| 1 + ids.iter().position(|id| record["id"] == **id).unwrap()).collect()
        };
        for (query, expected) in [
            ("open=true", vec![1, 2, 3]),
            ("open=false", vec![4, 5]),
            ("open", vec![1, 2, 3]),
            ("status=ASSIGNED,closed", vec![2, 3, 5]),
            ("status=ASSIGNED&status=closed", vec![2, 3, 5]),
            ("open=true&status=closed", vec![]),
            ("owner=GRACE", vec![1, 2, 4]),
            ("owner=grace&open=true&limit=1", vec![1]),
            ("followupUntil=2026-11-24", vec![1, 2, 5]),
            ("followupUntil=2026-11-24T14:59:59Z", vec![1, 5]),
            ("open=true&followupUntil=2026-11-24&owner=grace,ada&idAfter=0", vec![1, 2]),
            ("owner=nobody", vec![]),
            ("actionUntil=2030-01-01", vec![]),
            ("open=true&includeDeleted=true&createdSince=2020-01-01", vec![1, 2, 3]),
        ] {
            assert_eq!(found(query).await, expected, "{query}");
        }
        api.delete(&format!("/tickets/{}", ids[0])).await;
        assert_eq!(found("open=true&includeDeleted=true").await, [2, 3], "a deleted ticket has no status");

        // The list of all tickets has other tests' too; what it cannot answer is refused.
        let all = api.get("/tickets/?open=true&owner=grace").await.json();
        assert!(all.as_array().unwrap().iter().any(|record| record["id"] == *ids[1]));
        let refused = api.get("/tickets/?owner=grace").await;
        assert_eq!(refused.status, 400);
        let error = &refused.json()["errors"][0];
        assert_eq!(error["field"], "owner");
        assert!(error["detail"].as_str().unwrap().starts_with("needs open=true beside it"), "{error}");
        let refused = api.get(&format!("{list}?status=done")).await;
        assert_eq!(refused.status, 400);
        let detail = "must be one of open, assigned, resolved, closed";
        assert_eq!(refused.json()["errors"], json!([{"field": "status", "detail": detail}]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_row_by_row() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let good = |subject: &str| json!({"customerID": customer, "subject": subject});
        let answer = api
            .post(&json!([good("first"), {"subject": "", "stauts": "open"}, 7, good("second"), [], good("third")]))
            .await;
        assert_eq!(answer.status, 207, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        let rows = answer.json();
        let statuses: Vec<_> =
            rows.as_array().unwrap().iter().map(|row| row["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [201, 422, 400, 201, 400, 201]);
        let refused = &rows[1]["problem"];
        assert_eq!((&refused["status"], &refused["title"]), (&json!(422), &json!("Invalid fields")));
        let fields: Vec<_> = refused["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect();
        assert_eq!(fields, ["customerID", "subject", "stauts"]);
        assert_eq!(rows[2]["problem"]["type"], "urn:tickets:problem:malformed-body");
        // Ids follow each other; each row is the ticket as it is fetched.
        let tickets = [0, 3, 5].map(|at| &rows[at]["ticket"]);
        let first: u64 = id(tickets[0]);
        assert_eq!(tickets.map(id), [first, first + 1, first + 2]);
        for ticket in tickets {
            let fetched = api.get(&format!("/tickets/{}", id(ticket))).await;
            assert_eq!((&fetched.json(), fetched.header("etag")), (ticket, "\"1\""));
        }
        let listed = api.get(&format!("/customers/{customer}/tickets/")).await.json();
        assert_eq!(listed, json!(tickets));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_batch_replays_the_rows_that_were_made_and_makes_the_others() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let row = |subject: &str| json!({"customerID": customer, "subject": subject});
        let key = format!("batch of {customer}");
        let post = async |rows: Value| {
            let request = api.request(Method::POST, "/tickets/").header("Idempotency-Key", &key).json(&rows);
            let answer = support::answer(request).await;
            assert_eq!(answer.status, 207, "{answer:?}");
            answer.json()
        };
        let first = post(json!([row("a"), row(""), row("c")])).await;
        assert_eq!((&first[0]["status"], &first[1]["status"]), (&json!(201), &json!(422)));
        // The same rows again, one of them mended, one changed, and one more.
        let second = post(json!([row("a"), row("b"), row("another"), row("d")])).await;
        assert_eq!(second[0], first[0], "replayed");
        assert_eq!(second[2]["problem"]["type"], "urn:tickets:problem:idempotency-key-reused");
        assert_eq!((&second[1]["status"], &second[3]["status"]), (&json!(201), &json!(201)));
        assert_eq!(post(json!([row("a"), row("b"), row("c"), row("d")])).await[2], first[2]);
        let listed = api.get(&format!("/customers/{customer}/tickets/")).await.json();
        let mut subjects: Vec<_> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|ticket| ticket["subject"].as_str().unwrap().to_owned())
            .collect();
        subjects.sort();
        assert_eq!(subjects, ["a", "b", "c", "d"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_an_array_of_1_to_100_tickets() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let rows = |count: usize| Value::from(vec![json!({"customerID": customer, "subject": "s"}); count]);
        for (count, part) in [(0, "it is empty"), (101, "it has more; send them in parts")] {
            let answer = api.post(&rows(count)).await;
            assert_eq!(answer.status, 400);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("an array of 1 to 100 tickets") && detail.contains(part), "{detail}");
        }
        let answer = api.post(&rows(100)).await.json();
        assert!(answer.as_array().unwrap().iter().all(|row| row["status"] == 201));
        let listed = api.get(&format!("/customers/{customer}/tickets/")).await.json();
        assert_eq!(listed.as_array().unwrap().len(), 100, "nothing of what was refused was made");
        // A key restricted to a customer makes that customer's rows and no others.
        let restricted = api.make_key(|key| key.customer = Some(customer)).await;
        let rows = json!([
            {"customerID": customer, "subject": "s"},
            {"customerID": fresh_customer(), "subject": "s"},
        ]);
        let request = api.anonymous(Method::POST, "/tickets/").bearer_auth(restricted).json(&rows);
        let answer = support::answer(request).await.json();
        assert_eq!((&answer[0]["status"], &answer[1]["status"]), (&json!(201), &json!(403)));
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
        ("2026-01-31T10:20:30.456789+0200", "2026-01-31T08:20:30.456Z"),
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

/// The names and values of a reference's query.
fn pairs(reference: &str) -> BTreeSet<(String, String)> {
    let (_, query) = reference.split_once('?').expect("a query");
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
async fn a_link_is_the_same_path_and_query_after_the_last_id() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        for slash in ["", "/"] {
            let path = format!("/customers/{customer}/tickets{slash}");
            let bare = api.get(&format!("{path}?limit=2")).await;
            let second = tickets[1]["id"].as_str().unwrap();
            let next = bare.next().unwrap();
            assert!(next.starts_with(&format!("{path}?")), "{next}");
            assert_eq!(pairs(&next), owned([("limit", "2"), ("idAfter", second)]));

            let asked = owned([
                ("limit", "1"),
                ("includeDeleted", "true"),
                ("createdSince", "2020-01-01T00:00:00.000Z"),
                ("updatedSince", "2020-01-02T00:00:00.000Z"),
                ("updatedUntil", "2099-01-03T00:00:00.000Z"),
            ]);
            let query: Vec<_> = asked.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (mut asked_for, mut walked) = (format!("{path}?{}&idAfter=0", query.join("&")), Vec::new());
            loop {
                let page = api.get(&asked_for).await;
                assert_eq!(page.ids().len(), 1);
                walked.extend(page.ids());
                let Some(next) = page.next() else { break };
                let mut expected = asked.clone();
                expected.insert(("idAfter".into(), walked.last().unwrap().to_string()));
                assert_eq!(pairs(&next), expected);
                asked_for = next;
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
                let send = async |tag: &str| {
                    let request = api.request(method.clone(), &path).header(IF_MATCH, tag);
                    answer(request.json(&json!({"owner": "ada"}))).await
                };
                for tag in ["\"2\"", "W/\"1\"", "\"01\"", "\"\"", "\"x\", \"3\""] {
                    assert_problem(&send(tag).await, 412, &[]);
                }
                // To read the ticket again would not help: the header itself is wrong, and the answer says so.
                for malformed in MALFORMED_TAGS {
                    let refused = send(malformed).await;
                    assert_problem(&refused, 400, &["If-Match"]);
                    assert!(refused.text.contains("quotes"), "{}", refused.text);
                }
            }
            let after = api.get(&path).await;
            assert_eq!((after.header("etag"), after.json()), (before.header("etag"), before.json()));
            for tag in ["\"1\"", "W/\"1\"", "*", "\"7\", \"1\""] {
                let unchanged = answer(api.request(Method::GET, &path).header(IF_NONE_MATCH, tag)).await;
                assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""), "{tag}");
            }
            for malformed in MALFORMED_TAGS {
                let refused = answer(api.request(Method::GET, &path).header(IF_NONE_MATCH, malformed)).await;
                assert_problem(&refused, 400, &["If-None-Match"]);
            }
        }
    }
}

/// What is no entity tag: the version alone, with half of its quotes, with other ones; nothing; two without a
/// comma.
const MALFORMED_TAGS: [&str; 6] = ["1", "\"1", "1\"", "'1'", "", "\"1\" \"1\""];

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_has_the_presets_in_order_the_defaults_and_the_limits() {
    for api in Api::each().await {
        for slash in ["", "/"] {
            let configuration = api.get(&format!("/ticket-configuration{slash}")).await;
            assert_eq!(
                (configuration.status, configuration.header("content-type")),
                (200, "application/json")
            );
            let expected = json!({
                "presets": {
                    "ticketType": ["sales", "billing", "support"],
                    "status": ["open", "assigned", "resolved", "closed"],
                    "ticketPriority": ["low", "normal", "high", "urgent"],
                    "owner": [],
                },
                "closedStatuses": ["resolved", "closed"],
                "defaults": {"status": "open", "ticketPriority": "normal"},
                "limits": {
                    "bodyBytes": 2_097_152,
                    "replyBytes": 6_291_556,
                    "listTickets": 1000,
                    "batchTickets": 100,
                    "problemErrors": 50,
                    "highestId": 9_007_199_254_740_991_u64,
                    "subjectCharacters": 500,
                    "ticketContentBytes": 262_144,
                    "customerEmailCharacters": 254,
                    "usersBytes": 4096,
                    "departmentsBytes": 4096,
                    "ticketSuppliersBytes": 4096,
                    "ownerBytes": 4096,
                    "idempotencyKeyCharacters": 255,
                    "idempotencyHours": 24,
                    "settleSeconds": 10,
                    "tombstoneDays": 90,
                },
            });
            assert_eq!(configuration.json(), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_the_deployment_s_and_what_it_says_holds() {
    let environment = vec![
        ("TICKET_TYPES", "Störung, Frage".to_owned()),
        ("TICKET_STATUSES", "Neu, In Arbeit, Fertig".to_owned()),
        ("CLOSED_STATUSES", "Fertig, Archiviert".to_owned()),
        ("TICKET_PRIORITIES", "p2, p1".to_owned()),
        ("TICKET_OWNERS", "ada, grace".to_owned()),
        ("SETTLE_SECONDS", "30".to_owned()),
        ("TOMBSTONE_DAYS", "7".to_owned()),
    ];
    let api = Api::start_with(Options { environment, ..Options::default() }).await;
    let configuration = api.get("/ticket-configuration/").await.json();
    assert_eq!(
        configuration["presets"],
        json!({
            "ticketType": ["Störung", "Frage"],
            "status": ["Neu", "In Arbeit", "Fertig"],
            "ticketPriority": ["p2", "p1"],
            "owner": ["ada", "grace"],
        })
    );
    assert_eq!(configuration["closedStatuses"], json!(["Fertig", "Archiviert"]));
    let limits = &configuration["limits"];
    assert_eq!((&limits["settleSeconds"], &limits["tombstoneDays"]), (&json!(30), &json!(7)));
    // What is said of a new ticket is what one gets.
    let created = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
    for (field, value) in configuration["defaults"].as_object().unwrap() {
        assert_eq!(&created[field], value, "{field}");
    }
    // Texts at their limits are taken, and one past them is not.
    for (field, limit) in [
        ("subject", "subjectCharacters"),
        ("ticketContent", "ticketContentBytes"),
        ("users", "usersBytes"),
        ("departments", "departmentsBytes"),
        ("ticketSuppliers", "ticketSuppliersBytes"),
    ] {
        let limit = usize::try_from(limits[limit].as_u64().unwrap()).unwrap();
        for (length, status) in [(limit, 201), (limit + 1, 422)] {
            let mut body = json!({"customerID": 7, "subject": "s"});
            body[field] = json!("x".repeat(length));
            assert_eq!(api.post(&body).await.status, status, "{field} of {length}");
        }
    }
    let most = limits["listTickets"].as_u64().unwrap();
    assert_eq!(api.get(&format!("/tickets/?limit={most}")).await.status, 200);
    assert_problem(&api.get(&format!("/tickets/?limit={}", most + 1)).await, 400, &["limit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_refused_with_what_would_do() {
    let body = json!({"customerID": 42, "subject": "Help"}).to_string();
    let (mut gzip, mut deflate) = (Vec::new(), Vec::new());
    GzEncoder::new(body.as_bytes(), Compression::default()).read_to_end(&mut gzip).unwrap();
    ZlibEncoder::new(body.as_bytes(), Compression::default()).read_to_end(&mut deflate).unwrap();
    // Not `Api::each`: `cargo lambda watch` passes on no body that is not text.
    for payload in [Payload::Rest, Payload::Http] {
        let api = Api::start_with(Options { payload, ..Options::default() }).await;
        let (id, _) = ticket(&api).await;
        let send = async |method: &Method, path: &str, coding: &str, body: Vec<u8>| {
            let request = api.request(method.clone(), path).header(CONTENT_TYPE, "application/json");
            answer(request.header(CONTENT_ENCODING, coding).body(body)).await
        };
        let ticket = format!("/tickets/{id}");
        for (method, path) in [(Method::POST, "/tickets/"), (Method::PUT, &ticket), (Method::PATCH, &ticket)]
        {
            for (coding, bytes) in [
                ("gzip", gzip.clone()),
                ("x-gzip", gzip.clone()),
                ("deflate", deflate.clone()),
                ("identity, br", b"\x8b\x12\x80{}\x03".to_vec()),
            ] {
                let refused = send(&method, path, coding, bytes).await;
                assert_problem(&refused, 415, &[]);
                assert_eq!(refused.header("accept-encoding"), "identity", "{method} {coding}");
                assert!(refused.text.contains("Content-Encoding"), "{}", refused.text);
            }
            // Named but not applied: as it is behind a gateway that decompresses what it passes on.
            for coding in ["identity", "Identity", "", "gzip"] {
                let taken = send(&method, path, coding, body.clone().into_bytes()).await;
                assert!(matches!(taken.status, 200 | 201), "{method} {coding:?}: {taken:?}");
            }
        }
        let other = answer(api.request(Method::POST, "/tickets").body("{}")).await;
        assert_eq!((other.status, other.header("accept-encoding")), (415, ""), "not because of a coding");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_like_get_without_the_body() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let tag = api.get(&format!("/tickets/{}", id(&tickets[0]))).await.header("etag").to_owned();
        for slash in ["", "/"] {
            let ticket = format!("/tickets/{}{slash}", id(&tickets[0]));
            let list = format!("/customers/{customer}/tickets{slash}");
            for (path, none_match) in [
                (ticket.clone(), "\"9\""),
                (ticket, &*tag),
                (format!("{list}?limit=1"), ""),
                (list, ""),
                (format!("/tickets{slash}?limit=1"), ""),
                (format!("/tickets{slash}?limit=0"), ""),
                (format!("/tickets/x{slash}"), ""),
                ("/tickets/9007199254740991".to_owned(), ""),
            ] {
                let send = async |method: Method| {
                    let request = api.request(method, &path);
                    let named = (!none_match.is_empty()).then_some(none_match);
                    answer(named.into_iter().fold(request, |request, tag| request.header(IF_NONE_MATCH, tag)))
                        .await
                };
                let (get, head) = (send(Method::GET).await, send(Method::HEAD).await);
                assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
                let headers = |answer: &Answer| {
                    let mut headers = answer.headers.clone();
                    // They differ from request to request.
                    for name in ["x-request-id", "x-amzn-requestid", "x-amz-request-id", "date", "sync-until"]
                    {
                        headers.remove(name);
                    }
                    // A 304 has none, but a server may add that of no body.
                    let length = headers.remove(CONTENT_LENGTH);
                    (headers, length.filter(|_| answer.status != 304))
                };
                assert_eq!(headers(&head), headers(&get), "{path}");
            }
        }
        let unknown = answer(api.anonymous(Method::HEAD, "/tickets/")).await;
        assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, "Bearer"));
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
    let presets = Presets::parse(&PresetLists::default()).unwrap();
    let sample = |body: Value| {
        let form = Form::parse(body.to_string().as_bytes()).unwrap();
        SeedTicket { fields: TicketFields::draft(form, &presets).unwrap(), created: at, updated: at }
    };
    let (tickets, mut chunk, mut bytes) = (api.tickets().await, Vec::new(), 0);
    for body in bodies {
        let size = body.to_string().len();
        // One chunk is a transaction, which takes no more than so many and so much.
        if chunk.len() == MAX_CHUNK || bytes + size > 3_000_000 {
            tickets.append(&"seed".parse().unwrap(), &std::mem::take(&mut chunk)).await.unwrap();
            bytes = 0;
        }
        bytes += size;
        chunk.push(sample(body));
    }
    tickets.append(&"seed".parse().unwrap(), &chunk).await.unwrap();
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
    let mut config = Config::from_lookup(lookup).unwrap();
    (config.tickets_table, config.api_keys_table) = api.tables.clone();
    let app = App::open(config, api.database.clone(), Clock::system());
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
                page = api.get(&next).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_moves_leaves_a_departure_in_the_customer_s_list_alone() {
    for api in Api::each().await {
        let (old, new) = (fresh_customer(), fresh_customer());
        let id = api.create(&json!({"customerID": old.get(), "subject": "moves"})).await;
        let moved = api.patch(&format!("/tickets/{id}"), &json!({"customerID": new.get()})).await.json();
        let left = api.get(&format!("/customers/{old}/tickets/?includeDeleted=true")).await.json();
        let departure = json!([{
            "id": id.to_string(), "customerID": old.get(), "createdDate": moved["createdDate"],
            "updatedDate": moved["updatedDate"], "movedDate": moved["updatedDate"],
        }]);
        assert_eq!(left, departure);
        assert_eq!(api.get(&format!("/customers/{old}/tickets/")).await.json(), json!([]));
        let of_new = format!("/customers/{new}/tickets/?includeDeleted=true");
        assert_eq!(api.get(&of_new).await.json(), json!([moved]));
        let since = moved["updatedDate"].as_str().unwrap();
        let all = format!("/tickets/?includeDeleted=true&idAfter={}&updatedSince={since}&limit=1", id - 1);
        assert_eq!(api.get(&all).await.json(), json!([moved]), "in the list of all it is still there");

        // It comes back, and has not left.
        let back = api.patch(&format!("/tickets/{id}"), &json!({"customerID": old.get()})).await.json();
        let list = api.get(&format!("/customers/{old}/tickets/?includeDeleted=true")).await.json();
        assert_eq!(list, json!([back]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_says_which_history_of_the_table_it_is_from() {
    for api in Api::each().await {
        let id = api.create(&json!({"customerID": 7, "subject": "s"})).await;
        let epoch = api.get(&format!("/tickets/?idAfter={}", id - 1)).await.header("sync-epoch").to_owned();
        assert!(epoch.len() == 16 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit()), "{epoch}");
        for list in [
            "/tickets/?updatedSince=2999-01-01",
            "/customers/7/tickets/?limit=1",
            "/customers/7/tickets/?updatedSince=2999-01-01",
            "/customers/8/tickets/?limit=1",
        ] {
            assert_eq!(api.get(list).await.header("sync-epoch"), epoch, "{list}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_is_a_hint_and_one_that_is_not_understood_is_none() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(api.create(&json!({"customerID": customer.get(), "subject": n.to_string()})).await);
        }
        let after = ids[0] - 1;
        for continuation in ["w", "x", "", "i", "iAA", "iAQEB", "%C3%A9"] {
            let list = format!("updatedSince=2020-01-01&idAfter={after}&limit=3&continuation={continuation}");
            assert_eq!(api.get(&format!("/tickets/?{list}")).await.ids()[0], ids[0], "{continuation}");
            let own = api.get(&format!("/customers/{customer}/tickets/?{list}")).await;
            assert_eq!(own.ids(), ids, "{continuation}");
        }
    }
}

/// What an answer to a refused request may have at most.
const MOST_ANSWERED: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn however_much_is_wrong_the_answer_is_short_and_says_how_much_more() {
    for api in Api::each().await {
        let members = |names: &mut dyn Iterator<Item = String>| {
            format!("{{{}}}", names.map(|name| format!("\"{name}\":1")).collect::<Vec<_>>().join(","))
        };
        let unknown = members(&mut (0..150_000).map(|n| format!("a{n}")));
        let long = members(&mut (0..2000).map(|n| format!("{n:0>1000}")));
        let escaped = members(&mut (0..300).map(|n| format!("{}{n}", "\\u0001".repeat(900))));
        let twice = members(&mut (0..160_000).map(|n| format!("b{}", n / 2)));
        for (body, status) in [
            (unknown, 422),
            (long, 422),
            (escaped, 422),
            (twice, 422),
            (format!("\"{}\"", "x".repeat(2_000_000)), 400),
            (format!("[{}", "[".repeat(1_000_000)), 400),
        ] {
            let request = api.request(Method::POST, "/tickets/").header("content-type", "application/json");
            let refused = answer(request.body(body)).await;
            assert_eq!(refused.status, status, "{}", &refused.text[..refused.text.len().min(300)]);
            assert!(refused.text.len() <= MOST_ANSWERED, "{} bytes", refused.text.len());
            if status == 422 {
                let problem = refused.json();
                assert_eq!(problem["errors"].as_array().unwrap().len(), 50);
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains("; the first 50 are listed, "), "{detail}");
            }
        }
        let query = (0..300).map(|n| format!("p{n}=x")).collect::<Vec<_>>().join("&");
        let refused = api.get(&format!("/tickets/?{query}")).await;
        assert_eq!((refused.status, refused.fields().len()), (400, 50));
        assert!(refused.json()["detail"].as_str().unwrap().ends_with("250 more are not"));
    }
}
