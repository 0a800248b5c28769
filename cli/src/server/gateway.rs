//! Plays API Gateway and Lambda: turns each HTTP request into an event, calls the function's own handler, and
//! turns its reply into an HTTP response, within the limits of AWS.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyResponse;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::Service;
use lambda_http::{Adapter, service_fn};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tickets_app::App;
use tickets_http::problem::Problem;
use tickets_http::reply::MAX_REPLY;
use tickets_http::route::{BASE_PATH, DOCUMENTS, Function, GET_TICKET_CONFIGURATION, ROUTES};
use tickets_http::{Guard, cors, event};

use super::http::{READ_AHEAD, discard, read};

/// The size of the largest event for a Lambda function: 6 MB. (API Gateway takes bodies up to 10 MB.)
const MAX_EVENT: usize = 6 * 1024 * 1024;

/// The largest body that is kept whoever sends it: as much as is read ahead of every connection anyway. So the gateway
/// looks up no key for an ordinary request.
const SMALL: u64 = READ_AHEAD as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payload {
    /// Format 1.0, of the REST API that the template deploys.
    #[default]
    Rest,
    /// Format 2.0, of HTTP APIs, function URLs and `cargo lambda watch`.
    Http,
}

/// The gateway in front of an app's functions.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub app: Arc<App>,
    /// The format of their events.
    pub payload: Payload,
}

impl Gateway {
    pub fn into_router(self) -> axum::Router {
        axum::Router::new().fallback(serve).with_state(self)
    }
}

/// The function that a request is routed to.
struct Matched {
    function: Function,
    /// The path pattern of the route, or the path of a document.
    path: &'static str,
    /// The decoded `{id}` of the path.
    id: Option<String>,
}

/// Finds the function for a method and path, with or without a trailing slash.
fn matched(method: &Method, path: &str) -> Option<Matched> {
    let path = path.strip_prefix(BASE_PATH)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(document) = DOCUMENTS.into_iter().find(|document| *document == path) {
        return Some(Matched { function: GET_TICKET_CONFIGURATION.function, path: document, id: None });
    }
    let routes: Vec<_> =
        ROUTES.iter().filter_map(|route| Some((route, parameters(route.path, path)?))).collect();
    let exact = routes.iter().find(|(route, _)| route.answers(method));
    let (route, id) = exact.or_else(|| routes.iter().find(|(route, _)| route.fallback))?;
    Some(Matched { function: route.function, path: route.path, id: id.clone() })
}

/// Matches `path` against `pattern` and returns its `{id}`, if it has one. `None` if they do not match.
fn parameters(pattern: &str, path: &str) -> Option<Option<String>> {
    let (mut pattern, mut path, mut id) = (pattern.split('/'), path.split('/'), None);
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(id),
            (Some("{id}"), Some(value)) if !value.is_empty() => {
                id = Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
            }
            (Some(expected), Some(value)) if expected == value => {}
            _ => return None,
        }
    }
}

async fn serve(State(gateway): State<Gateway>, request: Request) -> Response {
    let app = Arc::clone(&gateway.app);
    let origin = request.headers().get(ORIGIN).cloned();
    pass_on(gateway, request).await.unwrap_or_else(|mut own| {
        cors::allow(&app.cors_origins, origin.as_ref(), own.headers_mut());
        own
    })
}

/// The response of the function that the request is for.
///
/// # Errors
/// A response of the gateway's own, if no function can answer.
async fn pass_on(gateway: Gateway, request: Request) -> Result<Response, Response> {
    let (mut parts, body) = request.into_parts();
    let Some(matched) = matched(&parts.method, parts.uri.path()) else {
        return Err(problem(Problem::no_such_path()));
    };
    // Of large bodies only a known key's is kept: anybody on this machine, and every web page, can send one. To be
    // sure that the function refuses the others too, it gets no key with them.
    let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL);
    let guard = Guard::new(&gateway.app.keys);
    let body = if is_small || guard.is_known(&parts.headers, gateway.app.clock.now()).await {
        read(body, MAX_EVENT).await
    } else {
        parts.headers.remove(AUTHORIZATION);
        discard(body, MAX_EVENT).await
    };
    let body = match body {
        Ok(body) => body,
        Err(StatusCode::PAYLOAD_TOO_LARGE) => return Err(problem(Problem::too_large())),
        Err(status) => return Err(status.into_response()),
    };
    let event = match gateway.payload {
        Payload::Rest => rest_event(&parts, &matched, &body),
        Payload::Http => http_event(&parts, &matched, &body),
    };
    let event = event.to_string();
    if event.len() > MAX_EVENT {
        return Err(problem(Problem::too_large()));
    }
    // In a task of its own: like a Lambda, the function runs to its end even if the caller hangs up.
    let reply = tokio::spawn(invoke(gateway.app, matched.function, event)).await;
    reply.ok().flatten().ok_or_else(|| StatusCode::BAD_GATEWAY.into_response())
}

fn problem(problem: Problem) -> Response {
    problem.into_response().map(|body| Body::from(body.to_vec()))
}

/// Invokes a function with an event in JSON. `None` is a failed invocation, for which a gateway answers 502.
async fn invoke(app: Arc<App>, function: Function, event: String) -> Option<Response> {
    let event = event::sanitize(serde_json::from_str::<LambdaRequest>(&event).ok()?);
    let answer = service_fn(|event| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(answer(app, function, event).await) }
    });
    let mut function = Adapter::from(answer);
    let reply = function.call(LambdaEvent::new(event, Context::default())).await.ok()?;
    let reply = serde_json::to_vec(&reply).ok().filter(|reply| reply.len() <= MAX_REPLY)?;
    let reply: ApiGatewayProxyResponse = serde_json::from_slice(&reply).ok()?;
    let body = reply.body.map(|body| body.to_vec()).unwrap_or_default();
    let body = if reply.is_base64_encoded { BASE64.decode(&body).ok()? } else { body };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(u16::try_from(reply.status_code).ok()?).ok()?;
    let headers = response.headers_mut();
    headers.extend(reply.headers);
    headers.extend(reply.multi_value_headers);
    Some(response)
}

/// Calls the handler of a function.
pub async fn answer(
    app: Arc<App>,
    function: Function,
    event: lambda_http::Request,
) -> tickets_http::Response {
    match function {
        Function::GetTicket => get_ticket::answer(app, event).await,
        Function::ListTickets => list_tickets::answer(app, event).await,
        Function::ListCustomerTickets => list_customer_tickets::answer(app, event).await,
        Function::CreateTicket => create_ticket::answer(app, event).await,
        Function::UpdateTicket => update_ticket::answer(app, event).await,
        Function::UpdateTickets => update_tickets::answer(app, event).await,
        Function::DeleteTicket => delete_ticket::answer(app, event).await,
        Function::GetTicketConfiguration => get_ticket_configuration::answer(app, event).await,
        Function::ListTicketHistory => list_ticket_history::answer(app, event).await,
        Function::ListEvents => list_events::answer(app, event).await,
        Function::CountTickets => count_tickets::answer(app, event).await,
    }
}

/// The event of a REST API: format 1.0.
fn rest_event(parts: &Parts, matched: &Matched, body: &[u8]) -> Value {
    let (path, query) = (parts.uri.path(), decoded_query(parts.uri.query()));
    let resource = format!("{}{}", stage_path(BASE_PATH), matched.path);
    let (body, is_base64) = event_body(body);
    let single: Map<_, _> = query.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut multiple = Map::new();
    for (name, value) in query {
        let values = multiple.entry(name).or_insert_with(|| json!([]));
        values.as_array_mut().into_iter().for_each(|values| values.push(json!(value)));
    }
    json!({
        "resource": resource,
        "path": stage_path(path),
        "httpMethod": parts.method.as_str(),
        "headers": last_headers(&parts.headers),
        "multiValueHeaders": multiple_headers(&parts.headers),
        "queryStringParameters": or_null(single),
        "multiValueQueryStringParameters": or_null(multiple),
        "pathParameters": path_parameters(matched),
        "stageVariables": null,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": parts.method.as_str(),
            "path": path,
            "stage": "backend",
            "protocol": "HTTP/1.1",
            "requestId": request_id(),
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": body,
        "isBase64Encoded": is_base64,
    })
}

/// The event of an HTTP API or a function URL: format 2.0.
fn http_event(parts: &Parts, matched: &Matched, body: &[u8]) -> Value {
    let (path, method) = (parts.uri.path(), parts.method.as_str());
    let (body, is_base64) = event_body(body);
    json!({
        "version": "2.0",
        "routeKey": format!("{method} {}", matched.path),
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": joined_headers(&parts.headers),
        "pathParameters": path_parameters(matched),
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "requestId": request_id(),
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": is_base64,
    })
}

/// The path without the stage, as in a REST API's event.
fn stage_path(path: &str) -> &str {
    path.strip_prefix("/backend").unwrap_or(path)
}

fn request_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn path_parameters(matched: &Matched) -> Value {
    matched.id.as_ref().map_or(Value::Null, |id| json!({"id": id}))
}

fn or_null(map: Map<String, Value>) -> Value {
    if map.is_empty() { Value::Null } else { map.into() }
}

fn event_body(body: &[u8]) -> (Value, bool) {
    match std::str::from_utf8(body) {
        Ok("") => (Value::Null, false),
        Ok(text) => (json!(text), false),
        Err(_) => (json!(BASE64.encode(body)), true),
    }
}

fn decoded_query(query: Option<&str>) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// A header's value as text. Bytes that are not UTF-8 become replacement characters.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The last value of each header: `headers` of format 1.0, whose `multiValueHeaders` has all.
fn last_headers(headers: &HeaderMap) -> Value {
    let last = |name: &HeaderName| headers.get_all(name).iter().next_back().map(text);
    headers.keys().map(|name| (name.to_string(), json!(last(name)))).collect::<Map<_, _>>().into()
}

/// The values of each header joined with commas, as in format 2.0.
fn joined_headers(headers: &HeaderMap) -> Value {
    let joined = |name: &HeaderName| headers.get_all(name).iter().map(text).collect::<Vec<_>>().join(",");
    headers.keys().map(|name| (name.to_string(), json!(joined(name)))).collect::<Map<_, _>>().into()
}

fn multiple_headers(headers: &HeaderMap) -> Value {
    let all = |name: &HeaderName| headers.get_all(name).iter().map(text).collect::<Vec<_>>();
    headers.keys().map(|name| (name.to_string(), json!(all(name)))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(method: Method, path: &str) -> Option<(&'static str, Option<String>)> {
        matched(&method, path).map(|matched| (matched.function.name(), matched.id))
    }

    #[test]
    fn paths_lead_to_functions_with_and_without_a_trailing_slash() {
        for slash in ["", "/"] {
            let at = |method, path: &str| function(method, &format!("/backend/api/v1{path}{slash}"));
            assert_eq!(at(Method::GET, "/tickets"), Some(("list-tickets", None)));
            assert_eq!(at(Method::POST, "/tickets"), Some(("create-ticket", None)));
            assert_eq!(at(Method::PATCH, "/tickets/43"), Some(("update-ticket", Some("43".into()))));
            assert_eq!(
                at(Method::GET, "/customers/7/tickets"),
                Some(("list-customer-tickets", Some("7".into())))
            );
            assert_eq!(
                at(Method::GET, "/tickets/43/history"),
                Some(("list-ticket-history", Some("43".into())))
            );
            assert_eq!(at(Method::TRACE, "/tickets/43"), Some(("get-ticket", Some("43".into()))));
        }
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in [
            "/",
            "/tickets",
            "/backend/api/v1",
            "/backend/api/v1/ticket",
            "/backend/api/v1/tickets//",
            "/backend/api/v1//tickets",
            "/backend/api/v1/tickets/1/2",
            "/backend/api/v1/customers//tickets",
        ] {
            assert_eq!(function(Method::GET, path), None, "{path}");
        }
    }
}
