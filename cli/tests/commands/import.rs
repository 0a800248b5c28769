use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, run, text, tickets, with_key};

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
    assert_eq!(text(&import.stderr), "imported 1 ticket, 3 were there from before\n");
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
        "refused 3 of 4 lines; nothing was sent",
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
    // What is wrong with the whole column is one message; that there is no customer 0 another.
    assert!(
        said.contains("all 300 lines: status: must be one of open, assigned, resolved, closed"),
        "{said}"
    );
    assert_eq!(said.lines().filter(|line| line.starts_with("line ")).count(), 1, "{said}");
    assert!(said.contains("\nline 2: customerID: ") && said.contains("refused 300 of 300 lines"), "{said}");
    // One line is right, so it is not the whole column.
    let most = std::fs::read_to_string(home.path().join("many.csv")).unwrap() + "300,s,open\n";
    std::fs::write(home.path().join("most.csv"), most).unwrap();
    let refused = dry("most.csv", &["--map", "map.toml"]);
    let said = text(&refused.stderr);
    assert!(said.contains("line 3: status: must be one of open, assigned, resolved, closed"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("line ")).count(), 100);
    assert!(said.contains("\n201 more messages\n") && said.contains("refused 300 of 301 lines"), "{said}");
    let map = map.replace("\"Brand\" }", "\"Brand\", otherwise = \"closed\" }");
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let refused = dry("many.csv", &["--map", "map.toml"]);
    assert!(text(&refused.stderr).contains("status: replaced by the map's `otherwise` on 300 lines"));
    assert!(text(&refused.stderr).contains("refused 1 of 300 lines"));
    std::fs::write(home.path().join("map.toml"), "[fields]\nsubjct = { column = \"subject\" }\n").unwrap();
    let refused = dry("many.csv", &["--map", "map.toml"]);
    assert!(text(&refused.stderr).contains("map.toml: fields.subjct: unknown field; did you mean subject?"));
}
