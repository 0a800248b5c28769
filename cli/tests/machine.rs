//! Tests that other users, web pages, and whoever planted a file get nothing of what `tickets` keeps and
//! serves on a developer's machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]
#![cfg(unix)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use reqwest::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, HOST, ORIGIN};
use serde_json::{Value, json};
use tempfile::TempDir;
use tickets_domain::ticket::{FieldKind, TEXT_FIELDS};

fn tickets(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickets"));
    command.current_dir(directory).args(arguments);
    for name in
        ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    {
        command.env_remove(name);
    }
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    tickets(directory, arguments).output().unwrap()
}

/// A server with the lines that it printed, by their first word. It stops at the end of the test.
struct Server {
    child: Child,
    printed: HashMap<String, String>,
}

impl Server {
    /// Starts a server, and reads its output up to the line that begins with `last`.
    fn start(directory: &Path, arguments: &[&str], last: &str) -> Self {
        Self::of(tickets(directory, arguments), last)
    }

    fn of(mut command: Command, last: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = HashMap::new();
        while !printed.contains_key(last) {
            let line = lines.next().unwrap_or_else(|| panic!("no line {last}: {printed:?}")).unwrap();
            let (word, rest) = line.split_once(' ').unwrap();
            printed.insert(word.to_owned(), rest.trim().to_owned());
        }
        Self { child, printed }
    }

    fn serve(directory: &Path) -> Self {
        Self::start(
            directory,
            &["serve", "--quiet", "--listen", "127.0.0.1:0", "--export-every", "1"],
            "exports",
        )
    }

    fn db(directory: &Path) -> Self {
        Self::start(directory, &["db", "--listen", "127.0.0.1:0"], "use")
    }

    /// The rest of the line that begins with `word`.
    fn says(&self, word: &str) -> &str {
        &self.printed[word]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http() -> reqwest::Client {
    tickets_cli::client::http_client().build().unwrap()
}

#[tokio::test]
async fn the_database_refuses_web_pages_other_host_names_and_wrong_signatures() {
    let home = TempDir::new().unwrap();
    let server = Server::db(home.path());
    let url = server.says("database");
    let made_up = "AWS4-HMAC-SHA256 Credential=local/20261125/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature=00";
    let asked = async |headers: &[(reqwest::header::HeaderName, &str)]| {
        let mut request = http().post(url).body(r#"{"TableName":"ApiKeys"}"#);
        request = request.header("X-Amz-Target", "DynamoDB_20120810.Scan");
        request = request.header("X-Amz-Date", "20261125T000000Z").header(AUTHORIZATION, made_up);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = request.send().await.unwrap();
        assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{answer:?}");
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(asked(&[(ORIGIN, "http://evil.example")]).await.0, 403);
    assert_eq!(asked(&[(ORIGIN, "null")]).await.0, 403);
    assert_eq!(asked(&[(HOST, "evil.example")]).await.0, 403);
    let (status, text) = asked(&[]).await;
    assert!(status == 400 && !text.contains("Items"), "{status}: {text}");
    let preflight = http().request(reqwest::Method::OPTIONS, url).header(ORIGIN, "http://evil.example");
    let preflight = preflight.header("Access-Control-Request-Method", "POST").send().await.unwrap();
    assert_eq!(preflight.status(), 403);
    assert!(!preflight.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    assert!(!http().get(url).send().await.unwrap().status().is_success());
}

#[test]
fn only_the_access_key_that_db_prints_opens_its_database() {
    let home = TempDir::new().unwrap();
    let server = Server::db(home.path());
    let exports = server.says("use").strip_prefix("export ").unwrap().to_owned();
    assert_eq!(fs::read_to_string(home.path().join(".tickets/env")).unwrap(), format!("export {exports}\n"));
    let pairs = exports.split(' ').filter_map(|pair| pair.split_once('='));
    // The path is in quotes.
    let variables: HashMap<&str, &str> =
        pairs.map(|(name, value)| (name, value.trim_matches('\''))).collect();
    let listed =
        |with: &HashMap<&str, &str>| tickets(home.path(), &["keys", "list"]).envs(with).output().unwrap();
    let answer = listed(&variables);
    assert!(String::from_utf8_lossy(&answer.stdout).contains("development key"), "{answer:?}");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        let mut wrong = variables.clone();
        wrong.insert(name, "made-up");
        let answer = listed(&wrong);
        assert_eq!((answer.status.code(), answer.stdout.len()), (Some(1), 0), "{name}: {answer:?}");
    }
    let without = HashMap::from([("AWS_ENDPOINT_URL_DYNAMODB", server.says("database"))]);
    assert_eq!(listed(&without).status.code(), Some(1));
    // A command that finds the server by its data directory also gets its key from there.
    let found = run(home.path(), &["keys", "list", "--data", ".tickets"]);
    assert!(String::from_utf8_lossy(&found.stdout).contains("development key"), "{found:?}");
}

/// The most memory that a process has had, in megabytes.
#[cfg(target_os = "linux")]
fn peak(process: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

#[cfg(target_os = "linux")]
#[test]
fn bodies_that_come_without_a_valid_key_are_not_kept() {
    let made_up = format!("Bearer tk_nobody_{}", "0".repeat(64));
    let signature = "AWS4-HMAC-SHA256 Credential=LOCAL0/20261125/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=00";
    for (command, word, authorization, megabytes, refused) in [
        ("serve", "API", made_up.as_str(), 5, "HTTP/1.1 401"),
        ("db", "database", signature, 15, "HTTP/1.1 400"),
    ] {
        let home = TempDir::new().unwrap();
        let server = Server::start(home.path(), &[command, "--listen", "127.0.0.1:0"], word);
        let (host, path) =
            server.says(word).strip_prefix("http://").unwrap().split_at("127.0.0.1:".len() + 5);
        let (before, count) = (peak(&server.child), 300 / megabytes);
        let chunk = vec![b'x'; 1024 * 1024];
        let connections: Vec<_> = (0..count)
            .map(|_| {
                let mut connection = TcpStream::connect(host).unwrap();
                let head = format!(
                    "POST /{} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    path.trim_start_matches('/'),
                    megabytes * chunk.len() + 1,
                );
                connection.write_all(head.as_bytes()).unwrap();
                (0..megabytes).for_each(|_| connection.write_all(&chunk).unwrap());
                connection
            })
            .collect();
        // Each has sent all but its last byte.
        let after = peak(&server.child);
        assert!(after < before + 100, "{command}: {before} MB before, {after} MB after");
        for mut connection in connections {
            connection.write_all(b"x").unwrap();
            let mut status = vec![0; refused.len()];
            connection.read_exact(&mut status).unwrap();
            assert_eq!(String::from_utf8(status).unwrap(), refused);
        }
    }
}

/// All paths below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    found
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], files(&path)].concat() } else { vec![path] })
        .collect()
}

#[test]
fn every_file_is_readable_by_this_user_only() {
    let home = TempDir::new().unwrap();
    let data = home.path().join(".tickets");
    // As an earlier version left it.
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(data.join("lock"), "").unwrap();
    drop(Server::db(home.path()));
    let _server = Server::serve(home.path());
    assert!(run(home.path(), &["seed", "10", "--quiet"]).status.success());
    let is_exported = || files(&data).iter().any(|path| path.to_string_lossy().ends_with(".ndjson.gz"));
    for _ in 0..600 {
        if is_exported() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(is_exported());
    for name in ["tickets.db", "lock", "dev-key", "env", "exports"] {
        assert!(data.join(name).exists(), "{name}");
    }
    for path in [vec![data.clone()], files(&data)].concat() {
        // The store's temporary files come and go.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, wanted, "{}", path.display());
    }
}

#[test]
fn planted_links_and_keys_that_others_can_read_are_refused() {
    const KEY: &str = "tk_planted0_0000000000000000000000000000000000000000000000000000000000000000\n";
    let home = TempDir::new().unwrap();
    let elsewhere = home.path().join("elsewhere");
    fs::write(&elsewhere, KEY).unwrap();
    fs::set_permissions(&elsewhere, PermissionsExt::from_mode(0o600)).unwrap();
    let refused = |data: &str, why: &str| {
        for command in ["serve", "db"] {
            let answer = run(home.path(), &[command, "--data", data, "--listen", "127.0.0.1:0"]);
            let said = String::from_utf8_lossy(&answer.stderr);
            assert!(answer.status.code() == Some(1) && said.contains(why), "{command} {data}: {answer:?}");
        }
    };
    for name in ["dev-key", "lock", "tickets.db", "exports"] {
        let data = home.path().join(format!("linked-{name}"));
        fs::create_dir(&data).unwrap();
        symlink(&elsewhere, data.join(name)).unwrap();
        refused(&data.display().to_string(), "link");
    }
    let data = home.path().join("readable");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("dev-key"), KEY).unwrap();
    for mode in [0o644, 0o620] {
        fs::set_permissions(data.join("dev-key"), PermissionsExt::from_mode(mode)).unwrap();
        refused(&data.display().to_string(), "other users can read or write it");
    }
    symlink(&data, home.path().join("linked")).unwrap();
    refused("linked", "link");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), KEY, "nothing was written through a link");
}

#[tokio::test]
async fn the_page_has_the_key_once_for_who_has_the_link() {
    let home = TempDir::new().unwrap();
    let server = Server::serve(home.path());
    let (link, key) = (server.says("docs"), server.says("key"));
    let (page, token) = link.split_once("?token=").unwrap();
    let shown = async |url: &str| {
        let answer = http().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"),
            "{policy}"
        );
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
        answer.text().await.unwrap().contains(key)
    };
    assert!(!shown(page).await);
    assert!(!shown(&format!("{page}?token=")).await);
    assert!(!shown(&format!("{page}?token={}", "0".repeat(token.len()))).await);
    assert!(http().head(link).send().await.unwrap().status().is_success());
    assert!(shown(link).await);
    assert!(!shown(link).await, "it has the key once");
    let document: Value =
        http().get(page.replace("/docs", "/openapi.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(
        document["servers"][0]["url"],
        server.says("API").trim_end_matches("/tickets/"),
        "an address of its own"
    );
}

/// The bytes of every file below a directory; of compressed files also the content.
fn kept(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut kept = Vec::new();
    for path in files(directory).into_iter().filter(|path| path.is_file()) {
        // The store's temporary files come and go.
        let Ok(bytes) = fs::read(&path) else { continue };
        let mut held = Vec::new();
        if flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut held).is_ok() {
            kept.push((path.clone(), held));
        }
        kept.push((path, bytes));
    }
    kept
}

fn holders(directory: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    kept(directory).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
}

#[tokio::test]
async fn an_erased_ticket_leaves_no_byte_of_its_content_behind() {
    let (first, later, other) = ("Xylograph 7781", "Quokka 9302", "Zeppelin 5514");
    let home = TempDir::new().unwrap();
    let data = home.path().join(".tickets");
    let mut command =
        tickets(home.path(), &["serve", "--quiet", "--listen", "127.0.0.1:0", "--export-every", "1"]);
    command.env("SETTLE_SECONDS", "4");
    let server = Server::of(command, "exports");
    let send = async |method: reqwest::Method, path: &str, body: Value| {
        let url = format!("{}{path}", server.says("API"));
        let answer =
            http().request(method, url).bearer_auth(server.says("key")).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    };
    let ticket = |text: &str| json!({"customerID": 4, "subject": text, "ticketContent": format!("{text} ").repeat(500), "owner": text});
    for text in [first, other, first] {
        send(reqwest::Method::POST, "", ticket(text)).await;
    }
    send(reqwest::Method::PATCH, "1", ticket(later)).await;
    let exported =
        |text: &str| holders(&data, text).iter().any(|path| path.to_string_lossy().ends_with(".gz"));
    for _ in 0..600 {
        if [later, first, other].into_iter().all(exported) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(exported(later) && exported(other));
    send(reqwest::Method::PATCH, "2", json!({"status": "closed"})).await;

    let unasked = run(home.path(), &["erase", "1", "--data", ".tickets"]);
    assert_eq!(unasked.status.code(), Some(2), "nobody is there to ask: {unasked:?}");
    let erase = |id: &str| {
        let erased = run(home.path(), &["erase", id, "--yes", "--data", ".tickets"]);
        assert!(erased.status.success(), "{erased:?}");
        String::from_utf8(erased.stdout).unwrap()
    };
    // While the server runs.
    assert!(erase("1").starts_with("deleted ticket 1; its history has no values\n"));
    assert_eq!(holders(&data, later), Vec::<PathBuf>::new());
    assert!(erase("1").starts_with("ticket 1 was deleted before"), "and once more");
    assert!(exported(other) && !holders(&data, first).is_empty(), "the others are there");
    let manifests = || {
        let exports = data.join("exports");
        for path in files(&exports.join("manifests")).into_iter().filter(|path| path.is_file()) {
            let Ok(text) = fs::read(&path) else { continue };
            for object in serde_json::from_slice::<Value>(&text).unwrap()["objects"].as_array().unwrap() {
                let body = fs::read(exports.join(object["key"].as_str().unwrap())).unwrap();
                assert_eq!(object["bytes"], body.len(), "{}", path.display());
                let lines = BufReader::new(flate2::read::GzDecoder::new(&*body)).lines().count();
                assert_eq!(object["records"], lines, "{}", path.display());
            }
        }
    };
    manifests();
    let history = tickets(home.path(), &["history", "1", "--json"])
        .env("TICKETS_API", server.says("API").trim_end_matches("/tickets/"))
        .output()
        .unwrap();
    let history: Value = serde_json::from_slice(&history.stdout).unwrap();
    let changes: Vec<_> =
        history.as_array().unwrap().iter().map(|entry| entry["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["created", "updated", "deleted"]);
    assert_eq!(history[2]["by"], "erase");
    assert!(history.to_string().contains("\"subject\":null"));
    // Without the server, which is killed and may not have recorded everything.
    send(reqwest::Method::PATCH, "3", ticket(later)).await;
    drop(server);
    // The object that it was just writing.
    fs::write(data.join("exports/tickets/killed.ndjson.gz#1"), later).unwrap();
    erase("3");
    for text in [first, later] {
        assert_eq!(holders(&data, text), Vec::<PathBuf>::new(), "{text}");
    }
    manifests();
    assert!(erase("7").starts_with("there is no ticket 7"));
    assert!(!holders(&data, other).is_empty());
}

/// What a terminal would act on: a colour, a title, a C1 sequence, a bell, an override and an isolate of text
/// direction.
const EVIL: &str = "a\u{1b}[31m\u{1b}]0;t\u{7}\u{9b}2J\u{202e}b\u{2066}c\u{2028}d\re";

/// What of these a text of one line may have.
const EVIL_LINE: &str = "a\u{202e}b\u{2066}c";

#[tokio::test]
async fn no_command_prints_control_characters_from_tickets_notes_names_or_errors() {
    let home = TempDir::new().unwrap();
    let server = Server::serve(home.path());
    let texts = TEXT_FIELDS.into_iter().filter_map(|(name, kind)| match kind {
        FieldKind::Content | FieldKind::Note => Some((name, EVIL.into())),
        FieldKind::Subject | FieldKind::ChoiceOrNote => Some((name, EVIL_LINE.into())),
        FieldKind::Choice | FieldKind::Email | FieldKind::DateOrTime => None,
    });
    let evil: HashMap<_, Value> = texts.chain([("customerID", 42.into())]).collect();
    let request = http().post(server.says("API")).bearer_auth(server.says("key")).json(&evil);
    assert_eq!(request.send().await.unwrap().status(), 201);
    let map = home.path().join("map.toml");
    fs::write(&map, format!("[columns]\n\"{}\" = \"subject\"\n", EVIL.escape_unicode())).unwrap();
    fs::write(home.path().join("evil.csv"), format!("customerID,\"{EVIL}\"\n\"{EVIL}\",x\n")).unwrap();
    fs::write(home.path().join("evil.ndjson"), format!("{{\"{EVIL}\": 1}}\n")).unwrap();
    let api = server.says("API").trim_end_matches("/tickets/").to_owned();
    let unreachable = format!("http://127.0.0.1:9/{EVIL}");
    let mut printed = 0;
    for arguments in [
        &["list"] as &[&str],
        &["list", "--json"],
        &["list", "--owner", EVIL],
        &["list", "--due", EVIL],
        &["list", EVIL],
        &["get", "1"],
        &["get", "1", "--json"],
        &["get", EVIL],
        &["history", "1"],
        &["update", "1", "--status", EVIL],
        &["list", "--api", &unreachable],
        &["export", "-o", EVIL, "--customer", EVIL],
        &["import", "evil.csv"],
        &["import", "evil.ndjson"],
        &["import", "evil.csv", "--map", "map.toml"],
        &["import", &format!("{EVIL}.csv")],
        &["keys", "create", "--note", EVIL],
        &["keys", "list"],
        &["keys", "list", "--data", EVIL],
        &["list", "--key-file", EVIL],
        &["db", "--data", &format!("evil.csv/{EVIL}")],
    ] {
        let output = tickets(home.path(), arguments).env("TICKETS_API", &api).output().unwrap();
        printed += harmless(arguments, &output);
    }
    let mut watch = tickets(home.path(), &["watch", "--since", "2020-01-01", "--every", "1"]);
    let mut watch = watch.env("TICKETS_API", &api).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(line.contains("customer 42") && !line.contains(acts), "{line:?}");
    assert!(printed >= 10, "many of them repeat it: {printed}");
}

fn acts(character: char) -> bool {
    character.is_control() && character != '\n'
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Asserts that the output is safe for a terminal. 1 if it shows a character that had to be escaped.
fn harmless(arguments: &[&str], output: &Output) -> usize {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains(acts), "{arguments:?}: {text:?}");
    ["<U+001B>", "\\u001b", "<U+202E>"].iter().any(|escaped| text.contains(escaped)).into()
}

#[test]
fn an_export_writes_through_no_link() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "3", "--quiet"]).status.success());
    let (victim, secret) = (home.path().join("victim"), "not to be overwritten");
    let export =
        |name: &str| run(home.path(), &["export", "--table", "--data", ".tickets", "--quiet", "-o", name]);
    for ending in [".partial", ".resume-new"] {
        fs::write(&victim, secret).unwrap();
        let planted = home.path().join(format!("out.csv{ending}"));
        symlink(&victim, &planted).unwrap();
        let answer = export("out.csv");
        assert!(String::from_utf8_lossy(&answer.stderr).contains("it is a link"), "{ending}: {answer:?}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), secret, "{ending}");
        fs::remove_file(planted).unwrap();
    }
    // A link in place of the output file is replaced, and its target stays unchanged.
    symlink(&victim, home.path().join("out.csv")).unwrap();
    assert!(export("out.csv").status.success());
    assert_eq!(fs::read_to_string(&victim).unwrap(), secret);
    assert_eq!(fs::read_to_string(home.path().join("out.csv")).unwrap().lines().count(), 4);
}
