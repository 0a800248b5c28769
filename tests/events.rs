//! Tests with events as AWS sends them, and with hostile ones: the samples in `events/` are answered, and no
//! event makes a handler panic or puts a caller's text into a header.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lambda_http::Body;
use lambda_http::request::LambdaRequest;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use support::files::{read, root};
use support::operation::operation;
use support::{Api, Options};
use tickets_app::App;
use tickets_cli::command::db::SAMPLE_KEY;
use tickets_cli::server::gateway;
use tickets_cli::server::local::store_development_key;
use tickets_http::Response;
use tickets_http::event::sanitize;
use tickets_http::route::ROUTES;

/// An app whose table has the samples' key, and ticket 1 of customer 42.
async fn app() -> (Api, Arc<App>) {
    let api = Api::start_with(Options::default()).await;
    let app = Arc::clone(api.app.as_ref().unwrap());
    store_development_key(&app.keys, &SAMPLE_KEY.parse().unwrap(), &app.clock).await.unwrap();
    api.create(&json!({"customerID": 42, "subject": "Help"})).await;
    (api, app)
}

fn event(file: &str) -> String {
    read(&format!("events/{file}"))
}

async fn answer(app: &Arc<App>, function: &str, event: &str) -> Response {
    let event = serde_json::from_str::<LambdaRequest>(event).unwrap();
    let event = lambda_http::Request::from(sanitize(event));
    let app = Arc::clone(app);
    let route = ROUTES.iter().find(|route| route.function.name() == function).unwrap();
    gateway::answer(app, route.function, event).await
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
        assert_eq!(json_body(&created)["ticketFollowupDate"], "2026-11-30");
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
async fn a_function_url_is_answered_by_its_path_alone() {
    let (_api, app) = app().await;
    let got = answer(&app, "get-ticket", &event("get-ticket.url.json")).await;
    assert_eq!((got.status().as_u16(), json_body(&got)["id"].as_str()), (200, Some("1")));
}

/// Sets the path as the client wrote it, in either format.
fn set_written_path(event: &mut Value, path: &str) {
    if event["version"] == "2.0" {
        event["requestContext"]["http"]["path"] = json!(path);
    } else {
        event["requestContext"]["path"] = json!(path);
    }
}

/// What can precede a route's path in the client's URL: the stage; the mapping of a custom domain, also with
/// several levels; or nothing, as for a function URL.
const PREFIXES: [&str; 5] = ["/backend/api/v1", "/support/api/v1", "/a/b-c/api/v1", "/api/v1", ""];

/// Prefixes that an attacker would like to see in a header.
const HOSTILE_PREFIXES: [&str; 7] = [
    "//evil.example",
    "https://evil.example",
    "/x\r\nSet-Cookie: a=b",
    "/ü",
    "/a?b",
    "/a>; rel=\"next\", <https://evil.example",
    "x",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_right_behind_a_custom_domain_and_a_forged_path_is_replaced() {
    let (_api, app) = app().await;
    for format in ["rest", "http"] {
        let at = async |path: &str| {
            let event =
                changed(&format!("create-ticket.{format}.json"), |event| set_written_path(event, path));
            let created = answer(&app, "create-ticket", &event).await;
            assert_eq!(created.status(), 201, "{path}");
            let location = created.headers()["location"].to_str().unwrap().to_owned();
            location.rsplit_once('/').unwrap().0.to_owned()
        };
        for slash in ["", "/"] {
            for prefix in PREFIXES {
                let expected = format!("{prefix}/tickets");
                assert_eq!(at(&format!("{prefix}/tickets{slash}")).await, expected, "{format}");
            }
            for hostile in HOSTILE_PREFIXES {
                let path = format!("{hostile}/tickets{slash}");
                assert_eq!(at(&path).await, "/backend/api/v1/tickets", "{format} {hostile:?}");
            }
        }
        assert_eq!(at("").await, "/backend/api/v1/tickets", "{format}");
    }
}

/// What API Gateway's REST API puts into `path` and `requestContext.path` of an event (observed on AWS:
/// localstack/localstack, pull request 12296). At its own address `path` lacks the stage. Behind the mapping of a
/// custom domain both are as the client wrote them.
const MAPPINGS: [[&str; 2]; 4] = [
    ["/api/v1", "/backend/api/v1"],
    ["/backend/api/v1", "/backend/api/v1"],
    ["/support/desk/api/v1", "/support/desk/api/v1"],
    ["/api/v1", "/api/v1"],
];

#[tokio::test(flavor = "multi_thread")]
async fn every_function_answers_behind_the_mapping_of_a_domain_as_at_the_api_s_own_address() {
    let (api, app) = app().await;
    api.create(&json!({"customerID": 42, "subject": "second"})).await;
    for [path, written] in MAPPINGS {
        let run = async |function: &str, below: &str, limit: Option<&str>| {
            let event = changed(&format!("{function}.rest.json"), |event| {
                event["path"] = json!(format!("{path}{below}"));
                event["requestContext"]["path"] = json!(format!("{written}{below}"));
                event["requestContext"]["domainName"] = json!("api.example.com");
                set_headers(event, "host", &["api.example.com"]);
                if let Some(limit) = limit {
                    event["queryStringParameters"] = json!({"limit": limit});
                    event["multiValueQueryStringParameters"] = json!({"limit": [limit]});
                }
            });
            answer(&app, function, &event).await
        };
        let got = run("get-ticket", "/tickets/1", None).await;
        assert_eq!((got.status().as_u16(), json_body(&got)["id"].as_str()), (200, Some("1")), "{written}");
        let created = run("create-ticket", "/tickets/", None).await;
        let id = json_body(&created)["id"].as_str().unwrap().to_owned();
        assert_eq!(created.headers()["location"], format!("{written}/tickets/{id}"));
        for (function, below) in
            [("list-tickets", "/tickets/"), ("list-customer-tickets", "/customers/42/tickets/")]
        {
            let listed = run(function, below, Some("1")).await;
            let link = format!("<{written}{below}?limit=1&idAfter=1>; rel=\"next\"");
            assert_eq!(listed.headers()["link"], link);
        }
        assert_eq!(run("update-ticket", "/tickets/1", None).await.status(), 200, "{written}");
        assert_eq!(run("list-ticket-history", "/tickets/1/history/", None).await.status(), 200, "{written}");
        for document in ["/openapi.json", "/openapi.json/"] {
            let described = run("get-ticket-configuration", document, None).await;
            assert_eq!(json_body(&described)["servers"][0]["url"], *written);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_has_the_path_the_client_wrote_and_a_forged_path_is_replaced() {
    let (api, app) = app().await;
    api.create(&json!({"customerID": 42, "subject": "second"})).await;
    for (function, list) in [("list-tickets", "/tickets"), ("list-customer-tickets", "/customers/42/tickets")]
    {
        for format in ["rest", "http"] {
            let next = async |path: &str| {
                let event = changed(&format!("{function}.{format}.json"), |event| {
                    set_written_path(event, path);
                    event["queryStringParameters"] = json!({"limit": "1"});
                    event["multiValueQueryStringParameters"] = json!({"limit": ["1"]});
                    event["rawQueryString"] = json!("limit=1");
                });
                let listed = answer(&app, function, &event).await;
                assert_eq!(listed.status(), 200, "{path}");
                assert_harmless(&listed, path);
                let link = listed.headers()["link"].to_str().unwrap().to_owned();
                link.split_once("?limit=1&idAfter=1>; rel=\"next\"").unwrap().0.to_owned()
            };
            for slash in ["", "/"] {
                for prefix in PREFIXES {
                    let path = format!("{prefix}{list}{slash}");
                    assert_eq!(next(&path).await, format!("<{path}"), "{format}");
                }
                for hostile in HOSTILE_PREFIXES {
                    let path = format!("{hostile}{list}{slash}");
                    assert_eq!(next(&path).await, format!("</backend/api/v1{list}/"), "{format} {path:?}");
                }
            }
            for other in ["", "/", "/tickets/7", "/customers/tickets/", "/backend/api/v1/ticket"] {
                let expected = match (list, other) {
                    // The path ends like the route, so everything before it is taken for a prefix.
                    ("/tickets", "/customers/tickets/") => "</customers/tickets/".to_owned(),
                    _ => format!("</backend/api/v1{list}/"),
                };
                assert_eq!(next(other).await, expected, "{format} {other:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_s_description_names_the_server_the_client_asked() {
    let (_api, app) = app().await;
    for format in ["rest", "http"] {
        let server = async |path: &str| {
            let event = changed(&format!("get-ticket-configuration.{format}.json"), |event| {
                for name in ["path", "rawPath"] {
                    if event.get(name).is_some() {
                        event[name] = json!("/api/v1/openapi.json");
                    }
                }
                set_written_path(event, path);
                set_headers(event, "authorization", &["none"]);
            });
            let described = answer(&app, "get-ticket-configuration", &event).await;
            assert_eq!(described.status(), 200, "{path}");
            json_body(&described)["servers"][0]["url"].as_str().unwrap().to_owned()
        };
        for slash in ["", "/"] {
            for prefix in PREFIXES {
                assert_eq!(server(&format!("{prefix}/openapi.json{slash}")).await, prefix, "{format}");
            }
            for hostile in HOSTILE_PREFIXES {
                let path = format!("{hostile}/openapi.json{slash}");
                assert_eq!(server(&path).await, "/backend/api/v1", "{format} {hostile:?}");
            }
        }
    }
}

/// A function URL has neither routes nor path parameters.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_url_s_link_is_its_own_path() {
    let (api, app) = app().await;
    api.create(&json!({"customerID": 42, "subject": "second"})).await;
    for (function, list) in [("list-tickets", "/tickets"), ("list-customer-tickets", "/customers/42/tickets")]
    {
        for path in [list.to_owned(), format!("{list}/")] {
            let event = changed("get-ticket.url.json", |event| {
                event["rawPath"] = json!(path);
                event["requestContext"]["http"]["path"] = json!(path);
                event["rawQueryString"] = json!("limit=1");
                event["queryStringParameters"] = json!({"limit": "1"});
            });
            let listed = answer(&app, function, &event).await;
            let link = format!("<{path}?limit=1&idAfter=1>; rel=\"next\"");
            assert_eq!(listed.headers()["link"], link, "{listed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_repeats_only_parameters_that_were_parsed() {
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
        "</backend/api/v1/tickets/?updatedSince=2025-12-31T22:00:00.000Z&limit=1&continuation=cAg&idAfter=1>; \
         rel=\"next\""
    );
}

#[test]
fn no_event_makes_a_handler_panic() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_api, app) = runtime.block_on(app());
    let text =
        || prop_oneof!["\\PC{0,20}", "[\\x00-\\x7f]{0,20}", "[0-9T:+Z -]{0,30}", Just("x".repeat(5000))];
    let strategy = (text(), text(), text(), text(), text(), 0..ROUTES.len(), any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    runner
        .run(&strategy, |(id, name, value, body, header, function, rest)| {
            let function = ROUTES[function].function.name();
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

#[tokio::test(flavor = "multi_thread")]
async fn every_request_in_events_is_answered() {
    let mut answered = BTreeSet::new();
    for file in fs::read_dir(root().join("events")).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let (_api, app) = app().await;
        let function = file.split('.').next().unwrap();
        if matches!(function, "export-tickets" | "record-changes" | "deliver-webhooks") {
            continue; // Not called by requests: drift.rs, export.rs and history.rs test their calls.
        }
        let response = answer(&app, function, &event(&file)).await;
        let route = ROUTES.iter().find(|route| route.function.name() == function).unwrap();
        let operation = operation(route, route.methods.last().unwrap());
        assert_eq!(response.status(), operation.success, "{file}");
        assert!(!response.headers()["x-request-id"].is_empty(), "{file}");
        let body = json_body(&response);
        operation.assert_describes(&body);
        let ticket = body.as_array().and_then(|list| list.first()).unwrap_or(&body);
        assert!(ticket.get("subject").is_none() || ticket["customerID"] == 42, "{file}: {body}");
        answered.insert(function.to_owned());
    }
    assert_eq!(answered, ROUTES.iter().map(|route| route.function.name().to_owned()).collect());
}

/// A sample event, edited.
fn changed(file: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut event = serde_json::from_str(&event(file)).unwrap();
    edit(&mut event);
    event.to_string()
}

/// Sets a header as a gateway does, in either format.
fn set_headers(event: &mut Value, name: &str, values: &[&str]) {
    if event["version"] == "2.0" {
        event["headers"][name] = json!(values.join(","));
    } else {
        // `headers` has the last value of each name, as API Gateway documents.
        event["headers"][name] = json!(values.last());
        event["multiValueHeaders"][name] = json!(values);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_checked_again_behind_a_gateway_that_checked_it() {
    let (_api, app) = app().await;
    for route in &ROUTES {
        for format in ["rest", "http"] {
            for key in ["", "Bearer ", "Basic YTpi", "Bearer tk_localdevelopment_00"] {
                let event = changed(&format!("{}.{format}.json", route.function.name()), |event| {
                    set_headers(event, "authorization", &[key]);
                    let claims = json!({"sub": "admin", "scope": "read write delete"});
                    event["requestContext"]["authorizer"] = json!({
                        "principalId": "localdevelopment", "claims": claims, "scopes": ["read", "write", "delete"],
                        "jwt": {"claims": claims, "scopes": ["read", "write", "delete"]},
                        "lambda": {"keyId": "localdevelopment", "isAuthorized": true},
                    });
                    event["requestContext"]["identity"] =
                        json!({"user": "admin", "apiKey": "k", "sourceIp": "127.0.0.1"});
                });
                let refused = answer(&app, route.function.name(), &event).await;
                assert_eq!(refused.status(), 401, "{} {format} {key:?}", route.function.name());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_authorization_headers_and_two_idempotency_keys_are_refused() {
    for format in ["rest", "http"] {
        let (_api, app) = app().await;
        let good = format!("Bearer {SAMPLE_KEY}");
        let stranger = format!("Bearer {}", tickets_domain::BearerToken::generate().unwrap().reveal());
        for both in [[&*good, &*good], [&*stranger, &*good], [&*good, &*stranger]] {
            for route in &ROUTES {
                let event = changed(&format!("{}.{format}.json", route.function.name()), |event| {
                    set_headers(event, "authorization", &both);
                });
                assert_eq!(
                    answer(&app, route.function.name(), &event).await.status(),
                    401,
                    "{format} {both:?}"
                );
            }
        }
    }
    // Format 2.0 joins the values, so they are one value with a comma.
    let (_api, app) = app().await;
    let event =
        changed("create-ticket.rest.json", |event| set_headers(event, "idempotency-key", &["a", "b"]));
    let refused = answer(&app, "create-ticket", &event).await;
    assert_eq!(
        (refused.status().as_u16(), json_body(&refused)["errors"][0]["field"].as_str()),
        (400, Some("Idempotency-Key"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn if_none_match_may_be_given_twice() {
    for format in ["rest", "http"] {
        let (api, app) = app().await;
        let fetched = api.get("/tickets/1").await;
        let (tag, other) = (fetched.header("etag"), "\"7-00000000\"");
        for (tags, status) in [([tag, other], 304), ([other, tag], 304), ([other, "\"8\""], 200)] {
            let event = changed(&format!("get-ticket.{format}.json"), |event| {
                set_headers(event, "if-none-match", &tags);
            });
            assert_eq!(answer(&app, "get-ticket", &event).await.status(), status, "{format} {tags:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_the_path_s_parameter_whatever_the_path_says() {
    let (api, app) = app().await;
    api.create(&json!({"customerID": 42, "subject": "second"})).await;
    for format in ["rest", "http"] {
        for path in ["/backend/api/v1/tickets/2", "/tickets/2/", "/tickets/1/../2", "//tickets/2", "", "x"] {
            let event = changed(&format!("get-ticket.{format}.json"), |event| {
                for name in ["path", "rawPath"] {
                    if event.get(name).is_some() {
                        event[name] = json!(path);
                    }
                }
            });
            let got = answer(&app, "get-ticket", &event).await;
            assert_eq!((got.status().as_u16(), json_body(&got)["id"].as_str()), (200, Some("1")), "{path:?}");
        }
    }
}

/// Texts that would end a header, the reference in a `Link`, or a JSON string, if they were copied unescaped.
const HOSTILE: [&str; 8] = [
    "\r\nSet-Cookie: a=b",
    "x\r\n\r\n<html>",
    "a\nb",
    ">; rel=\"next\", <https://evil.example/",
    "\"; drop",
    "%0d%0aSet-Cookie:%20a=b",
    "\u{0}",
    "ü\u{2028}\u{1f600}",
];

/// Edits an event.
type Edit<'a> = &'a dyn Fn(&mut Value);

fn assert_harmless(response: &Response, what: &str) {
    for (name, value) in response.headers() {
        let text = String::from_utf8_lossy(value.as_bytes());
        assert!(name != "set-cookie" && !text.contains(char::is_control), "{what}: {name}: {value:?}");
        // The gateway chooses the request id, and it is returned unchanged.
        let known = text.is_ascii() && !text.contains("evil") || name == "x-request-id";
        assert!(known, "{what}: {name}: {value:?}");
    }
    if let Some(link) = response.headers().get("link") {
        let reference = link.to_str().unwrap().strip_prefix("</").unwrap();
        let reference = reference.strip_suffix(">; rel=\"next\"").unwrap();
        let (path, query) = reference.split_once('?').unwrap();
        assert!(!path.starts_with('/') && !query.contains('%'), "{what}: {reference}");
        assert!(!reference.contains(['<', '>', '"', ' ', '\\', ';', ',', '#']), "{what}: {reference}");
    }
    if let Some(location) = response.headers().get("location") {
        let location = location.to_str().unwrap();
        assert!(location.ends_with(|c: char| c.is_ascii_digit()) && !location.starts_with("//"), "{what}");
        assert!(!location.contains(['<', '>', '"', ' ', '\\', '?', '#']), "{what}: {location}");
    }
    if let Body::Text(text) = response.body()
        && !text.is_empty()
    {
        serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{what}: {text}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_ends_no_header_and_no_body() {
    for hostile in HOSTILE {
        let (api, app) = app().await;
        api.create(&json!({"customerID": 42, "subject": "second"})).await;
        // The last route deletes the ticket that all of them use.
        for route in &ROUTES {
            for format in ["rest", "http"] {
                let file = format!("{}.{format}.json", route.function.name());
                let encoded: String = hostile.bytes().map(|byte| format!("%{byte:02X}")).collect();
                let edits: [(&str, Edit<'_>); 7] = [
                    ("id", &|event| event["pathParameters"] = json!({"id": hostile})),
                    ("value", &|event| {
                        event["rawQueryString"] = json!(format!("limit=1&updatedSince={encoded}"));
                        event["multiValueQueryStringParameters"] =
                            json!({"limit": ["1"], "updatedSince": [hostile]});
                    }),
                    ("name", &|event| {
                        event["rawQueryString"] = json!(format!("limit=1&{encoded}=1"));
                        event["multiValueQueryStringParameters"] = json!({"limit": ["1"], hostile: ["1"]});
                    }),
                    ("path", &|event| {
                        let path = format!("/backend/{hostile}/tickets");
                        for name in ["path", "rawPath"] {
                            if event.get(name).is_some() {
                                event[name] = json!(path);
                            }
                        }
                        event["requestContext"]["path"] = json!(path);
                        event["requestContext"]["http"]["path"] = json!(path);
                    }),
                    ("request id", &|event| event["requestContext"]["requestId"] = json!(hostile)),
                    ("host", &|event| event["requestContext"]["domainName"] = json!(hostile)),
                    ("body", &|event| {
                        let body =
                            json!({"customerID": 42, "subject": hostile, "owner": hostile, hostile: 1});
                        event["body"] = json!(body.to_string());
                    }),
                ];
                for (what, edit) in edits {
                    let what = format!("{what} of {file}: {hostile:?}");
                    let response = answer(&app, route.function.name(), &changed(&file, edit)).await;
                    assert!(matches!(response.status().as_u16(), 200..=299 | 400..=422), "{what}");
                    assert_harmless(&response, &what);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_ticket_is_in_a_header() {
    for format in ["rest", "http"] {
        let (_api, app) = app().await;
        for hostile in HOSTILE.into_iter().filter(|text| !text.contains('\0')) {
            // What would end a header is no text of one line.
            let line = if hostile.contains(['\r', '\n', '\u{2028}']) { "s" } else { hostile };
            let body = json!({"customerID": 42, "subject": line, "owner": line, "ticketContent": hostile});
            let event = changed(&format!("create-ticket.{format}.json"), |event| {
                event["body"] = json!(body.to_string());
            });
            let created = answer(&app, "create-ticket", &event).await;
            assert_eq!(created.status(), 201, "{hostile:?}");
            assert_harmless(&created, hostile);
            assert_eq!(
                (&json_body(&created)["subject"], &json_body(&created)["ticketContent"]),
                (&json!(line), &json!(hostile))
            );
            let page = changed("list-tickets.rest.json", |event| {
                event["multiValueQueryStringParameters"]["limit"] = json!(["1"]);
            });
            let listed = answer(&app, "list-tickets", &page).await;
            assert!(listed.headers().contains_key("link"));
            assert_harmless(&listed, hostile);
        }
    }
}

/// Any JSON that is not too deep, without empty arrays: no gateway sends a parameter with an empty list of
/// values, and `query_map`, which reads them, takes the first.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(&HOSTILE[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z-]{0,12}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Collects the paths (JSON pointers) of all members of a value.
fn places(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(members) => {
            for (at, member) in members.iter().enumerate() {
                places(member, format!("{place}/{at}"), found);
            }
        }
        _ => {}
    }
    found.push(place);
}

/// Sends a text to every function if it is an event. Returns whether it is one.
fn survives(runtime: &tokio::runtime::Runtime, app: &Arc<App>, text: &str) -> Result<bool, TestCaseError> {
    if serde_json::from_str::<LambdaRequest>(text).is_err() {
        return Ok(false);
    }
    for route in &ROUTES {
        let response = runtime.block_on(answer(app, route.function.name(), text));
        let status = response.status().as_u16();
        prop_assert!(matches!(status, 200..=299 | 304 | 400..=422), "{status}");
        let clean = |value: &[u8]| value.iter().all(|byte| *byte >= b' ');
        prop_assert!(response.headers().values().all(|value| clean(value.as_bytes())), "{response:?}");
    }
    Ok(true)
}

#[test]
fn any_text_is_refused_as_an_event_or_answered() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_api, app) = runtime.block_on(app());
    let config = || Config { cases: 250, failure_persistence: None, ..Config::default() };
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    TestRunner::new(config())
        .run(&bytes, |bytes| survives(&runtime, &app, &String::from_utf8_lossy(&bytes)).map(drop))
        .unwrap();
    TestRunner::new(config())
        .run(&any_json(), |value| survives(&runtime, &app, &value.to_string()).map(drop))
        .unwrap();

    // Sample events in which members are replaced by other values.
    let samples: Vec<(Value, Vec<String>)> =
        ["update-ticket.rest", "update-ticket.http", "list-tickets.rest"]
            .map(|name| {
                let sample: Value = serde_json::from_str(&event(&format!("{name}.json"))).unwrap();
                let mut found = Vec::new();
                places(&sample, String::new(), &mut found);
                (sample, found)
            })
            .into();
    let text = prop_oneof!["\\PC{0,12}".boxed(), prop::sample::select(&HOSTILE[..]).prop_map_into().boxed()];
    let edit = (any::<prop::sample::Index>(), prop::option::weighted(0.1, any_json()), text);
    let strategy = (0..samples.len(), prop::collection::vec(edit, 1..4));
    let answered = AtomicUsize::new(0);
    TestRunner::new(config())
        .run(&strategy, |(sample, edits)| {
            let (mut event, places) = samples[sample].clone();
            for (place, value, text) in edits {
                // Mostly replace a text by another text: a value of a wrong type makes it no event.
                match (event.pointer_mut(place.get::<String>(&places)), value) {
                    (Some(there), Some(value)) => *there = value,
                    (Some(there @ Value::String(_)), None) => *there = json!(text),
                    _ => {}
                }
            }
            if survives(&runtime, &app, &event.to_string())? {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
        .unwrap();
    assert!(answered.into_inner() > 100, "most are no events any more: the samples are changed too much");
}
