use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, http, text, tickets};

#[tokio::test]
async fn watch_prints_each_change_once() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let mut command = tickets(home.path(), &["watch", "--every", "1", "--since", "2020-01-01"]);
    command.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", &server.key);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || shown.next().unwrap().unwrap();
    let http = http();
    let post = http.post(&server.api).bearer_auth(&server.key);
    post.json(&serde_json::json!({"customerID": 42, "subject": "first"})).send().await.unwrap();
    let line = next();
    assert!(line.contains("created  1  customer 42  open normal  first"), "{line}");
    let ticket = format!("{}1", server.api);
    let patch = http.patch(&ticket).bearer_auth(&server.key);
    patch.json(&serde_json::json!({"owner": "grace"})).send().await.unwrap();
    let line = next();
    assert!(line.contains("changed  1  customer 42  open normal grace  first"), "{line}");
    http.delete(&ticket).bearer_auth(&server.key).send().await.unwrap();
    let line = next();
    assert!(line.contains("deleted  1  customer 42"), "{line}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn watch_outlasts_an_outage_and_says_from_when_to_go_on() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let (api, key) = (server.api.clone(), server.key.clone());
    let mut command = tickets(home.path(), &["watch", "--every", "1", "--since", "2026-01-01"]);
    command.env("TICKETS_API", &api).env("TICKETS_KEY", &key);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut notes = BufReader::new(watch.stderr.take().unwrap()).lines();
    let create = async |subject: &str| {
        let body = serde_json::json!({"customerID": 42, "subject": subject});
        assert_eq!(http().post(&api).bearer_auth(&key).json(&body).send().await.unwrap().status(), 201);
    };
    create("before").await;
    assert!(shown.next().unwrap().unwrap().ends_with("before"));
    drop(server);
    let note = notes.next().unwrap().unwrap();
    assert!(note.starts_with("cannot reach http://127.0.0.1:"), "{note}");
    assert_eq!(notes.next().unwrap().unwrap(), "trying again for an hour");
    let address = api.split('/').nth(2).unwrap();
    let _server = Server::start(home.path(), &["serve", "--quiet", "--listen", address]);
    create("after").await;
    assert!(shown.next().unwrap().unwrap().ends_with("after"));
    assert_eq!(notes.next().unwrap().unwrap(), "the API answers again");
    let interrupt = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap();
    assert!(interrupt.success() && watch.wait().unwrap().success());
    let note = notes.next().unwrap().unwrap();
    assert!(note.starts_with("to go on from here: --since 20"), "{note}");

    // Refused, it ends at once and says so too.
    let mut refused = tickets(home.path(), &["watch", "--since", "2026-01-02"]);
    let refused = refused.env("TICKETS_API", &api).env("TICKETS_KEY", format!("tk_a_{}", "0".repeat(64)));
    let refused = refused.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let says = text(&refused.stderr);
    assert!(says.starts_with("to go on from here: --since 2026-01-02T00:00:00.000Z\nerror: 401"), "{says}");
}

#[tokio::test]
async fn events_are_printed_once_each_and_followed() {
    let home = TempDir::new().unwrap();
    let mut command = tickets(home.path(), &ANY_PORT);
    command.env("SETTLE_SECONDS", "4"); // The least that can be configured
    let server = Server::of(command);
    let events = |arguments: &[&str]| {
        let mut command = tickets(home.path(), &[&["events"], arguments].concat());
        command.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", &server.key);
        command
    };
    let mut follow = events(&["--follow", "--every", "1", "--type", "ticket.created,ticket.deleted"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || shown.next().unwrap().unwrap();
    let http = http();
    let post = http.post(&server.api).bearer_auth(&server.key);
    post.json(&serde_json::json!({"customerID": 42, "subject": "first"})).send().await.unwrap();
    let ticket = format!("{}1", server.api);
    let patch = http.patch(&ticket).bearer_auth(&server.key);
    patch.json(&serde_json::json!({"owner": "grace"})).send().await.unwrap();
    let line = next();
    assert!(line.contains("created  1  version 1  customer 42  by "), "{line}");
    assert!(line.ends_with("customerID, status, subject, ticketPriority"), "{line}");
    http.delete(&ticket).bearer_auth(&server.key).send().await.unwrap();
    let line = next();
    assert!(line.contains("deleted  1  version 3  customer 42"), "{line}");
    follow.kill().unwrap();
    follow.wait().unwrap();
    let all = events(&["--json"]).output().unwrap();
    let all: Vec<Value> = text(&all.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.iter().map(|event| event["version"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    let rest = events(&["--after", all[0]["id"].as_str().unwrap()]).output().unwrap();
    assert_eq!(text(&rest.stdout).lines().count(), 2);
    let last = format!("--after {}", all[2]["id"].as_str().unwrap());
    assert!(text(&rest.stderr).contains(&last), "{}", text(&rest.stderr));
    assert_eq!(events(&["--after", "x"]).output().unwrap().status.code(), Some(2));
}
