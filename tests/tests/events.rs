//! Events as AWS sends them, and as nobody should: the samples in `events/` get answers, and no
//! event makes a handler panic or puts what a caller wrote into a header.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lambda_http::Body;
use lambda_http::request::LambdaRequest;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use support::{Api, Options};
use tickets_app::App;
use tickets_cli::command::db::SAMPLE_KEY;
use tickets_cli::local::store_development_key;
use tickets_http::Response;
use tickets_http::event::harmless;

/// An app whose table has the samples' key and ticket 1 of customer 42.
async fn app() -> (Api, Arc<App>) {
    let api = Api::start_with(Options::default()).await;
    let app = Arc::clone(api.app.as_ref().unwrap());
    store_development_key(&app.keys, &SAMPLE_KEY.parse().unwrap(), &app.clock).await.unwrap();
    api.create(&json!({"customerID": 42, "subject": "Help"})).await;
    (api, app)
}

fn event(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("events").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn answer(app: &Arc<App>, function: &str, event: &str) -> Response {
    let event = serde_json::from_str::<LambdaRequest>(event).unwrap();
    let event = lambda_http::Request::from(harmless(event));
    let app = Arc::clone(app);
    match function {
        "get-ticket" => get_ticket::answer(app, event).await,
        "list-tickets" => list_tickets::answer(app, event).await,
        "list-customer-tickets" => list_customer_tickets::answer(app, event).await,
        "create-ticket" => create_ticket::answer(app, event).await,
        "update-ticket" => update_ticket::answer(app, event).await,
        "delete-ticket" => delete_ticket::answer(app, event).await,
        other => panic!("{other} is new: say here how it is run"),
    }
}

fn json_body(response: &Response) -> Value {
    match response.body() {
        Body::Text(text) => serde_json::from_str(text).unwrap(),
        _ => Value::Null,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_event_gets_its_answer_from_the_real_handler() {
    for format in ["rest", "http"] {
        let (_api, app) = app().await;
        let run =
            async |function: &str| answer(&app, function, &event(&format!("{function}.{format}.json"))).await;

        let got = run("get-ticket").await;
        assert_eq!((got.status().as_u16(), json_body(&got)["subject"].as_str()), (200, Some("Help")));
        let created = run("create-ticket").await;
        assert_eq!(created.status(), 201);
        assert_eq!(created.headers()["location"], "/backend/api/v1/tickets/2");
        assert_eq!(json_body(&created)["ticketFollowupDate"], "2026-12-01");
        let updated = run("update-ticket").await;
        assert_eq!((updated.status().as_u16(), json_body(&updated)["owner"].as_str()), (200, Some("grace")));
        for list in ["list-tickets", "list-customer-tickets"] {
            let listed = run(list).await;
            assert_eq!(
                (listed.status().as_u16(), json_body(&listed).as_array().unwrap().len()),
                (200, 2),
                "{list}"
            );
        }
        assert_eq!(run("delete-ticket").await.status(), 204);
        assert_eq!(run("get-ticket").await.status(), 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_url_has_no_routes_and_its_path_is_enough() {
    let (_api, app) = app().await;
    let got = answer(&app, "get-ticket", &event("get-ticket.url.json")).await;
    assert_eq!((got.status().as_u16(), json_body(&got)["id"].as_str()), (200, Some("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_right_behind_a_custom_domain_and_never_what_a_caller_makes_of_it() {
    let (_api, app) = app().await;
    let at = async |path: &str| {
        let mut event: Value = serde_json::from_str(&event("create-ticket.rest.json")).unwrap();
        event["requestContext"]["path"] = json!(path);
        let created = answer(&app, "create-ticket", &event.to_string()).await;
        assert_eq!(created.status(), 201, "{path}");
        let location = created.headers()["location"].to_str().unwrap().to_owned();
        location.rsplit_once('/').unwrap().0.to_owned()
    };
    assert_eq!(at("/support/api/v1/tickets/").await, "/support/api/v1/tickets", "mapped to /support");
    assert_eq!(at("/api/v1/tickets").await, "/api/v1/tickets");
    for hostile in [
        "//evil.example/tickets",
        "https://evil.example/tickets",
        "/x\r\nSet-Cookie: a=b/tickets",
        "/ü/tickets",
        "/a?b/tickets",
        "",
    ] {
        assert_eq!(at(hostile).await, "/backend/api/v1/tickets", "{hostile:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_query_reaches_link_only_as_what_was_understood() {
    let (api, app) = app().await;
    api.create(&json!({"customerID": 42, "subject": "Help"})).await;
    let mut event: Value = serde_json::from_str(&event("list-tickets.rest.json")).unwrap();
    for (name, value) in
        [("updatedSince", "2026-01-01T00:00:00Z>; rel=\"x\""), ("limit", "1\r\nx: y"), ("x>\r\ny", "1")]
    {
        event["queryStringParameters"] = json!({name: value});
        event["multiValueQueryStringParameters"] = json!({name: [value]});
        let refused = answer(&app, "list-tickets", &event.to_string()).await;
        assert_eq!(refused.status(), 400, "{value:?}");
        assert!(!refused.headers().contains_key("link"));
    }
    event["queryStringParameters"] = json!({"updatedSince": "2026-01-01 00:00:00 02:00", "limit": "1"});
    event["multiValueQueryStringParameters"] =
        json!({"updatedSince": ["2026-01-01 00:00:00 02:00"], "limit": ["1"]});
    let listed = answer(&app, "list-tickets", &event.to_string()).await;
    assert_eq!(
        listed.headers()["link"],
        "<?updatedSince=2025-12-31T22:00:00.000Z&limit=1&idAfter=1>; rel=\"next\""
    );
}

#[test]
fn no_event_makes_a_handler_panic() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_api, app) = runtime.block_on(app());
    let text =
        || prop_oneof!["\\PC{0,20}", "[\\x00-\\x7f]{0,20}", "[0-9T:+Z -]{0,30}", Just("x".repeat(5000))];
    let strategy = (text(), text(), text(), text(), text(), 0usize..6, any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let names = [
        "get-ticket",
        "list-tickets",
        "list-customer-tickets",
        "create-ticket",
        "update-ticket",
        "delete-ticket",
    ];
    runner
        .run(&strategy, |(id, name, value, body, header, function, rest)| {
            let function = names[function];
            let format = if rest { "rest" } else { "http" };
            let mut event: Value =
                serde_json::from_str(&event(&format!("{function}.{format}.json"))).unwrap();
            event["pathParameters"] = json!({"id": id});
            event["queryStringParameters"] = json!({name.clone(): value});
            event["multiValueQueryStringParameters"] = json!({name: [value, value]});
            event["body"] = json!(body);
            for path in ["path", "rawPath", "rawQueryString"] {
                if event.get(path).is_some() {
                    event[path] = json!(id);
                }
            }
            for headers in ["headers", "multiValueHeaders"] {
                // Headers are text: API Gateway passes none with control characters.
                let clean: String = header.chars().filter(|c| !c.is_control()).collect();
                for name in [
                    "idempotency-key",
                    "if-match",
                    "if-none-match",
                    "content-type",
                    "origin",
                    "host",
                    "x-forwarded-proto",
                ] {
                    event[headers][name] = if headers == "headers" { json!(clean) } else { json!([clean]) };
                }
            }
            let response = runtime.block_on(answer(&app, function, &event.to_string()));
            let status = response.status().as_u16();
            prop_assert!(matches!(status, 200..=299 | 304 | 400..=422), "{status}");
            Ok(())
        })
        .unwrap();
}
