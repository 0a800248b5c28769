//! Turns the event of a request into a response, the same for a deployed function and the local server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use lambda_http::http::header::{CONTENT_LENGTH, ORIGIN};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::Service as _;
use lambda_http::{Adapter, RequestExt, service_fn};
use serde::Serialize;
use tickets_domain::error::Cause;
use tickets_domain::{Clock, KeyId, KeyStore, Meter, TicketId, Timestamp};

use crate::cors::Origins;
use crate::guard::Admission;
use crate::headers::REQUEST_ID;
use crate::log::{Entry, FailedRows, Failure, Level, Log, Metrics};
use crate::reply::About;
use crate::request::Parts;
use crate::route::PathId;
use crate::{Caller, Guard, Problem, Request, Response, Route, cors, event, rate_limit, request, route};

/// What all requests of a function share.
#[derive(Debug)]
pub struct Service<'a, K> {
    route: &'a Route,
    keys: &'a K,
    cors_origins: &'a Origins,
    clock: &'a Clock,
    log: &'a Log,
}

impl<'a, K: KeyStore> Service<'a, K> {
    /// The service of `route`, for callers with one of `keys` and web pages from `cors_origins`. It writes
    /// one line to `log` for each request.
    pub fn new(
        route: &'a Route,
        keys: &'a K,
        cors_origins: &'a Origins,
        clock: &'a Clock,
        log: &'a Log,
    ) -> Self {
        Self { route, keys, cors_origins, clock, log }
    }

    /// Answers a request. Errors become responses too.
    pub async fn respond<F>(
        &self,
        event: lambda_http::Request,
        handler: impl FnOnce(Caller, Request) -> F,
    ) -> Response
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        let mut metadata = RequestMetadata::of(&event, self.route.path);
        let received = self.clock.now();
        let outcome = if metadata.method == Method::OPTIONS {
            Ok(cors::preflight(&route::allowed(self.route.path), event.headers()))
        } else {
            self.handle(event, received, &metadata.meter, &mut metadata.admission, handler).await
        };
        self.finish(&metadata, outcome)
    }

    /// Answers a request for one of [`route::DOCUMENTS`], which needs no key.
    pub fn respond_to_anyone(
        &self,
        event: lambda_http::Request,
        path: &'static str,
        handler: impl FnOnce(Request) -> Result<Response, Problem>,
    ) -> Response {
        let metadata = RequestMetadata::of(&event, path);
        let outcome = if metadata.method == Method::OPTIONS {
            Ok(cors::preflight(&route::allowed(path), event.headers()))
        } else if self.route.answers(&metadata.method) {
            handler(Request::new(
                event,
                Parts { route: path, received: self.clock.now(), meter: metadata.meter.clone() },
            ))
        } else {
            Err(Problem::method_not_allowed(&route::allowed(path)))
        };
        self.finish(&metadata, outcome)
    }

    /// Makes the response from a handler's outcome, and logs the request.
    fn finish(&self, metadata: &RequestMetadata, outcome: Result<Response, Problem>) -> Response {
        let (mut response, problem) = match outcome {
            Ok(response) => (response, None),
            Err(problem) => (Response::default(), Some(problem)),
        };
        self.write_log_line(metadata, &mut response, problem.as_ref());
        if let Some(problem) = problem {
            response = problem.into_response();
        }
        if let Some(quota) = &metadata.admission.quota {
            rate_limit::add_headers(quota, response.headers_mut());
        }
        if metadata.method == Method::HEAD {
            without_body(&mut response);
        }
        if let Ok(id) = HeaderValue::from_str(&metadata.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        cors::allow(self.cors_origins, metadata.origin.as_ref(), response.headers_mut());
        response
    }

    /// Writes the request's log line. A failure and its cause are logged only here.
    fn write_log_line(&self, metadata: &RequestMetadata, response: &mut Response, problem: Option<&Problem>) {
        let status = problem.map_or(response.status(), Problem::status);
        let usage = metadata.meter.usage();
        let about = response.extensions_mut().remove::<About>();
        let (created, tickets, failed) = match &about {
            None => (None, &[][..], &[][..]),
            Some(About::Ticket(id)) => (Some(*id), &[][..], &[][..]),
            Some(About::Batch { tickets, failed }) => (None, &tickets[..], &failed[..]),
        };
        let failed_rows = FailedRows::of(failed.iter().cloned());
        let failure = problem.and_then(Problem::cause).map(Failure::of);
        let uncounted = metadata.admission.quota.as_ref().and_then(|quota| quota.uncounted.as_ref());
        let (level, message) = match status {
            StatusCode::INTERNAL_SERVER_ERROR => (Level::Error, "request failed"),
            status if status.is_server_error() => (Level::Warn, "request failed"),
            _ if uncounted.is_some() || !failed_rows.is_empty() => (Level::Warn, "request"),
            _ => (Level::Info, "request"),
        };
        let entry = Entry {
            function: self.route.function.name(),
            level,
            message,
            at: self.clock.now(),
            request_id: metadata.invocation.as_deref(),
            trace: metadata.trace.as_deref(),
            correlation_id: Some(&metadata.id),
            metrics: Metrics::of_request(status, metadata.began.elapsed(), usage)
                .with_failed_rows(&failed_rows),
        };
        let fields = LogFields {
            route: metadata.path,
            method: known(&metadata.method),
            status: status.as_u16(),
            key: metadata.admission.key.as_ref(),
            ticket: metadata.ticket.or(created),
            tickets,
            replays: usage.replays,
            limit_uncounted: uncounted.map(Cause::as_str),
            failed_rows,
            failure,
        };
        self.log.write(&entry, &fields);
    }

    async fn handle<F>(
        &self,
        event: lambda_http::Request,
        received: Timestamp,
        meter: &Meter,
        admission: &mut Admission,
        handler: impl FnOnce(Caller, Request) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        let guard = Guard::new(self.keys);
        let caller = guard.admit(event.headers(), self.route.scope, received, meter, admission).await?;
        if !self.route.answers(event.method()) {
            return Err(Problem::method_not_allowed(&route::allowed(self.route.path)));
        }
        let parts = Parts { route: self.route.path, received, meter: meter.clone() };
        handler(caller, Request::new(event, parts)).await
    }
}

/// The members of a request's log line, besides those of every line.
#[derive(Serialize)]
struct LogFields<'a> {
    route: &'static str,
    method: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<TicketId>,
    /// The tickets that a batch created or changed.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tickets: &'a [TicketId],
    replays: u32,
    /// Why the request was admitted without being counted against its key's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_uncounted: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed_rows: Vec<FailedRows>,
    #[serde(flatten)]
    failure: Option<Failure>,
}

/// The name of a method. One that a client made up is not repeated in the log.
fn known(method: &Method) -> &'static str {
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    names.into_iter().find(|name| method == *name).unwrap_or("another")
}

/// What the response and the log need to know of a request.
struct RequestMetadata {
    began: Instant,
    id: String,
    /// Lambda's id of the invocation.
    invocation: Option<String>,
    trace: Option<String>,
    method: Method,
    /// The web page that sent it.
    origin: Option<HeaderValue>,
    path: &'static str,
    /// The ticket that the path names.
    ticket: Option<TicketId>,
    admission: Admission,
    meter: Meter,
}

impl RequestMetadata {
    fn of(event: &lambda_http::Request, path: &'static str) -> Self {
        let context = event.lambda_context_ref();
        let names_ticket = route::path_id(path) == Some(PathId::Ticket);
        Self {
            began: Instant::now(),
            id: request_id(event),
            invocation: context.map(|context| context.request_id.clone()).filter(|id| !id.is_empty()),
            trace: context.and_then(|context| context.xray_trace_id.clone()),
            method: event.method().clone(),
            origin: event.headers().get(ORIGIN).cloned(),
            path,
            ticket: names_ticket.then(|| request::path_id(event, path)?.parse().ok()).flatten(),
            admission: Admission::default(),
            meter: Meter::counting(),
        }
    }
}

/// Turns the response to a `GET` into one to a `HEAD` (RFC 9110, section 9.3.2). The headers stay, and
/// `Content-Length` gives the body's length.
fn without_body(response: &mut Response) {
    let body = std::mem::take(response.body_mut());
    if !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    }
}

/// Runs a function on Lambda. `answer` calls [`Service::respond`] with the function's handler.
pub async fn run<A, F>(
    app: A,
    answer: impl Fn(Arc<A>, lambda_http::Request) -> F,
) -> Result<(), lambda_http::Error>
where
    F: Future<Output = Response> + Send,
{
    let app = Arc::new(app);
    let answer = &answer;
    let mut adapter = Adapter::from(service_fn(move |event| {
        // Boxed, because the adapter and the runtime move it.
        let response = Box::pin(answer(Arc::clone(&app), event));
        async move { Ok::<_, Infallible>(response.await) }
    }));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<LambdaRequest>| {
        adapter.call(LambdaEvent { payload: event::sanitize(event.payload), ..event })
    }))
    .await
}

/// The gateway's id of the request, which its access log has too; without a gateway, Lambda's id.
fn request_id(event: &lambda_http::Request) -> String {
    let gateway = match event.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone(),
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    gateway
        .or_else(|| event.lambda_context_ref().map(|context| context.request_id.clone()))
        .unwrap_or_default()
}
