use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, LIMITED, Server, answering, at, http, made_up, run, text, tickets};

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

/// An agent that has begun a session with `tickets mcp`.
pub(crate) struct Agent {
    child: Child,
    stdin: std::process::ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// The methods of the notifications so far.
    notified: Vec<String>,
}

impl Agent {
    pub(crate) fn start(mut command: Command) -> Self {
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

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
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

    pub(crate) fn tools(&mut self) -> Vec<String> {
        let tools = self.ask("tools/list", serde_json::json!({}));
        let tools = tools["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The text of a tool's result, which is all there is of it; `Err` if it is an error.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Result<String, String> {
        let result = self.ask("tools/call", serde_json::json!({"name": tool, "arguments": arguments}));
        assert!(
            result.get("structuredContent").is_none() && result["content"].as_array().unwrap().len() == 1
        );
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.len() <= 40_000, "{} bytes", text.len());
        if result["isError"] == true { Err(text) } else { Ok(text) }
    }

    pub(crate) fn get(&mut self, tool: &str, arguments: Value) -> Value {
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
