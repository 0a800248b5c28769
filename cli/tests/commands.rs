//! The command `tickets`, as a person or a script starts it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn tickets(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickets"));
    command.current_dir(directory).args(arguments).env_remove("AWS_ENDPOINT_URL_DYNAMODB");
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    tickets(directory, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A server, with what it printed; it ends with the test.
struct Server {
    child: Child,
    api: String,
    key: String,
}

impl Server {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child =
            tickets(directory, arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut second = |word: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(word).unwrap_or_else(|| panic!("{word}: {line}")).trim().to_owned()
        };
        let (api, key) = (second("API  "), second("key  "));
        assert!(second("try  curl ").contains(&key));
        Self { child, api, key }
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let request = reqwest::Client::new().get(format!("{}{query}", self.api)).bearer_auth(&self.key);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ANY_PORT: [&str; 4] = ["serve", "--quiet", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn serve_prints_where_it_is_and_keeps_its_key_to_itself() {
    let home = TempDir::new().unwrap();
    let first = Server::start(home.path(), &ANY_PORT);
    assert!(first.api.starts_with("http://127.0.0.1:") && first.api.ends_with("/backend/api/v1/tickets/"));
    assert!(first.list("").await.is_empty());
    let file = home.path().join(".tickets/dev-key");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), first.key);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let second = run(home.path(), &ANY_PORT);
    assert_eq!((second.status.code(), text(&second.stdout)), (Some(1), ""));
    assert!(text(&second.stderr).contains("--data DIR"), "it says what to do: {}", text(&second.stderr));
    let key = first.key.clone();
    drop(first);
    assert_eq!(Server::start(home.path(), &ANY_PORT).key, key, "the key of the first start");
}

#[tokio::test]
async fn seed_fills_a_table_whose_ids_are_dense_and_whose_indexes_are_right() {
    let home = TempDir::new().unwrap();
    // Once on its own, and once into the database of a server that runs.
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
        let request = reqwest::Client::new().get(url).bearer_auth(&server.key);
        let listed: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let home = TempDir::new().unwrap();
    let keys = |arguments: &[&str]| run(home.path(), &[&["keys", "--data", "data"], arguments].concat());
    let made = keys(&[
        "create",
        "--scopes",
        "read,write",
        "--customer",
        "42",
        "--expires",
        "90d",
        "--note",
        "portal",
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let token = text(&made.stdout).trim();
    assert_eq!(token.lines().count(), 1, "the key alone, for scripts");
    let (id, secret) = token.strip_prefix("tk_").unwrap().split_once('_').unwrap();

    let listed = keys(&["list"]);
    let line = text(&listed.stdout).lines().find(|line| line.contains(id)).unwrap().to_owned();
    for word in ["active", "read,write", "42", "portal"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(!text(&listed.stdout).contains(secret));

    assert!(keys(&["revoke", id]).status.success());
    assert!(text(&keys(&["list"]).stdout).contains("revoked"));
    let unknown = keys(&["revoke", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there is no key nobody"));
}

#[test]
fn what_is_asked_wrongly_is_explained_with_exit_code_2() {
    let home = TempDir::new().unwrap();
    for (arguments, says) in [
        (&["keys", "create", "--scopes", "admin"][..], "a scope is read, write or delete"),
        (&["keys", "create", "--expires", "soon"], "or a number of days like 90d"),
        (&["keys", "create", "--customer", "0"], "whole number from 1"),
        (&["seed", "many"], "invalid digit"),
        (&["serve", "--listen", "nowhere"], "invalid socket address"),
        (&["sevre"], "serve"),
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_refused_configuration_names_its_variable() {
    let home = TempDir::new().unwrap();
    let output = tickets(home.path(), &ANY_PORT).env("SETTLE_SECONDS", "soon").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("SETTLE_SECONDS must be a whole number"),
        "{}",
        text(&output.stderr)
    );
}
