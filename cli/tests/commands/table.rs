use std::collections::BTreeSet;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, http, run, text, tickets};

#[tokio::test]
async fn commands_on_a_table_go_by_the_settings_of_its_server_not_of_their_shell() {
    let home = TempDir::new().unwrap();
    let mut serve = tickets(home.path(), &ANY_PORT);
    serve.env("TICKET_STATUSES", "new, done").env("CLOSED_STATUSES", "done");
    let server = Server::of(serve);
    let seeded =
        tickets(home.path(), &["seed", "20", "--quiet"]).env("TICKET_STATUSES", "open").output().unwrap();
    assert!(seeded.status.success(), "{}", text(&seeded.stderr));
    let statuses: BTreeSet<_> =
        server.list("").await.iter().map(|ticket| ticket["status"].to_string()).collect();
    assert!(statuses.is_subset(&["\"new\"".to_owned(), "\"done\"".to_owned()].into()), "{statuses:?}");
    let import = |status: &str| {
        let line = format!(
            r#"{{"id": "100", "customerID": 1, "subject": "s", "createdDate": "2026-01-01", "status": "{status}"}}"#
        );
        std::fs::write(home.path().join("one.ndjson"), line).unwrap();
        run(home.path(), &["import", "one.ndjson", "--table", "--keep-ids", "--data", ".tickets", "--quiet"])
    };
    let refused = import("open");
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(text(&refused.stderr).contains("must be one of new, done"), "{refused:?}");
    let imported = import("New");
    assert!(imported.status.success(), "{imported:?}");
}

#[tokio::test]
async fn records_move_into_the_table_of_a_running_server_with_their_ids_and_dates() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let file = "id,customerID,subject,status,createdDate,updatedDate,deletedDate\n\
        7,1,seven,closed,2019-05-01T10:00:00.000Z,2020-01-01T00:00:00.000Z,\n\
        9,2,,,2019-05-02T10:00:00.000Z,2019-06-01T00:00:00.000Z,2019-06-01T00:00:00.000Z\n";
    std::fs::write(home.path().join("old.csv"), file).unwrap();
    let import = |name: &str, more: &[&str]| {
        let arguments = ["import", name, "--table", "--keep-ids", "--data", ".tickets"];
        run(home.path(), &[&arguments[..], more].concat())
    };
    let dry = import("old.csv", &["--dry-run"]);
    assert_eq!(text(&dry.stderr), "checked 2 lines; nothing was written\n");
    assert!(server.list("?includeDeleted=true").await.is_empty());
    for says in ["moved in 2 records\nepoch ", "moved in 0 records, 2 were there from before\nepoch "] {
        let import = import("old.csv", &[]);
        assert!(text(&import.stderr).starts_with(says), "{}", text(&import.stderr));
    }
    let request = http().post(&server.api).bearer_auth(&server.key);
    let new: Value = request
        .json(&serde_json::json!({"customerID": 1, "subject": "new"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(new["id"], "10");
    let all = server.list("?includeDeleted=true&updatedSince=2019-01-01").await;
    assert_eq!(all.iter().map(|record| &record["id"]).collect::<Vec<_>>(), ["7", "9", "10"]);
    assert_eq!(
        (&all[0]["createdDate"], &all[0]["updatedDate"]),
        (&"2019-05-01T10:00:00.000Z".into(), &"2020-01-01T00:00:00.000Z".into())
    );
    assert_eq!(
        (&all[0]["status"], all[0].get("ticketPriority")),
        (&"closed".into(), None),
        "nothing is filled in"
    );
    assert_eq!(all[1]["deletedDate"], "2019-06-01T00:00:00.000Z");

    // Refused before anything is written: ids that other tickets have, or that two lines share.
    let file = "id,customerID,subject,createdDate\n10,1,a,2019-01-01\n12,1,b,2019-01-01\n12,1,c,2019-01-01\n";
    std::fs::write(home.path().join("twins.csv"), file).unwrap();
    let twins = import("twins.csv", &[]);
    assert_eq!(twins.status.code(), Some(3));
    assert!(text(&twins.stderr).contains("line 4: id: 12 is on line 3 too"), "{}", text(&twins.stderr));
    std::fs::write(home.path().join("taken.csv"), file.lines().take(3).collect::<Vec<_>>().join("\n"))
        .unwrap();
    let taken = import("taken.csv", &[]);
    assert_eq!(taken.status.code(), Some(3));
    for says in ["line 2: id: 10 is taken by another ticket", "refused 1 of 2 lines; nothing was sent"] {
        assert!(text(&taken.stderr).contains(says), "{says}: {}", text(&taken.stderr));
    }
    assert_eq!(server.list("?includeDeleted=true").await.len(), 3);
    let without = run(home.path(), &["import", "old.csv", "--table"]);
    assert_eq!(without.status.code(), Some(2), "--table needs --keep-ids");
}
