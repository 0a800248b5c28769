//! Counts are what a count over all tickets would be.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};
use support::{Answer, Api, Options, answer, counts_units, fresh_customer, time};

use super::assert_problem;
use super::lists::append;

/// The fields by which tickets are counted.
const FIELDS: [&str; 5] = ["status", "ticketType", "ticketPriority", "owner", "customerID"];
const OWNERS: [&str; 4] = ["ada", "Grace", "GRACE ", "Smith, John"];

async fn counts(api: &Api, key: &str, query: &str) -> Answer {
    answer(api.anonymous(Method::GET, &format!("/ticket-counts/{query}")).bearer_auth(key)).await
}

/// Some value of a field, or none.
fn some(values: &[&str]) -> Value {
    values.get(fastrand::usize(..=values.len())).map_or(Value::Null, |value| json!(value))
}

/// Creates tickets of some customers, and changes, moves and deletes a few.
async fn fill(api: &Api, customers: &[u64]) {
    let mut ids = Vec::new();
    for _ in 0..80 {
        let mut ticket = json!({
            "customerID": fastrand::choice(customers), "subject": "s",
            "status": some(&["open", "assigned", "resolved", "closed"]),
            "ticketType": some(&["sales", "billing"]), "ticketPriority": some(&["low", "urgent"]),
            "owner": some(&OWNERS), "ticketFollowupDate": some(&["2026-11-01", "2026-12-24"]),
        });
        ticket.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        ids.push(api.create(&ticket).await);
    }
    for id in ids {
        let path = format!("/tickets/{id}");
        match fastrand::u8(..8) {
            0 => drop(api.delete(&path).await),
            1 => drop(api.patch(&path, &json!({"customerID": fastrand::choice(customers)})).await),
            2 => drop(api.patch(&path, &json!({"status": null, "owner": some(&OWNERS)})).await),
            _ => {}
        }
    }
}

/// The counts of these tickets by these fields, each group without the spelling of its owner.
fn counted(tickets: &[Value], by: &[&str]) -> BTreeMap<String, u64> {
    let mut groups = BTreeMap::new();
    for ticket in tickets {
        let mut group = Map::new();
        for field in by {
            let value = &ticket[*field];
            let value = value.as_str().map_or(value.clone(), |text| json!(text.trim().to_lowercase()));
            if !value.is_null() {
                group.insert((*field).to_owned(), value);
            }
        }
        *groups.entry(Value::from(group).to_string()).or_default() += 1;
    }
    groups
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_those_of_a_count_over_every_ticket() {
    for api in Api::each().await {
        let customers = [fresh_customer(), fresh_customer(), fresh_customer()];
        fill(&api, &customers.map(|customer| customer.get())).await;
        // Keys of one customer, because others may use the API at the same time.
        let mut keys = Vec::new();
        for customer in customers {
            keys.push((api.make_key(|key| key.customer = Some(customer)).await, customer.get()));
        }
        for round in 0..60 {
            let (key, customer) = &keys[round % keys.len()];
            let by: Vec<_> = FIELDS.into_iter().filter(|_| fastrand::bool()).collect();
            let mut query: Vec<String> = by.iter().map(|field| format!("by={field}")).collect();
            let statuses = ["", "open=true", "open=false", "status=open,closed", "status=assigned&open=true"];
            let status = fastrand::choice(statuses).unwrap();
            let others = [
                "owner=grace",
                "ticketType=billing",
                "ticketPriority=urgent,low",
                "followupUntil=2026-11-30",
            ];
            let other = fastrand::choice(others).filter(|_| fastrand::bool()).unwrap_or_default();
            query.extend([status.to_owned(), other.to_owned()].into_iter().filter(|part| !part.is_empty()));
            let query = query.join("&");
            let answer = counts(&api, key, &format!("?{query}")).await;
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
            let answer = answer.json();
            // By the list that is not one of a work queue, and these few lines.
            let all = api.get(&format!("/customers/{customer}/tickets/")).await.json();
            let matches = |ticket: &&Value| {
                let is_open = !matches!(ticket["status"].as_str(), Some("resolved" | "closed"));
                let by_status = match status {
                    "" | "open=true" => is_open,
                    "open=false" => !is_open,
                    "status=open,closed" => matches!(ticket["status"].as_str(), Some("open" | "closed")),
                    _ => ticket["status"] == "assigned",
                };
                by_status
                    && match other {
                        "owner=grace" => {
                            ticket["owner"].as_str().is_some_and(|owner| owner.eq_ignore_ascii_case("grace"))
                        }
                        "ticketType=billing" => ticket["ticketType"] == "billing",
                        "ticketPriority=urgent,low" => {
                            matches!(ticket["ticketPriority"].as_str(), Some("urgent" | "low"))
                        }
                        "followupUntil=2026-11-30" => ticket["ticketFollowupDate"] == "2026-11-01",
                        _ => true,
                    }
            };
            let expected: Vec<Value> = all.as_array().unwrap().iter().filter(matches).cloned().collect();
            assert_eq!(
                (&answer["total"], &answer["complete"]),
                (&json!(expected.len()), &json!(true)),
                "{query}"
            );
            let mut groups = BTreeMap::new();
            let mut last = u64::MAX;
            for group in answer["counts"].as_array().unwrap() {
                let count = group["count"].as_u64().unwrap();
                assert!(count <= last, "the largest first: {answer}");
                last = count;
                let names: Vec<&str> = group.as_object().unwrap().keys().map(String::as_str).collect();
                assert!(names.iter().all(|name| *name == "count" || by.contains(name)), "{query}: {group}");
                let key = counted(std::slice::from_ref(group), &by).into_keys().next().unwrap();
                assert_eq!(groups.insert(key, count), None, "{query}: {answer}");
            }
            let expected = if by.is_empty() { BTreeMap::new() } else { counted(&expected, &by) };
            assert_eq!(groups, expected, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_all_customers_counts_all_and_the_index_and_the_records_agree() {
    let api = Api::start_with(Options::default()).await;
    let customers = [fresh_customer(), fresh_customer()];
    fill(&api, &customers.map(|customer| customer.get())).await;
    let statuses = "status=open,assigned,resolved,closed";
    for (query, list) in [
        ("", "open=true"),
        ("open=false", "open=false"),
        ("owner=ada", "owner=ada&open=true"),
        (statuses, statuses),
        (&format!("{statuses}&owner=grace"), &format!("{statuses}&owner=grace&updatedSince=2020-01-01")),
    ] {
        let query = &format!("?{query}");
        let all = counts(&api, &api.key, query).await.json()["total"].as_u64().unwrap();
        let listed = api.get(&format!("/tickets/?{list}")).await.ids();
        assert_eq!(listed.len() as u64, all, "{query}");
        let mut parts = 0;
        for customer in customers {
            let key = api.make_key(|key| key.customer = Some(customer)).await;
            parts += counts(&api, &key, query).await.json()["total"].as_u64().unwrap();
        }
        assert_eq!(parts, all, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_too_many_says_that_there_are_at_least_so_many() {
    if !counts_units() {
        return;
    }
    for (units, complete) in [(40.0, true), (3.0, false)] {
        let options = Options { most_vain_units: Some(units), without_history: true, ..Options::default() };
        let api = Api::start_with(options).await;
        append(&api, (0..2000).map(|_| json!({"customerID": 7, "subject": "s"})), time("2026-01-05")).await;
        let counted = counts(&api, &api.key, "?by=status").await.json();
        assert_eq!(counted["complete"], complete, "{counted}");
        let total = counted["total"].as_u64().unwrap();
        assert!(if complete { total == 2000 } else { (1..2000).contains(&total) }, "{counted}");
        assert_eq!(counted["counts"], json!([{"status": "open", "count": total}]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_names_every_mistake_of_its_query() {
    for api in Api::each().await {
        let refused = counts(&api, &api.key, "?by=user&status=done&limit=5&ownr=ada").await;
        assert_problem(&refused, 400, &["by", "limit", "ownr", "status"]);
        let head = answer(api.request(Method::HEAD, "/ticket-counts")).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    }
}
