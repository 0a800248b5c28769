use std::process::{Child, Output, Stdio};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use tempfile::TempDir;
use tickets_cli::server::local::{Local, any_port};
use tickets_domain::Clock;
use tickets_repository::schema;

use crate::support::{ANY_PORT, Server, http, lines, run, text, tickets, with_key};

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
async fn an_export_goes_to_standard_output_or_into_a_file_that_nobody_else_reads() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let import = "[{\"customerID\": 1, \"subject\": \"Grüße\"}]";
    std::fs::write(home.path().join("in.json"), import).unwrap();
    assert!(with_key(&server, home.path(), &["import", "in.json"]).status.success());
    let plain = with_key(&server, home.path(), &["export", "--format", "csv"]);
    let marked = with_key(&server, home.path(), &["export", "-o", "-", "--format", "csv", "--bom"]);
    assert!(text(&marked.stderr).starts_with("exported 1 ticket"), "{}", text(&marked.stderr));
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
        assert!(said.starts_with("a ticket after 1 may still be on its way"), "{said}");
        assert!(said.contains("\nexported 2 tickets"), "{said}");
    }
}
