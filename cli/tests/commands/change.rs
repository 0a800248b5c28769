use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, text, tickets, with_key};

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
