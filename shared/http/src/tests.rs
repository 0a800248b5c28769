//! Tests of a request from event to response: who is admitted, what a handler reads, and what is answered.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cors::Origins;
use crate::history::HistoryQuery;
use crate::log::Log;
use crate::request::{MAX_BODY, Tickets};
use crate::route::{CREATE_TICKET, CUSTOMER_TICKETS, GET_TICKET, LIST_TICKETS, OPENAPI, UPDATE_TICKET};
use crate::{
    Caller, EventsReply, HistoryReply, ListQuery, ListReply, Problem, Request, Response, Route, Service,
    event, events, reply,
};
use lambda_http::request::LambdaRequest;
use lambda_http::{Body, Context, RequestExt};
use serde_json::{Map, Value, json};
use tickets_domain::event as feed;
use tickets_domain::idempotency::{Fingerprint, IdempotencyKey};
use tickets_domain::key::InvalidKey;
use tickets_domain::precondition::UnusableTag;
use tickets_domain::{
    ApiKey, BearerToken, ChangeKind, Clock, Continuation, CustomerId, Epoch, Error, EventId, EventType,
    EventsEnd, Fit, HistoryEntry, KeyId, KeyStore, ListEnd, Listed, Meter, PresetLists, Presets, Quota,
    Record, Result, Row, Scope, Tag, TaggedTicket, Ticket, TicketId, TicketInput, Timestamp, Version,
    Visibility,
};

/// The token of the only key, and the current time.
const TOKEN: &str = "tk_ada_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NOW: &str = "2026-11-23T17:45:00.000Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

struct OneKey(ApiKey);

impl KeyStore for OneKey {
    async fn find(&self, id: &KeyId, _: &Meter) -> Result<Option<ApiKey>> {
        Ok((*id == self.0.id).then(|| self.0.clone()))
    }

    async fn find_newer(&self, _: &KeyId, _: &Meter) -> Result<Option<ApiKey>> {
        Ok(None)
    }

    async fn count(&self, _: &ApiKey, _: &Meter) -> Result<Option<Quota>> {
        Ok(None)
    }
}

fn key(change: impl FnOnce(&mut ApiKey)) -> OneKey {
    let token: BearerToken = TOKEN.parse().unwrap();
    let mut key = ApiKey::new(&token, Scope::ALL, now());
    change(&mut key);
    OneKey(key)
}

/// A request as API Gateway's REST API passes it on, with the key.
struct Event(Value);

impl Event {
    fn new(method: &str, path: &str) -> Self {
        let mut event: Value =
            serde_json::from_str(include_str!("../../../events/get-ticket.rest.json")).unwrap();
        event["httpMethod"] = method.into();
        event["path"] = format!("/api/v1{path}").into();
        event["requestContext"]["path"] = format!("/backend/api/v1{path}").into();
        event["pathParameters"] = Value::Null;
        event["headers"] = json!({});
        event["multiValueHeaders"] = json!({"authorization": [format!("Bearer {TOKEN}")]});
        Self(event)
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// Replaces all headers of one name.
    fn header(mut self, name: &str, values: &[&str]) -> Self {
        self.0["multiValueHeaders"][name] = json!(values);
        self
    }

    fn body(self, text: &str) -> Self {
        self.header("content-type", &["application/json"]).with("body", text)
    }

    fn into_request(self) -> lambda_http::Request {
        let event: LambdaRequest = serde_json::from_value(self.0).unwrap();
        event::sanitize(event).into()
    }
}

/// A handler's response to an event.
async fn answer<F: Future<Output = Result<Response, Problem>>>(
    keys: &OneKey,
    route: &Route,
    event: Event,
    handler: impl FnOnce(Caller, Request) -> F,
) -> Response {
    let clock = Clock::new(now);
    Service::new(route, keys, &Origins::default(), &clock, &Log::silent())
        .respond(event.into_request(), handler)
        .await
}

/// What `read` makes of a request with a good key; `None` if the request does not reach the handler.
async fn read<T>(route: &Route, event: Event, read: impl FnOnce(Caller, Request) -> T) -> Option<T> {
    let mut seen = None;
    let handler = |caller, request| {
        seen = Some(read(caller, request));
        async { Ok(reply::no_content()) }
    };
    answer(&key(|_| {}), route, event, handler).await;
    seen
}

/// As [`read`], but with the request alone.
async fn asked<T>(route: &Route, event: Event, ask: impl FnOnce(Request) -> T) -> T {
    read(route, event, |_, request| ask(request)).await.expect("the guard lets it in")
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn text(response: &Response) -> &str {
    match response.body() {
        Body::Text(text) => text,
        _ => "",
    }
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(text(response)).unwrap()
}

/// The status of a problem, and its kind.
fn refused<T: std::fmt::Debug>(outcome: Result<T, Problem>) -> (u16, String) {
    let response = outcome.unwrap_err().into_response();
    let kind =
        json_of(&response)["type"].as_str().unwrap().trim_start_matches("urn:tickets:problem:").to_owned();
    (response.status().as_u16(), kind)
}

fn refusal(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}

fn tagged(version: u64) -> TaggedTicket {
    TaggedTicket { tag: Tag::new(Version::new(version), 0xa), ticket: ticket(version) }
}

fn ticket(version: u64) -> Ticket {
    let body = br#"{"customerID": 7, "subject": "s"}"#;
    let presets = Presets::parse(&PresetLists::default()).unwrap();
    let fields = TicketInput::create(tickets_domain::JsonObject::parse(body).unwrap(), &presets).unwrap();
    Ticket { version: Version::new(version), ..Ticket::new("43".parse().unwrap(), fields, now()) }
}

#[tokio::test]
async fn only_the_one_good_key_is_let_in() {
    let let_in = async |keys: OneKey, values: &[&str]| {
        let entered = AtomicBool::new(false);
        let event = Event::new("GET", "/tickets/7").header("authorization", values);
        let response = answer(&keys, &GET_TICKET, event, |_, _| {
            entered.store(true, Ordering::Relaxed);
            async { Ok(reply::no_content()) }
        });
        let response = response.await;
        assert_eq!(entered.load(Ordering::Relaxed), response.status() == 204, "{values:?}");
        response
    };
    let bearer = format!("Bearer {TOKEN}");
    for good in [bearer.clone(), format!("bearer {TOKEN}"), format!("BEARER   {TOKEN} ")] {
        assert_eq!(let_in(key(|_| {}), &[&good]).await.status(), 204, "{good}");
    }
    let other = bearer.replace("_aa", "_ab");
    for bad in [
        &[][..],
        &[""],
        &[TOKEN],
        &["Bearer"],
        &["Bearer tk_ada"],
        &[&format!("Basic {TOKEN}")],
        &[&other],
        &[&bearer.replace("ada", "eve")],
        &[&bearer, &bearer],
        &[&bearer, &other],
    ] {
        let response = let_in(key(|_| {}), bad).await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "www-authenticate")),
            (401, Some("Bearer")),
            "{bad:?}"
        );
        assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
    }
    for ended in [key(|key| key.expires = Some(now())), key(|key| key.revoked = Some(now()))] {
        assert_eq!(let_in(ended, &[&bearer]).await.status(), 401);
    }
    let narrow = key(|key| key.scopes = BTreeSet::from([Scope::Write, Scope::Delete]));
    assert_eq!(json_of(&let_in(narrow, &[&bearer]).await)["type"], "urn:tickets:problem:missing-scope");
    assert_eq!(let_in(key(|key| key.scopes = BTreeSet::from([Scope::Read])), &[&bearer]).await.status(), 204);
}

#[tokio::test]
async fn the_guard_tells_the_caller_s_key_and_visibility() {
    let caller = read(&GET_TICKET, Event::new("GET", "/tickets/7"), |caller, _| caller).await.unwrap();
    assert_eq!((caller.key().as_str(), caller.visibility()), ("ada", Visibility::All));
    let (name, says) = ("k".parse::<IdempotencyKey>().unwrap(), Fingerprint::new([7; 32]));
    let whole = caller.request(name.clone(), says);
    let row = caller.row(name, 3, says);
    assert_eq!((whole.caller().as_str(), whole.fingerprint, row.fingerprint), ("ada", says, says));
    assert_eq!(row.scoped_name(), format!("{}#3", whole.scoped_name()));

    let own: CustomerId = "7".parse().unwrap();
    let mut seen = None;
    let restricted = key(|key| key.customer = Some(own));
    answer(&restricted, &GET_TICKET, Event::new("GET", "/tickets/7"), |caller, _| {
        seen = Some(caller.visibility());
        async { Ok(reply::no_content()) }
    })
    .await;
    assert_eq!(seen, Some(Visibility::Only(own)));
    assert_eq!("ADA".parse::<KeyId>(), Err(InvalidKey::Id), "an id has one spelling");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_answer_is_refused_with_those_it_does() {
    let ok = |_, _| async { Ok(reply::no_content()) };
    let keys = key(|_| {});
    let response = answer(&keys, &GET_TICKET, Event::new("POST", "/tickets/7"), ok).await;
    assert_eq!(response.status(), 405);
    assert_eq!(header(&response, "allow"), Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS"));
    assert!(json_of(&response)["detail"].as_str().unwrap().contains("PATCH"));
    let stranger = Event::new("POST", "/tickets/7").header("authorization", &[]);
    assert_eq!(answer(&keys, &GET_TICKET, stranger, ok).await.status(), 401, "the key comes first");
    for (method, status) in [("PUT", 204), ("PATCH", 204), ("GET", 405), ("HEAD", 405)] {
        let response = answer(&keys, &UPDATE_TICKET, Event::new(method, "/tickets/7"), ok).await;
        assert_eq!(response.status().as_u16(), status, "{method}");
    }
}

#[tokio::test]
async fn a_preflight_needs_no_key_and_is_told_what_a_page_may_send() {
    let event = Event::new("OPTIONS", "/tickets/7").header("authorization", &[]);
    let event = event.header("access-control-request-headers", &["if-match,sentry-trace,traceparent"]);
    let response =
        answer(&key(|_| {}), &GET_TICKET, event, |_, _| async { Err(Problem::no_such_path()) }).await;
    assert_eq!((response.status().as_u16(), response.body().is_empty()), (204, true));
    let methods = Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS");
    assert_eq!(
        (header(&response, "allow"), header(&response, "access-control-allow-methods")),
        (methods, methods)
    );
    let headers = header(&response, "access-control-allow-headers").unwrap();
    let allowed = ["authorization", "if-match", "idempotency-key", "sentry-trace", "traceparent"];
    assert!(allowed.iter().all(|name| headers.contains(name)), "{headers}");
    assert_eq!(header(&response, "access-control-max-age"), Some("7200"));
}

#[tokio::test]
async fn only_pages_of_listed_origins_may_read_a_response() {
    let answer = async |origins: &[&str], origin: Option<&str>| {
        let origins: Origins = origins.join(",").parse().unwrap();
        let origin: Vec<&str> = origin.into_iter().collect();
        let event = Event::new("GET", "/tickets/7").header("origin", &origin);
        let (keys, clock) = (key(|_| {}), Clock::new(now));
        let log = Log::silent();
        let service = Service::new(&GET_TICKET, &keys, &origins, &clock, &log);
        let response = service.respond(event.into_request(), |_, _| async { Ok(reply::no_content()) }).await;
        let header = |name: &str| header(&response, name).map(str::to_owned);
        let exposed = header("access-control-expose-headers");
        assert_eq!(
            exposed.is_some_and(|names| names.contains("sync-until")),
            header("access-control-allow-origin").is_some()
        );
        (header("access-control-allow-origin"), header("vary"))
    };
    let (good, vary) = ("https://desk.example", || Some("Origin".to_owned()));
    assert_eq!(answer(&[], Some(good)).await, (None, None));
    assert_eq!(answer(&["https://a.example", good], Some(good)).await, (Some(good.to_owned()), vary()));
    assert_eq!(answer(&["*"], Some(good)).await, (Some(good.to_owned()), vary()));
    assert_eq!(answer(&[good], Some("https://evil.example")).await, (None, vary()));
    assert_eq!(answer(&[good], None).await, (None, vary()));
}

#[tokio::test]
async fn head_answers_what_get_does_without_the_body() {
    let get = async |method: &str| {
        let event = Event::new(method, "/tickets/7");
        answer(&key(|_| {}), &GET_TICKET, event, |_, _| async { reply::changed(&tagged(2)) }).await
    };
    let (get, head) = (get("GET").await, get("HEAD").await);
    assert_eq!((head.status(), header(&head, "etag")), (get.status(), header(&get, "etag")));
    assert_eq!(header(&head, "content-length"), Some(text(&get).len().to_string().as_str()));
    assert!(head.body().is_empty() && header(&get, "content-length").is_none());
    let event = Event::new("HEAD", "/tickets/7");
    let none = answer(&key(|_| {}), &GET_TICKET, event, |_, _| async { Ok(reply::no_content()) }).await;
    assert_eq!(header(&none, "content-length"), None, "a 204 has none (RFC 9110, 8.6)");
}

#[tokio::test]
async fn every_response_has_the_id_of_its_request() {
    let named = async |event: lambda_http::Request| {
        let (keys, clock) = (key(|_| {}), Clock::new(now));
        let (origins, log) = (Origins::default(), Log::silent());
        let service = Service::new(&GET_TICKET, &keys, &origins, &clock, &log);
        let response = service.respond(event, |_, _| async { Err(Problem::no_such_path()) }).await;
        header(&response, "x-request-id").unwrap().to_owned()
    };
    assert_eq!(
        named(Event::new("GET", "/tickets/7").into_request()).await,
        "3f6f1c1e-6f63-4b1c-9f0e-5f3f0f6a7d11"
    );
    let event: LambdaRequest =
        serde_json::from_str(include_str!("../../../events/get-ticket.http.json")).unwrap();
    assert_eq!(named(event.into()).await, "JKJaXmPLvHcESHA=");
    let mut context = Context::default();
    context.request_id = "lambda-s own".into();
    assert_eq!(named(lambda_http::Request::default().with_lambda_context(context)).await, "lambda-s own");
}

#[tokio::test]
async fn a_document_needs_no_key_and_answers_only_reads() {
    let answer = |method: &str| {
        let event = Event::new(method, OPENAPI).header("authorization", &[]);
        let (keys, clock) = (key(|_| {}), Clock::new(now));
        let route = &crate::route::GET_TICKET_CONFIGURATION;
        Service::new(route, &keys, &Origins::default(), &clock, &Log::silent()).respond_to_anyone(
            event.into_request(),
            OPENAPI,
            |_| Ok(reply::document("text/html; charset=utf-8", "<p>".into())),
        )
    };
    let read = answer("GET");
    assert_eq!((read.status().as_u16(), text(&read)), (200, "<p>"));
    assert_eq!(header(&read, "content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(header(&read, "cache-control"), Some("public, max-age=300"));
    assert_eq!(header(&answer("HEAD"), "content-length"), Some("3"));
    for (method, status) in [("POST", 405), ("DELETE", 405), ("OPTIONS", 204)] {
        let response = answer(method);
        assert_eq!(
            (response.status().as_u16(), header(&response, "allow")),
            (status, Some("GET, HEAD, OPTIONS"))
        );
    }
}

#[tokio::test]
async fn an_id_comes_from_the_path_and_another_is_refused_by_name() {
    let id = async |event: Event| asked(&GET_TICKET, event, |request| request.ticket_id()).await;
    let mapped = Event::new("GET", "/tickets/7").with("pathParameters", json!({"id": "7"}));
    assert_eq!(id(mapped).await.unwrap().get(), 7);
    assert_eq!(id(Event::new("GET", "/tickets/43/")).await.unwrap().get(), 43, "as a function URL has it");
    for bad in ["/tickets/07", "/tickets/x", "/tickets/0", "/elsewhere"] {
        assert_eq!(refused(id(Event::new("GET", bad)).await), refusal(400, "invalid-parameters"), "{bad}");
    }
    let route = Route { path: CUSTOMER_TICKETS, ..LIST_TICKETS };
    let customer =
        asked(&route, Event::new("GET", "/customers/42/tickets/"), |request| request.customer_id());
    assert_eq!(customer.await.unwrap().get(), 42);
    let received = asked(&GET_TICKET, Event::new("GET", "/tickets/7"), |request| request.received());
    assert_eq!(received.await, now());
}

#[tokio::test]
async fn a_parameter_given_twice_keeps_both_values() {
    let query = json!({"limit": ["5"], "status": ["open", "a b&c"]});
    let event = Event::new("GET", "/tickets/").with("multiValueQueryStringParameters", query);
    let given = asked(&LIST_TICKETS, event, |request| {
        let pairs = request.query().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        pairs.collect::<BTreeSet<_>>()
    });
    let expected = [("limit", "5"), ("status", "open"), ("status", "a b&c")];
    assert_eq!(given.await, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(asked(&LIST_TICKETS, Event::new("GET", "/tickets/"), |request| request.query().is_empty()).await);
}

#[tokio::test]
async fn a_body_needs_a_json_content_type() {
    let object = async |kind: &[&str]| {
        let event = Event::new("POST", "/tickets/").body("{}").header("content-type", kind);
        asked(&CREATE_TICKET, event, |request| request.json().map(drop)).await
    };
    for good in [
        "application/json",
        "Application/JSON; charset=utf-8",
        " application/json ;x=y",
        "application/vnd.example.ticket+json",
        "application/merge-patch+json",
        "Application/Merge-Patch+JSON; charset=utf-8",
    ] {
        assert!(object(&[good]).await.is_ok(), "{good}");
    }
    for bad in [
        &[][..],
        &[""],
        &["text/json"],
        &["application/jsonx"],
        &["text/x+json"],
        &["application/xml"],
        &["application/json-patch+json"],
        &["application/strategic-merge-patch+json"],
        &["application/vnd.example.patch+json; charset=utf-8"],
    ] {
        assert_eq!(refused(object(bad).await), refusal(415, "not-json"), "{bad:?}");
    }
}

#[tokio::test]
async fn a_body_is_utf_8_with_or_without_a_byte_order_mark() {
    let detail = async |body: &[u8], is_text: bool| {
        let encoded = data_encoding::BASE64.encode(body);
        let event = Event::new("POST", "/tickets/").body(match is_text {
            true => std::str::from_utf8(body).unwrap(),
            false => &encoded,
        });
        let event = event.with("isBase64Encoded", !is_text);
        asked(&CREATE_TICKET, event, |request| {
            let refused = request.tickets().map(drop);
            refused.map_err(|problem| json!(problem.body())["detail"].as_str().unwrap().to_owned())
        })
        .await
    };
    for is_text in [true, false] {
        for good in ["\u{feff}{}", "\u{feff}[{}]", "{\"a\":\"ü\\u0000\"}", " {}"] {
            assert_eq!(detail(good.as_bytes(), is_text).await, Ok(()), "{good}");
        }
        // A gateway that takes a body for text has replaced the bytes that are not.
        for utf16 in [
            "{\0\"\0",
            "\0{\0\"",
            "\u{fffd}\u{fffd}{\0",
            "\u{fffd}\u{fffd}\0{",
            "\u{fffd}\u{fffd}\0\0{\0\0\0",
        ] {
            let refused = detail(utf16.as_bytes(), is_text).await.unwrap_err();
            assert!(refused.contains("UTF-16"), "{refused}");
        }
        assert!(!detail(b"{\"a\":\"\0\"}", is_text).await.unwrap_err().contains("UTF-16"));
    }
    for utf16 in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}", b"\xff\xfe\0\0{\0\0\0"] {
        assert!(detail(utf16, false).await.unwrap_err().contains("UTF-16"));
    }
    assert_eq!(
        detail(b"{\"subject\":\"M\xfcller\"}", false).await.unwrap_err(),
        "the body is not UTF-8: its byte 13 is 0xFC, as in Latin-1 or Windows-1252; send it as UTF-8"
    );
}

#[tokio::test]
async fn a_body_has_at_most_two_megabytes() {
    assert_eq!(MAX_BODY, 2_097_152);
    let object = async |length: usize| {
        let event = Event::new("POST", "/tickets/").body(&format!("{{}}{}", " ".repeat(length - 2)));
        asked(&CREATE_TICKET, event, |request| request.json().map(drop)).await
    };
    assert!(object(MAX_BODY).await.is_ok());
    assert_eq!(refused(object(MAX_BODY + 1).await), refusal(413, "too-large"));
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_one_that_the_gateway_unpacked_is_not() {
    let object = async |codings: &[&str], body: &str| {
        let event = Event::new("POST", "/tickets/").body(body).header("content-encoding", codings);
        asked(&CREATE_TICKET, event, |request| request.json().map(drop)).await
    };
    for named in [&["gzip"][..], &["identity, br"], &["identity", "gzip"], &["identity,gzip"]] {
        assert_eq!(refused(object(named, "\u{1f}\u{8b}").await), refusal(415, "compressed"), "{named:?}");
        assert!(object(named, "{}").await.is_ok(), "{named:?}");
    }
    for none in [&[][..], &[""], &["identity"], &["Identity, ,"]] {
        assert_eq!(refused(object(none, "\u{1f}\u{8b}").await), refusal(400, "malformed-body"), "{none:?}");
    }
    let response = object(&["gzip"], "x").await.unwrap_err().into_response();
    assert_eq!(header(&response, "accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_create_takes_an_object_or_an_array_however_the_gateway_encodes_it() {
    let tickets = async |event: Event| asked(&CREATE_TICKET, event, |request| request.tickets()).await;
    let event = |body: &str| Event::new("POST", "/tickets/").body(body);
    assert!(matches!(tickets(event(r#" {"a": 1}"#)).await, Ok(Tickets::One(object)) if object.has("a")));
    let batch = tickets(event(" \n[{\"a\": 1}, 2]")).await;
    assert!(
        matches!(batch, Ok(Tickets::Batch(rows)) if rows.len() == 2 && rows[0].is_ok() && rows[1].is_err())
    );
    let encoded = event("eyJhIjoxfQ==").with("isBase64Encoded", true);
    assert!(matches!(tickets(encoded).await, Ok(Tickets::One(object)) if object.has("a")));
    for bad in ["", "1", "[]", "{"] {
        assert_eq!(refused(tickets(event(bad)).await.map(drop)), refusal(400, "malformed-body"), "{bad}");
    }
}

#[tokio::test]
async fn the_headers_of_a_change_are_read_and_malformed_ones_refused() {
    let event = |name: &str, values: &[&str]| Event::new("PATCH", "/tickets/7").header(name, values);
    let seven = Tag::new(Version::new(7), 0xa);
    let admits = async |event: Event, tag: Tag| {
        asked(&UPDATE_TICKET, event, |request| request.preconditions().unwrap().check_change(tag).is_ok())
            .await
    };
    assert!(admits(event("if-match", &["\"7-0000000a\""]), seven).await);
    assert!(!admits(event("if-match", &["\"7-0000000a\""]), Tag::new(Version::new(8), 0xa)).await);
    assert!(!admits(event("if-none-match", &["*"]), seven).await);
    assert!(admits(event("if-none-match", &["\"7-0000000b\""]), seven).await);
    assert!(admits(event("x", &[]), seven).await, "without the headers any will do");
    for name in ["if-match", "if-none-match"] {
        let bad =
            asked(&UPDATE_TICKET, event(name, &["7-0000000a"]), |request| request.preconditions()).await;
        assert_eq!(refused(bad), refusal(400, "invalid-parameters"));
    }

    let named = async |values: &[&str]| {
        let event = Event::new("POST", "/tickets/").header("idempotency-key", values);
        asked(&CREATE_TICKET, event, |request| request.idempotency_key()).await
    };
    assert_eq!(named(&[]).await.unwrap(), None);
    assert_eq!(named(&["k 1"]).await.unwrap(), Some("k 1".parse().unwrap()));
    for bad in [&["a", "a"][..], &[""], &[&"k".repeat(256)]] {
        assert_eq!(refused(named(bad).await), refusal(400, "invalid-parameters"));
    }
}

#[tokio::test]
async fn a_request_knows_the_path_its_client_wrote() {
    const PUBLISHED: &str = "/backend/api/v1/tickets/";
    let path = async |written: Value| {
        let mut event = Event::new("GET", "/tickets/");
        event.0["requestContext"]["path"] = written;
        asked(&LIST_TICKETS, event, |request| (request.path(), request.location_of("7".parse().unwrap())))
            .await
    };
    for written in ["/backend/api/v1/tickets/", "/tickets", "/my%20desk/v1/tickets/", "/a'b/tickets"] {
        let location = format!("{}/7", written.trim_end_matches('/'));
        assert_eq!(path(written.into()).await, (written.to_owned(), location));
    }
    for unfit in
        ["/elsewhere", "//evil.example/tickets", "tickets", "/a b/tickets", "/>;x/tickets", "/a,b/tickets"]
    {
        assert_eq!(path(unfit.into()).await.0, PUBLISHED, "{unfit}");
    }
    assert_eq!(path(Value::Null).await.0, PUBLISHED);

    let route = Route { path: CUSTOMER_TICKETS, ..LIST_TICKETS };
    let mut event = Event::new("GET", "/customers/42/tickets/");
    event.0["requestContext"]["path"] = Value::Null;
    let path = asked(&route, event, |request| request.path());
    assert_eq!(path.await, "/backend/api/v1/customers/42/tickets/");

    let mut http: Value = serde_json::from_str(include_str!("../../../events/get-ticket.http.json")).unwrap();
    http["headers"] = json!({"authorization": format!("Bearer {TOKEN}")});
    assert_eq!(asked(&GET_TICKET, Event(http), |request| request.path()).await, "/backend/api/v1/tickets/1");
}

#[tokio::test]
async fn a_ticket_has_its_etag_and_a_client_that_has_it_gets_304() {
    let get = async |name: &str, tag: &[&str]| {
        let event = Event::new("GET", "/tickets/43").header(name, tag);
        asked(&GET_TICKET, event, |request| reply::ticket(&request, &tagged(3))).await
    };
    let fresh = get("if-none-match", &[]).await.unwrap();
    assert_eq!((fresh.status().as_u16(), header(&fresh, "etag")), (200, Some("\"3-0000000a\"")));
    assert_eq!(json_of(&fresh), serde_json::to_value(ticket(3)).unwrap());
    assert_eq!(header(&fresh, "content-type"), Some("application/json"));
    assert_eq!(header(&fresh, "cache-control"), Some("private, no-cache"));
    let known = get("if-none-match", &["\"3-0000000a\""]).await.unwrap();
    assert!(known.status() == 304 && known.body().is_empty());
    let mut expected = fresh.headers().clone();
    expected.remove("content-type");
    assert_eq!(known.headers(), &expected, "what caches need to know of the 200");
    assert_eq!(get("if-none-match", &["\"2-0000000a\""]).await.unwrap().status(), 200);
    assert!(get("if-none-match", &["3-0000000a"]).await.is_err());
    assert_eq!(get("if-match", &["\"3-0000000a\""]).await.unwrap().status(), 200);
    assert_eq!(refused(get("if-match", &["\"2-0000000a\""]).await), refusal(412, "version-mismatch"));
}

#[tokio::test]
async fn a_new_ticket_says_where_it_is_and_a_replay_that_it_is_one() {
    let created = async |replayed: bool| {
        let event = Event::new("POST", "/tickets/");
        asked(&CREATE_TICKET, event, move |request| reply::created(&request, &tagged(1), replayed))
            .await
            .unwrap()
    };
    let response = created(false).await;
    assert_eq!((response.status().as_u16(), header(&response, "etag")), (201, Some("\"1-0000000a\"")));
    assert_eq!(header(&response, "location"), Some("/backend/api/v1/tickets/43"));
    assert_eq!(
        (json_of(&response)["id"].clone(), header(&response, "idempotency-replayed")),
        (json!("43"), None)
    );
    assert_eq!(header(&created(true).await, "idempotency-replayed"), Some("true"));
}

#[test]
fn a_batch_says_of_each_row_what_became_of_it() {
    let response = reply::batch(vec![Ok(tagged(1)), Err(Error::Contended), Ok(tagged(1))]).unwrap();
    assert_eq!(response.status(), 207);
    let rows = json_of(&response);
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!(rows[0], json!({"status": 201, "ticket": ticket(1), "etag": "\"1-0000000a\""}));
    assert_eq!(rows[1]["status"], 503);
    assert!(rows[1].get("ticket").is_none() && rows[1].get("etag").is_none());
    assert_eq!(rows[1]["problem"]["type"], "urn:tickets:problem:contended");
    assert_eq!(reply::no_content().status(), 204);
    let value = reply::of(&json!({"a": 1})).unwrap();
    assert_eq!((value.status().as_u16(), text(&value)), (200, r#"{"a":1}"#));
}

fn push(reply: &mut ListReply, record: &Record) -> Fit {
    reply.push(&Row::of(record).unwrap())
}

fn list_query() -> ListQuery {
    let presets = Presets::parse(&PresetLists::default()).unwrap();
    ListQuery::parse(vec![("limit", "2")], None, Visibility::All, &presets, now()).unwrap()
}

#[tokio::test]
async fn a_list_says_how_fresh_it_is_and_where_it_goes_on() {
    let list = async |tickets: usize, end: ListEnd| {
        let event = Event::new("GET", "/tickets/");
        let finish = move |request: Request| {
            let mut reply = ListReply::default();
            for _ in 0..tickets {
                assert_eq!(push(&mut reply, &Record::Live(ticket(1))), Fit::Added);
            }
            let listed = Listed { end, epoch: Epoch::new("7f") };
            reply.finish(&request, &list_query(), &listed, now())
        };
        asked(&LIST_TICKETS, event, finish).await.unwrap()
    };
    let more = |found| ListEnd::More { after: 43, found };
    let two = list(2, more(Continuation::Walk)).await;
    assert_eq!(json_of(&two), json!([ticket(1), ticket(1)]));
    assert_eq!((header(&two, "sync-until"), header(&two, "sync-epoch")), (Some(NOW), Some("7f")));
    let link = "</backend/api/v1/tickets/?limit=2&continuation=w&idAfter=43>; rel=\"next\"";
    assert_eq!(header(&two, "link"), Some(link));
    assert_eq!(header(&list(2, ListEnd::Complete).await, "link"), None);
    let none = list(0, more(Continuation::Unknown)).await;
    let link = "</backend/api/v1/tickets/?limit=2&idAfter=43>; rel=\"next\"";
    assert_eq!((text(&none), header(&none, "link")), ("[]", Some(link)), "an empty page may not be the last");
    let bad = asked(&LIST_TICKETS, Event::new("GET", "/tickets/"), |request| {
        let listed = Listed { end: ListEnd::Complete, epoch: Epoch::new("a\nb") };
        ListReply::default().finish(&request, &list_query(), &listed, now())
    });
    assert_eq!(refused(bad.await), refusal(500, "internal"));
}

fn entry(version: u64, value: &str) -> HistoryEntry {
    HistoryEntry {
        version: Version::new(version),
        date: now(),
        change: ChangeKind::Updated,
        by: "ada".parse().unwrap(),
        fields: Map::from_iter([("subject".to_owned(), value.into())]),
    }
}

#[tokio::test]
async fn a_history_goes_on_after_its_last_version() {
    let history = async |query: Vec<(&'static str, &'static str)>, more: bool| {
        let event = Event::new("GET", "/tickets/43/history/");
        let finish = move |request: Request| {
            let mut reply = HistoryReply::default();
            assert_eq!(reply.push(&entry(4, "a")), Fit::Added);
            assert_eq!(reply.push(&entry(5, "b")), Fit::Added);
            assert_eq!(reply.push(&entry(6, &"\"".repeat(3_000_000))), Fit::Full);
            reply.finish(&request, &HistoryQuery::parse(query)?, more)
        };
        asked(&crate::route::LIST_TICKET_HISTORY, event, finish).await.unwrap()
    };
    let response = history(vec![], true).await;
    assert_eq!(json_of(&response), json!([entry(4, "a"), entry(5, "b")]));
    let link = |query: &str| format!("</backend/api/v1/tickets/43/history/?{query}>; rel=\"next\"");
    assert_eq!(
        header(&response, "link"),
        Some(link("versionAfter=5").as_str()),
        "5 is the last that was taken"
    );
    assert_eq!(
        header(&history(vec![("limit", "2")], true).await, "link"),
        Some(link("limit=2&versionAfter=5").as_str())
    );
    assert_eq!(header(&history(vec![], false).await, "link"), None);
}

#[test]
fn a_history_takes_a_version_and_a_limit_and_nothing_else() {
    let parse = |query: &[(&str, &str)]| HistoryQuery::parse(query.to_vec());
    let query = parse(&[("versionAfter", "3"), ("limit", "7")]).unwrap();
    assert_eq!((query.version_after, query.limit), (3, Some(7)));
    let query = parse(&[]).unwrap();
    assert_eq!((query.version_after, query.limit), (0, None));
    for bad in [("versionAfter", "x"), ("limit", "0"), ("idAfter", "1")] {
        let response = parse(&[bad]).unwrap_err().into_response();
        assert_eq!(
            (response.status().as_u16(), json_of(&response)["errors"][0]["field"].clone()),
            (400, json!(bad.0))
        );
    }
}

#[tokio::test]
async fn the_feed_goes_on_after_its_last_event_or_at_the_time_up_to_which_it_was_read() {
    let event = |version: u64| feed::Event {
        id: EventId::new(now(), TicketId::FIRST, Version::new(version)),
        kind: EventType::Updated,
        ticket: TicketId::FIRST,
        customer: None,
        version: Version::new(version),
        date: now(),
        by: "ada".parse().unwrap(),
        fields: vec!["owner".into()],
        shown: tickets_domain::preset::Choices::default(),
        left: None,
    };
    let feed = async |query: Vec<(&'static str, &'static str)>, end: EventsEnd| {
        let finish = move |request: Request| {
            let mut reply = EventsReply::default();
            assert_eq!([reply.push(&event(2)), reply.push(&event(3))], [Fit::Added; 2]);
            let epoch = Epoch::new("7f3a");
            reply.finish(&request, &events::filter(query)?, end, &epoch, now())
        };
        asked(&crate::route::LIST_EVENTS, Event::new("GET", "/events/"), finish).await.unwrap()
    };
    let response = feed(vec![], EventsEnd::Complete).await;
    assert_eq!(json_of(&response), json!([event(2), event(3)]));
    assert_eq!((header(&response, "sync-until"), header(&response, "sync-epoch")), (Some(NOW), Some("7f3a")));
    assert_eq!(header(&response, "link"), None);
    let link = |query: &str| format!("</backend/api/v1/events/?{query}>; rel=\"next\"");
    let last = event(3).id.to_string();
    for (query, end, next) in [
        (vec![], EventsEnd::Full, format!("after={last}")),
        (vec![], EventsEnd::Paused(now()), format!("since={NOW}")),
        (
            vec![("since", "2026-01-01"), ("type", "ticket.updated,ticket.deleted"), ("limit", "2")],
            EventsEnd::Full,
            format!("type=ticket.updated%2Cticket.deleted&limit=2&after={last}"),
        ),
    ] {
        assert_eq!(header(&feed(query, end).await, "link"), Some(link(&next).as_str()));
    }
}

#[test]
fn a_record_that_does_not_fit_begins_the_next_page() {
    let large = |characters: usize| {
        let mut ticket = ticket(1);
        ticket.fields.content = Some("x".repeat(characters).parse().unwrap());
        Record::Live(ticket)
    };
    let mut reply = ListReply::default();
    let fit = (0..40).take_while(|_| push(&mut reply, &large(262_144)) == Fit::Added).count();
    // 6 MB hold 23 tickets of slightly more than a quarter of a megabyte.
    assert_eq!(fit, 23);
    assert_eq!(push(&mut reply, &large(1000)), Fit::Added, "a smaller one still fits");
    assert!(list_query().next(43, &Continuation::Unknown).ends_with("idAfter=43"));
}

/// Checks the status, kind and headers of every error.
#[test]
fn every_error_has_its_status_and_says_when_to_repeat_the_request() {
    let cause = || tickets_domain::error::Cause::new("cause");
    let other: CustomerId = "7".parse().unwrap();
    let violations = || tickets_domain::Violation::new("subject", "is wrong").into();
    let unusable = UnusableTag { text: "W/\"1\"".into(), is_weak: true, meant: None };
    let repeat = Some(("retry-after", "1"));
    for (error, status, kind, expected, logged) in [
        (Error::MalformedBody("no".into()), 400, "malformed-body", None, false),
        (Error::InvalidParameters(violations()), 400, "invalid-parameters", None, false),
        (Error::InvalidFields(violations()), 422, "invalid-fields", None, false),
        (Error::Unauthenticated, 401, "unauthenticated", Some(("www-authenticate", "Bearer")), false),
        (Error::MissingScope(Scope::Read), 403, "missing-scope", None, false),
        (Error::OtherCustomer(other), 403, "other-customer", None, false),
        (Error::NotFound, 404, "not-found", None, false),
        (Error::VersionMismatch, 412, "version-mismatch", None, false),
        (Error::UnusableTag(unusable), 412, "unusable-tag", None, false),
        (Error::VersionExcluded, 412, "version-excluded", None, false),
        (Error::IdempotencyKeyReused, 422, "idempotency-key-reused", None, false),
        (Error::IdempotencyKeyInUse, 409, "idempotency-key-in-use", repeat, false),
        (Error::Contended, 503, "contended", repeat, true),
        (Error::Throttled(cause()), 503, "throttled", repeat, true),
        (Error::Unavailable(cause()), 503, "unavailable", repeat, true),
        (Error::Undecided(cause()), 503, "undecided", repeat, true),
        (Error::Internal(cause()), 500, "internal", None, true),
    ] {
        let detail = error.to_string();
        let problem = Problem::from(error);
        assert_eq!((problem.status().as_u16(), problem.cause().is_some()), (status, logged), "{kind}");
        let response = problem.into_response();
        let body = json_of(&response);
        assert_eq!(
            (body["type"].clone(), body["status"].clone()),
            (json!(format!("urn:tickets:problem:{kind}")), json!(status))
        );
        assert_eq!(
            (body["detail"].clone(), body["title"].as_str().unwrap().is_empty()),
            (json!(detail), false)
        );
        let names = match kind {
            "invalid-parameters" | "invalid-fields" => json!([{"field": "subject", "detail": "is wrong"}]),
            "other-customer" => json!([{"field": "customerID", "detail": detail}]),
            _ => json!([]),
        };
        assert_eq!(body["errors"], names, "{kind}");
        for name in ["retry-after", "www-authenticate"] {
            assert_eq!(
                header(&response, name),
                expected.filter(|(expected, _)| *expected == name).map(|(_, value)| value),
                "{kind}"
            );
        }
        assert_eq!(
            (response.status().as_u16(), header(&response, "content-type")),
            (status, Some("application/problem+json"))
        );
    }
    let gone = Problem::no_such_path().into_response();
    assert_eq!((gone.status().as_u16(), json_of(&gone)["title"].clone()), (404, json!("Not found")));
}
