//! An API over a misbehaving engine, on a clock that only moves when everybody waits: what happens
//! follows from the seed alone, and hours pass in milliseconds.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use serde_json::Value;
use tickets_app::{App, Config};
use tickets_cli::gateway::{Gateway, Payload};
use tickets_domain::{ApiKey, BearerToken, Clock, Scope, Timestamp};
use tickets_http::route::BASE_PATH;
use tickets_repository::{Keys, Policy, schema};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::faults::Engine;

/// Runs a future on a paused clock, with every draw of this thread from the seed.
pub fn simulate<T>(seed: u64, run: impl Future<Output = T>) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(run)
}

/// The API.
#[derive(Clone)]
pub struct Simulation {
    /// The engine under it.
    pub engine: Engine,
    /// Its clock.
    pub clock: Clock,
    router: Router,
    key: String,
}

/// What a call came to.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null where there is none.
    pub body: Value,
}

impl Reply {
    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The query of the next page.
    pub fn next(&self) -> Option<String> {
        let link = self.header("link").strip_prefix("<?")?.strip_suffix(">; rel=\"next\"")?;
        Some(link.to_owned())
    }
}

impl Simulation {
    /// An API of this policy, over an engine that behaves so far.
    pub async fn start(seed: u64, policy: Policy) -> Self {
        let engine = Engine::new(seed).await;
        // Just before a month's end: a run goes over it.
        let epoch: Timestamp = "2026-11-30T23:59:30Z".parse().expect("a time");
        let start = Instant::now();
        let clock = Clock::new(move || epoch.plus(start.elapsed()));
        let mut config = Config::from_lookup(|_| None).expect("a configuration");
        config.policy = policy;
        let app = Arc::new(App::open(config, engine.connection(), clock.clone()));
        let token = BearerToken::generate().expect("randomness");
        let key = ApiKey::new(&token, Scope::ALL, clock.now());
        let keys = Keys::new(engine.connection().open(), schema::API_KEYS, clock.clone());
        keys.insert(&key).await.expect("a stored key");
        let router = Gateway { app, payload: Payload::Rest }.into_router();
        Self { engine, clock, router, key: token.reveal() }
    }

    /// One call.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{BASE_PATH}{path}"));
        request = request
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).expect("a request");
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Reply { status, headers, body }
    }

    /// `GET`, repeated while the API asks for it.
    pub async fn get(&self, path: &str) -> Reply {
        loop {
            let reply = self.call("GET", path, &[], None).await;
            if !matches!(reply.status, 500 | 503) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
