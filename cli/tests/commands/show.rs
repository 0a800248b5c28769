use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, answering, http, made_up, text, tickets, with_key};

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
    assert_eq!(
        (note.as_str(), asked.len()),
        ("1 shown; more: tickets list --open --owner grace --limit 1 --id-after 2000\n", 2),
        "enough is enough"
    );
    let (exported, _, asked) = tell(&["[]", TICKET], &["export", "--quiet"]);
    assert!(exported.contains("2500") && asked[1].contains("idAfter=1000"), "{asked:?}");
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
