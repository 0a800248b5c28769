//! Batches of changes: each row is what a `PATCH` of its own would be.

use reqwest::Method;
use reqwest::header::{IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};
use support::{Answer, Api, answer, fresh_customer};

use super::{assert_problem, id};

async fn patch(api: &Api, rows: &Value) -> Answer {
    answer(api.request(Method::PATCH, "/tickets/").json(rows)).await
}

fn statuses(rows: &Value) -> Vec<u64> {
    rows.as_array().unwrap().iter().map(|row| row["status"].as_u64().unwrap()).collect()
}

/// The row of a batch that makes this change of a ticket.
fn row(ticket: u64, change: &Value) -> Value {
    let mut row = change.clone();
    row["id"] = ticket.to_string().into();
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_a_batch_is_answered_as_a_patch_of_its_own() {
    for api in Api::each().await {
        let (customer, elsewhere) = (fresh_customer().get(), fresh_customer().get());
        let fields = json!({"customerID": customer, "subject": "Help", "owner": "ada", "status": "assigned"});
        let changes = json!([
            {"status": "Closed"},
            {"owner": null, "ticketFollowupDate": "2026-12-01", "ticketContent": "more"},
            {"owner": "ada"},
            {},
            {"customerID": elsewhere},
            {"createdDate": "x", "updatedDate": 7, "subject": "sent back"},
            {"status": "done", "stauts": "open", "subject": "", "customerID": "7", "owner": "two\nlines"},
            {"subject": null},
            {"ticketContent": "c\u{0}"},
        ]);
        let changes = changes.as_array().unwrap();
        let (mut alone, mut rows) = (Vec::new(), Vec::new());
        for change in changes {
            let (single, of_batch) = (api.create(&fields).await, api.create(&fields).await);
            alone.push(api.patch(&format!("/tickets/{single}"), change).await);
            rows.push(row(of_batch, change));
        }
        let answer = patch(&api, &json!(rows)).await;
        assert_eq!((answer.status, answer.header("content-type")), (207, "application/json"), "{answer:?}");
        let results = answer.json();
        assert_eq!(statuses(&results), [200, 200, 200, 200, 200, 200, 422, 422, 422]);
        for ((alone, row), result) in alone.iter().zip(&rows).zip(results.as_array().unwrap()) {
            assert_eq!(result["status"], alone.status, "{row}");
            if alone.status != 200 {
                assert_eq!(result["problem"], alone.json(), "{row}");
                assert!(result.get("ticket").is_none() && result.get("etag").is_none(), "{result}");
                continue;
            }
            let (mut expected, mut ticket) = (alone.json(), result["ticket"].clone());
            assert_eq!(ticket["id"], row["id"]);
            for own in ["id", "createdDate", "updatedDate"] {
                (expected[own], ticket[own]) = (Value::Null, Value::Null);
            }
            assert_eq!(ticket, expected);
            let fetched = api.get(&format!("/tickets/{}", id(row))).await;
            assert_eq!(
                (fetched.json(), fetched.header("etag")),
                (result["ticket"].clone(), result["etag"].as_str().unwrap())
            );
            assert_eq!(fetched.version(), support::version(alone.header("etag")), "as many versions");
        }
        // The move left a departure, as a move alone does.
        let left = api.get(&format!("/customers/{customer}/tickets/?includeDeleted=true")).await.json();
        let moved = left.as_array().unwrap().iter().filter(|ticket| ticket.get("movedDate").is_some());
        assert_eq!(moved.count(), 2);
        if api.records_changes() {
            let history = api.history(id(&rows[1]), 2).await;
            assert_eq!(history[1]["change"], "updated");
            let fields = json!({"owner": null, "ticketFollowupDate": "2026-12-01", "ticketContent": "more"});
            assert_eq!(history[1]["fields"], fields);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_names_its_ticket_once_and_perhaps_its_version() {
    for api in Api::each().await {
        let customer = fresh_customer().get();
        let (mut ids, mut tags) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let created = api.post(&json!({"customerID": customer, "subject": "s"})).await;
            ids.push(id(&created.json()));
            tags.push(created.header("etag").to_owned());
        }
        let close = |at: usize, if_match: Value| json!({"id": ids[at].to_string(), "ifMatch": if_match, "status": "closed"});
        let weak = format!("W/{}", tags[3]);
        let rows = json!([
            close(0, json!(tags[0])),
            close(1, json!("\"1-00000000\"")),
            close(2, json!("*")),
            close(3, json!(weak)),
            close(4, json!("1-0c5fe1a2")),
            {"id": ids[0].to_string(), "status": "open"},
            {"id": "0", "status": "open"},
            {"status": "open"},
            {"id": ids[5], "status": "open"},
            {"id": null, "ifMatch": 7},
            {"id": "9007199254740991", "status": "open"},
            close(5, Value::Null),
            [],
        ]);
        let results = patch(&api, &rows).await.json();
        assert_eq!(statuses(&results), [200, 412, 200, 412, 422, 422, 422, 422, 422, 422, 404, 200, 400]);
        let kind = |at: usize| results[at]["problem"]["type"].as_str().unwrap().rsplit(':').next().unwrap();
        assert_eq!([1, 3, 10].map(kind), ["version-mismatch", "unusable-tag", "not-found"]);
        let errors = |at: usize| -> Vec<String> {
            let errors = results[at]["problem"]["errors"].as_array().unwrap();
            errors
                .iter()
                .map(|error| {
                    format!("{} {}", error["field"].as_str().unwrap(), error["detail"].as_str().unwrap())
                })
                .collect()
        };
        assert!(errors(4)[0].starts_with("ifMatch must be what `ETag` says"), "{:?}", errors(4));
        assert_eq!(errors(5), ["id is in an earlier row; a batch changes a ticket once"]);
        assert_eq!(errors(6), ["id must be a whole number from 1 to 9007199254740991"]);
        assert_eq!(errors(7), ["id is required"]);
        assert_eq!(errors(8), ["id must be a string, not a number"]);
        assert_eq!(errors(9), ["id is required", "ifMatch must be a string, not a number"]);
        // What was refused is as it was.
        let closed = api.get(&format!("/customers/{customer}/tickets/?status=closed")).await.ids();
        assert_eq!(closed, [ids[0], ids[2], ids[5]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_repeated_changes_nothing_that_is_already_so() {
    for api in Api::each().await {
        let customer = fresh_customer().get();
        let mut rows = Vec::new();
        for _ in 0..16 {
            let ticket = api.create(&json!({"customerID": customer, "subject": "s"})).await;
            rows.push(json!({"id": ticket.to_string(), "status": "resolved"}));
        }
        // As many rows as there may be. A slow engine could not change a hundred tickets before the deadline.
        rows.resize(100, rows[0].clone());
        let first = patch(&api, &json!(rows)).await.json();
        assert_eq!(statuses(&first), [[200; 16].as_slice(), &[422; 84]].concat());
        assert_eq!(patch(&api, &json!(rows)).await.json(), first, "the same versions");
        for (count, part) in [(0, "it is empty"), (101, "it has more; send them in parts")] {
            let rows = vec![json!({"id": "1", "status": "open"}); count];
            let refused = patch(&api, &json!(rows)).await;
            assert_problem(&refused, 400, &[]);
            let detail = refused.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("an array of 1 to 100 tickets") && detail.contains(part), "{detail}");
        }
        assert_problem(&patch(&api, &json!({"id": "1", "status": "open"})).await, 400, &[]);
        // Without a slash, too.
        let bare = answer(api.request(Method::PATCH, "/tickets").json(&rows)).await;
        assert_eq!((bare.status, bare.json()), (207, first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_precondition_of_one_ticket_is_refused_for_a_batch() {
    for api in Api::each().await {
        let created = api.post(&json!({"customerID": fresh_customer(), "subject": "s"})).await;
        let rows = json!([{"id": created.json()["id"], "owner": "ada"}]);
        for (name, shown) in [(IF_MATCH, "If-Match"), (IF_NONE_MATCH, "If-None-Match")] {
            for tag in [created.header("etag"), "*"] {
                let request = api.request(Method::PATCH, "/tickets/").header(&name, tag).json(&rows);
                assert_problem(&answer(request).await, 400, &[shown]);
            }
        }
        let path = format!("/tickets/{}", id(&created.json()));
        assert_eq!(api.get(&path).await.version(), 1, "nothing was changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_changes_its_customer_s_rows_and_the_others_do_not_exist() {
    for api in Api::each().await {
        let (own, other) = (fresh_customer(), fresh_customer());
        let restricted = api.make_key(|key| key.customer = Some(own)).await;
        let ours = api.create(&json!({"customerID": own, "subject": "s"})).await;
        let given = api.create(&json!({"customerID": own, "subject": "s"})).await;
        let theirs = api.create(&json!({"customerID": other, "subject": "s"})).await;
        let rows = json!([
            {"id": ours.to_string(), "owner": "ada"},
            {"id": theirs.to_string(), "owner": "ada"},
            {"id": "9007199254740991", "owner": "ada"},
            {"id": given.to_string(), "customerID": other},
        ]);
        let request = api.anonymous(Method::PATCH, "/tickets/").bearer_auth(restricted).json(&rows);
        let results = answer(request).await.json();
        assert_eq!(statuses(&results), [200, 404, 404, 403]);
        assert_eq!(results[1]["problem"], results[2]["problem"], "as one that never was");
        for unchanged in [theirs, given] {
            assert_eq!(api.get(&format!("/tickets/{unchanged}")).await.version(), 1);
        }
    }
}
