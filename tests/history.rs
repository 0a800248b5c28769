//! Tests of a ticket's history over HTTP, fed by the local server or by a deployment's stream.

use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use support::{Api, Options, answer, fresh_customer};
use tickets_cli::server::gateway::Payload;

/// The APIs that record changes.
async fn each() -> Vec<Api> {
    Api::each().await.into_iter().filter(Api::records_changes).collect()
}

fn key_id(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_says_who_changed_what_and_when_and_hides_the_values_of_a_deleted_ticket() {
    for api in each().await {
        let customer = fresh_customer().get();
        let id = api.create(&json!({"customerID": customer, "subject": "Help", "owner": "ada"})).await;
        let path = format!("/tickets/{id}");
        let created = api.get(&path).await.json();
        let other = api.make_key(|_| {}).await;
        let patch = api.anonymous(Method::PATCH, &path).bearer_auth(&other);
        let updated = answer(patch.json(&json!({"status": "assigned", "owner": null}))).await.json();
        // An update that changes nothing makes no version.
        api.patch(&path, &json!({"status": "assigned"})).await;
        let expected = [
            json!({"version": 1, "date": created["createdDate"], "change": "created", "by": key_id(&api.key), "fields": {
                "customerID": customer, "subject": "Help", "owner": "ada", "status": "open", "ticketPriority": "normal",
            }}),
            json!({"version": 2, "date": updated["updatedDate"], "change": "updated", "by": key_id(&other), "fields": {
                "status": "assigned", "owner": null,
            }}),
        ];
        assert_eq!(api.history(id, 2).await, expected);
        let bare = api.get(&format!("/tickets/{id}/history")).await;
        assert_eq!((bare.json(), bare.header("link")), (json!(expected), ""), "without the slash too");

        assert_eq!(api.delete(&path).await.status, 204);
        assert_eq!(api.get(&path).await.status, 404);
        let history = api.history(id, 3).await;
        let changes: Vec<_> = history.iter().map(|entry| entry["change"].as_str().unwrap()).collect();
        assert_eq!(changes, ["created", "updated", "deleted"]);
        assert_eq!((&history[2]["by"], &history[2]["fields"]), (&json!(key_id(&api.key)), &json!({})));
        for (entry, before) in history.iter().zip(&expected) {
            assert_eq!((&entry["date"], &entry["by"]), (&before["date"], &before["by"]));
            let (fields, values) =
                (entry["fields"].as_object().unwrap(), before["fields"].as_object().unwrap());
            assert!(fields.keys().eq(values.keys()) && fields.values().all(Value::is_null), "{entry}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_history_follow_each_other() {
    for api in each().await {
        let id = api.create(&json!({"customerID": fresh_customer().get(), "subject": "s"})).await;
        for n in 2..6 {
            api.patch(&format!("/tickets/{id}"), &json!({"users": n.to_string()})).await;
        }
        let all = api.history(id, 5).await;
        let pages = api.pages(&format!("/tickets/{id}/history/?limit=2")).await;
        assert_eq!(
            pages.iter().map(|page| page.json().as_array().unwrap().len()).collect::<Vec<_>>(),
            [2, 2, 1]
        );
        let paged: Vec<Value> =
            pages.iter().flat_map(|page| page.json().as_array().unwrap().clone()).collect();
        assert_eq!(paged, all);
        let after = api.get(&format!("/tickets/{id}/history/?versionAfter=3")).await;
        assert_eq!(after.json(), json!(all[3..]));
        assert_eq!(api.get(&format!("/tickets/{id}/history/?versionAfter=5")).await.json(), json!([]));
        assert_eq!(api.get(&format!("/tickets/{id}/history/?versionAfter=-1")).await.json(), json!(all));
        for (query, field) in [
            ("versionAfter=x", "versionAfter"),
            ("versionAfter=1&versionAfter=2", "versionAfter"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("idAfter=1", "idAfter"),
        ] {
            let refused = api.get(&format!("/tickets/{id}/history/?{query}")).await;
            assert_eq!((refused.status, refused.fields()), (400, vec![field.to_owned()]), "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_entries_ends_before_it_is_too_large() {
    // Not under `cargo lambda watch`, which sometimes loses a reply of several megabytes.
    for payload in [Payload::Rest, Payload::Http] {
        let api = Api::start_with(Options { payload, ..Options::default() }).await;
        if !api.records_changes() {
            continue;
        }
        // A megabyte each in the reply, where every quote takes four bytes.
        let content = |n: usize| format!("{}{n}", "\"".repeat(250 * 1024));
        let id = api.create(&json!({"customerID": fresh_customer().get(), "subject": "s"})).await;
        for n in 0..7 {
            let changed = api.patch(&format!("/tickets/{id}"), &json!({"ticketContent": content(n)})).await;
            assert_eq!(changed.status, 200);
        }
        let mut pages = Vec::new();
        for _ in 0..200 {
            pages = api.pages(&format!("/tickets/{id}/history/")).await;
            if pages.iter().map(|page| page.json().as_array().unwrap().len()).sum::<usize>() == 8 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let sizes: Vec<_> = pages.iter().map(|page| page.json().as_array().unwrap().len()).collect();
        assert_eq!(sizes, [7, 1]);
        let last = pages[1].json();
        assert_eq!(last[0]["fields"]["ticketContent"], content(6));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_sees_the_history_since_the_ticket_came_to_its_customer() {
    for api in each().await {
        let [first, second] = [fresh_customer(), fresh_customer()];
        let id = api.create(&json!({"customerID": first.get(), "subject": "secret"})).await;
        let path = format!("/tickets/{id}");
        let [theirs, ours] = [api.make_key(|key| key.customer = Some(first)).await, {
            api.make_key(|key| key.customer = Some(second)).await
        }];
        let history = async |key: &str| {
            let request = api.anonymous(Method::GET, &format!("{path}/history/"));
            answer(request.header(AUTHORIZATION, format!("Bearer {key}"))).await
        };
        api.patch(&path, &json!({"owner": "also secret"})).await;
        api.history(id, 2).await;
        assert_eq!(history(&theirs).await.json().as_array().unwrap().len(), 2);
        let never = {
            let request = api.anonymous(Method::GET, "/tickets/9007199254740991/history/");
            answer(request.header(AUTHORIZATION, format!("Bearer {ours}"))).await
        };
        let tell = |answer: &support::Answer| (answer.status, answer.text.clone());
        assert_eq!(tell(&history(&ours).await), tell(&never), "as if it had never been");
        assert_eq!(never.status, 404);

        api.patch(&path, &json!({"customerID": second.get()})).await;
        api.patch(&path, &json!({"users": "u"})).await;
        api.history(id, 4).await;
        assert_eq!(tell(&history(&theirs).await), tell(&never), "it has left");
        let seen = history(&ours).await;
        let versions: Vec<_> =
            seen.json().as_array().unwrap().iter().map(|entry| entry["version"].as_u64().unwrap()).collect();
        assert_eq!(versions, [3, 4]);
        assert!(!seen.text.contains("secret"));

        // Back at the first customer, who sees the history only from this change on.
        api.patch(&path, &json!({"customerID": first.get()})).await;
        api.history(id, 5).await;
        assert_eq!(history(&theirs).await.json()[0]["version"], 5);
        api.delete(&path).await;
        api.history(id, 6).await;
        let deleted = history(&theirs).await.json();
        assert_eq!(
            (&deleted[0]["fields"], &deleted[1]["change"]),
            (&json!({"customerID": null}), &json!("deleted"))
        );
        assert_eq!(tell(&history(&ours).await), tell(&never));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_without_a_ticket_has_no_history() {
    for api in each().await {
        assert_eq!(api.get("/tickets/9007199254740991/history/").await.status, 404);
        for id in ["0", "x", "-1"] {
            let refused = api.get(&format!("/tickets/{id}/history/")).await;
            assert_eq!((refused.status, refused.fields()), (400, vec!["id".to_owned()]), "{id}");
        }
        let other = answer(api.request(Method::POST, "/tickets/1/history/")).await;
        assert_eq!((other.status, other.header("allow")), (405, "GET, HEAD, OPTIONS"));
    }
}
