//! Tests of the command `tickets`, started as a person or a script would.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

#[path = "commands/queue.rs"]
mod queue;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use tempfile::TempDir;
use tickets_cli::server::local::{Local, any_port};
use tickets_domain::Clock;
use tickets_repository::schema;

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

/// A server with the key that it printed. It stops at the end of the test.
struct Server {
    child: Child,
    api: String,
    key: String,
}

impl Server {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::of(tickets(directory, arguments))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
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
        self.page(query).await.1
    }

    /// The epoch of a list, and its tickets.
    async fn page(&self, query: &str) -> (String, Vec<Value>) {
        let request = http().get(format!("{}{query}", self.api)).bearer_auth(&self.key);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let epoch = response.headers()["sync-epoch"].to_str().unwrap().to_owned();
        (epoch, response.json().await.unwrap())
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

#[test]
fn keys_are_made_listed_rotated_and_revoked() {
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
        "--limit",
        "600/m",
        "--by",
        "ada",
        "--note",
        "portal",
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let token = text(&made.stdout).trim();
    assert_eq!(token.lines().count(), 1, "the key alone, for scripts");
    let (id, secret) = token.strip_prefix("tk_").unwrap().split_once('_').unwrap();

    let listed = keys(&["list"]);
    let line = text(&listed.stdout).lines().find(|line| line.contains(id)).unwrap().to_owned();
    for word in ["active", "read,write", "42", "600/m", "ada", "portal"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(!text(&listed.stdout).contains(secret));

    let rotated = keys(&["rotate", id, "--old-lasts", "7d"]);
    assert!(rotated.status.success(), "{}", text(&rotated.stderr));
    let (same, other) = text(&rotated.stdout).trim().strip_prefix("tk_").unwrap().split_once('_').unwrap();
    assert!(same == id && other != secret && text(&rotated.stderr).contains("The old secret lasts until 2"));
    let leaked = keys(&["rotate", id, "--old-lasts", "0m"]);
    assert!(text(&leaked.stderr).contains("The old secret ends within 60 s"), "{}", text(&leaked.stderr));

    assert!(keys(&["revoke", id]).status.success());
    assert!(text(&keys(&["rotate", id]).stderr).contains("there is no key"), "what is revoked stays so");
    assert!(text(&keys(&["list"]).stdout).contains("revoked"));
    let unknown = keys(&["revoke", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there is no key nobody"));
}

#[test]
fn a_wrong_command_line_is_explained_with_exit_code_2() {
    let home = TempDir::new().unwrap();
    for (arguments, says) in [
        (&["keys", "create", "--scopes", "admin"][..], "a scope is read, write or delete"),
        (&["keys", "create", "--expires", "soon"], "a number of days like 90d, or never"),
        (&["keys", "create", "--expires", "2020-01-01"], "--expires 2020-01-01T00:00:00.000Z has passed"),
        (&["keys", "create", "--limit", "600/day"], "like 10/s, 600/m or 5000/h"),
        (&["keys", "rotate", "abc", "--old-lasts", "1w"], "minutes, hours or days like 30m, 24h or 7d"),
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

/// Runs a command that calls the API, with the server's address and key.
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
async fn an_export_from_the_api_or_the_table_equals_the_list() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "1500", "--quiet"]).status.success());
    let server = Server::start(home.path(), &ANY_PORT);
    let all = server.list("").await;
    let exported = with_key(&server, home.path(), &["export", "-o", "all.ndjson"]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert!(text(&exported.stderr).contains("exported 1500 tickets; next time: --since 20"));
    assert_eq!(lines(&home.path().join("all.ndjson")), all);
    // Through the table of the running server, which is found by its directory, to standard output.
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
    // As if killed after one and a half pages: the note covers one page.
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
    // The note of a different export is ignored.
    std::fs::write(&note_file, note.to_string().replace("None, customer", "Some(0), customer")).unwrap();
    assert!(run(home.path(), &export).status.success());
    assert_eq!(std::fs::read_to_string(home.path().join("all.ndjson")).unwrap(), whole);
}

#[tokio::test]
async fn an_import_makes_each_line_a_ticket_once_however_often_it_is_repeated() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    // Two equal lines make two tickets. An empty line makes none.
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

    // An exported file can be imported elsewhere, in either format.
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

    // An added line makes one more ticket. A changed line is refused and creates no duplicate.
    std::fs::write(
        home.path().join("in.ndjson"),
        format!("{file}{{\"customerID\": 3, \"subject\": \"more\"}}\n"),
    )
    .unwrap();
    let import = with_key(&server, home.path(), &["import", "in.ndjson"]);
    assert_eq!(text(&import.stderr), "imported 1 tickets, 3 were there from before\n");
    std::fs::write(home.path().join("in.ndjson"), file.replace("other", "changed")).unwrap();
    let import = with_key(&server, home.path(), &["import", "in.ndjson"]);
    assert_eq!(import.status.code(), Some(3));
    assert!(
        text(&import.stderr).contains("line 4: the Idempotency-Key was used before"),
        "{}",
        text(&import.stderr)
    );
    assert_eq!(server.list("").await.len(), 4);
}

#[tokio::test]
async fn an_import_uses_the_presets_of_the_api() {
    let home = TempDir::new().unwrap();
    let mut command = tickets(home.path(), &ANY_PORT);
    command.env("TICKET_STATUSES", "Neu, Erledigt").env("CLOSED_STATUSES", "Erledigt");
    let server = Server::of(command);
    let file = "customerID,subject,status\n1,a,neu\n1,b,open\n";
    std::fs::write(home.path().join("in.csv"), file).unwrap();
    let refused = with_key(&server, home.path(), &["import", "in.csv"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("line 3: status: must be one of Neu, Erledigt"));
    std::fs::write(home.path().join("in.csv"), file.replace("open", "erledigt")).unwrap();
    assert!(with_key(&server, home.path(), &["import", "in.csv"]).status.success());
    assert_eq!(server.list("").await[1]["status"], "Erledigt");
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
        "\nline 3: the body is not a JSON object",
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
    let body = serde_json::json!({"customerID": 42, "subject": "Printer \u{202e}on fire", "owner": "ada"});
    let request = http().post(&server.api).bearer_auth(&server.key).json(&body);
    let created: Value = request.send().await.unwrap().json().await.unwrap();
    let show = |arguments: &[&str]| with_key(&server, home.path(), arguments);
    let list = text(&show(&["list"]).stdout).to_owned();
    assert!(list.contains("ID") && list.contains("42") && list.contains("ada"), "{list}");
    assert!(!list.contains('\u{1b}'), "no colour where there is no terminal");
    assert!(!list.contains('\u{202e}'), "and no turned text from a subject");
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
}

#[tokio::test]
async fn lists_take_names_with_commas_several_owners_and_ids() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    for owner in ["Smith, John", "grace", "ada"] {
        let body = serde_json::json!({"customerID": 42, "subject": "s", "owner": owner});
        let request = http().post(&server.api).bearer_auth(&server.key).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 201);
    }
    for (arguments, expected) in [
        (&["--open", "--owner", "smith, john"][..], vec!["1"]),
        (&["--open", "--owner", "smith, john", "--owner", "Grace "], vec!["1", "2"]),
        (&["--open", "--owner", "grace,ada"], vec![]),
        (&["--status", "open,assigned", "--owner", "ada"], vec!["3"]),
        (&["--status", "open", "--status", "assigned", "--owner", "ada"], vec!["3"]),
        (&["--id", "3,1"], vec!["1", "3"]),
        (&["--id", "3", "--id", "9", "--customer", "42"], vec!["3"]),
    ] {
        let listed = with_key(&server, home.path(), &[&["list", "--json"], arguments].concat());
        let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        let ids: Vec<&str> = listed.iter().map(|ticket| ticket["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{arguments:?}");
    }
}

/// The answers of an API that has these pages, each with a `Link` if there are more.
fn linked(pages: &[&str]) -> Vec<String> {
    let page = |(number, page): (usize, &&str)| {
        let link =
            format!("\r\nLink: </backend/api/v1/tickets/?continuation=w&idAfter={number}000>; rel=\"next\"");
        made_up(&format!("200 OK{}", if number < pages.len() { &*link } else { "" }), page)
    };
    (1..).zip(pages).map(page).collect()
}

#[test]
fn a_page_without_tickets_that_has_a_link_is_not_the_end() {
    const TICKET: &str = r#"[{"id":"2500","customerID":1,"subject":"s","status":"open","createdDate":"2026-11-23T17:42:07.123Z","updatedDate":"2026-11-23T17:42:07.123Z"}]"#;
    let home = TempDir::new().unwrap();
    let key = format!("tk_{}_{}", "a".repeat(16), "0".repeat(64));
    let tell = |pages: &[&str], arguments: &[&str]| {
        let (api, asked) = answering(linked(pages));
        let mut command = tickets(home.path(), arguments);
        let told = command
            .env("TICKETS_API", format!("{api}/backend/api/v1"))
            .env("TICKETS_KEY", &key)
            .output()
            .unwrap();
        assert!(told.status.success(), "{}", text(&told.stderr));
        let (out, note) = (text(&told.stdout).to_owned(), text(&told.stderr).to_owned());
        let asked = asked.lock().unwrap().clone();
        (out, note, asked)
    };
    let queue = ["list", "--open", "--owner", "grace"];
    let (listed, _, asked) = tell(&["[]", "[]", TICKET], &queue);
    assert!(listed.contains("2500"), "{listed}");
    assert!(asked[0].contains("idAfter=0") && asked[1].contains("idAfter=1000"), "{asked:?}");
    assert!(asked[2].contains("continuation=w") && asked[2].contains("idAfter=2000"), "{asked:?}");
    assert!(
        asked.iter().all(|asked| asked.contains("owner=grace") && asked.contains("limit=50")),
        "{asked:?}"
    );
    let (_, note, asked) = tell(&["[]", TICKET, "[]"], &[&queue[..], &["--limit", "1"]].concat());
    assert_eq!((note.as_str(), asked.len()), ("there are more: --id-after 2000\n", 2), "enough is enough");
    let (exported, _, asked) = tell(&["[]", TICKET], &["export", "--quiet"]);
    assert!(exported.contains("2500") && asked[1].contains("idAfter=1000"), "{asked:?}");
}

#[tokio::test]
async fn tickets_are_created_updated_and_deleted_without_curl() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let tell = |arguments: &[&str]| with_key(&server, home.path(), arguments);
    let json = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    std::fs::write(home.path().join("content.txt"), "We were charged twice.\nIn October.\n").unwrap();
    let created = tell(&[
        "create",
        "--customer=42",
        "--subject=Invoice 2026-118 is wrong",
        "--type=billing",
        "--priority=HIGH",
        "--owner=grace",
        "--email=ada@example.com",
        "--content-file=content.txt",
        "--users=ada",
        "--departments=accounting",
        "--suppliers=Acme",
        "--followup=2026-12-01",
        "--action=2026-12-02T09:00:00Z",
        "--json",
    ]);
    assert!(created.status.success(), "{}", text(&created.stderr));
    let ticket = json(&created);
    for (field, value) in [
        ("id", "1"),
        ("subject", "Invoice 2026-118 is wrong"),
        ("ticketType", "billing"),
        ("ticketPriority", "high"),
        ("status", "open"),
        ("owner", "grace"),
        ("customerEmail", "ada@example.com"),
        ("ticketContent", "We were charged twice.\nIn October.\n"),
        ("users", "ada"),
        ("departments", "accounting"),
        ("ticketSuppliers", "Acme"),
        ("ticketFollowupDate", "2026-12-01"),
        ("ticketActionRequired", "2026-12-02T09:00:00.000Z"),
    ] {
        assert_eq!(ticket[field], value, "{field}");
    }
    assert_eq!(ticket["customerID"], 42);

    let tomorrow =
        json(&tell(&["update", "1", "--followup", "tomorrow", "--json"]))["ticketFollowupDate"].clone();
    assert_eq!(tomorrow.as_str().unwrap().len(), 10, "a date: {tomorrow}");
    // The output for people has the version that --if-match takes.
    let shown =
        tell(&["update", "1", "--status", "assigned", "--clear", "followup,action", "--clear", "content"]);
    let shown = text(&shown.stdout);
    for line in ["status                assigned", "owner                 grace", "version               3-"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains("ticketFollowupDate") && !shown.contains("ticketContent"), "{shown}");
    let mut piped =
        tickets(home.path(), &["update", "1", "--content-file", "-", "--customer", "7", "--json"]);
    piped.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", &server.key);
    piped.stdin(std::fs::File::open(home.path().join("content.txt")).unwrap());
    let piped = json(&piped.output().unwrap());
    assert_eq!((&piped["ticketContent"], &piped["customerID"]), (&ticket["ticketContent"], &Value::from(7)));

    // A change with an older version is refused; one with the current version is not.
    let third = version(shown);
    for stale in
        [&["update", "1", "--owner", "ada", "--if-match", &third][..], &["delete", "1", "--if-match", &third]]
    {
        let stale = tell(stale);
        assert_eq!(stale.status.code(), Some(1));
        assert!(text(&stale.stderr).contains("412 Precondition Failed"), "{}", text(&stale.stderr));
    }
    let fourth = version(text(&tell(&["get", "1"]).stdout));
    assert!(fourth.starts_with("4-"), "{fourth}");
    assert!(
        tell(&["update", "1", "--owner", "ada", "--if-match", &format!("\"{fourth}\"")]).status.success()
    );
    // Without a terminal there is no question.
    let deleted = tell(&["delete", "1"]);
    assert_eq!((text(&deleted.stdout), text(&deleted.stderr)), ("deleted ticket 1\n", ""));
    for gone in [&["delete", "1", "--yes"][..], &["update", "1", "--owner", "ada"]] {
        assert_eq!(tell(gone).status.code(), Some(4));
    }
    assert!(server.list("").await.is_empty());
}

#[tokio::test]
async fn a_create_that_is_repeated_with_its_idempotency_key_makes_one_ticket() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let create = ["create", "--customer", "42", "--subject", "same"];
    let named = [&create[..], &["--idempotency-key", "mine", "--json"]].concat();
    let first = with_key(&server, home.path(), &named);
    let again = with_key(&server, home.path(), &named);
    assert_eq!(text(&first.stdout), text(&again.stdout));
    assert_eq!(text(&first.stderr), "");
    assert!(text(&again.stderr).contains("an earlier request with this idempotency key"));
    // Without a key, two commands make two tickets.
    for _ in 0..2 {
        assert!(with_key(&server, home.path(), &create).status.success());
    }
    assert_eq!(server.list("").await.len(), 3);

    // If the outcome is unknown, the message says how to repeat the command.
    drop(server);
    let mut lost = tickets(home.path(), &create);
    lost.env("TICKETS_API", "http://127.0.0.1:9/backend/api/v1")
        .env("TICKETS_KEY", format!("tk_a_{}", "0".repeat(64)));
    let lost = lost.output().unwrap();
    assert_eq!(lost.status.code(), Some(1));
    let says = text(&lost.stderr);
    assert!(says.contains("cannot reach") && says.contains("add --idempotency-key cli-"), "{says}");
}

#[tokio::test]
async fn a_refused_write_names_every_field_and_one_that_says_nothing_is_explained() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let tell = |arguments: &[&str]| with_key(&server, home.path(), arguments);
    let refused = tell(&[
        "create",
        "--customer=42",
        "--subject=",
        "--type=\u{1b}[31mred",
        "--email=ada",
        "--followup=soon",
    ]);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), ""));
    let says = text(&refused.stderr);
    for line in [
        "error: 422 Unprocessable Entity: the ticket has invalid fields",
        "\n  subject: must not be empty",
        "\n  ticketType: must be one of sales, billing, support",
        "\n  customerEmail: must be an email address",
        "\n  ticketFollowupDate: must be",
    ] {
        assert!(says.contains(line), "{line}: {says}");
    }
    assert!(server.list("").await.is_empty());
    for (arguments, says) in [
        (&["create", "--subject", "a"][..], "--customer"),
        (&["create", "--customer", "0", "--subject", "a"], "whole number from 1"),
        (&["update", "1"], "nothing to update: say a field, or --clear FIELD"),
        (&["update", "1", "--owner", "ada", "--clear", "owner"], "owner is both given and cleared"),
        (&["update", "1", "--clear", "subject"], "possible values: type, status"),
        (&["update", "1", "--content", "a", "--content-file", "b"], "cannot be used with"),
        (&["update", "1", "--owner", "ada", "--if-match", "3"], "must be a version as the API gives it"),
        (&["delete", "first"], "whole number from 1"),
    ] {
        let output = tell(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
    let missing = tell(&["update", "1", "--content-file", "missing.txt"]);
    assert!(text(&missing.stderr).contains("cannot read missing.txt"), "{}", text(&missing.stderr));
}

/// The version in what is printed of a ticket.
fn version(shown: &str) -> String {
    let line =
        shown.lines().find_map(|line| line.strip_prefix("version")).unwrap_or_else(|| panic!("{shown}"));
    line.trim().to_owned()
}

/// The address of a proxy of `server` that cuts every other connection, the first included, before its
/// answer.
fn losing_answers(server: &Server) -> String {
    let upstream = server.api.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let (mut connection, mut server) = (connection.unwrap(), TcpStream::connect(&upstream).unwrap());
            let (mut from, mut to) = (connection.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            if number % 2 == 0 {
                // The answer has arrived, so the request has taken effect.
                assert!(server.read(&mut [0; 1000]).unwrap() > 0);
                connection.shutdown(Shutdown::Both).unwrap();
            } else {
                std::thread::spawn(move || std::io::copy(&mut server, &mut connection));
            }
        }
    });
    format!("http://{address}/backend/api/v1")
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_repeated_and_takes_effect_once() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let api = losing_answers(&server);
    let tell = |arguments: &[&str]| {
        let mut command = tickets(home.path(), arguments);
        command.env("TICKETS_API", &api).env("TICKETS_KEY", &server.key).output().unwrap()
    };
    let created = tell(&["create", "--customer", "42", "--subject", "once"]);
    assert!(created.status.success(), "{}", text(&created.stderr));
    assert!(text(&created.stderr).contains("an earlier request with this idempotency key created it"));
    assert_eq!(server.list("").await.len(), 1);
    let updated = tell(&["update", "1", "--owner", "grace"]);
    assert!(text(&updated.stdout).contains("version               2-"), "{}", text(&updated.stderr));
    // The second attempt finds another version, because the first took effect.
    let second = version(text(&updated.stdout));
    let doubtful = tell(&["update", "1", "--owner", "ada", "--if-match", &second]);
    assert_eq!(doubtful.status.code(), Some(1));
    assert!(text(&doubtful.stderr).contains("perhaps by this very change"), "{}", text(&doubtful.stderr));
    assert_eq!(server.list("").await[0]["owner"], "ada");
    // The second attempt finds no ticket, because the first took effect.
    let deleted = tell(&["delete", "1"]);
    assert_eq!((text(&deleted.stdout), text(&deleted.stderr)), ("deleted ticket 1\n", ""));
}

#[tokio::test]
async fn mcp_speaks_nothing_but_its_protocol_and_ends_with_its_input() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let mut command = tickets(home.path(), &["mcp", "--read-only"]);
    command.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", &server.key);
    let mut agent = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let hello = serde_json::json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    });
    let mut stdin = agent.stdin.take().unwrap();
    for message in [
        serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        serde_json::json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        serde_json::json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
    ] {
        writeln!(stdin, "{message}").unwrap();
    }
    drop(stdin);
    let output = agent.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [hello, tools] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(
        (&hello["id"], &hello["result"]["serverInfo"]["name"]),
        (&Value::from(1), &Value::from("tickets"))
    );
    let tools =
        tools["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap());
    assert_eq!(tools.collect::<Vec<_>>(), READING);
}

#[tokio::test]
async fn the_api_is_found_however_its_address_is_given() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let host = server.api.strip_suffix("/backend/api/v1/tickets/").unwrap();
    let get = |api: &str| {
        let mut get = tickets(home.path(), &["get", "1"]);
        get.env("TICKETS_API", api).env("TICKETS_KEY", &server.key).output().unwrap()
    };
    let base = format!("{host}/backend/api/v1");
    for api in [server.api.as_str(), host, &format!("{host}/"), &base, &format!("{base}/")] {
        let none = get(api);
        assert_eq!(
            (none.status.code(), text(&none.stderr)),
            (Some(4), "error: 404 Not Found: there is no such ticket\n"),
            "{api}"
        );
    }
    let elsewhere = get(&format!("{host}/api"));
    assert_eq!(elsewhere.status.code(), Some(1), "that a path is missing says nothing of the ticket");
    let says = text(&elsewhere.stderr);
    assert!(says.ends_with(&format!("there is no such path: {host}/api/tickets/1\n")), "{says}");
    for api in [host.strip_prefix("http://").unwrap(), "localhost:3000", ""] {
        let refused = get(api);
        assert_eq!(refused.status.code(), Some(2), "{api}");
        assert!(text(&refused.stderr).contains("must begin with http:// or https://"), "{api}");
    }
}

#[test]
fn what_is_no_key_is_said_to_be_none_and_not_shown() {
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("key"), "tk_nonsense\n").unwrap();
    let given = tickets(home.path(), &["list"]).env("TICKETS_KEY", "tk_nonsense").output().unwrap();
    let kept = run(home.path(), &["list", "--key-file", "key"]);
    let missing = run(home.path(), &["list"]);
    for (output, says) in [
        (given, "TICKETS_KEY is not a key: "),
        (kept, "what key holds is not a key: "),
        (missing, "no key: set TICKETS_KEY, or --key-file"),
    ] {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).starts_with(&format!("error: {says}")), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("nonsense"));
    }
}

#[tokio::test]
async fn a_refused_list_is_explained_by_its_flags() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let refused = with_key(&server, home.path(), &["list", "--due", "today", "--type", "support"]);
    assert_eq!(refused.status.code(), Some(1));
    let says = text(&refused.stderr);
    for words in ["\n  --due: needs --open beside it", "\n  --type: ", "--created-since or --since"] {
        assert!(says.contains(words), "{words}: {says}");
    }
    for name in ["followupUntil", "ticketType", "createdSince", "updatedSince", "open=true"] {
        assert!(!says.contains(name), "{name}: {says}");
    }
}

/// The answer of a made-up API.
fn made_up(status_and_headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status_and_headers}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// The address of a made-up API that gives these answers, the last one from then on; and the first line of each
/// request.
fn answering(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let requests = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, mut head) = (connection.unwrap(), [0; 10_000]);
            let length = connection.read(&mut head).unwrap();
            let count = {
                let mut requests = requests.lock().unwrap();
                requests.push(text(&head[..length]).lines().next().unwrap().to_owned());
                requests.len()
            };
            connection.write_all(answers[count.min(answers.len()) - 1].as_bytes()).unwrap();
        }
    });
    (format!("http://{address}"), asked)
}

const LIMITED: &str = r#"{"type":"urn:tickets:problem:rate-limited","title":"Too many requests","status":429,"detail":"the key may make no more requests"}"#;

/// A command for the API at an address, with a made-up key.
fn at(api: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = tickets(directory, arguments);
    command.env("TICKETS_API", api).env("TICKETS_KEY", format!("tk_a_{}", "0".repeat(64)));
    command
}

#[test]
fn a_command_waits_as_long_as_the_api_asks_and_says_so_if_that_is_long() {
    let home = TempDir::new().unwrap();
    let limited =
        |seconds: &str| made_up(&format!("429 Too Many Requests\r\nRetry-After: {seconds}"), LIMITED);
    let (api, given) = answering(vec![limited("1"), limited("1"), made_up("200 OK", "[]")]);
    let began = Instant::now();
    let listed = at(&api, home.path(), &["list", "--json"]).output().unwrap();
    assert_eq!((text(&listed.stdout), text(&listed.stderr)), ("[]\n", ""));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(given.lock().unwrap().len(), 3);

    let (api, _) = answering(vec![limited("3600")]);
    let mut command = at(&api, home.path(), &["list"]);
    let mut waiting = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut note = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut note).unwrap();
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert_eq!(note, "waiting 3601 s, as the API asks: 429 Too Many Requests\n");

    for seconds in ["3601", "18446744073709551615"] {
        let (api, given) = answering(vec![limited(seconds)]);
        let refused = at(&api, home.path(), &["list"]).output().unwrap();
        let says = format!(
            "error: 429 Too Many Requests: the key may make no more requests (Retry-After: {seconds} s)\n"
        );
        assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(1), says.as_str()));
        assert_eq!(given.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let home = TempDir::new().unwrap();
    let (elsewhere, asked) = answering(vec![made_up("200 OK", "[]")]);
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (api, _) = answering(vec![made_up(&format!("{status}\r\nLocation: {elsewhere}/"), "")]);
        for arguments in [&["list"][..], &["create", "--customer=1", "--subject=secret"]] {
            let refused = at(&api, home.path(), arguments).output().unwrap();
            let says = format!("it says {status}, and to go to {elsewhere}/");
            assert_eq!(refused.status.code(), Some(1));
            assert!(text(&refused.stderr).contains(&says), "{}", text(&refused.stderr));
        }
    }
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn the_local_server_is_not_asked_for_through_a_proxy() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let (proxy, asked) = answering(vec![made_up("200 OK", "[]")]);
    let list = |api: &str| {
        let mut list = tickets(home.path(), &["list", "--json"]);
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            list.env(name, &proxy);
        }
        list.env_remove("no_proxy").env_remove("NO_PROXY");
        list.env("TICKETS_API", api).env("TICKETS_KEY", &server.key).output().unwrap()
    };
    assert!(list(&server.api).status.success());
    assert_eq!(asked.lock().unwrap().len(), 0);
    assert!(list("http://tickets.example").status.success(), "another host is");
    assert_eq!(asked.lock().unwrap().len(), 1);
}

/// An agent that has begun a session with `tickets mcp`.
struct Agent {
    child: Child,
    stdin: std::process::ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// The methods of the notifications so far.
    notified: Vec<String>,
}

impl Agent {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut agent = Self { stdin: child.stdin.take().unwrap(), child, lines, notified: Vec::new() };
        let hello = serde_json::json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        });
        agent.ask("initialize", hello);
        writeln!(agent.stdin, r#"{{"jsonrpc": "2.0", "method": "notifications/initialized"}}"#).unwrap();
        agent
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let message = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.stdin, "{message}").unwrap();
        loop {
            let message: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
            match message["method"].as_str() {
                Some(notification) => self.notified.push(notification.to_owned()),
                None => return message["result"].clone(),
            }
        }
    }

    fn tools(&mut self) -> Vec<String> {
        let tools = self.ask("tools/list", serde_json::json!({}));
        let tools = tools["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The text of a tool's result, which is all there is of it; `Err` if it is an error.
    fn call(&mut self, tool: &str, arguments: Value) -> Result<String, String> {
        let result = self.ask("tools/call", serde_json::json!({"name": tool, "arguments": arguments}));
        assert!(
            result.get("structuredContent").is_none() && result["content"].as_array().unwrap().len() == 1
        );
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.len() <= 40_000, "{} bytes", text.len());
        if result["isError"] == true { Err(text) } else { Ok(text) }
    }

    fn get(&mut self, tool: &str, arguments: Value) -> Value {
        serde_json::from_str(&self.call(tool, arguments).unwrap()).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const READING: [&str; 7] = [
    "list_tickets",
    "count_tickets",
    "get_ticket",
    "get_tickets",
    "get_ticket_history",
    "list_events",
    "get_ticket_configuration",
];

#[test]
fn an_agent_gets_a_refusal_for_its_limit_at_once() {
    let home = TempDir::new().unwrap();
    let (api, _) = answering(vec![made_up("429 Too Many Requests\r\nRetry-After: 3600", LIMITED)]);
    let began = Instant::now();
    let mut agent = Agent::start(at(&api, home.path(), &["mcp"]));
    let refused = agent.call("get_ticket", serde_json::json!({"id": "1"})).unwrap_err();
    assert!(refused.starts_with("429 Too Many Requests: the key may make no more requests"), "{refused}");
    assert!(refused.ends_with("(Retry-After: 3600 s)"), "{refused}");
    assert_eq!(agent.tools(), READING, "which tools the key may use is not known");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_agent_is_told_when_it_becomes_known_which_tools_its_key_may_use() {
    let home = TempDir::new().unwrap();
    let first = Server::start(home.path(), &ANY_PORT);
    let (api, key) = (first.api.clone(), first.key.clone());
    drop(first);
    let mut command = tickets(home.path(), &["mcp"]);
    command.env("TICKETS_API", &api).env("TICKETS_KEY", key);
    let mut agent = Agent::start(command);
    assert_eq!(agent.tools(), READING);
    let address = api.split('/').nth(2).unwrap();
    let _server = Server::start(home.path(), &["serve", "--quiet", "--listen", address]);
    agent.call("list_tickets", serde_json::json!({})).unwrap();
    let changing = ["create_ticket", "update_ticket", "update_tickets", "delete_ticket"];
    assert_eq!(agent.tools()[READING.len()..], changing);
    assert_eq!(agent.notified, ["notifications/tools/list_changed"]);
}

#[tokio::test]
async fn every_result_fits_an_agent_and_nothing_is_lost_by_that() {
    let home = TempDir::new().unwrap();
    let mut command = tickets(home.path(), &ANY_PORT);
    command.env("SETTLE_SECONDS", "4"); // The least that can be configured
    let server = Server::of(command);
    let http = http();
    let content = "The invoice says \"3 €\".\n".repeat(9000);
    let ticket = serde_json::json!({
        "customerID": 1, "subject": "s".repeat(500), "users": "u".repeat(4096), "owner": "ü".repeat(2048),
    });
    let post = async |body: &Value| {
        let request = http.post(&server.api).bearer_auth(&server.key).json(body);
        assert!(request.send().await.unwrap().status().is_success());
    };
    post(&Value::from(vec![ticket.clone(); 99])).await;
    let mut long = ticket.clone();
    long["ticketContent"] = content.as_str().into();
    post(&long).await;
    let mut command = tickets(home.path(), &["mcp"]);
    command.env("TICKETS_API", &server.api).env("TICKETS_KEY", &server.key);
    let mut agent = Agent::start(command);

    let (mut whole, mut parts, mut next) = (String::new(), 0, serde_json::json!({"id": "100"}));
    while !next.is_null() {
        let part = agent.get("get_ticket", next);
        whole += part["ticket"]["ticketContent"].as_str().unwrap();
        assert!(part["version"].as_str().unwrap().starts_with("1-"), "{part}");
        assert_eq!(
            part["ticket"]["users"] == ticket["users"],
            parts == 0,
            "only the first part has the rest"
        );
        let shown = part["note"].as_str().is_some_and(|note| note.starts_with("ticketContent is cut after"));
        assert_eq!(shown, !part["next"].is_null());
        (parts, next) = (parts + 1, part["next"].clone());
    }
    assert!(whole == content && parts > 5, "{parts} parts of {} characters", whole.chars().count());

    let (mut ids, mut pages, mut next) =
        (Vec::new(), 0, serde_json::json!({"limit": 50, "updatedSince": "2020-01-01"}));
    while !next.is_null() {
        let page = agent.get("list_tickets", next);
        ids.extend(page["tickets"].as_array().unwrap().iter().map(|ticket| ticket["id"].clone()));
        (pages, next) = (pages + 1, page["next"].clone());
    }
    assert_eq!(ids, (1..=100).map(|id: u64| Value::from(id.to_string())).collect::<Vec<_>>());
    assert!(pages > 2, "fewer than asked for fit a page: {pages}");

    let (mut told, mut short, mut next) =
        (BTreeSet::new(), 0, serde_json::json!({"limit": 50, "type": ["ticket.created"]}));
    // Events are listed once they have settled.
    for _ in 0..200 {
        let page = agent.get("list_events", next.clone());
        let events = page["events"].as_array().unwrap();
        for event in events {
            assert!(told.insert(event["ticket"].as_str().unwrap().to_owned()), "{event} comes twice");
        }
        short += usize::from(page["next"].is_object() && events.len() < 50);
        match (&page["next"], events.last()) {
            (Value::Object(_), _) => next = page["next"].clone(),
            (_, Some(last)) => next["after"] = last["id"].clone(),
            (_, None) => {}
        }
        if told.len() == 100 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(told.len() == 100 && short > 0, "{} events, {short} pages of fewer than asked for", told.len());

    let patched = serde_json::json!({"id": "100", "owner": "o", "ticketContent": format!("{content}!")});
    let changed = agent.get("update_ticket", patched);
    assert!(changed["ticket"]["ticketContent"].as_str().unwrap().ends_with("… (cut)"));
    for (arguments, says) in [
        (serde_json::json!({"id": "100", "field": "owners"}), "field: the ticket has no such text"),
        (serde_json::json!({"id": "100", "field": "customerID"}), "field: the ticket has no such text"),
        (serde_json::json!({"id": "100", "after": 5}), "after: needs `field`"),
        (serde_json::json!({"id": "100", "field": "owner", "after": -1}), "after: must be a whole number"),
        (serde_json::json!({"id": "100", "x".repeat(100_000): 5}), "unknown argument"),
    ] {
        let refused = agent.call("get_ticket", arguments).unwrap_err();
        assert!(refused.contains(says) || refused.ends_with("… (cut)"), "{says}: {refused}");
    }
}

#[tokio::test]
async fn a_filter_s_name_is_never_read_as_more_of_the_query() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let mut command = tickets(home.path(), &["mcp"]);
    command.env("TICKETS_API", &server.api).env("TICKETS_KEY", &server.key);
    let mut agent = Agent::start(command);
    for name in ["#", "includeDeleted=true&idAfter", "limit=1#", "a b", "", "é"] {
        let arguments = serde_json::json!({name: "", "open": true, "owner": "nobody"});
        let refused = agent.call("list_tickets", arguments).unwrap_err();
        assert!(refused.contains(&format!("\n  {name}: unknown parameter")), "{name}: {refused}");
    }
}

/// What the tool `create_ticket` answers, called with the same arguments before and after `meanwhile`.
async fn created_twice(home: &Path, server: &Server, key: &str, meanwhile: impl AsyncFn(&str)) -> [Value; 2] {
    let mut command = tickets(home, &["mcp"]);
    command.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", key);
    let mut agent = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (agent.stdin.take().unwrap(), agent.stdout.take().unwrap());
    let mut answers = BufReader::new(stdout).lines();
    let hello = serde_json::json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    });
    let request = |id: u8, method: &str, params: &Value| serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    writeln!(stdin, "{}", request(1, "initialize", &hello)).unwrap();
    answers.next().unwrap().unwrap();
    writeln!(stdin, "{}", serde_json::json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .unwrap();
    let create =
        serde_json::json!({"name": "create_ticket", "arguments": {"customerID": 1, "subject": "once"}});
    let mut call = |id: u8| {
        writeln!(stdin, "{}", request(id, "tools/call", &create)).unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        serde_json::from_str::<Value>(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
    };
    let first = call(2);
    meanwhile(first["ticket"]["id"].as_str().unwrap()).await;
    let second = call(3);
    drop(stdin);
    agent.wait().unwrap();
    [first, second]
}

#[tokio::test]
async fn mcp_shows_a_ticket_that_was_created_before_as_it_is_now() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let ticket = |id: &str| format!("{}{id}", server.api);
    let close = async |id: &str| {
        let patch =
            http().patch(ticket(id)).bearer_auth(&server.key).json(&serde_json::json!({"status": "closed"}));
        assert_eq!(patch.send().await.unwrap().status(), 200);
    };
    let [first, second] = created_twice(home.path(), &server, &server.key, close).await;
    assert_eq!((&first["created"], &first["ticket"]["status"]), (&true.into(), &"open".into()));
    assert_eq!((&second["created"], &second["ticket"]["status"]), (&false.into(), &"closed".into()));
    assert_eq!(second["ticket"]["id"], first["ticket"]["id"]);
    assert!(first["version"].as_str().unwrap().starts_with("1-"), "{first}");
    assert!(second["version"].as_str().unwrap().starts_with("2-"), "{second}");

    let delete = async |id: &str| {
        let delete = http().delete(ticket(id)).bearer_auth(&server.key);
        assert_eq!(delete.send().await.unwrap().status(), 204);
    };
    let [_, gone] = created_twice(home.path(), &server, &server.key, delete).await;
    assert_eq!((&gone["created"], gone.get("ticket")), (&false.into(), None));
    assert!(gone["gone"].as_str().unwrap().contains("has been deleted since"), "{gone}");

    let made = run(home.path(), &["keys", "create", "--scopes", "write", "--data", ".tickets"]);
    let [_, unread] = created_twice(home.path(), &server, text(&made.stdout).trim(), close).await;
    assert_eq!((&unread["created"], &unread["ticket"]["status"]), (&false.into(), &"open".into()));
    assert!(unread["note"].as_str().unwrap().contains("as it was created"), "{unread}");
    assert!(unread.get("version").is_none(), "{unread}");
}

#[tokio::test]
async fn no_text_of_a_ticket_acts_on_a_terminal() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let evil = "\u{1b}[2J\u{9b}31m\u{202e}evil\u{7}";
    // A text of one line has no control characters, but may turn the direction.
    let line = "\u{202e}evil";
    let body = serde_json::json!({"customerID": 1, "subject": line, "owner": line, "users": evil, "ticketContent": evil});
    let request = http().post(&server.api).bearer_auth(&server.key).json(&body);
    assert_eq!(request.send().await.unwrap().status(), 201);
    let refused = format!("--type={evil}");
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["get", "1"],
        &["get", "1", "--json"],
        &["update", "1", "--status", "assigned"],
        &["update", "1", "--status", "closed", "--json"],
        &["update", "1", &refused],
    ] {
        let output = with_key(&server, home.path(), arguments);
        for bytes in [&output.stdout, &output.stderr] {
            let acts =
                |character: char| matches!(character, '\u{202a}'..='\u{202e}') || character.is_control();
            assert!(!text(bytes).chars().any(|c| acts(c) && c != '\n'), "{arguments:?}: {:?}", text(bytes));
        }
    }
    // The JSON for scripts has the original text.
    let json = with_key(&server, home.path(), &["get", "1", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["subject"], &json["users"]), (&Value::from(line), &Value::from(evil)));
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

#[test]
fn shells_get_completions_of_every_command() {
    let home = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(home.path(), &["completions", shell]);
        for command in ["serve", "create", "update", "delete", "export", "history", "import", "watch", "keys"]
        {
            assert!(text(&script.stdout).contains(command), "{command} in {shell}");
        }
    }
}

#[tokio::test]
async fn serve_exports_what_changed_as_the_schedule_does() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "20", "--quiet"]).status.success());
    let _server = Server::start(home.path(), &[&ANY_PORT[..], &["--export-every", "1"]].concat());
    let folder = home.path().join(".tickets/exports/tickets");
    for _ in 0..100 {
        if folder.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("there is no object");
}

#[tokio::test]
async fn without_a_command_the_arguments_are_those_of_serve() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &["--quiet", "--listen", "127.0.0.1:0"]);
    assert!(server.list("").await.is_empty());
    let both = run(home.path(), &["--quiet", "keys", "list"]);
    assert_eq!(both.status.code(), Some(2), "serve's arguments before another command");
}

#[tokio::test]
async fn keys_prefers_the_local_data_and_seed_says_where_it_writes() {
    let home = TempDir::new().unwrap();
    let seeded = run(home.path(), &["seed", "3", "--quiet"]);
    assert!(text(&seeded.stdout).contains("they are in .tickets, which no server has open"));
    let server = Server::start(home.path(), &ANY_PORT);
    let seeded = run(home.path(), &["seed", "3", "--quiet"]);
    assert!(text(&seeded.stdout).contains("they are in .tickets, which a server has open"));
    let keys = run(home.path(), &["keys", "list"]);
    assert!(keys.status.success(), "{}", text(&keys.stderr));
    assert!(text(&keys.stdout).contains(server.key.split('_').nth(1).unwrap()));
    // A deployment's table is not searched for in the local directory.
    let mut elsewhere = tickets(home.path(), &["keys", "list", "--api-keys-table", "stack-ApiKeys-1"]);
    let elsewhere = elsewhere.env("AWS_CONFIG_FILE", "/nowhere").env_remove("AWS_REGION").output().unwrap();
    assert!(!elsewhere.status.success() && elsewhere.stdout.is_empty());
}

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
    assert_eq!(text(&dry.stderr), "2 lines are fine; nothing was written\n");
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
    for says in ["line 2: id: 10 is taken by another ticket", "1 of 2 lines are refused; nothing was sent"] {
        assert!(text(&taken.stderr).contains(says), "{says}: {}", text(&taken.stderr));
    }
    assert_eq!(server.list("?includeDeleted=true").await.len(), 3);
    let without = run(home.path(), &["import", "old.csv", "--table"]);
    assert_eq!(without.status.code(), Some(2), "--table needs --keep-ids");
}

#[test]
fn a_file_is_read_in_whatever_form_it_comes_or_refused_with_the_reason() {
    let home = TempDir::new().unwrap();
    let directory = home.path();
    let dry = |name: &str, more: &[&str]| {
        let import = run(directory, &[&["import", name, "--dry-run"], more].concat());
        text(&import.stderr).to_owned()
    };
    let semicolons = "customerID;subject;users\r\n1;a;\"a;\r\nb\"\r\n2;c;d\r\n";
    let wide: Vec<u8> =
        "\u{feff}".encode_utf16().chain(semicolons.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [
        ("a.csv", semicolons.as_bytes()),
        ("wide.csv", &wide),
        ("marked.csv", "\u{feff}customerID\tsubject\n1\ta\n2\tb".as_bytes()),
        (
            "array.json",
            b"[{\"customerID\": 1, \"subject\": \"a\"},\n{\"customerID\": 2, \"subject\": \"b\"}]",
        ),
        ("lines.json", b"{\"customerID\": 1, \"subject\": \"a\"}\n{\"customerID\": 2, \"subject\": \"b\"}"),
    ] {
        std::fs::write(directory.join(name), bytes).unwrap();
        assert!(
            dry(name, &[]).ends_with("\n2 lines are fine; nothing was sent\n"),
            "{name}: {}",
            dry(name, &[])
        );
        // Standard input has no file name to tell the format.
        let stdin = std::fs::File::open(directory.join(name)).unwrap();
        let piped = tickets(directory, &["import", "-", "--dry-run"]).stdin(stdin).output().unwrap();
        assert!(text(&piped.stderr).ends_with("\n2 lines are fine; nothing was sent\n"), "{name}");
    }
    std::fs::write(directory.join("bars.csv"), "customerID|subject\n1|a\n").unwrap();
    assert!(dry("bars.csv", &["--delimiter", "|"]).ends_with("\n1 lines are fine; nothing was sent\n"));
    std::fs::write(directory.join("book.csv"), "PK\u{3}\u{4}").unwrap();
    assert!(dry("book.csv", &[]).contains("cannot read book.csv: it is a spreadsheet"));
    std::fs::write(directory.join("latin.csv"), b"customerID,subject\r\n1,ok\r\n1,Gr\xfc\xdfe\r\n").unwrap();
    assert!(dry("latin.csv", &[]).contains("line 3: is not UTF-8"), "{}", dry("latin.csv", &[]));
}

#[test]
fn what_is_wrong_everywhere_is_said_once_and_of_many_messages_a_hundred() {
    let home = TempDir::new().unwrap();
    let dry = |name: &str, more: &[&str]| run(home.path(), &[&["import", name, "--dry-run"], more].concat());
    let rows: String = (0..300).map(|n| format!("{n},s,x\n")).collect();
    std::fs::write(home.path().join("many.csv"), format!("customerID,subject,Brand\n{rows}")).unwrap();
    let refused = dry("many.csv", &[]);
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(text(&refused.stderr).matches("Brand").count(), 1, "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("no field for the columns Brand (on 300 lines); --map FILE"));

    let map = "[fields]\ncustomerID = { column = \"customerID\" }\nsubject = { column = \"subject\" }\n\
        status = { column = \"Brand\" }\n";
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let refused = dry("many.csv", &["--map", "map.toml"]);
    let said = text(&refused.stderr);
    assert!(said.contains("line 3: status: must be one of open, assigned, resolved, closed"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("line ")).count(), 100);
    // Two messages for the first line: there is no customer 0.
    assert!(
        said.contains("\n201 more messages\n") && said.contains("300 of 300 lines are refused"),
        "{said}"
    );
    let map = map.replace("\"Brand\" }", "\"Brand\", otherwise = \"closed\" }");
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let refused = dry("many.csv", &["--map", "map.toml"]);
    assert!(text(&refused.stderr).contains("status: replaced by the map's `otherwise` on 300 lines"));
    assert!(text(&refused.stderr).contains("1 of 300 lines are refused"));
    std::fs::write(home.path().join("map.toml"), "[fields]\nsubjct = { column = \"subject\" }\n").unwrap();
    let refused = dry("many.csv", &["--map", "map.toml"]);
    assert!(text(&refused.stderr).contains("map.toml: fields.subjct: unknown field; did you mean subject?"));
}

/// Writes a file and checks it. Returns the exit code and what is said.
fn dry(directory: &Path, name: &str, content: impl AsRef<[u8]>, more: &[&str]) -> (Option<i32>, String) {
    std::fs::write(directory.join(name), content).unwrap();
    let import = run(directory, &[&["import", name, "--dry-run"], more].concat());
    (import.status.code(), text(&import.stderr).to_owned())
}

#[test]
fn a_file_that_can_be_read_in_two_ways_is_refused_by_line_whatever_its_delimiter_is() {
    let home = TempDir::new().unwrap();
    for (name, delimiter) in [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", "|")] {
        let more: &[&str] = if delimiter == "|" { &["--delimiter", "|"] } else { &[] };
        for (rows, says) in [
            ("2|s\n5|\"never closed\n6|s\n7|s\n", "line 3: the quote that opens on line 3 is never closed"),
            (
                "2|s\n5|\"never closed\n6|\"s\"\n",
                "line 3: cell 2, whose quote opens on line 3, goes on after its",
            ),
            ("2|\"plain \\\"q\\\" end\"\n", "line 2: cell 2, whose quote opens on line 2, goes on after its"),
            ("2|\"x\"y\n", "written \"\", not \\\", and --delimiter names another"),
            ("2| \"x\"\n", "line 2: cell 2 has spaces before its quote"),
            ("2|s|x\n", "line 2: has 3 cells, but the header has 2"),
        ] {
            let file = format!("customerID|subject\n{rows}").replace('|', delimiter);
            let (code, said) = dry(home.path(), name, file, more);
            assert!(code == Some(3) && said.contains(says), "{rows}: {said}");
            assert!(said.contains(" lines are refused; nothing was sent"), "{rows}: {said}");
        }
    }
}

#[test]
fn what_spreadsheets_make_of_a_file_is_read_and_counted() {
    let home = TempDir::new().unwrap();
    let file = "sep=;\r\ncustomerID;subject;owner;status\r\n1;a;;open\r\n2;b\r\n;;;\r\n3;c;;;\r\n;;;\r\n4;\"d;\r\n\"\r\n";
    let said = "2 lines have only empty cells, and are skipped\n\
        2 lines have fewer cells than the header; those at the end are read as empty\n\
        4 lines are fine; nothing was sent\n";
    for name in ["a.csv", "a.txt"] {
        let (code, all) = dry(home.path(), name, file, &[]);
        assert!(code == Some(0) && all.ends_with(said), "{all}");
        // The counts, but not the reason why a line is refused, are left out of what is quiet.
        let (code, all) = dry(home.path(), name, file, &["--quiet"]);
        assert!(code == Some(0) && all.is_empty(), "{all}");
    }
    let map = "[fields]\ncustomerID = { column = \"customerID\" }\nsubject = { column = \"subject\" }\n\
        owner = { column = \"owner\", empty = \"nobody\" }\nstatus = { column = \"status\" }\n";
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let (code, all) = dry(home.path(), "a.csv", file, &["--map", "map.toml"]);
    assert!(code == Some(0) && all.ends_with(said), "{all}");
}

#[test]
fn what_is_wrong_with_a_header_is_clear() {
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("map.toml"), "[fields]\nsubject = { column = \"subject\" }\n").unwrap();
    for more in [&[][..], &["--map", "map.toml"]] {
        let (code, said) = dry(home.path(), "empty.csv", "", more);
        assert!(code == Some(3) && said.contains("the file is empty"), "{said}");
    }
    let (_, said) = dry(home.path(), "a.csv", "customerID,subject\u{200b},,\n1,a,,x\n", &[]);
    assert!(said.contains("no field for the columns unnamed column 4 (on 1 lines); --map"), "{said}");
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,\n1,a,\n", &[]);
    assert!(code == Some(0) && said.ends_with("1 lines are fine; nothing was sent\n"), "{said}");
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,\"owner\n1,a,b\n", &[]);
    assert!(
        code == Some(3) && said.contains("line 1: the quote that opens on line 1 is never closed"),
        "{said}"
    );
    // As many columns as a spreadsheet has, and one more.
    let wide = |columns: usize| format!("customerID,subject,{}\n1,a\n", "x,".repeat(columns - 3));
    let (code, said) = dry(home.path(), "wide.csv", wide(16_384), &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = dry(home.path(), "wide.csv", wide(16_385), &[]);
    assert!(code == Some(3) && said.contains("line 1: has more than 16384 cells"), "{said}");
}

#[test]
fn a_column_that_is_there_twice_is_joined_if_a_map_names_it() {
    let home = TempDir::new().unwrap();
    // As Jira exports it.
    let file = "customerID,Summary,Labels,Labels,Comment,Comment\n1,a,red,blue,x,y\n2,b,,green,,\n3,c,,,,\n";
    let map = "ignore = [\"Comment\"]\n[fields]\ncustomerID = { column = \"customerID\" }\n\
        subject = { column = \"Summary\" }\nticketSuppliers = { column = \"Labels\" }\n";
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    std::fs::write(home.path().join("jira.csv"), file).unwrap();
    let arguments = ["import", "jira.csv", "--map", "map.toml", "--parallel", "1"];
    let import = with_key(&server, home.path(), &arguments);
    assert_eq!(text(&import.stderr), "imported 3 tickets\n");
    assert!(with_key(&server, home.path(), &["export", "-o", "out.ndjson"]).status.success());
    let tickets = lines(&home.path().join("out.ndjson"));
    let suppliers: Vec<_> = tickets.iter().map(|ticket| ticket["ticketSuppliers"].clone()).collect();
    assert_eq!(suppliers, ["red, blue".into(), "green".into(), Value::Null]);
    // Without a map, a field has one column.
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,Tag,Tag,subject\n1,a,,,\n", &[]);
    assert!(code == Some(3) && said.contains("the column subject is there twice"), "{said}");
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,Tag,Tag\n1,a,,\n", &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_member_that_is_there_twice_is_refused_however_the_line_is_read() {
    let home = TempDir::new().unwrap();
    let map = "[fields]\ncustomerID = { column = \"customerID\" }\nsubject = { column = \"subject\" }\n";
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let line = "{\"customerID\": 1, \"subject\": \"a\", \"subject\": \"b\"}";
    for (name, file) in [("a.ndjson", format!("\n{line}\n")), ("a.json", format!("[\n{line}]"))] {
        for more in [&[][..], &["--drop-assigned"], &["--map", "map.toml"]] {
            let (code, said) = dry(home.path(), name, &file, more);
            assert!(
                code == Some(3) && said.contains("line 2: ") && said.contains("is given twice"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_map_s_format_reads_no_time_in_two_ways() {
    let home = TempDir::new().unwrap();
    let check = |format: &str, time: &str| {
        let map = format!(
            "zone = \"Europe/Berlin\"\n[fields]\ncustomerID = {{ constant = 1 }}\nsubject = {{ constant = \"s\" }}\n\
             ticketFollowupDate = {{ column = \"due\", format = \"{format}\" }}\n"
        );
        std::fs::write(home.path().join("map.toml"), map).unwrap();
        dry(home.path(), "a.csv", format!("due\n{time}\n"), &["--map", "map.toml"])
    };
    for (format, time) in [
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 UTC"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 GMT"),
        ("%d.%m.%y", "03.11.24"),
        ("%d.%m.%Y", "03.11.1000"),
    ] {
        assert_eq!(check(format, time).0, Some(0), "{format} {time}: {}", check(format, time).1);
    }
    for (format, time, says) in [
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 EST", "%Z reads UTC and GMT only"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 IST", "%Z reads UTC and GMT only"),
        (
            "%d.%m.%Y",
            "03.11.24",
            "line 2: ticketFollowupDate: \"03.11.24\" is in the year 24; a `format` with %y",
        ),
        ("%Y-%m-%d %H:%M", "24-11-03 14:20", "is in the year 24"),
    ] {
        let (code, said) = check(format, time);
        assert!(code == Some(3) && said.contains(says), "{format} {time}: {said}");
    }
    let (code, said) = check("%d.%m.%Y %I:%M", "03.11.2024 02:20");
    assert!(code == Some(1) && said.contains("does not say a whole date"), "{said}");
}

#[tokio::test]
async fn an_export_goes_to_standard_output_or_into_a_file_that_nobody_else_reads() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let import = "[{\"customerID\": 1, \"subject\": \"Grüße\"}]";
    std::fs::write(home.path().join("in.json"), import).unwrap();
    assert!(with_key(&server, home.path(), &["import", "in.json"]).status.success());
    let plain = with_key(&server, home.path(), &["export", "--format", "csv"]);
    let marked = with_key(&server, home.path(), &["export", "-o", "-", "--format", "csv", "--bom"]);
    assert!(text(&marked.stderr).starts_with("exported 1 tickets"), "{}", text(&marked.stderr));
    assert_eq!(text(&marked.stdout), format!("\u{feff}{}", text(&plain.stdout)));
    assert!(!home.path().join("-").exists());

    std::fs::write(home.path().join("out.csv"), "old, and for everybody").unwrap();
    assert!(with_key(&server, home.path(), &["export", "-o", "out.csv", "--bom"]).status.success());
    assert_eq!(std::fs::read(home.path().join("out.csv")).unwrap(), marked.stdout);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(home.path().join("out.csv")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = with_key(&server, home.path(), &["import", "out.csv", "--drop-assigned"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(server.list("").await[1]["subject"], "Grüße");
    let refused = with_key(&server, home.path(), &["export", "-o", "out.ndjson", "--bom"]);
    assert_eq!(refused.status.code(), Some(2), "a mark is no JSON");
}

#[test]
fn of_two_exports_into_one_file_the_second_is_refused() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "3000", "--quiet"]).status.success());
    let _server = Server::start(home.path(), &ANY_PORT);
    let export = ["export", "--table", "--data", ".tickets", "--quiet", "-o", "all.ndjson"];
    let partial = std::fs::File::create(home.path().join("all.ndjson.partial")).unwrap();
    partial.lock().unwrap();
    let refused = run(home.path(), &export);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("is writing all.ndjson"), "{}", text(&refused.stderr));
    drop(partial);
    // However many begin at once: who is not refused has the whole file.
    let exports: Vec<Child> =
        (0..4).map(|_| tickets(home.path(), &export).stderr(Stdio::piped()).spawn().unwrap()).collect();
    let ended: Vec<Output> = exports.into_iter().map(|export| export.wait_with_output().unwrap()).collect();
    assert!(ended.iter().any(|export| export.status.success()));
    for export in ended.iter().filter(|export| !export.status.success()) {
        assert!(text(&export.stderr).contains("is writing all.ndjson"), "{}", text(&export.stderr));
    }
    assert_eq!(lines(&home.path().join("all.ndjson")).len(), 3000);
}

#[tokio::test]
async fn an_export_waits_for_the_end_of_an_id_whose_writer_died() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let create = async || {
        let body = serde_json::json!({"customerID": 1, "subject": "s"});
        let response = http().post(&server.api).bearer_auth(&server.key).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
    };
    create().await;
    // As a writer that dies after it has reserved an id.
    let local = Local::open(&home.path().join(".tickets"), any_port()).await.unwrap();
    let now = Clock::system().now().millis();
    let key = [("bucket", AttributeValue::S("counter".into())), ("id", AttributeValue::N("0".into()))];
    let database = aws_sdk_dynamodb::Client::new(&local.sdk_config());
    let update = database.update_item().table_name(schema::TICKETS);
    update
        .set_key(Some(key.map(|(name, value)| (name.to_owned(), value)).into()))
        .update_expression("ADD #last :one SET #reserved = :now")
        .expression_attribute_names("#last", "last")
        .expression_attribute_names("#reserved", "reserved")
        .expression_attribute_values(":one", AttributeValue::N("1".into()))
        .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
        .send()
        .await
        .unwrap();
    create().await;
    let ids = |text: &[u8]| -> Vec<String> {
        let rows = std::str::from_utf8(text).unwrap().lines();
        rows.map(|row| serde_json::from_str::<Value>(row).unwrap()["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(server.list("").await.len(), 1, "the list ends before the open id");
    // A selection by time or customer shows what is there.
    for selected in [&["--customer", "1"][..], &["--since", "2020-01-01"]] {
        let export = with_key(&server, home.path(), &[&["export"], selected].concat());
        assert_eq!(
            (ids(&export.stdout), text(&export.stderr).contains("waiting")),
            (vec!["1".into(), "3".into()], false)
        );
    }
    let mut by_table = tickets(home.path(), &["export", "--table", "--data", ".tickets"]);
    let by_table = by_table.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let by_api = with_key(&server, home.path(), &["export"]);
    for export in [by_api, by_table.wait_with_output().unwrap()] {
        assert_eq!(ids(&export.stdout), ["1", "3"]);
        let said = text(&export.stderr);
        assert!(said.starts_with("a ticket after 1 may still be being written"), "{said}");
        assert!(said.contains("\nexported 2 tickets"), "{said}");
    }
}
