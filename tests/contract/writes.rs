//! Creates, updates, deletions and batches: their preconditions, and repeats without a second effect.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder as GetItem;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};
use support::{Answer, Api, Options, answer, fresh_customer};
use tickets_cli::server::gateway::Payload;
use tickets_http::route::BASE_PATH;

use super::{assert_problem, id, on_a_clock, presets, redeployed, ticket};

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
            assert_eq!(created.version(), 1);
            assert_eq!(created.header("location"), format!("/backend/api/v1/tickets/{id}"));

            let path = format!("/tickets/{id}{slash}");
            let read = api.get(&path).await;
            assert_eq!((read.status, read.json()), (200, ticket.clone()));
            assert_eq!(read.header("etag"), created.header("etag"));

            for (method, status) in [(Method::PUT, "assigned"), (Method::PATCH, "resolved")] {
                let updated = answer(api.request(method, &path).json(&json!({"status": status}))).await;
                assert_eq!(updated.status, 200, "{updated:?}");
                assert_eq!(updated.json()["status"], status);
                assert_eq!(updated.json()["subject"], "Help", "fields not given stay");
                assert_eq!(updated.json()["createdDate"], ticket["createdDate"]);
            }
            assert_eq!(api.get(&path).await.version(), 3);

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
async fn a_version_guards_against_overwriting() {
    for api in Api::each().await {
        let created = api.post(&json!({"customerID": fresh_customer(), "subject": "Help"})).await;
        let (path, first) = (format!("/tickets/{}", id(&created.json())), created.header("etag"));
        let patch = |tag: &str, owner: &str| {
            answer(api.request(Method::PATCH, &path).header(IF_MATCH, tag).json(&json!({"owner": owner})))
        };
        let delete = |tag: &str| answer(api.request(Method::DELETE, &path).header(IF_MATCH, tag));
        let changed = patch(first, "ada").await;
        let second = changed.header("etag");
        assert_eq!((changed.status, changed.version()), (200, 2));
        for stale in [patch(first, "grace").await, delete(first).await] {
            assert_problem(&stale, 412, &[]);
            assert_eq!(stale.json()["type"], "urn:tickets:problem:version-mismatch");
        }
        assert_eq!(patch(&format!("{first}, {second}"), "grace").await.status, 200);
        let last = patch("*", "linus").await;

        let get = |name: HeaderName, tag: &str| answer(api.request(Method::GET, &path).header(name, tag));
        let unchanged = get(IF_NONE_MATCH, last.header("etag")).await;
        assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));
        assert_eq!(unchanged.header("etag"), last.header("etag"));
        assert_eq!(get(IF_NONE_MATCH, second).await.status, 200);
        assert_problem(&get(IF_MATCH, second).await, 412, &[]);
        assert_eq!(get(IF_MATCH, last.header("etag")).await.status, 200);
        assert_eq!(delete(last.header("etag")).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_of_one_write_and_says_nothing_of_the_key() {
    for api in Api::each().await {
        let mut tags = BTreeSet::new();
        for _ in 0..20 {
            let created = api.post(&json!({"customerID": fresh_customer(), "subject": "s"})).await;
            let path = format!("/tickets/{}", id(&created.json()));
            let changed = api.patch(&path, &json!({"owner": "ada"})).await;
            for (version, answer) in [(1, created), (2, changed)] {
                let tag = answer.header("etag").to_owned();
                assert_eq!((answer.version(), tag.len()), (version, "\"1-0c5fe1a2\"".len()), "{tag}");
                let key = api.key.split('_').nth(1).unwrap();
                assert!(!tag.contains(key), "{tag} has {key}");
                assert!(tags.insert(tag), "it comes twice");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_has_is_not_changed_nor_deleted_if_it_says_so() {
    for api in Api::each().await {
        let created = api.post(&json!({"customerID": fresh_customer(), "subject": "Help"})).await;
        let tag = created.header("etag");
        for slash in ["", "/"] {
            let path = format!("/tickets/{}{slash}", id(&created.json()));
            for method in [Method::PUT, Method::PATCH, Method::DELETE] {
                let send = async |tag: &str| {
                    let request = api.request(method.clone(), &path).header(IF_NONE_MATCH, tag);
                    answer(request.json(&json!({"owner": "ada"}))).await
                };
                for holds in [tag, &format!("W/{tag}"), "*", &format!("\"x\", {tag}")] {
                    let refused = send(holds).await;
                    assert_problem(&refused, 412, &[]);
                    assert_eq!(
                        refused.json()["type"],
                        "urn:tickets:problem:version-excluded",
                        "{method} {holds}"
                    );
                }
                for malformed in MALFORMED_TAGS {
                    assert_problem(&send(malformed).await, 400, &["If-None-Match"]);
                }
            }
            assert_eq!(api.get(&path).await.header("etag"), tag, "nothing was written");
        }
        let path = format!("/tickets/{}", id(&created.json()));
        let request = api.request(Method::PATCH, &path).header(IF_NONE_MATCH, "\"1-00000000\"");
        assert_eq!(answer(request.json(&json!({"owner": "ada"}))).await.version(), 2);
        // A create changes no ticket that is there, so nothing is asked of one.
        for (name, tag) in [(IF_NONE_MATCH, "*"), (IF_MATCH, tag)] {
            let body = json!({"customerID": fresh_customer(), "subject": "s"});
            let request = api.request(Method::POST, "/tickets/").header(name, tag);
            assert_eq!(answer(request.json(&body)).await.status, 201);
        }
        let none =
            answer(api.request(Method::DELETE, "/tickets/9007199254740991").header(IF_NONE_MATCH, "*"));
        assert_problem(&none.await, 404, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_a_proxy_has_changed_is_told_from_a_ticket_that_has_changed() {
    for api in Api::each().await {
        let created = api.post(&json!({"customerID": fresh_customer(), "subject": "Help"})).await;
        let (path, tag) = (format!("/tickets/{}", id(&created.json())), created.header("etag"));
        let inner = tag.trim_matches('"');
        let send = async |tag: &str| {
            let request = api.request(Method::PUT, &path).header(IF_MATCH, tag);
            let refused = answer(request.json(&json!({"owner": "ada"}))).await;
            assert_problem(&refused, 412, &[]);
            assert_eq!(refused.json()["type"], "urn:tickets:problem:unusable-tag", "{tag}");
            refused.json()["detail"].as_str().unwrap().to_owned()
        };
        for (changed, fault) in [
            (format!("W/{tag}"), "a weak tag"),
            (format!("W/\"{inner}-gzip\""), "a weak tag"),
            (format!("\"{inner}-gzip\""), "no tag of this API"),
            (format!("\"{inner};gzip\""), "no tag of this API"),
            (format!("\"{inner}--gzip\""), "no tag of this API"),
        ] {
            let detail = send(&changed).await;
            assert!(detail.contains(fault) && detail.contains(&format!("send {tag}")), "{detail}");
        }
        // Tags as earlier releases and other services have them.
        for (other, fault) in [
            ("\"1\"", "no tag"),
            ("W/\"1\"", "a weak tag"),
            ("\"1-gzip\"", "no tag"),
            ("\"1;gzip\"", "no tag"),
        ] {
            let detail = send(other).await;
            assert!(detail.contains(fault) && detail.contains("send what ETag says"), "{detail}");
        }
        assert_eq!(api.get(&path).await.header("etag"), tag, "nothing was written");
    }
}

/// The headers that a 304 has in common with the 200 (RFC 9110, section 15.4.5).
const OF_A_304: [&str; 5] = ["cache-control", "content-location", "etag", "expires", "vary"];

#[tokio::test(flavor = "multi_thread")]
async fn a_304_says_to_caches_what_the_200_says() {
    let environment = vec![("CORS_ORIGINS", "https://app.example".to_owned())];
    let (api, _) = on_a_clock(Payload::Rest, "2026-03-01T12:00:00Z", environment).await;
    api.create(&json!({"customerID": 7, "subject": "s"})).await;
    for method in [Method::GET, Method::HEAD] {
        let get = async |tag: &str| {
            let request = api.request(method.clone(), "/tickets/1").header("origin", "https://app.example");
            answer(request.header(IF_NONE_MATCH, tag)).await
        };
        let (fresh, known) = (get("\"x\"").await, get("*").await);
        assert_eq!((fresh.status, known.status), (200, 304));
        for name in OF_A_304 {
            assert_eq!(known.header(name), fresh.header(name), "{name}");
        }
        assert_eq!((known.header("cache-control"), known.header("vary")), ("private, no-cache", "Origin"));
        assert_eq!(known.header("content-type"), "", "there is no content");
    }
}

/// A deployment goes back to an earlier state of its table, and others write the same versions again.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_from_before_a_restore_holds_for_nothing_after_it() {
    let (api, _) = on_a_clock(Payload::Rest, "2026-03-01T12:00:00Z", Vec::new()).await;
    let created = api.post(&json!({"customerID": 7, "subject": "s"})).await;
    let table = aws_sdk_dynamodb::Client::new(&api.database);
    let key = |get: GetItem| {
        get.table_name(&api.tables.0)
            .key("bucket", AttributeValue::S("0#1".into()))
            .key("id", AttributeValue::N("1".into()))
    };
    let backup = key(table.get_item()).send().await.unwrap().item;
    let lost = api.patch("/tickets/1", &json!({"owner": "ada"})).await;
    table.put_item().table_name(&api.tables.0).set_item(backup).send().await.unwrap();
    assert_eq!(api.get("/tickets/1").await.header("etag"), created.header("etag"), "the backup has its tag");

    let other = api.patch("/tickets/1", &json!({"owner": "grace"})).await;
    assert_eq!((other.version(), lost.version()), (2, 2));
    let old = lost.header("etag");
    let get = answer(api.request(Method::GET, "/tickets/1").header(IF_NONE_MATCH, old)).await;
    assert_eq!((get.status, get.json()["owner"].as_str()), (200, Some("grace")));
    let put = api.request(Method::PUT, "/tickets/1").header(IF_MATCH, old).json(&json!({"owner": "ada"}));
    assert_problem(&answer(put).await, 412, &[]);
    assert_problem(&answer(api.request(Method::DELETE, "/tickets/1").header(IF_MATCH, old)).await, 412, &[]);
    assert_eq!(api.get("/tickets/1").await.header("etag"), other.header("etag"));
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
        // Ids are consecutive, and each row is the ticket as a GET returns it.
        let tickets = [0, 3, 5].map(|at| &rows[at]["ticket"]);
        let first: u64 = id(tickets[0]);
        assert_eq!(tickets.map(id), [first, first + 1, first + 2]);
        for ticket in tickets {
            let fetched = api.get(&format!("/tickets/{}", id(ticket))).await;
            assert_eq!((&fetched.json(), fetched.version()), (ticket, 1));
        }
        for (row, ticket) in [0, 3, 5].into_iter().zip(tickets) {
            let fetched = api.get(&format!("/tickets/{}", id(ticket))).await;
            assert_eq!(rows[row]["etag"], fetched.header("etag"), "it can be sent as If-Match");
        }
        assert!([1, 2, 4].iter().all(|row| rows[*row].get("etag").is_none()));
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
        // The same rows again: one corrected, one changed, and one added.
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
        // A key restricted to a customer can create only that customer's rows.
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
async fn a_refused_precondition_changes_nothing() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        for slash in ["", "/"] {
            let path = format!("/tickets/{id}{slash}");
            let before = api.get(&path).await;
            let tag = before.header("etag");
            for method in [Method::PUT, Method::PATCH, Method::DELETE] {
                let send = async |tag: &str| {
                    let request = api.request(method.clone(), &path).header(IF_MATCH, tag);
                    answer(request.json(&json!({"owner": "ada"}))).await
                };
                let other = if tag.ends_with("0\"") { "\"1-00000001\"" } else { "\"1-00000000\"" };
                for tag in [other, "\"2-00000000\"", "\"01\"", "\"\"", "\"x\", \"3-00000000\""] {
                    assert_problem(&send(tag).await, 412, &[]);
                }
                // Reading the ticket again would not help: the header itself is wrong, and the answer says
                // so.
                for malformed in MALFORMED_TAGS {
                    let refused = send(malformed).await;
                    assert_problem(&refused, 400, &["If-Match"]);
                    assert!(refused.text.contains("quotes"), "{}", refused.text);
                }
            }
            let after = api.get(&path).await;
            assert_eq!((after.header("etag"), after.json()), (before.header("etag"), before.json()));
            for tag in [tag, &format!("W/{tag}"), "*", &format!("\"7\", {tag}")] {
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

/// Malformed entity tags: a tag without quotes, with one quote, or with single quotes; an empty header; two tags
/// without a comma.
const MALFORMED_TAGS: [&str; 6] = ["1-0c5fe1a2", "\"1", "1\"", "'1'", "", "\"1\" \"1\""];

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
                // The first request is still running, so the client is told to retry.
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

        // The body's content counts, not its formatting, nor what happened to the ticket since.
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
    assert_eq!((same.json(), same.version()), (second, 3), "an update of nothing is none");
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

/// What a repeated create answers after a deployment has changed the presets.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_create_gets_the_first_answer_whatever_is_configured_by_then() {
    for payload in [Payload::Rest, Payload::Http] {
        let first = presets("Bug, Wish", "New, Done", "P1, P2", "Ada, Grace");
        let mut api =
            Api::start_with(Options { payload, environment: first.clone(), ..Options::default() }).await;
        let bodies = [
            json!({"customerID": 7, "subject": "defaults"}),
            json!({"customerID": 7, "subject": "spelled", "status": "DONE", "ticketType": "bug", "owner": "ada"}),
            json!({"customerID": 7, "subject": "as configured", "ticketPriority": "P2", "owner": "Grace"}),
            json!({"customerID": 7, "subject": "refused", "status": "todo"}),
        ];
        let post = async |api: &Api, key: &str, body: &Value| {
            answer(api.request(Method::POST, "/tickets/").header("Idempotency-Key", key).json(body)).await
        };
        let send = async |api: &Api| {
            let mut answers = Vec::new();
            for (row, body) in bodies.iter().enumerate() {
                answers.push(post(api, &format!("key {row}"), body).await);
            }
            (answers, post(api, "batch", &json!(bodies)).await.json())
        };
        let (answers, batch) = send(&api).await;
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201, 201, 422]);
        assert_eq!(batch[3]["status"], 422);
        // The tickets are changed meanwhile. A replay is the first answer all the same.
        api.patch("/tickets/1", &json!({"status": "Done"})).await;
        api.delete("/tickets/2").await;

        let original = api.base.clone();
        for later in [
            presets("task", "todo, other", "low, Normal", "linus"),
            presets("BUG", "done, NEW, todo", "p2, P1", "ADA, GRACE"),
            presets("task", "todo", "low", ""),
            first,
        ] {
            api.base = redeployed(&api, payload, later).await;
            let (repeated, rows) = send(&api).await;
            for (repeat, first) in repeated.iter().zip(&answers[..3]) {
                assert_eq!(
                    (repeat.status, repeat.header("idempotency-replayed")),
                    (201, "true"),
                    "{repeat:?}"
                );
                assert_eq!((&repeat.text, repeat.header("etag")), (&first.text, first.header("etag")));
                assert_eq!(repeat.header("location"), first.header("location"));
            }
            for row in 0..3 {
                assert_eq!(rows[row], batch[row]);
            }
            // What was refused at first is created when it has become valid, and replayed from then on.
            assert_eq!((repeated[3].status, &rows[3]["status"]), (201, &json!(201)));
        }
        api.base = original;
        let list = api.get("/tickets/?includeDeleted=true").await;
        assert_eq!(list.ids(), (1..=8).collect::<Vec<_>>(), "three and three, and two that became valid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_for_a_body_that_was_never_valid() {
    for payload in [Payload::Rest, Payload::Http] {
        let (api, _) = on_a_clock(payload, "2026-03-01T12:00:00Z", Vec::new()).await;
        let good = json!({"customerID": 7, "subject": "s"});
        let bad = [
            json!({"customerID": 7, "subject": "s", "status": "unheard of"}),
            json!({"customerID": 7, "subject": "", "status": "open"}),
            json!({"customerID": 7, "subject": "s", "createdDate": "2026-01-01"}),
            json!({"customerID": 7, "subject": "s", "stauts": "open"}),
        ];
        let post = async |key: &str, body: &Value| {
            answer(api.request(Method::POST, "/tickets/").header("Idempotency-Key", key).json(body)).await
        };
        for repeat in 0..3 {
            for (row, bad) in bad.iter().enumerate() {
                assert_eq!(post(&format!("key {row}"), bad).await.status, 422, "{repeat} {bad}");
            }
            let rows = post("batch", &json!(bad)).await.json();
            assert!(rows.as_array().unwrap().iter().all(|row| row["status"] == 422), "{rows}");
        }
        // No id was reserved, and no key is taken: the corrected requests get the first ids.
        for (row, _) in bad.iter().enumerate() {
            assert_eq!(post(&format!("key {row}"), &good).await.json()["id"], (row + 1).to_string());
        }
        let rows = post("batch", &json!([good, good, good, good])).await.json();
        assert_eq!(rows[3]["ticket"]["id"], "8", "{rows}");
    }
}
