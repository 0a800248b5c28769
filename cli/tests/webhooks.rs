//! Tests of `tickets webhooks`, and of what a local server sends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tempfile::TempDir;
use tickets_domain::Timestamp;
use tickets_domain::webhook::{Secret, Secrets};

fn tickets(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickets"));
    command.current_dir(directory).args(arguments).env_remove("AWS_ENDPOINT_URL_DYNAMODB");
    command
}

/// The output of `tickets webhooks`, on the data in `.tickets`.
fn webhooks(directory: &Path, arguments: &[&str]) -> Output {
    tickets(directory, &[&["webhooks", "--data", ".tickets"], arguments].concat()).output().unwrap()
}

/// Its standard output, if it succeeds.
fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = webhooks(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The error of a command that fails, and its exit code.
fn failed(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = webhooks(directory, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The rest of the line that begins with a word.
fn after<'a>(output: &'a str, word: &str) -> &'a str {
    let mut words = output.lines().filter_map(|line| line.split_once(' '));
    words.find(|(first, _)| *first == word).unwrap_or_else(|| panic!("{word} in {output}")).1.trim()
}

/// A server, which stops at the end of the test.
struct Server {
    child: Child,
    api: String,
    key: String,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut command = tickets(directory, &["serve", "--quiet", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = |word| after(&lines.next().unwrap().unwrap(), word).to_owned();
        let (api, key) = (next("API"), next("key"));
        Self { child, api, key }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a receiver has got.
type Received = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A receiver on this machine. Returns its URL.
async fn receiver(received: Received) -> String {
    let take = move |headers: HeaderMap, body: String| {
        received.lock().unwrap().push((headers, body));
        async { StatusCode::NO_CONTENT }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/", post(take))).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_server_sends_what_happens_to_a_webhook_that_was_made_meanwhile() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path());
    let received = Received::default();
    let url = receiver(Arc::clone(&received)).await;
    let created = done(home.path(), &["create", &url, "--note", "the CRM"]);
    assert_eq!(created.lines().count(), 2, "{created}");
    let (id, secret) = (after(&created, "webhook"), after(&created, "secret"));
    let secrets = Secrets::new(secret.parse::<Secret>().unwrap());

    assert!(done(home.path(), &["test", id]).starts_with("204 after "));
    let http = tickets_cli::client::http_client().build().unwrap();
    let create = http.post(&server.api).bearer_auth(&server.key);
    let body = json!({"customerID": 42, "subject": "a secret subject"});
    assert_eq!(create.json(&body).send().await.unwrap().status(), 201);
    for _ in 0..300 {
        if received.lock().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let received = received.lock().unwrap().clone();
    assert_eq!(received.len(), 2, "{received:?}");
    for (headers, body) in &received {
        let header = |name: &str| headers[name].to_str().unwrap();
        let seconds: i64 = header("webhook-timestamp").parse().unwrap();
        let at = Timestamp::from_millis(1000 * seconds).unwrap();
        assert_eq!(header("webhook-signature"), secrets.sign(header("webhook-id"), at, body));
    }
    let message: Value = serde_json::from_str(&received[1].1).unwrap();
    assert_eq!((&message["type"], &message["data"]["customerID"]), (&json!("ticket.created"), &json!(42)));
    assert_eq!(message["data"]["id"], received[1].0["webhook-id"].to_str().unwrap());
    assert!(!received[1].1.contains("a secret subject"), "the names of fields, and no text");

    let listed = done(home.path(), &["list"]);
    for word in [id, "active", "204 at 2", "all", &url, "the CRM"] {
        assert!(listed.contains(word), "{word} in {listed}");
    }
    let shown: Value = serde_json::from_str(&done(home.path(), &["show", id])).unwrap();
    assert_eq!((&shown["behind"]["events"], &shown["held"]), (&json!(0), &json!([])));
    assert!(!listed.contains(secret) && !shown.to_string().contains("whsec_"));
}

#[test]
fn a_webhook_is_paused_resumed_rotated_and_deleted() {
    let home = TempDir::new().unwrap();
    let run = |arguments: &[&str]| done(home.path(), arguments);
    let created = run(&[
        "create",
        "https://example.com/",
        "--types",
        "ticket.created,ticket.deleted",
        "--customer",
        "42",
    ]);
    let (id, secret) = (after(&created, "webhook"), after(&created, "secret"));
    let listed = run(&["list"]);
    assert!(listed.contains("ticket.created,ticket.deleted") && listed.contains("42"), "{listed}");
    run(&["pause", id]);
    assert!(run(&["list"]).contains("paused"));
    run(&["resume", id, "--from", "2026-01-01"]);
    let shown: Value = serde_json::from_str(&run(&["show", id])).unwrap();
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["cursor"], "019b76daa800000000000000010000000000", "before what was recorded in 2026");
    let rotated = run(&["rotate", id]);
    assert_eq!(after(&rotated, "webhook"), id);
    assert_ne!(after(&rotated, "secret"), secret);
    let shown: Value = serde_json::from_str(&run(&["show", id])).unwrap();
    assert!(shown["oldSecretEnds"].is_string());
    run(&["delete", id]);
    assert!(!run(&["list"]).contains(id));
    for action in ["show", "pause", "resume", "rotate", "test", "delete"] {
        let (code, says) = failed(home.path(), &[action, id]);
        assert!(code == Some(1) && says.contains(&format!("there is no webhook {id}")), "{action}: {says}");
    }
}

#[test]
fn a_url_that_leads_into_a_network_is_refused() {
    let home = TempDir::new().unwrap();
    for (url, says) in [
        ("http://example.com/", "must be an https URL"),
        ("https://10.0.0.1/", "must be a public address, not 10.0.0.1"),
        ("https://0x7f.1/", "must be a public address, not 127.0.0.1"),
        ("https://2130706433/", "must be a public address, not 127.0.0.1"),
        ("https://[::ffff:127.0.0.1]/", "must be a public address"),
        ("https://ada:secret@example.com/", "without a user and password"),
    ] {
        let (code, error) = failed(home.path(), &["create", url]);
        assert!(code == Some(2) && error.contains(says), "{url}: {error}");
    }
}
