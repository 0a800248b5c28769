//! One request from event to response: the same for a deployed function and the local server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use lambda_http::http::{HeaderName, HeaderValue, Method};
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::Service as _;
use lambda_http::{Adapter, RequestExt, service_fn};
use tickets_domain::{Clock, KeyStore, Timestamp};

use crate::{Caller, Guard, Problem, Request, Response, Route, cors, event, log, route};

/// Names the request, in every response and log line.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a function's requests have in common.
#[derive(Debug)]
pub struct Service<'a, K> {
    route: &'a Route,
    keys: &'a K,
    cors_origins: &'a [String],
    clock: &'a Clock,
}

impl<'a, K: KeyStore> Service<'a, K> {
    /// The service of `route`, for callers with one of `keys` and pages from `cors_origins`.
    pub fn new(route: &'a Route, keys: &'a K, cors_origins: &'a [String], clock: &'a Clock) -> Self {
        Self { route, keys, cors_origins, clock }
    }

    /// Answers a request: whatever happens, with a response.
    pub async fn respond<F>(
        &self,
        event: lambda_http::Request,
        handler: impl FnOnce(Caller, Request) -> F,
    ) -> Response
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        let began = Instant::now();
        let received = self.clock.now();
        let (id, method, request_headers) =
            (request_id(&event), event.method().clone(), event.headers().clone());
        let mut key = None;
        let outcome = if method == Method::OPTIONS {
            Ok(cors::preflight(&route::allowed(self.route.path)))
        } else {
            self.handle(event, received, &mut key, handler).await
        };
        let (mut response, problem) = match outcome {
            Ok(response) => (response, None),
            Err(problem) => (Response::default(), Some(problem)),
        };
        let status = problem.as_ref().map_or(response.status(), Problem::status);
        let line = log::Line {
            request_id: &id,
            function: self.route.function,
            method: &method,
            key: key.as_deref(),
            status,
            took: began.elapsed(),
        };
        log::request(&line, problem.as_ref());
        if let Some(problem) = problem {
            response = problem.into_response();
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        cors::allow(self.cors_origins, &request_headers, response.headers_mut());
        response
    }

    async fn handle<F>(
        &self,
        event: lambda_http::Request,
        received: Timestamp,
        key: &mut Option<String>,
        handler: impl FnOnce(Caller, Request) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        let caller = Guard::new(self.keys).admit(event.headers(), self.route.scope, received).await?;
        *key = Some(caller.key().to_string());
        if !self.route.methods.contains(event.method()) {
            return Err(Problem::method_not_allowed(&route::allowed(self.route.path)));
        }
        handler(caller, Request::new(event, self.route.path, received)).await
    }
}

/// Runs a function on Lambda: `answer` is [`Service::respond`] with its handler.
///
/// # Errors
/// Where the Lambda runtime API fails.
pub async fn run<A, F>(
    app: A,
    answer: impl Fn(Arc<A>, lambda_http::Request) -> F,
) -> Result<(), lambda_http::Error>
where
    F: Future<Output = Response> + Send,
{
    log::init();
    let app = Arc::new(app);
    let answer = &answer;
    let mut adapter = Adapter::from(service_fn(move |event| {
        let response = answer(Arc::clone(&app), event);
        async move { Ok::<_, Infallible>(response.await) }
    }));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<LambdaRequest>| {
        adapter.call(LambdaEvent { payload: event::harmless(event.payload), ..event })
    }))
    .await
}

/// The gateway's name for the request, which its access log has too; without one, Lambda's.
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
