use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, http, run, text, tickets};

/// What `tickets history 1` prints, once it has this many entries.
async fn history(home: &Path, server: &Server, entries: usize, arguments: &[&str]) -> String {
    for _ in 0..100 {
        let mut command = tickets(home, &[&["history", "1"], arguments].concat());
        command.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", &server.key);
        let shown = command.output().unwrap();
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        let shown = text(&shown.stdout).to_owned();
        if shown.matches(if arguments.is_empty() { "  by " } else { "\"by\":" }).count() == entries {
            return shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("there are not {entries} entries");
}

#[tokio::test]
async fn a_history_is_shown_as_a_timeline_and_a_killed_server_loses_none_of_it() {
    let home = TempDir::new().unwrap();
    let http = http();
    let server = Server::start(home.path(), &ANY_PORT);
    let post = http.post(&server.api).bearer_auth(&server.key);
    let body = serde_json::json!({"customerID": 42, "subject": "s", "users": "red \u{1b}[31m\nb"});
    assert_eq!(post.json(&body).send().await.unwrap().status(), 201);
    let patch = async |server: &Server, body: Value| {
        let patch = http.patch(format!("{}1", server.api)).bearer_auth(&server.key);
        assert_eq!(patch.json(&body).send().await.unwrap().status(), 200);
    };
    patch(&server, serde_json::json!({"status": "assigned", "owner": "grace"})).await;
    let shown = history(home.path(), &server, 2, &[]).await;
    assert!(shown.contains("    status                open → assigned\n"), "{shown}");
    assert!(shown.contains("    owner                 - → grace\n"), "{shown}");
    assert!(
        !shown.contains('\u{1b}'),
        "no colour where there is no terminal, and none from a text: {shown:?}"
    );
    let json = history(home.path(), &server, 2, &["--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0]["fields"]["users"], "red \u{1b}[31m\nb");

    for n in 0..10 {
        patch(&server, serde_json::json!({"users": n.to_string()})).await;
    }
    // `kill -9`, no matter how much is recorded by then.
    drop(server);
    let server = Server::start(home.path(), &ANY_PORT);
    history(home.path(), &server, 12, &[]).await;
}

#[tokio::test]
async fn a_local_key_is_called_by_its_note_if_only_one_has_it() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let key = |note: &str| {
        let create = ["keys", "create", "--data", ".tickets", "--scopes", "write", "--note", note];
        text(&run(home.path(), &create).stdout).trim().to_owned()
    };
    let [portal, one, other] = ["billing portal", "twin", "twin"].map(key);
    let create = http().post(&server.api).bearer_auth(&portal);
    let body = serde_json::json!({"customerID": 42, "subject": "s"});
    assert_eq!(create.json(&body).send().await.unwrap().status(), 201);
    for key in [&one, &other, &server.key] {
        let patch = http().patch(format!("{}1", server.api)).bearer_auth(key);
        let body = serde_json::json!({"owner": key.split('_').nth(1).unwrap()});
        assert_eq!(patch.json(&body).send().await.unwrap().status(), 200);
    }
    let id = |key: &str| key.split('_').nth(1).unwrap().to_owned();
    let by = |shown: &str| -> Vec<String> {
        shown.lines().filter_map(|line| line.split_once("  by ")).map(|(_, by)| by.to_owned()).collect()
    };
    let ids = by(&history(home.path(), &server, 4, &[]).await);
    assert_eq!(
        ids,
        [&portal, &one, &other, &server.key].map(|key| id(key)),
        "with a key given it may be any API"
    );
    // With the development key, which says whose directory it is.
    let mut command = tickets(home.path(), &["history", "1"]);
    let shown = command.env("TICKETS_API", &server.api).env_remove("TICKETS_KEY").output().unwrap();
    assert_eq!(
        by(text(&shown.stdout)),
        ["billing portal".to_owned(), id(&one), id(&other), "development key".into()]
    );
}
