//! Tests of the command `tickets`, started as a person or a script would.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
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
        text(&import.stderr).contains("line 4: line: the Idempotency-Key was used before"),
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
    for line in ["status                assigned", "owner                 grace", "version               3"] {
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
    for stale in
        [&["update", "1", "--owner", "ada", "--if-match", "3"][..], &["delete", "1", "--if-match", "3"]]
    {
        let stale = tell(stale);
        assert_eq!(stale.status.code(), Some(1));
        assert!(text(&stale.stderr).contains("412 Precondition Failed"), "{}", text(&stale.stderr));
    }
    assert!(tell(&["update", "1", "--owner", "ada", "--if-match", "\"4\""]).status.success());
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
        (&["update", "1", "--owner", "ada", "--if-match", "new"], "a version is a whole number"),
        (&["delete", "first"], "whole number from 1"),
    ] {
        let output = tell(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
    let missing = tell(&["update", "1", "--content-file", "missing.txt"]);
    assert!(text(&missing.stderr).contains("cannot read missing.txt"), "{}", text(&missing.stderr));
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
    assert!(text(&updated.stdout).contains("version               2"), "{}", text(&updated.stderr));
    // The second attempt finds another version, because the first took effect.
    let doubtful = tell(&["update", "1", "--owner", "ada", "--if-match", "2"]);
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
    assert_eq!(
        tools.collect::<Vec<_>>(),
        ["list_tickets", "get_ticket", "get_ticket_history", "list_events", "get_ticket_configuration"]
    );
}

#[tokio::test]
async fn no_text_of_a_ticket_acts_on_a_terminal() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let evil = "\u{1b}[2J\u{9b}31m\u{202e}evil\u{7}";
    let body = serde_json::json!({"customerID": 1, "subject": evil, "owner": evil, "users": evil, "ticketContent": evil});
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
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap()["subject"], evil);
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
    let body = serde_json::json!({"customerID": 42, "subject": "red \u{1b}[31malert", "users": "a\nb"});
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
        "no colour where there is no terminal, and none from a subject: {shown:?}"
    );
    let json = history(home.path(), &server, 2, &["--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0]["fields"]["users"], "a\nb");

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
    let semicolons = "customerID;subject\r\n1;\"a;\r\nb\"\r\n2;c\r\n";
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
    assert!(dry("latin.csv", &[]).contains("line 3: line: is not UTF-8"), "{}", dry("latin.csv", &[]));
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
