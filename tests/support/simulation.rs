//! An API over a misbehaving engine, on a clock that only moves when everybody waits: what happens
//! follows from the seed alone, and hours pass in milliseconds.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use serde_json::Value;
use tickets_app::{App, Config};
use tickets_cli::gateway::{Gateway, Payload};
use tickets_domain::{ApiKey, BearerToken, Clock, RateLimit, Scope, Timestamp};
use tickets_http::route::BASE_PATH;
use tickets_repository::{Keys, Policy, schema};
use tokio::task::LocalSet;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::model::{Model, Mortal};
use crate::next_page;

/// Runs a future, and what it spawns locally, on a paused clock, with every draw of this thread from the
/// seed.
pub fn simulate<T>(seed: u64, run: impl Future<Output = T>) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(LocalSet::new().run_until(run))
}

/// The API: instances that answer one request at a time each, as Lambda's do, have clocks that differ a
/// little, and may die.
#[derive(Clone)]
pub struct Simulation {
    /// The model under it.
    pub model: Model,
    /// The true time.
    pub clock: Clock,
    policy: Policy,
    key: String,
    idle: Rc<RefCell<Vec<Instance>>>,
}

/// A function's instance. One instance serves every function here: none keeps anything that others do not.
struct Instance {
    mortal: Mortal,
    clock: Clock,
    router: Router,
}

/// Clocks differ by so many milliseconds at most: AWS keeps its own far closer.
const SKEW: i64 = 150;

/// What a call came to.
#[derive(Debug)]
pub struct Reply {
    /// The status code; 0 where the instance died.
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

    /// The next page, as [`next_page`] reads the `Link`.
    pub fn next(&self) -> Option<String> {
        next_page(&self.headers)
    }
}

impl Simulation {
    /// An API of this policy, over a model that behaves so far.
    pub async fn start(seed: u64, policy: Policy) -> Self {
        let model = Model::new(seed).await;
        // Just before a month's end: a run goes over it.
        let epoch: Timestamp = "2026-11-30T23:59:30Z".parse().expect("a time");
        let start = Instant::now();
        let clock = Clock::new(move || epoch.plus(start.elapsed()));
        let token = BearerToken::generate().expect("randomness");
        let key = ApiKey::new(&token, Scope::ALL, clock.now());
        let keys = Keys::new(model.connection().open(), schema::API_KEYS, clock.clone());
        keys.insert(&key).await.expect("a stored key");
        Self { model, clock, policy, key: token.reveal(), idle: Rc::default() }
    }

    /// The same API as another caller sees it, whose key has this limit, or none.
    pub async fn other_caller(&self, limit: Option<RateLimit>) -> Self {
        let token = BearerToken::generate().expect("randomness");
        let key = ApiKey { limit, ..ApiKey::new(&token, Scope::ALL, self.clock.now()) };
        let keys = Keys::new(self.model.connection().open(), schema::API_KEYS, self.clock.clone());
        keys.insert(&key).await.expect("a stored key");
        Self { key: token.reveal(), ..self.clone() }
    }

    fn instance(&self) -> Instance {
        let (skew, clock) = (fastrand::i64(-SKEW..=SKEW), self.clock.clone());
        let clock = Clock::new(move || {
            Timestamp::from_millis(clock.now().millis() + skew).expect("a time like the true one")
        });
        let mut config = Config::from_lookup(|_| None).expect("a configuration");
        config.policy = self.policy.clone();
        let mortal = self.model.mortal();
        let app = Arc::new(App::open(config, mortal.connection(), clock.clone()));
        Instance { mortal, clock, router: Gateway { app, payload: Payload::Rest }.into_router() }
    }

    /// One call, answered by an instance that has nothing else to do.
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
        let idle = self.idle.borrow_mut().pop();
        let instance = idle.unwrap_or_else(|| self.instance());
        instance.mortal.begin(instance.clock.now());
        let response = tokio::select! {
            // In this order, so that a run can be repeated.
            biased;
            Ok(response) = instance.router.clone().oneshot(request) => response,
            () = instance.mortal.death() => {
                return Reply { status: 0, headers: HeaderMap::new(), body: Value::Null };
            }
        };
        self.idle.borrow_mut().push(instance);
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Reply { status, headers, body }
    }

    /// `GET`, repeated while the API asks for it or does not answer.
    pub async fn get(&self, path: &str) -> Reply {
        loop {
            let reply = self.call("GET", path, &[], None).await;
            if !matches!(reply.status, 0 | 503) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
