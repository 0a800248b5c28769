//! Nobody gets in who should not: every route × every kind of key × both slash forms. The routes are
//! read, not remembered.

use std::collections::BTreeSet;

use reqwest::header::AUTHORIZATION;
use serde_json::json;
use support::{Answer, Api, Options, answer, fresh_customer, time};
use tickets_domain::id::CustomerId;
use tickets_domain::{BearerToken, Scope};
use tickets_http::route::{CUSTOMER_TICKETS, ROUTES, Route, TICKET, TICKETS};

/// The paths of a route, in both forms, for a ticket and a customer.
fn paths(route: &Route, ticket: u64, customer: CustomerId) -> [String; 2] {
    let id = match route.path {
        TICKET => ticket.to_string(),
        CUSTOMER_TICKETS => customer.to_string(),
        TICKETS => String::new(),
        other => panic!("{other} is new: say here how it is tested"),
    };
    let path = route.path.replace("{id}", &id);
    [path.clone(), format!("{path}/")]
}

/// A request to every method and form of a route, with a good body.
async fn requests(api: &Api, route: &Route, customer: CustomerId, key: Option<&str>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for method in route.methods {
        for slash in 0..2 {
            // One of its own for each, for a deletion ends it.
            let body = json!({"customerID": customer.get(), "subject": "s"});
            let ticket = api.create(&body).await;
            let path = &paths(route, ticket, customer)[slash];
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
    for payload in [tickets_cli::gateway::Payload::Rest, tickets_cli::gateway::Payload::Http] {
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
                    assert_eq!(answer.status, 401, "{what} at {}: {answer:?}", route.function);
                    assert_eq!(answer.header("www-authenticate"), "Bearer");
                    bodies.insert(answer.text);
                }
            }
            assert_eq!(bodies.len(), 1, "the answers do not tell why");
            for scheme in ["Bearer", "bearer"] {
                for answer in requests(&api, route, customer, Some(&format!("{scheme} {good}"))).await {
                    assert!((200..300).contains(&answer.status), "{}: {answer:?}", route.function);
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
            assert_eq!(answer.status, 403, "{}: {answer:?}", route.function);
            assert!(answer.text.contains(&route.scope.to_string()), "it names the scope: {}", answer.text);
        }
        let just = api.make_key(|key| key.scopes = BTreeSet::from([route.scope])).await;
        for answer in requests(&api, route, customer, Some(&format!("Bearer {just}"))).await {
            assert!((200..300).contains(&answer.status), "{}: {answer:?}", route.function);
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
            assert!((200..300).contains(&answer.status), "{}: {answer:?}", route.function);
        }
        for answer in requests(&api, route, other, Some(&restricted)).await {
            match (route.path, route.methods[0].as_str()) {
                // The body gives the ticket to the other customer.
                (TICKETS, "POST") | (TICKET, "PUT") => {
                    assert_eq!(
                        (answer.status, answer.fields()),
                        (403, vec!["customerID".to_owned()]),
                        "{answer:?}"
                    );
                }
                (TICKET, _) => assert_eq!(answer.status, 404, "{}: {answer:?}", route.function),
                (CUSTOMER_TICKETS, _) => assert_eq!((answer.status, answer.text.as_str()), (200, "[]")),
                _ => {
                    let list = answer.json();
                    assert!(
                        list.as_array().unwrap().iter().all(|ticket| ticket["customerID"] == own.get()),
                        "{list}"
                    );
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
    let client = reqwest::Client::new();
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
async fn two_authorization_headers_are_none() {
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
        let preflight =
            answer(api.anonymous(reqwest::Method::OPTIONS, "/tickets/1").header("Origin", origin)).await;
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, allowed));
        assert_eq!(preflight.header("access-control-allow-methods"), "GET, PUT, PATCH, DELETE, OPTIONS");
        assert!(preflight.header("access-control-allow-headers").contains("if-match"));
    }
    let closed = Api::start_with(Options::default()).await;
    let read =
        answer(closed.request(reqwest::Method::GET, "/tickets/").header("Origin", "https://portal.example"))
            .await;
    assert_eq!(read.header("access-control-allow-origin"), "");
}
