use std::collections::BTreeSet;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, http, run, text};

#[tokio::test]
async fn seed_fills_a_table_whose_ids_are_dense_and_whose_indexes_are_right() {
    let home = TempDir::new().unwrap();
    // Once without a server, and once into the database of a running server.
    let seeded = run(home.path(), &["seed", "150", "--quiet", "--customers", "7", "--days", "100"]);
    assert!(seeded.status.success(), "{}", text(&seeded.stderr));
    let server = Server::start(home.path(), &ANY_PORT);
    assert!(run(home.path(), &["seed", "100", "--quiet", "--content", "50"]).status.success());

    let all = server.list("").await;
    let ids: Vec<u64> = all.iter().map(|ticket| ticket["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, (1..=250).collect::<Vec<_>>());
    assert_eq!(server.list("?updatedSince=2020-01-01").await, all);
    let months: BTreeSet<&str> =
        all.iter().map(|ticket| &ticket["createdDate"].as_str().unwrap()[..7]).collect();
    assert!(months.len() >= 4, "spread over months: {months:?}");
    let customers: BTreeSet<u64> = all.iter().map(|ticket| ticket["customerID"].as_u64().unwrap()).collect();
    assert!(customers.len() >= 5);
    for customer in customers {
        let expected: Vec<&Value> = all.iter().filter(|ticket| ticket["customerID"] == customer).collect();
        let url = server.api.replace("/tickets/", &format!("/customers/{customer}/tickets/"));
        let request = http().get(url).bearer_auth(&server.key);
        let listed: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
    }
}

/// Sample tickets have dates in the past, so whoever keeps a copy has to start over to get them.
#[tokio::test]
async fn seed_beside_a_running_server_starts_a_new_epoch() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    for n in 0..2 {
        let body = serde_json::json!({"customerID": 1, "subject": n.to_string()});
        let request = http().post(&server.api).bearer_auth(&server.key).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 201);
    }
    let (epoch, tickets) = server.page("").await;
    assert_eq!((server.page("").await.0, tickets.len()), (epoch.clone(), 2));
    let seeded = run(home.path(), &["seed", "10", "--quiet"]);
    assert!(seeded.status.success(), "{}", text(&seeded.stderr));
    let (new, tickets) = server.page("").await;
    assert!(new != epoch && tickets.len() == 12, "{epoch}, {new}");
    assert!(text(&seeded.stdout).contains(&format!("epoch {new}: copies start over")));
}
