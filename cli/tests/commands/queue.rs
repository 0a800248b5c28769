//! The commands and tools for people who work with tickets by the hundred: change many, count, sort.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mcp::Agent;
use crate::support::{ANY_PORT, Server, answering, at, http, made_up, text, tickets, with_key};

async fn post(server: &Server, body: &Value) -> Value {
    let request = http().post(&server.api).bearer_auth(&server.key).json(body);
    request.send().await.unwrap().json().await.unwrap()
}

/// Creates so many tickets of customer 1.
async fn fill(server: &Server, count: usize) {
    for rows in vec![json!({"customerID": 1, "subject": "s"}); count].chunks(100) {
        post(server, &json!(rows)).await;
    }
}

fn with_input(mut command: Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that is refused does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn command(server: &Server, home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = tickets(home.path(), arguments);
    command.env("TICKETS_API", &server.api).env("TICKETS_KEY", &server.key);
    command
}

#[tokio::test]
async fn many_tickets_are_updated_by_their_ids_and_a_repeat_changes_nothing() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    fill(&server, 250).await;
    let closed = with_key(&server, home.path(), &["update", "1", "2", "3", "2", "--status", "closed"]);
    assert_eq!((closed.status.code(), text(&closed.stdout)), (Some(0), "updated 3 of 3 tickets\n"));
    let ids: Vec<String> = (1..=250).map(|id: u64| id.to_string()).collect();
    let update = ["update", "-", "--status", "closed", "--owner", "grace"];
    let first = with_input(command(&server, &home, &update), &ids.join("\n"));
    assert_eq!((first.status.code(), text(&first.stdout)), (Some(0), "updated 250 of 250 tickets\n"));
    let listed = server.list("?status=closed&limit=1000").await;
    assert!(listed.len() == 250 && listed.iter().all(|ticket| ticket["owner"] == "grace"));
    // However the ids are separated.
    let again = with_input(command(&server, &home, &update), &ids.join(", "));
    assert_eq!(text(&again.stdout), "updated 250 of 250 tickets\n");
    assert_eq!(server.list("?status=closed&limit=1000").await, listed, "the same dates");
}

#[tokio::test]
async fn of_many_tickets_those_that_are_refused_are_named_and_the_others_updated() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    fill(&server, 2).await;
    let update = with_key(&server, home.path(), &["update", "1", "7", "2", "--owner", "ada"]);
    assert_eq!((update.status.code(), text(&update.stdout)), (Some(3), "updated 2 of 3 tickets\n"));
    let said = text(&update.stderr);
    assert!(said.starts_with("ticket 7: 404 Not Found: "), "{said}");
    assert!(said.ends_with("error: refused 1 of 3 tickets; the others are updated\n"), "{said}");
    let update = with_key(&server, home.path(), &["update", "1", "7", "--owner", "ada", "--json"]);
    let lines: Vec<Value> =
        text(&update.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["id"], &lines[1]["id"], lines.len()), (&json!("1"), &json!("7"), 2));
    assert!(lines[0]["version"].as_str().unwrap().starts_with("2-"), "{lines:?}");
    assert!(lines[1]["refused"].as_str().unwrap().starts_with("404"), "{lines:?}");

    for (arguments, input, says) in [
        (
            &["update", "1", "2", "--owner", "a", "--if-match", "1-0c5fe1a2"][..],
            "",
            "--if-match is the version of one ticket",
        ),
        (&["update", "-", "--content-file", "-"], "1", "either the ids or the content"),
        (&["update", "-", "--owner", "a"], "1\nx", "line 2: \"x\" is no id"),
        (&["update", "1", "2"], "", "nothing to update"),
        (&["update"], "", "<ID>"),
    ] {
        let refused = with_input(command(&server, &home, arguments), input);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(text(&refused.stderr).contains(says), "{arguments:?}: {}", text(&refused.stderr));
    }
}

/// The ids of 150 tickets.
fn ids() -> String {
    (1..=150).map(|id: u64| format!("{id}\n")).collect()
}

#[test]
fn an_update_of_many_that_is_refused_half_way_says_what_is_left() {
    let home = TempDir::new().unwrap();
    let rows: Vec<Value> = (1..=100).map(|_| json!({"status": 200, "etag": "\"2-0c5fe1a2\""})).collect();
    let unknown =
        r#"{"type":"urn:tickets:problem:unauthenticated","title":"","status":401,"detail":"no such key"}"#;
    let answers =
        vec![made_up("207 Multi-Status", &json!(rows).to_string()), made_up("401 Unauthorized", unknown)];
    let (api, asked) = answering(answers);
    let stopped = with_input(at(&api, home.path(), &["update", "-", "--owner", "a"]), &ids());
    assert_eq!((stopped.status.code(), text(&stopped.stdout)), (Some(1), ""));
    let says =
        "401 Unauthorized: no such key: 100 tickets done, 50 left, from ticket 101 on; repeat the command";
    assert!(text(&stopped.stderr).contains(says), "{}", text(&stopped.stderr));
    assert_eq!(*asked.lock().unwrap(), ["PATCH /backend/api/v1/tickets/ HTTP/1.1"; 2]);
}

#[test]
fn a_row_that_failed_for_a_moment_is_sent_again_alone() {
    let home = TempDir::new().unwrap();
    let busy = json!({"type": "urn:tickets:problem:contended", "title": "", "status": 503, "detail": "busy"});
    let done = json!({"status": 200, "etag": "\"2-0c5fe1a2\""});
    let first = json!([done, {"status": 503, "problem": busy}, done]);
    let answers = [first, json!([done])].map(|rows| made_up("207 Multi-Status", &rows.to_string()));
    let (api, asked) = answering(answers.into());
    let updated = at(&api, home.path(), &["update", "1", "2", "3", "--owner", "a"]).output().unwrap();
    assert_eq!((text(&updated.stdout), text(&updated.stderr)), ("updated 3 of 3 tickets\n", ""));
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[cfg(unix)]
#[test]
fn an_update_of_many_that_is_interrupted_says_what_is_left() {
    let home = TempDir::new().unwrap();
    // It is asked, and does not answer.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", silent.local_addr().unwrap());
    let mut command = at(&api, home.path(), &["update", "-", "--owner", "a"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(ids().as_bytes()).unwrap();
    let _connection = silent.accept().unwrap();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130));
    let says =
        "error: interrupted: 0 tickets done, 150 left, from ticket 1 on; repeat the command to continue";
    assert!(text(&stopped.stderr).starts_with(says), "{}", text(&stopped.stderr));
}

/// Six tickets: three of Grace, one of them closed; two of Ada; one of nobody.
async fn desk(server: &Server) {
    let rows = json!([
        {"customerID": 9, "subject": "a", "owner": "Grace", "ticketPriority": "low", "ticketFollowupDate": "2026-12-24"},
        {"customerID": 7, "subject": "b", "owner": "grace", "ticketPriority": "urgent"},
        {"customerID": 8, "subject": "c", "owner": "Grace", "status": "closed"},
        {"customerID": 7, "subject": "d", "owner": "ada", "ticketFollowupDate": "2026-11-30T08:00:00Z"},
        {"customerID": 7, "subject": "e", "status": "assigned", "owner": "ada"},
        {"customerID": 9, "subject": "f", "status": "assigned"},
    ]);
    post(server, &rows).await;
}

#[tokio::test]
async fn tickets_are_counted_as_a_table_with_bars() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    desk(&server).await;
    let count = |arguments: &[&str]| with_key(&server, home.path(), &[&["count"], arguments].concat());
    let words = |output: &Output| -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text(&output.stdout).lines().map(words).collect()
    };
    let by_owner = count(&["--open", "--by", "owner"]);
    let bars = [24, 12].map(|length| "█".repeat(length));
    let expected = [
        vec!["OWNER", "TICKETS"],
        vec!["ada", "2", &bars[0]],
        vec!["Grace", "2", &bars[0]],
        vec!["-", "1", &bars[1]],
        vec!["total", "5"],
    ];
    assert_eq!(words(&by_owner), expected, "{by_owner:?}");
    let both = count(&["--by", "customer,status", "--owner", "ADA"]);
    assert_eq!(words(&both)[0], ["CUSTOMER", "STATUS", "TICKETS"]);
    assert_eq!(words(&both).last().unwrap(), &["total", "2"]);
    assert_eq!(words(&count(&["--closed"])), [vec!["TICKETS"], vec!["1"]]);
    let json: Value = serde_json::from_str(text(&count(&["--by", "priority", "--json"]).stdout)).unwrap();
    assert_eq!((&json["total"], &json["counts"][1]["count"]), (&json!(5), &json!(1)));
    let refused = count(&["--type", "no"]);
    assert!(text(&refused.stderr).contains("--type: must be one of"), "{}", text(&refused.stderr));
    assert_eq!(count(&["--by", "subject"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_work_queue_is_listed_in_other_orders_and_what_has_no_end_is_refused() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    desk(&server).await;
    let changed = with_key(&server, home.path(), &["update", "1", "--users", "u"]);
    assert!(changed.status.success());
    let list = |arguments: &[&str]| with_key(&server, home.path(), &[&["list"], arguments].concat());
    let ids = |output: &Output| -> Vec<String> {
        let lines = text(&output.stdout).lines().skip(1);
        lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    for (sort, expected) in [
        ("priority", ["2", "4", "5", "6", "1"]),
        ("followup", ["4", "1", "2", "5", "6"]),
        ("customer", ["2", "4", "5", "1", "6"]),
    ] {
        assert_eq!(ids(&list(&["--open", "--sort", sort])), expected, "{sort}");
    }
    assert_eq!(ids(&list(&["--open", "--sort", "updated"]))[0], "1");
    let dates = list(&["--open", "--sort", "followup"]);
    let header = text(&dates.stdout).lines().next().unwrap();
    assert!(header.contains("FOLLOWUP") && !header.contains("UPDATED"), "{header}");
    assert!(
        text(&dates.stdout).contains("2026-11-30 08:00:00") && text(&dates.stdout).contains("2026-12-24")
    );
    let first = list(&["--open", "--sort", "priority", "--limit", "2"]);
    assert_eq!(
        (ids(&first), text(&first.stderr)),
        (vec!["2".into(), "4".into()], "2 shown; there are 3 more: --limit N shows up to 1000\n")
    );
    assert_eq!(ids(&list(&["--customer", "7", "--sort", "updated"])).len(), 3);
    assert_eq!(ids(&list(&["--id", "3,1", "--sort", "customer"])), ["3", "1"]);
    for arguments in [&["--sort", "updated"][..], &["--since", "2026-01-01", "--sort", "priority"]] {
        let refused = list(arguments);
        assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(2), ""));
        let says = "--sort needs a list that can be read to its end: add --open, --status, --due";
        assert!(text(&refused.stderr).contains(says), "{}", text(&refused.stderr));
    }
    assert_eq!(list(&["--open", "--sort", "updated", "--id-after", "1"]).status.code(), Some(2));
}

#[test]
fn a_queue_of_more_tickets_than_are_sorted_is_refused_with_what_to_add() {
    let home = TempDir::new().unwrap();
    let page = |first: u64| -> String {
        let row = |id: u64| json!({"id": id.to_string(), "customerID": 1, "subject": "s", "createdDate": "2026-01-01T00:00:00.000Z", "updatedDate": "2026-01-01T00:00:00.000Z"});
        let rows: Vec<Value> = (first..first + 1000).map(row).collect();
        let link = format!("Link: </tickets/?open=true&idAfter={}>; rel=\"next\"", first + 999);
        made_up(&format!("200 OK\r\n{link}"), &json!(rows).to_string())
    };
    let (api, asked) = answering((0..11).map(|at| page(1 + at * 1000)).collect());
    let refused = at(&api, home.path(), &["list", "--open", "--sort", "updated"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("up to 10000 tickets, and there are more: add --owner"));
    assert_eq!(asked.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn an_agent_gets_changes_and_counts_many_tickets_and_every_result_fits() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    desk(&server).await;
    let long = json!({"customerID": 1, "subject": "s".repeat(500), "users": "u".repeat(4096), "ticketContent": "c".repeat(9000)});
    post(&server, &json!(vec![long; 94])).await;
    let mut agent = Agent::start(command(&server, &home, &["mcp"]));

    let asked: Vec<String> = (1..=100).map(|id: u64| (id * 2).to_string()).collect();
    let (mut got, mut absent, mut calls, mut next) = (Vec::new(), Vec::new(), 0, json!({"ids": asked}));
    while !next.is_null() {
        // A result that does not fit is cut, and then no JSON.
        let answer = agent.get("get_tickets", next);
        got.extend(answer["tickets"].as_array().unwrap().iter().map(|ticket| ticket["id"].clone()));
        absent.extend(answer["absent"].as_array().unwrap().clone());
        (calls, next) = (calls + 1, answer["next"].clone());
    }
    let even = |range: std::ops::RangeInclusive<u64>| {
        range.map(|id| json!((id * 2).to_string())).collect::<Vec<_>>()
    };
    assert_eq!((got, absent), (even(1..=50), even(51..=100)));
    assert!(calls > 1, "long tickets need several calls");

    let updated = agent
        .get("update_tickets", json!({"ids": ["1", 2, "777"], "status": "resolved", "clear": ["owner"]}));
    assert_eq!(updated["updated"].as_array().unwrap().len(), 2, "{updated}");
    assert!(updated["updated"][0]["version"].as_str().unwrap().starts_with("2-"));
    let refused = &updated["refused"][0];
    assert!(
        refused["why"].as_str().unwrap().starts_with("404") && refused["ids"] == json!(["777"]),
        "{updated}"
    );
    let tickets = agent.get("get_tickets", json!({"ids": "1"}));
    assert_eq!(
        (&tickets["tickets"][0]["status"], tickets["tickets"][0].get("owner")),
        (&json!("resolved"), None)
    );

    let counted = agent.get("count_tickets", json!({"by": ["owner", "status"], "owner": "ada"}));
    assert_eq!(counted["total"], 2, "{counted}");
    assert_eq!(counted["counts"].as_array().unwrap().len(), 2);
    let all: Vec<String> = (1..=100).map(|id: u64| id.to_string()).collect();
    agent.get("update_tickets", json!({"ids": all, "status": "open"}));
    for id in &all {
        let owner = format!("{id}{}", "o".repeat(490));
        agent.get("update_ticket", json!({"id": id, "owner": owner}));
    }
    let many = agent.get("count_tickets", json!({"by": "owner"}));
    assert_eq!((&many["total"], &many["complete"]), (&json!(100), &json!(true)));
    let shown = many["counts"].as_array().unwrap().len();
    assert!(
        shown < 100 && many["note"] == format!("{} smaller groups are left out", 100 - shown),
        "{}",
        many["note"]
    );

    for (tool, arguments, says) in [
        ("get_tickets", json!({}), "ids: must be 1 to 100 ids"),
        ("get_tickets", json!({"ids": ["x"]}), "ids: x: must be a whole number"),
        ("get_tickets", json!({"ids": (1..=101).collect::<Vec<u64>>()}), "ids: must be 1 to 100 ids"),
        ("get_tickets", json!({"ids": ["1"], "fields": "subject"}), "fields: unknown argument"),
        ("update_tickets", json!({"ids": ["1"]}), "ids: come with nothing to change"),
        ("update_tickets", json!({"ids": ["1"], "owner": "a", "clear": "owner"}), "clear: names owner"),
        ("count_tickets", json!({"by": "user"}), "by: must be one or more of"),
        ("count_tickets", json!({"stauts": "open"}), "did you mean status?"),
    ] {
        let refused = agent.call(tool, arguments).unwrap_err();
        assert!(refused.contains(says), "{says}: {refused}");
    }
}
