//! Access tests: every route × every kind of key × with and without a trailing slash. The routes are read
//! from the code, so none is forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::{Body, to_bytes};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::json;
use support::{Answer, Api, Options, answer, fresh_customer, time};
use tickets_cli::server::gateway::{Gateway, Payload};
use tickets_domain::id::CustomerId;
use tickets_domain::{BearerToken, Clock, Scope, Timestamp};
use tickets_http::route::{self, BASE_PATH, DOCS, DOCUMENTS, OPENAPI, PathId, ROUTES, Route, path_id};
use tickets_repository::{DynamoDb, Keys, schema};
use tower::ServiceExt;

/// A route's path with and without the slash, for a ticket and a customer.
fn paths(route: &Route, ticket: u64, customer: CustomerId) -> [String; 2] {
    let id = match path_id(route.path) {
        Some(PathId::Ticket) => ticket.to_string(),
        Some(PathId::Customer) => customer.to_string(),
        None => String::new(),
    };
    let path = route.path.replace("{id}", &id);
    [path.clone(), format!("{path}/")]
}

/// Every customer that a JSON names.
fn customers(json: &serde_json::Value) -> BTreeSet<u64> {
    match json {
        serde_json::Value::Array(elements) => elements.iter().flat_map(customers).collect(),
        serde_json::Value::Object(members) => {
            let own = members.get("customerID").and_then(serde_json::Value::as_u64);
            own.into_iter().chain(members.values().flat_map(customers)).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// A valid body for a request to a route about this ticket.
fn valid_body(route: &Route, ticket: u64, customer: CustomerId) -> serde_json::Value {
    let mut body = json!({"customerID": customer.get(), "subject": "s"});
    if *route != route::UPDATE_TICKETS {
        return body;
    }
    body["id"] = json!(ticket.to_string());
    json!([body])
}

/// Requests every method of a route in both forms, with a valid body.
async fn requests(api: &Api, route: &Route, customer: CustomerId, key: Option<&str>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for method in route.methods {
        for slash in 0..2 {
            // A new ticket for each request, because a deletion ends it.
            let body = json!({"customerID": customer.get(), "subject": "s"});
            let ticket = api.create(&body).await;
            let path = &paths(route, ticket, customer)[slash];
            let body = valid_body(route, ticket, customer);
            let request = api.anonymous(method.as_str().parse().unwrap(), path).json(&body);
            answers.push(
                answer(match key {
                    Some(key) => request.header(AUTHORIZATION, key),
                    None => request,
                })
                .await,
            );
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_every_key_that_is_not_good() {
    for payload in [tickets_cli::server::gateway::Payload::Rest, tickets_cli::server::gateway::Payload::Http]
    {
        let api = Api::start_with(Options { payload, ..Options::default() }).await;
        let customer = fresh_customer();
        let good = api.make_key(|_| {}).await;
        let (id, _) = good.rsplit_once('_').unwrap();
        let wrong = format!("{id}_{}", "ab".repeat(32));
        let unknown = BearerToken::generate().unwrap().reveal();
        let expired = api.make_key(|key| key.expires = Some(time("2026-01-01"))).await;
        let revoked = api.make_key(|key| key.revoked = Some(time("2026-01-01"))).await;
        let refused = [
            ("none", None),
            ("no scheme", Some(good.clone())),
            ("another scheme", Some(format!("Basic {good}"))),
            ("no token", Some("Bearer ".to_owned())),
            ("malformed", Some("Bearer tk_x".to_owned())),
            ("in upper case", Some(format!("Bearer {}", good.to_uppercase()))),
            ("cut", Some(format!("Bearer {}", &good[..good.len() - 1]))),
            ("wrong secret", Some(format!("Bearer {wrong}"))),
            ("unknown", Some(format!("Bearer {unknown}"))),
            ("expired", Some(format!("Bearer {expired}"))),
            ("revoked", Some(format!("Bearer {revoked}"))),
        ];
        for route in &ROUTES {
            let mut bodies = BTreeSet::new();
            for (what, key) in &refused {
                for answer in requests(&api, route, customer, key.as_deref()).await {
                    assert_eq!(answer.status, 401, "{what} at {}: {answer:?}", route.function.name());
                    assert_eq!(answer.header("www-authenticate"), "Bearer");
                    bodies.insert(answer.text);
                }
            }
            assert_eq!(bodies.len(), 1, "the answers do not tell why");
            for scheme in ["Bearer", "bearer"] {
                for answer in requests(&api, route, customer, Some(&format!("{scheme} {good}"))).await {
                    assert!((200..300).contains(&answer.status), "{}: {answer:?}", route.function.name());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_its_scope() {
    let api = Api::start_with(Options::default()).await;
    let customer = fresh_customer();
    for route in &ROUTES {
        let others: BTreeSet<_> = Scope::ALL.into_iter().filter(|scope| *scope != route.scope).collect();
        let narrow = api.make_key(|key| key.scopes = others).await;
        for answer in requests(&api, route, customer, Some(&format!("Bearer {narrow}"))).await {
            assert_eq!(answer.status, 403, "{}: {answer:?}", route.function.name());
            assert!(answer.text.contains(&route.scope.to_string()), "it names the scope: {}", answer.text);
        }
        let just = api.make_key(|key| key.scopes = BTreeSet::from([route.scope])).await;
        for answer in requests(&api, route, customer, Some(&format!("Bearer {just}"))).await {
            assert!((200..300).contains(&answer.status), "{}: {answer:?}", route.function.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_restricted_key_other_customers_tickets_do_not_exist() {
    let api = Api::start_with(Options::default()).await;
    let (own, other) = (fresh_customer(), fresh_customer());
    let restricted = format!("Bearer {}", api.make_key(|key| key.customer = Some(own)).await);
    for route in &ROUTES {
        for answer in requests(&api, route, own, Some(&restricted)).await {
            assert!((200..300).contains(&answer.status), "{}: {answer:?}", route.function.name());
        }
        for answer in requests(&api, route, other, Some(&restricted)).await {
            let name = route.function.name();
            match (path_id(route.path), route.methods.contains(&axum::http::Method::GET)) {
                (Some(PathId::Ticket), _) => assert_eq!(answer.status, 404, "{name}: {answer:?}"),
                (Some(PathId::Customer), _) => {
                    assert_eq!((answer.status, answer.text.as_str()), (200, "[]"), "{name}: {answer:?}");
                }
                (None, true) => {
                    assert_eq!(answer.status, 200, "{name}: {answer:?}");
                    assert!(customers(&answer.json()).is_subset(&[own.get()].into()), "{name}: {answer:?}");
                }
                (None, false) if *route == route::UPDATE_TICKETS => {
                    let row = &answer.json()[0]["status"];
                    assert_eq!((answer.status, row), (207, &json!(404)), "{name}: {answer:?}");
                }
                // The body would give the ticket to the other customer.
                (None, false) => {
                    let refused = (answer.status, answer.fields());
                    assert_eq!(refused, (403, vec!["customerID".to_owned()]), "{name}: {answer:?}");
                }
            }
        }
    }

    let theirs = api.create(&json!({"customerID": other.get(), "subject": "s"})).await;
    let ours = api.create(&json!({"customerID": own.get(), "subject": "s"})).await;
    let patch = async |id: u64, body: serde_json::Value| {
        let request = api
            .anonymous(reqwest::Method::PATCH, &format!("/tickets/{id}"))
            .header(AUTHORIZATION, &restricted);
        answer(request.json(&body)).await.status
    };
    assert_eq!(patch(theirs, json!({"status": "closed"})).await, 404);
    assert_eq!(patch(theirs, json!({"customerID": own.get()})).await, 404, "nobody pulls a ticket over");
    assert_eq!(patch(ours, json!({"customerID": other.get()})).await, 403);
    assert_eq!(patch(ours, json!({"status": "closed"})).await, 200);
    for query in [
        "",
        "?includeDeleted=true",
        "?updatedSince=2026-01-01",
        "?idAfter=0&limit=1000&createdSince=2026-01-01",
    ] {
        let request = api
            .anonymous(reqwest::Method::GET, &format!("/tickets/{query}"))
            .header(AUTHORIZATION, &restricted);
        let list = answer(request).await.json();
        assert!(
            list.as_array().unwrap().iter().all(|ticket| ticket["customerID"] == own.get()),
            "{query}: {list}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_only_for_the_key_that_asked_first() {
    let api = Api::start_with(Options::default()).await;
    let (own, other) = (fresh_customer(), fresh_customer());
    let restricted = api.make_key(|key| key.customer = Some(own)).await;
    let post = async |key: &str, customer: CustomerId| {
        let body = json!({"customerID": customer.get(), "subject": "s"});
        let request =
            api.anonymous(reqwest::Method::POST, "/tickets/").bearer_auth(key).header("Idempotency-Key", "k");
        answer(request.json(&body)).await
    };
    let first = post(&api.key, other).await;
    assert_eq!(first.status, 201);
    assert_eq!(post(&restricted, other).await.status, 403);
    let theirs = post(&restricted, own).await;
    assert_eq!((theirs.status, theirs.header("idempotency-replayed")), (201, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_leads_around_the_key() {
    let api = Api::start_with(Options::default()).await;
    let id = api.create(&json!({"customerID": 42, "subject": "secret"})).await;
    let client = tickets_cli::client::http_client().build().unwrap();
    let root = api.base.strip_suffix("/backend/api/v1").unwrap();
    for path in [
        format!("/backend/api/v1/tickets/{id}"),
        format!("/backend/api/v1/tickets/{id}/"),
        format!("/backend/api/v1//tickets/{id}"),
        format!("/backend/api/v1/tickets//{id}"),
        format!("/backend/api/v1/tickets/{id};x=1"),
        format!("/backend/api/v1/Tickets/{id}"),
        format!("/backend/api/v1/tickets/%2e%2e/tickets/{id}"),
        format!("/backend/api/v1/tickets/{id}%2f"),
        format!("/api/v1/tickets/{id}"),
        format!("/tickets/{id}"),
        format!("/backend/api/v1/tickets/{id}."),
        format!("/backend/api/v1/tickets/{id}?x=/"),
        "/".into(),
        "/backend/api/v1/customers/42/tickets/".into(),
        "/backend/api/v1/customers/42/tickets//".into(),
        "/backend/api/v1/tickets/.".into(),
    ] {
        for method in
            [reqwest::Method::GET, reqwest::Method::HEAD, reqwest::Method::DELETE, reqwest::Method::OPTIONS]
        {
            let answer = answer(client.request(method.clone(), format!("{root}{path}"))).await;
            let preflight =
                method == reqwest::Method::OPTIONS && answer.status == 204 && answer.text.is_empty();
            assert!(preflight || matches!(answer.status, 401 | 404), "{method} {path}: {answer:?}");
            assert!(!answer.text.contains("secret"));
        }
    }
    assert_eq!(api.get(&format!("/tickets/{id}")).await.status, 200, "nothing was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_authorization_headers_are_refused() {
    let api = Api::start_with(Options::default()).await;
    let good = format!("Bearer {}", api.key);
    let request = api
        .anonymous(reqwest::Method::GET, "/tickets/")
        .header(AUTHORIZATION, &good)
        .header(AUTHORIZATION, &good);
    assert_eq!(answer(request).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_may_read_answers_and_others_may_not() {
    let environment = vec![("CORS_ORIGINS", "https://portal.example, https://crm.example".to_owned())];
    let api = Api::start_with(Options { environment, ..Options::default() }).await;
    for (origin, allowed) in
        [("https://portal.example", "https://portal.example"), ("https://evil.example", "")]
    {
        let read = answer(api.request(reqwest::Method::GET, "/tickets/").header("Origin", origin)).await;
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, allowed));
        assert_eq!(read.header("vary"), "Origin");
        assert_eq!(read.header("access-control-expose-headers").contains("sync-until"), !allowed.is_empty());
        let refused = answer(api.anonymous(reqwest::Method::GET, "/tickets/").header("Origin", origin)).await;
        assert_eq!(
            (refused.status, refused.header("access-control-allow-origin")),
            (401, allowed),
            "errors too"
        );
        // What no function answers.
        let unknown = answer(api.request(reqwest::Method::GET, "/nothing").header("Origin", origin)).await;
        assert_eq!((unknown.status, unknown.header("access-control-allow-origin")), (404, allowed));
        let preflight =
            answer(api.anonymous(reqwest::Method::OPTIONS, "/tickets/1").header("Origin", origin)).await;
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, allowed));
        assert_eq!(
            preflight.header("access-control-allow-methods"),
            "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
        );
        assert!(preflight.header("access-control-allow-headers").contains("if-match"));
    }
    let closed = Api::start_with(Options::default()).await;
    let read =
        answer(closed.request(reqwest::Method::GET, "/tickets/").header("Origin", "https://portal.example"))
            .await;
    assert_eq!(read.header("access-control-allow-origin"), "");
    let unknown = closed.request(reqwest::Method::GET, "/nothing").header("Origin", "https://portal.example");
    assert_eq!(answer(unknown).await.header("access-control-allow-origin"), "");
}

/// Sends a request with its path unchanged; an HTTP client would normalize `..` and `%2e`.
async fn raw(api: &Api, payload: Payload, method: &str, uri: &str, key: Option<&str>) -> (u16, String) {
    let gateway = Gateway { app: Arc::clone(api.app.as_ref().unwrap()), payload };
    let mut request = axum::http::Request::builder().method(method).uri(uri);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Body::empty()).unwrap_or_else(|error| panic!("{uri}: {error}"));
    let Ok(response) = gateway.into_router().oneshot(request).await;
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unusual_path_leads_around_the_key() {
    let api = Api::start_with(Options::default()).await;
    let (own, other) = (fresh_customer(), fresh_customer());
    let id = api.create(&json!({"customerID": own.get(), "subject": "secret"})).await;
    let stranger = api.make_key(|key| key.customer = Some(other)).await;
    let paths = [
        format!("/tickets/{id}/../{id}"),
        format!("/tickets/{id}/../..//tickets/{id}"),
        format!("/tickets/../tickets/{id}"),
        format!("/tickets/%2e%2e/tickets/{id}"),
        format!("/tickets/%2E/{id}"),
        format!("/tickets/./{id}"),
        format!("/tickets/..;/tickets/{id}"),
        format!("/tickets;a=b/{id}"),
        format!("/tickets/{id};a=b"),
        format!("/tickets%2f{id}"),
        format!("/tickets/%2f{id}"),
        format!("/tickets/{id}%2f"),
        format!("/tickets/{id}%00"),
        format!("/tickets/{id}%0d%0aauthorization:%20x"),
        format!("/tickets/{id}%3fx"),
        format!("/tickets/%{id}"),
        format!("/tickets/{id}."),
        format!("/tickets/{id}..."),
        format!("/tickets/{id}//"),
        format!("/tickets//{id}"),
        format!("//tickets/{id}"),
        format!("/TICKETS/{id}"),
        format!("/tickets/{id}/."),
        format!("/tickets/{id}?authorization=Bearer"),
        "/tickets//".into(),
        "/tickets/..".into(),
        "/tickets/%7Bid%7D".into(),
        format!("/customers/{own}//tickets"),
        format!("/customers/{other}/../{own}/tickets"),
        format!("/customers/{other}%2f..%2f{own}/tickets/"),
        format!("/customers/{own}/tickets/{id}"),
        format!("/customers/{own}/tickets/../../../tickets/{id}"),
    ];
    for payload in [Payload::Rest, Payload::Http] {
        for path in &paths {
            for base in [BASE_PATH, "/backend/backend/api/v1", "/api/v1", "/Backend/API/v1", ""] {
                let uri = format!("{base}{path}");
                for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "PURGE"] {
                    let (status, body) = raw(&api, payload, method, &uri, None).await;
                    assert!(matches!(status, 401 | 404), "{method} {uri}: {status}");
                    assert!(!body.contains("secret"), "{method} {uri}: {body}");
                }
                let (status, body) = raw(&api, payload, "OPTIONS", &uri, None).await;
                assert!(matches!((status, body.as_str()), (204, "") | (404, _)), "{uri}: {status} {body}");
                for method in ["GET", "DELETE"] {
                    let (_, body) = raw(&api, payload, method, &uri, Some(&stranger)).await;
                    assert!(!body.contains("secret"), "{method} {uri}: {body}");
                }
            }
        }
    }
    assert_eq!(api.get(&format!("/tickets/{id}")).await.version(), 1, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_no_function_answers_need_a_key_too_and_get_nothing() {
    for payload in [Payload::Rest, Payload::Http] {
        let api = Api::start_with(Options { payload, ..Options::default() }).await;
        let customer = fresh_customer();
        let ticket = api.create(&json!({"customerID": customer.get(), "subject": "secret"})).await;
        let scopeless = api.make_key(|key| key.scopes.clear()).await;
        let mut refused = 0;
        for route in &ROUTES {
            let answered = |method: &Method| {
                ROUTES.iter().any(|other| other.path == route.path && other.answers(method))
            };
            for path in paths(route, ticket, customer) {
                for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE", "get", "head"] {
                    let method: Method = method.parse().unwrap();
                    if answered(&method) {
                        continue;
                    }
                    refused += 1;
                    let body = json!({"customerID": customer.get(), "subject": "s"});
                    let without = answer(api.anonymous(method.clone(), &path).json(&body)).await;
                    assert_eq!(without.status, 401, "{method} {path}");
                    let narrow = api.anonymous(method.clone(), &path).bearer_auth(&scopeless).json(&body);
                    assert_eq!(answer(narrow).await.status, 403, "{method} {path}");
                    let with = answer(api.request(method.clone(), &path).json(&body)).await;
                    assert_eq!((with.status, with.header("allow")), (405, &*route::allowed(route.path)));
                    assert!(!with.text.contains("secret"));
                }
                let preflight = answer(api.anonymous(Method::OPTIONS, &path)).await;
                assert_eq!((preflight.status, preflight.text.as_str()), (204, ""));
                assert!(!preflight.header("x-request-id").is_empty());
            }
        }
        assert!(refused > 0);
        assert_eq!(api.get(&format!("/tickets/{ticket}")).await.version(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_s_description_needs_no_key_and_the_page_is_shown_where_it_is_wanted() {
    for payload in [Payload::Rest, Payload::Http] {
        let options = |docs: &str| {
            let cors = ("CORS_ORIGINS", "https://portal.example".to_owned());
            let environment =
                vec![("SERVE_DOCS", docs.to_owned()), ("TICKET_TYPES", "Störung, Frage".to_owned()), cors];
            Options { payload, environment, ..Options::default() }
        };
        let (shown, hidden) =
            (Api::start_with(options("true")).await, Api::start_with(options("false")).await);
        for slash in ["", "/"] {
            for path in DOCUMENTS {
                let path = format!("{path}{slash}");
                let get = |api: &Api| {
                    answer(api.anonymous(Method::GET, &path).header("Origin", "https://portal.example"))
                };
                let (page, without) = (get(&shown).await, get(&hidden).await);
                assert_eq!(page.status, 200, "{path}: {page:?}");
                assert_eq!(page.header("access-control-allow-origin"), "https://portal.example");
                assert!(!page.header("x-request-id").is_empty());
                assert!(!page.text.contains("tk_localdevelopment") && !page.text.contains(&shown.key));
                if path.starts_with(OPENAPI) {
                    assert_eq!(
                        (page.header("content-type"), &without.text),
                        ("application/json", &page.text)
                    );
                    let document = page.json();
                    assert_eq!(document["servers"][0]["url"], BASE_PATH);
                    assert!(page.text.contains("Störung") && !page.text.contains("billing, support"));
                } else {
                    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
                    assert!(page.text.contains(&format!(
                        "<div id=\"ui\" data-url=\"{BASE_PATH}{OPENAPI}\" data-order=\"getTicket "
                    )));
                    let policy = page.header("content-security-policy");
                    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
                    assert!(
                        policy.ends_with("frame-ancestors 'none'") && !policy.contains("eval"),
                        "{policy}"
                    );
                    assert_eq!(
                        (page.header("x-frame-options"), page.header("referrer-policy")),
                        ("DENY", "no-referrer")
                    );
                    assert_eq!(without.status, 404, "{without:?}");
                }
                let head = answer(shown.anonymous(Method::HEAD, &path)).await;
                assert_eq!((head.status, head.text.as_str()), (200, ""));
                assert_eq!(head.header("content-length"), page.text.len().to_string());
                for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "get"] {
                    let refused = answer(shown.anonymous(method.parse().unwrap(), &path)).await;
                    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD, OPTIONS"));
                }
                let preflight = answer(shown.anonymous(Method::OPTIONS, &path)).await;
                assert_eq!((preflight.status, preflight.header("allow")), (204, "GET, HEAD, OPTIONS"));
            }
        }
        // Every other path needs a key, whatever it ends with.
        for path in
            ["/tickets/openapi.json", "/tickets/docs", "/customers/docs/tickets", "/ticket-configuration"]
        {
            assert_eq!(answer(shown.anonymous(Method::GET, path)).await.status, 401, "{path}");
        }
        assert_eq!(answer(shown.anonymous(Method::GET, &format!("{DOCS}/x"))).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires_to_the_millisecond_and_a_revoked_one_ends_within_a_minute() {
    for payload in [Payload::Rest, Payload::Http] {
        let millis = Arc::new(AtomicI64::new(time("2026-03-01").millis()));
        let shown = Arc::clone(&millis);
        let clock = Clock::new(move || Timestamp::from_millis(shown.load(Ordering::SeqCst)).unwrap());
        let options = Options { payload, clock: Some(clock.clone()), ..Options::default() };
        let api = Api::start_with(options).await;
        let expires = clock.now().plus(std::time::Duration::from_millis(1000));
        let ends = api.make_key(|key| key.expires = Some(expires)).await;
        let revoked = api.make_key(|_| {}).await;
        let status =
            async |key: &str| answer(api.anonymous(Method::GET, "/tickets/").bearer_auth(key)).await.status;
        for (after, expected) in [(0, 200), (999, 200), (1, 401)] {
            millis.fetch_add(after, Ordering::SeqCst);
            // The key was looked up while it was valid. Being remembered must not extend its life.
            assert_eq!(status(&ends).await, expected, "{after} ms later");
        }

        assert_eq!(status(&revoked).await, 200);
        let dynamodb = DynamoDb::new(&api.database);
        let id = revoked.split('_').nth(1).unwrap().parse().unwrap();
        Keys::new(dynamodb, schema::API_KEYS, clock.clone()).revoke(&id).await.unwrap();
        millis.fetch_add(60_000, Ordering::SeqCst);
        assert_eq!(status(&revoked).await, 401, "no instance remembers it for longer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_can_read_every_header() {
    let environment = vec![("CORS_ORIGINS", "https://portal.example".to_owned())];
    let api = Api::start_with(Options { environment, ..Options::default() }).await;
    let send = async |method: Method, path: &str, body: Option<&serde_json::Value>| {
        let request = api.request(method, path).header("Origin", "https://portal.example");
        let request = request.header("Idempotency-Key", "k");
        answer(body.into_iter().fold(request, |request, body| request.json(body))).await
    };
    let body = json!({"customerID": 7, "subject": "s"});
    let anonymous = api.anonymous(Method::GET, "/tickets").header("Origin", "https://portal.example");
    let answers = [
        send(Method::POST, "/tickets", Some(&body)).await,
        send(Method::POST, "/tickets", Some(&body)).await,
        send(Method::GET, "/tickets/1", None).await,
        send(Method::GET, "/tickets?limit=1", None).await,
        send(Method::POST, "/tickets/1", Some(&body)).await,
        answer(anonymous).await,
    ];
    let mut seen = BTreeSet::new();
    for answer in &answers {
        let exposed: Vec<&str> = answer.header("access-control-expose-headers").split(", ").collect();
        for name in answer.headers.keys().map(|name| name.as_str()) {
            // Headers that pages may always read (Fetch, "CORS-safelisted response-header name"), headers for
            // browsers themselves, and headers that the server adds to every answer.
            let readable = ["cache-control", "content-length", "content-type"].contains(&name);
            let not_theirs = name.starts_with("access-control-") || ["vary", "date", "allow"].contains(&name);
            assert!(readable || not_theirs || exposed.contains(&name), "{name} of {answer:?}");
            seen.insert(name);
        }
    }
    for name in ["etag", "idempotency-replayed", "location", "sync-until", "www-authenticate", "x-request-id"]
    {
        assert!(seen.contains(name), "{name} was in none of the answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_must_match_completely() {
    for (configured, allowed, others) in [
        (
            "https://portal.example",
            vec!["https://portal.example"],
            vec![
                "https://portal.example.evil.example",
                "https://evil.example/https://portal.example",
                "https://portal.exampl",
                "http://portal.example",
                "https://portal.example:8443",
                "https://PORTAL.example",
                "https://sub.portal.example",
                "null",
                "",
                "*",
            ],
        ),
        ("*", vec!["https://any.example", "null"], vec![]),
        ("", vec![], vec!["https://portal.example", "null", ""]),
    ] {
        let environment = vec![("CORS_ORIGINS", configured.to_owned())];
        let api = Api::start_with(Options { environment, ..Options::default() }).await;
        for origin in allowed {
            for method in [Method::GET, Method::OPTIONS] {
                let answer = answer(api.request(method, "/tickets").header("Origin", origin)).await;
                assert_eq!(answer.header("access-control-allow-origin"), origin, "{configured}");
                assert_eq!(answer.header("access-control-allow-credentials"), "", "keys are no cookies");
            }
        }
        for origin in others {
            for method in [Method::GET, Method::OPTIONS] {
                let answer = answer(api.request(method, "/tickets").header("Origin", origin)).await;
                assert_eq!(answer.header("access-control-allow-origin"), "", "{origin} for {configured}");
            }
        }
    }
}
