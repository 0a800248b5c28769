//! What a released version has stored, later ones read. tests/released has, for each version, a local database that
//! it wrote, the same items as DynamoDB shows them, and what the version answered then. docs/upgrading.md has the
//! command that writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use export_tickets::{Event, Exporter, Store};
use object_store::memory::InMemory;
use serde_json::{Value, json};
use support::files::root;
use support::model::Point;
use support::simulation::{Simulation, simulate};
use support::stream::{deliver, history};
use support::time;
use tickets_app::{App, Config};
use tickets_cli::command::db::SAMPLE_KEY;
use tickets_cli::data::DATABASE;
use tickets_cli::server::gateway::{Gateway, Payload};
use tickets_cli::server::local::{Local, any_port, store_development_key};
use tickets_domain::delivery::{Delivery, Disabled, Hold, Wait};
use tickets_domain::webhook::{Secret, Secrets, State};
use tickets_domain::{
    ApiKey, BearerToken, Clock, EventId, EventType, JsonObject, Scope, Settings, TicketInput, Timestamp,
    Version, Webhook,
};
use tickets_engine::Database;
use tickets_http::route::BASE_PATH;
use tickets_repository::operator::seed::SeedTicket;
use tickets_repository::webhooks::Leased;
use tickets_repository::{DynamoDb, Keys, Tickets, Webhooks, schema};
use tower::ServiceExt;

/// A key of customer 7, before and after it was rotated, and one that was revoked.
const ROTATED: [&str; 2] = [
    "tk_seven_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "tk_seven_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
];
const REVOKED: &str = "tk_gone_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// After everything that was written, and within the day in which a claim lasts.
const LATER: &str = "2026-12-01T12:00:00Z";

const TABLES: [&str; 4] = [schema::TICKETS, schema::API_KEYS, schema::HISTORY, schema::WEBHOOKS];

/// What a version answered to these requests. A later one answers the same, and may add members.
const READS: [&str; 13] = [
    "/tickets/1",
    "/tickets/2",
    "/tickets/?includeDeleted=true",
    "/tickets/?updatedSince=2026-11-01&includeDeleted=true",
    "/tickets/?open=true&owner=grace",
    "/tickets/?open=false",
    "/customers/7/tickets/?includeDeleted=true",
    "/customers/7/tickets/?updatedSince=2026-11-01&includeDeleted=true",
    "/customers/8/tickets/",
    "/tickets/2/history/",
    "/tickets/4/history/",
    "/events/",
    "/ticket-counts/?by=status,owner",
];

fn token(text: &str) -> BearerToken {
    text.parse().unwrap()
}

/// Every kind of item, written by this version: what a later one must be able to read.
async fn write(api: &Simulation) {
    let (dynamodb, clock) = (DynamoDb::new(&api.model.sdk_config()), &api.clock);
    let config = Config::from_lookup(|_| None).unwrap();
    let keys = Keys::new(dynamodb.clone(), schema::API_KEYS, clock.clone());
    store_development_key(&keys, &token(SAMPLE_KEY), clock).await.unwrap();
    let of_seven = ApiKey {
        customer: Some(7.try_into().unwrap()),
        limit: Some("600/m".parse().unwrap()),
        note: Some("the portal".into()),
        created_by: Some("ada".into()),
        expires: Some(time("2100-01-01T00:00:00Z")),
        ..ApiKey::new(&token(ROTATED[0]), Scope::ALL, clock.now())
    };
    keys.insert(&of_seven).await.unwrap();
    keys.rotate(&token(ROTATED[1]), time("2026-12-02T00:00:00Z")).await.unwrap();
    keys.insert(&ApiKey::new(&token(REVOKED), Scope::ALL, clock.now())).await.unwrap();
    keys.revoke(&token(REVOKED).id).await.unwrap();

    let send = async |method: &str, path: &str, named: &[(&str, &str)], body: Value| {
        let reply = api.call(method, path, named, Some(&body)).await;
        assert!((200..300).contains(&reply.status), "{method} {path}: {reply:?}");
    };
    let ticket = |subject: &str| json!({"customerID": 7, "subject": subject, "owner": "grace"});
    // By the key that repeats it later.
    let router = router(App::open(config.clone(), &api.model.sdk_config(), clock.clone()));
    let named = &[("idempotency-key", "first")];
    assert_eq!(request(&router, SAMPLE_KEY, "POST", "/tickets/", named, first()).await.status, 201);
    send("POST", "/tickets/", &[], ticket("changed")).await;
    send("PATCH", "/tickets/2", &[], json!({"status": "assigned", "owner": null, "users": "ada"})).await;
    send("PATCH", "/tickets/2", &[], json!({"status": "closed"})).await;
    send("POST", "/tickets/", &[], ticket("moved")).await;
    send("PATCH", "/tickets/3", &[], json!({"customerID": 8})).await;
    send("POST", "/tickets/", &[], ticket("deleted")).await;
    send("DELETE", "/tickets/4", &[], Value::Null).await;
    // A writer that dies before its ticket is there: the repeat puts a void in its place.
    let named = [("idempotency-key", "died")];
    let request = {
        let (api, body) = (api.clone(), ticket("again"));
        async move { api.call("POST", "/tickets/", &named, Some(&body)).await }
    };
    let (hold, died) = api.stop(Point::Effect, "PutItem", "subject", request).await;
    hold.kill();
    assert_eq!(died.await.unwrap().status, 0);
    send("POST", "/tickets/", &named, ticket("again")).await;
    send("POST", "/tickets/", &[], json!([ticket("of a batch"), {"customerID": 7}])).await;

    // What operators do, and what runs by itself.
    let settled = Duration::from_secs(30);
    tokio::time::sleep(settled).await;
    let tickets = Tickets::new(dynamodb.clone(), schema::TICKETS, clock.clone(), Settings::default());
    let fields = JsonObject::parse(ticket("from a file").to_string().as_bytes()).unwrap();
    let fields = TicketInput::create(fields, &config.presets).unwrap();
    let seed = SeedTicket { fields, created: clock.now(), updated: clock.now() };
    tickets.append(&"seed".parse().unwrap(), &[seed]).await.unwrap();
    tickets.start_epoch(1000).await.unwrap();
    send("POST", "/tickets/", &[], ticket("after the restore")).await;
    tokio::time::sleep(settled).await;
    assert_eq!(deliver(&history(api, clock.clone()), &api.model.take_stream()).await, None);
    let exporter = Exporter::new(tickets, Store::new(InMemory::new()), clock.clone());
    let exporter = exporter.noting(config.variables());
    assert!(export_tickets::answer(&exporter, Event::default(), Timestamp::MAX).await.unwrap().complete);
    write_webhooks(&Webhooks::new(dynamodb.clone(), schema::WEBHOOKS, clock.clone())).await;
    // The limit of the key is leased, and its use noted.
    assert_eq!(call(&router, ROTATED[1], "GET", "/tickets/1", Value::Null).await.status, 200);
}

/// A webhook with everything that one can have while it fails, and one that was disabled.
async fn write_webhooks(webhooks: &Webhooks) {
    let at = |second: u32| time(&format!("2026-12-01T00:00:{second:02}Z"));
    let event = |second, ticket: u64| EventId::new(at(second), ticket.try_into().unwrap(), Version::new(1));
    let wait = Wait { since: at(3), errors: 2, until: at(30) };
    let secret = |digit: &str| format!("whsec_{}", digit.repeat(44)).parse::<Secret>().unwrap();
    let failing = Webhook {
        id: "wh_aaaaaaaaaaaaaaaa".parse().unwrap(),
        url: "https://crm.example/tickets".parse().unwrap(),
        types: vec![EventType::Created],
        customer: Some(7.try_into().unwrap()),
        secrets: Secrets { current: secret("A"), former: Some((secret("B"), at(50))) },
        note: Some("the portal".into()),
        created: at(0),
        created_by: Some("ada".into()),
        state: State::Active,
        delivery: Delivery {
            cursor: event(5, 4),
            accepted: [event(6, 5)].into(),
            held: [
                (event(1, 1), Hold::Failed(wait)),
                (event(2, 2), Hold::Refused(wait)),
                (event(4, 2), Hold::Behind),
            ]
            .into(),
            failing: Some(wait),
        },
        last_answer: Some(("500".into(), at(7))),
    };
    let disabled = Webhook {
        id: "wh_bbbbbbbbbbbbbbbb".parse().unwrap(),
        state: State::Disabled(Disabled::Gone, at(8)),
        ..failing.clone()
    };
    for webhook in [&failing, &disabled] {
        webhooks.insert(webhook).await.unwrap();
    }
    assert!(matches!(webhooks.lease(&failing.id).await.unwrap(), Leased::Taken(_)));
}

/// The body of ticket 1, with every field.
fn first() -> Value {
    json!({
        "customerID": 7, "subject": "every field", "ticketType": "billing", "status": "open", "ticketPriority": "high",
        "customerEmail": "ada@example.com", "ticketContent": "Müller & Söhne \u{1F3AB}", "owner": "grace",
        "users": "u", "departments": "d", "ticketSuppliers": "s", "ticketFollowupDate": "2026-12-24",
        "ticketActionRequired": "2026-12-24T09:00:00+01:00",
    })
}

/// What this version writes: the items of each table.
fn written() -> BTreeMap<&'static str, Vec<Value>> {
    simulate(1, async {
        let api = Simulation::start(1, Settings::default()).await;
        api.model.keep_stream();
        write(&api).await;
        let items = |table: &'static str| {
            let found = operate(api.model.engine(), "Scan", &json!({"TableName": table}));
            let mut items = found["Items"].as_array().unwrap().clone();
            items.sort_by_key(|item| {
                ["bucket", "keyId", "webhookId", "ticket", "id", "version"].map(|key| item[key].to_string())
            });
            (table, items)
        };
        TABLES.map(items).into()
    })
}

fn operate(database: &Database, operation: &str, input: &Value) -> Value {
    let target = format!("DynamoDB_20120810.{operation}");
    let (status, output) = tickets_engine::answer(database, Some(&target), input.to_string().as_bytes());
    assert_eq!(status, 200, "{operation}: {}", String::from_utf8_lossy(&output));
    serde_json::from_slice(&output).unwrap()
}

/// Makes a local database of these items in a directory.
async fn fill(directory: &Path, tables: &Value) {
    drop(Local::open(directory, any_port()).await.unwrap());
    let database = Database::new(directory.join(DATABASE).to_str().unwrap()).unwrap();
    for (table, items) in tables.as_object().unwrap() {
        for item in items.as_array().unwrap() {
            operate(&database, "PutItem", &json!({"TableName": table, "Item": item}));
        }
    }
}

/// A response, as far as a version is held to it.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

fn router(app: App) -> Router {
    Gateway { app: Arc::new(app), payload: Payload::Rest }.into_router()
}

async fn call(router: &Router, key: &str, method: &str, path: &str, body: Value) -> Reply {
    request(router, key, method, path, &[], body).await
}

async fn request(
    router: &Router,
    key: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Reply {
    let request = Request::builder().method(method).uri(format!("{BASE_PATH}{path}"));
    let request =
        request.header("authorization", format!("Bearer {key}")).header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let Ok(response) = router.clone().oneshot(request.body(body).unwrap()).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
}

/// The API over the database in a directory, half a day after its last write.
fn served(local: &Local) -> Router {
    let clock = Clock::new(|| time(LATER));
    router(App::open(Config::from_lookup(|_| None).unwrap(), &local.sdk_config(), clock))
}

/// The answers to [`READS`]: the body, and the `ETag` if there is one.
async fn answers(router: &Router) -> Value {
    let mut answers = serde_json::Map::new();
    for path in READS {
        let reply = call(router, SAMPLE_KEY, "GET", path, Value::Null).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        let tag = reply.headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        answers.insert(path.to_owned(), json!({"body": reply.body, "etag": tag}));
    }
    answers.into()
}

/// Whether a value has everything of a former one: it may have more members.
fn has_all_of(value: &Value, former: &Value) -> bool {
    match (value, former) {
        (Value::Object(members), Value::Object(former)) => former
            .iter()
            .all(|(name, former)| members.get(name).is_some_and(|value| has_all_of(value, former))),
        (Value::Array(elements), Value::Array(former)) => {
            elements.len() == former.len()
                && elements.iter().zip(former).all(|(value, former)| has_all_of(value, former))
        }
        _ => value == former,
    }
}

/// The folders of tests/released.
fn versions() -> Vec<PathBuf> {
    let folders = fs::read_dir(root().join("tests/released")).unwrap();
    let folders: BTreeSet<_> = folders.map(|folder| folder.unwrap().path()).collect();
    assert!(!folders.is_empty());
    folders.into_iter().collect()
}

fn json_in(folder: &Path, file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(file)).unwrap()).unwrap()
}

/// Writes the folder of this version, if the variable `WRITE_RELEASED` is set.
#[test]
fn what_this_version_stores_is_written_for_later_ones() {
    let tables = json!(written());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let answers = runtime.block_on(async {
        fill(directory.path(), &tables).await;
        let local = Local::open(directory.path(), any_port()).await.unwrap();
        let webhooks = Webhooks::new(local.dynamodb(), schema::WEBHOOKS, Clock::new(|| time(LATER)));
        let mut answers = answers(&served(&local)).await;
        // Not an answer: what the program makes of the items. The secrets are not in it.
        answers["webhooks"] = format!("{:?}", webhooks.list().await.unwrap().webhooks).into();
        answers
    });
    drop(runtime); // With the last connection closed, the file has everything.
    #[expect(clippy::disallowed_methods, reason = "configuration of the tests")]
    if std::env::var("WRITE_RELEASED").is_ok() {
        let folder = root().join("tests/released").join(env!("CARGO_PKG_VERSION"));
        fs::create_dir_all(&folder).unwrap();
        for (file, value) in [("tables.json", &tables), ("answers.json", &answers)] {
            fs::write(folder.join(file), serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
        }
        fs::copy(directory.path().join(DATABASE), folder.join(DATABASE)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_released_version_stored_is_read_changed_and_exported() {
    for version in versions() {
        let tables = json_in(&version, "tables.json");
        for is_database in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            if is_database {
                fs::copy(version.join(DATABASE), directory.path().join(DATABASE)).unwrap();
            } else {
                fill(directory.path(), &tables).await;
            }
            let local = Local::open(directory.path(), any_port()).await.unwrap();
            let router = served(&local);
            let former = json_in(&version, "answers.json");
            for (path, former) in former.as_object().unwrap().iter().filter(|(path, _)| path.starts_with('/'))
            {
                let reply = call(&router, SAMPLE_KEY, "GET", path, Value::Null).await;
                assert!(has_all_of(&reply.body, &former["body"]), "{path} is {}, not {former}", reply.body);
                let tag = reply.headers.get("etag").map(|tag| tag.to_str().unwrap());
                assert_eq!(tag, former["etag"].as_str(), "{path}");
            }
            let webhooks = Webhooks::new(local.dynamodb(), schema::WEBHOOKS, Clock::new(|| time(LATER)));
            let stored = format!("{:?}", webhooks.list().await.unwrap().webhooks);
            assert_eq!(former["webhooks"], stored.as_str());
            change(&router, &former).await;
            export(&local).await;
        }
    }
}

/// Changes what a version stored.
async fn change(router: &Router, former: &Value) {
    let key = SAMPLE_KEY;
    let (named, tag) = (&[("idempotency-key", "first")], former["/tickets/1"]["etag"].as_str().unwrap());
    let replayed = request(router, key, "POST", "/tickets/", named, first()).await;
    assert_eq!((replayed.status, &replayed.body), (201, &former["/tickets/1"]["body"]));
    assert_eq!(replayed.headers["idempotency-replayed"], "true");
    let changed =
        request(router, key, "PATCH", "/tickets/1", &[("if-match", tag)], json!({"owner": "ada"})).await;
    assert_eq!((changed.status, changed.body["owner"].as_str()), (200, Some("ada")), "{}", changed.body);
    assert_eq!(call(router, key, "DELETE", "/tickets/2", Value::Null).await.status, 204);
    let created = call(router, key, "POST", "/tickets/", json!({"customerID": 7, "subject": "new"})).await;
    let id = |ticket: &Value| ticket["id"].as_str().unwrap().parse::<u64>().unwrap();
    let last = former["/tickets/?includeDeleted=true"]["body"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((created.status, id(&created.body)), (201, id(&last) + 1), "{}", created.body);
    // The keys: another secret, its former one until it ends, one customer, and none.
    for key in ROTATED {
        assert_eq!(call(router, key, "GET", "/tickets/1", Value::Null).await.status, 200);
        assert_eq!(
            call(router, key, "GET", "/tickets/3", Value::Null).await.status,
            404,
            "another customer's"
        );
    }
    assert_eq!(call(router, REVOKED, "GET", "/tickets/1", Value::Null).await.status, 401);
}

/// Exports what has changed since the version's last export, and then everything.
async fn export(local: &Local) {
    let clock = Clock::new(|| time(LATER).plus(Duration::from_secs(60)));
    let tickets = Tickets::new(local.dynamodb(), schema::TICKETS, clock.clone(), Settings::default());
    let exporter = Exporter::new(tickets, Store::new(InMemory::new()), clock);
    let variables = Config::from_lookup(|_| None).unwrap().variables();
    let exporter = exporter.noting(variables);
    let run = async |since: Option<&str>| {
        let event = since
            .map_or_else(Event::default, |since| serde_json::from_value(json!({"since": since})).unwrap());
        let outcome = export_tickets::answer(&exporter, event, Timestamp::MAX).await.unwrap();
        assert!(outcome.complete);
        outcome.records
    };
    assert_eq!(run(None).await, 3, "a change, a deletion, a new ticket: the watermark is kept");
    assert_eq!(run(Some("2026-11-01")).await, 9, "tickets and tombstones, and no void");
}

/// What an item is: its table and its key, without numbers and names; and what marks a tombstone and a void.
fn kind(table: &str, item: &Value) -> String {
    let bucket = item["bucket"]["S"].as_str().unwrap_or_default();
    let bucket = bucket.split('#').next().unwrap().trim_start_matches(|c: char| c.is_ascii_digit());
    let mark =
        ["deletedDate", "voidedDate", "recordedMonth"].into_iter().find(|name| item.get(name).is_some());
    let mark = mark.unwrap_or_default();
    format!("{table} {bucket}{mark}").trim_end().to_owned()
}

fn attributes(tables: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, items) in tables.as_object().unwrap() {
        for item in items.as_array().unwrap() {
            let names = item.as_object().unwrap().keys().cloned();
            found.entry(kind(table, item)).or_default().extend(names);
        }
    }
    found
}

/// An attribute that is no longer written is one that an older program misses, or one that this program no longer
/// reads in old items: then [`tickets_repository::deployment::FORMAT`] has to grow, or both names are read.
#[test]
fn every_attribute_that_a_released_version_stored_is_still_stored() {
    let now = attributes(&json!(written()));
    for version in versions() {
        for (kind, stored) in attributes(&json_in(&version, "tables.json")) {
            let lost: Vec<_> = stored.difference(&now[&kind]).collect();
            assert!(lost.is_empty(), "items of {kind} had {lost:?} in {}", version.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_refuses_newer_data_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(versions()[0].join(DATABASE), directory.path().join(DATABASE)).unwrap();
    let database = Database::new(directory.path().join(DATABASE).to_str().unwrap()).unwrap();
    let scan =
        || TABLES.map(|table| operate(&database, "Scan", &json!({"TableName": table}))["Items"].clone());
    operate(
        &database,
        "UpdateItem",
        &json!({
            "TableName": schema::TICKETS, "Key": {"bucket": {"S": "settings"}, "id": {"N": "0"}},
            "UpdateExpression": "SET #format = :newer",
            "ExpressionAttributeNames": {"#format": "format"}, "ExpressionAttributeValues": {":newer": {"N": "2"}},
        }),
    );
    let before = scan();
    let error = Local::open(directory.path(), any_port()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the stored data have format 2, and this program knows no format above 1: use the version that wrote them, or a \
         later one (docs/upgrading.md)"
    );
    assert_eq!(scan(), before);
}
