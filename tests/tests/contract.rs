//! The contract, rule by rule, through the front door: in-process with events of both formats, or
//! against an API that runs elsewhere (see `Api::each`), which other tests may use meanwhile.

use futures::future::join_all;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};
use support::{Answer, Api, answer, fresh_customer};

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
        let settled = api.get("/tickets/?settled=true&limit=1&updatedSince=2026-01-01").await;
        if let Some(next) = settled.next() {
            assert!(next.contains("settled=true") && next.contains("updatedUntil="), "{next}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_tickets_ends_before_it_is_too_large() {
    for api in Api::each().await {
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
