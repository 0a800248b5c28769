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

fn http() -> reqwest::Client {
    tickets_cli::client::http_client().build().unwrap()
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
        let request = http().get(format!("{}{query}", self.api)).bearer_auth(&self.key);
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
        let request = http().get(url).bearer_auth(&server.key);
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

/// The commands that talk to an API, told which.
fn with_key(server: &Server, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = tickets(directory, arguments);
    command.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", &server.key);
    command.output().unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_export_is_what_the_list_has_from_the_api_and_from_the_table() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "1500", "--quiet"]).status.success());
    let server = Server::start(home.path(), &ANY_PORT);
    let all = server.list("").await;
    let exported = with_key(&server, home.path(), &["export", "-o", "all.ndjson"]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert!(text(&exported.stderr).contains("exported 1500 tickets; next time: --since 20"));
    assert_eq!(lines(&home.path().join("all.ndjson")), all);
    // The table of the server that runs, found by its directory; to standard output.
    let table = run(home.path(), &["export", "--table", "--data", ".tickets", "--quiet"]);
    assert_eq!(text(&table.stdout), std::fs::read_to_string(home.path().join("all.ndjson")).unwrap());
    assert_eq!(text(&table.stderr), "");

    let csv = with_key(&server, home.path(), &["export", "-o", "all.csv"]);
    assert!(csv.status.success());
    let mut reader = csv::Reader::from_path(home.path().join("all.csv")).unwrap();
    let names = reader.headers().unwrap().clone();
    for (record, ticket) in reader.records().zip(&all) {
        for (name, cell) in names.iter().zip(&record.unwrap()) {
            let expected = match &ticket[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(cell, expected, "{name} of {}", ticket["id"]);
        }
    }
    let since = all[1000]["updatedDate"].as_str().unwrap();
    let some = with_key(&server, home.path(), &["export", "--since", since, "--customer", "1"]);
    let expected = all.iter().filter(|t| t["updatedDate"].as_str().unwrap() >= since && t["customerID"] == 1);
    assert_eq!(text(&some.stdout).lines().count(), expected.count());
}

#[tokio::test]
async fn an_export_that_was_interrupted_goes_on_where_it_was() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "3500", "--quiet"]).status.success());
    let export = ["export", "--table", "--data", ".tickets", "-o", "all.ndjson"];
    assert!(run(home.path(), &export).status.success());
    let whole = std::fs::read_to_string(home.path().join("all.ndjson")).unwrap();
    // As if it had been killed after a page and a half: the note says one page.
    let page: String = whole.split_inclusive('\n').take(1000).collect();
    let partial = format!("{page}{}", &whole[page.len()..page.len() + 1234]);
    std::fs::write(home.path().join("all.ndjson.partial"), partial).unwrap();
    let note = serde_json::json!({
        "request": "table Tickets Ndjson Selection { since: None, until: None, created_since: None, customer: None, include_deleted: false }",
        "id_after": 1000, "bytes": page.len(), "records": 1000, "sync_until": null,
    });
    let note_file = home.path().join("all.ndjson.resume");
    std::fs::write(&note_file, note.to_string()).unwrap();
    std::fs::remove_file(home.path().join("all.ndjson")).unwrap();
    let again = run(home.path(), &export);
    assert!(text(&again.stderr).contains("going on after ticket 1000"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read_to_string(home.path().join("all.ndjson")).unwrap(), whole);
    assert!(!note_file.exists() && !home.path().join("all.ndjson.partial").exists());
    // The note of another export does not count.
    std::fs::write(&note_file, note.to_string().replace("None, customer", "Some(0), customer")).unwrap();
    assert!(run(home.path(), &export).status.success());
    assert_eq!(std::fs::read_to_string(home.path().join("all.ndjson")).unwrap(), whole);
}

#[tokio::test]
async fn an_import_makes_each_line_a_ticket_once_however_often_it_is_repeated() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    // Two lines say the same: two tickets. An empty line is none.
    let file = "{\"customerID\": 1, \"subject\": \"same\"}\n\n{\"customerID\": 1, \"subject\": \"same\"}\n\
        {\"customerID\": 2, \"subject\": \"other\", \"status\": \"CLOSED\"}\n";
    std::fs::write(home.path().join("in.ndjson"), file).unwrap();
    for says in ["imported 3 tickets\n", "imported 0 tickets, 3 were there from before\n"] {
        let import = with_key(&server, home.path(), &["import", "in.ndjson"]);
        assert!(import.status.success(), "{}", text(&import.stderr));
        assert_eq!(text(&import.stderr), says);
    }
    let mut subjects: Vec<Value> = server.list("").await.iter().map(|t| t["subject"].clone()).collect();
    subjects.sort_by_key(Value::to_string);
    assert_eq!(subjects, ["other", "same", "same"]);

    // What was exported can be imported elsewhere, from either format.
    let elsewhere = TempDir::new().unwrap();
    let other = Server::start(elsewhere.path(), &ANY_PORT);
    for name in ["out.csv", "out.ndjson"] {
        assert!(with_key(&server, home.path(), &["export", "-o", name]).status.success());
        let refused = with_key(&other, home.path(), &["import", name]);
        assert_eq!(refused.status.code(), Some(3));
        assert!(text(&refused.stderr).contains("--drop-assigned"), "{}", text(&refused.stderr));
        let import = with_key(&other, home.path(), &["import", name, "--drop-assigned", "--parallel", "1"]);
        assert!(import.status.success(), "{}", text(&import.stderr));
    }
    let (from, to) = (server.list("").await, other.list("").await);
    assert_eq!((from.len(), to.len()), (3, 3), "both files say the same");
    for (from, to) in from.iter().zip(&to) {
        for field in ["customerID", "subject", "status", "ticketPriority"] {
            assert_eq!(from[field], to[field]);
        }
    }
}

#[tokio::test]
async fn an_import_names_every_bad_line_and_field_before_it_sends_any() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let file = "{\"customerID\": 1, \"subject\": \"fine\"}\n{\"customerID\": 0, \"subject\": \"\"}\nnonsense\n\
        {\"customerID\": 1, \"subject\": \"s\", \"colour\": \"red\"}\n";
    std::fs::write(home.path().join("bad.ndjson"), file).unwrap();
    let import = with_key(&server, home.path(), &["import", "bad.ndjson"]);
    assert_eq!(import.status.code(), Some(3));
    for says in [
        "line 2: customerID: must be a whole number",
        "line 2: subject: must not be empty",
        "line 3: line: the body is not a JSON object",
        "line 4: colour: unknown field",
        "3 of 4 lines are refused; nothing was sent",
    ] {
        assert!(text(&import.stderr).contains(says), "{says}: {}", text(&import.stderr));
    }
    let file = "customerID,subject,ticketContent\n1,a,\"two\nlines\"\nx,,\n";
    std::fs::write(home.path().join("bad.csv"), file).unwrap();
    let import = with_key(&server, home.path(), &["import", "bad.csv", "--dry-run"]);
    for says in ["line 4: customerID: must be a number, not a string", "line 4: subject: is required"] {
        assert!(text(&import.stderr).contains(says), "{says}: {}", text(&import.stderr));
    }
    assert!(server.list("").await.is_empty());
    let missing = with_key(&server, home.path(), &["import", "missing.csv"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("cannot read missing.csv"));
}

#[tokio::test]
async fn tickets_are_shown_to_people_and_to_scripts() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let body = serde_json::json!({"customerID": 42, "subject": "Printer \u{1b}[31mon fire", "owner": "ada"});
    let request = http().post(&server.api).bearer_auth(&server.key).json(&body);
    let created: Value = request.send().await.unwrap().json().await.unwrap();
    let show = |arguments: &[&str]| with_key(&server, home.path(), arguments);
    let list = text(&show(&["list"]).stdout).to_owned();
    assert!(list.contains("ID") && list.contains("42") && list.contains("ada"), "{list}");
    assert!(!list.contains('\u{1b}'), "no colour where there is no terminal, and none from a subject");
    assert_eq!(
        serde_json::from_slice::<Value>(&show(&["list", "--json"]).stdout).unwrap(),
        serde_json::json!([created])
    );
    let get = show(&["get", "1"]);
    assert!(text(&get.stdout).contains("customerID            42"), "{}", text(&get.stdout));
    assert_eq!(serde_json::from_slice::<Value>(&show(&["get", "1", "--json"]).stdout).unwrap(), created);
    let none = show(&["get", "2"]);
    assert_eq!(
        (none.status.code(), text(&none.stderr)),
        (Some(4), "error: 404 Not Found: there is no such ticket\n")
    );
    let mut stranger = tickets(home.path(), &["list"]);
    stranger.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", "tk_nonsense");
    let stranger = stranger.output().unwrap();
    assert_eq!(stranger.status.code(), Some(1));
    assert!(text(&stranger.stderr).contains("no key") && !text(&stranger.stderr).contains("tk_nonsense"));
}

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

#[test]
fn shells_get_completions_of_every_command() {
    let home = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(home.path(), &["completions", shell]);
        for command in ["serve", "export", "import", "watch", "keys"] {
            assert!(text(&script.stdout).contains(command), "{command} in {shell}");
        }
    }
}

#[tokio::test]
async fn the_page_of_the_api_has_its_key_for_this_machine_only() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let origin = server.api.split("/backend").next().unwrap();
    let http = http();
    let page = async |host: Option<&str>| {
        let request = http.get(format!("{origin}/docs"));
        let request = host.into_iter().fold(request, |request, host| request.header("host", host));
        request.send().await.unwrap().text().await.unwrap()
    };
    assert!(page(None).await.contains(&server.key));
    // As when a page elsewhere has its name point to this machine.
    assert!(!page(Some("evil.example:3000")).await.contains(&server.key));
    let document: Value =
        http.get(format!("{origin}/openapi.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test]
async fn serve_exports_what_changed_as_the_schedule_does() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "20", "--quiet"]).status.success());
    let _server = Server::start(home.path(), &[&ANY_PORT[..], &["--export-every", "1"]].concat());
    let folder = home.path().join(".tickets/s3/tickets-export/tickets");
    for _ in 0..100 {
        if folder.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("there is no object");
}
