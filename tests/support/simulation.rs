//! An API over the failing model, on a clock that moves only when every task waits. The seed alone decides
//! what happens, and hours pass in milliseconds.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use serde_json::Value;
use tickets_app::{App, Config};
use tickets_cli::server::gateway::{Gateway, Payload};
use tickets_domain::{
    ApiKey, BearerToken, Clock, PresetLists, Presets, RateLimit, Scope, Settings, Timestamp,
};
use tickets_http::route::BASE_PATH;
use tickets_repository::{DynamoDb, Keys, schema};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::model::{Faults, Hold, Model, Mortal, Point};
use crate::{next_page, version};

/// Runs a future and its local tasks on a paused clock, with this thread's random numbers drawn from the
/// seed.
pub fn simulate<T>(seed: u64, run: impl Future<Output = T>) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(LocalSet::new().run_until(run))
}

/// A simulated API. Its instances answer one request at a time each, as Lambda's do; their clocks differ a
/// little, and they may die.
#[derive(Clone)]
pub struct Simulation {
    /// The model that it runs on.
    pub model: Model,
    /// The true time.
    pub clock: Clock,
    /// What instances that start from now on are configured with.
    pub settings: Settings,
    presets: Presets,
    key: String,
    idle: Rc<RefCell<Vec<Instance>>>,
}

/// An instance of a function. Here one instance serves every function: no function keeps state that others do
/// not.
struct Instance {
    mortal: Mortal,
    router: Router,
}

/// The most milliseconds by which clocks differ. AWS keeps its own far closer.
const SKEW: i64 = 150;

/// The result of a call.
#[derive(Debug)]
pub struct Reply {
    /// The status code; 0 if the instance died.
    pub status: u16,
    pub headers: HeaderMap,
    /// The body; null if it is empty.
    pub body: Value,
}

impl Reply {
    /// A header's value; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The version that the `ETag` names; 0 without one.
    pub fn version(&self) -> u64 {
        version(self.header("etag"))
    }

    /// The path of the next page; see [`next_page`].
    pub fn next(&self) -> Option<String> {
        next_page(&self.headers)
    }
}

impl Simulation {
    /// Starts an API with this settings, over a model without faults.
    pub async fn start(seed: u64, settings: Settings) -> Self {
        let model = Model::new(seed).await;
        // Just before the end of a month, so that a run crosses it.
        let epoch: Timestamp = "2026-11-30T23:59:30Z".parse().expect("a time");
        let start = Instant::now();
        let clock = Clock::new(move || epoch.plus(start.elapsed()));
        let token = BearerToken::generate().expect("randomness");
        let key = ApiKey::new(&token, Scope::ALL, clock.now());
        let keys = Keys::new(DynamoDb::new(&model.sdk_config()), schema::API_KEYS, clock.clone());
        keys.insert(&key).await.expect("a stored key");
        let presets = Presets::parse(&PresetLists::default()).expect("presets");
        Self { model, clock, settings, presets, key: token.reveal(), idle: Rc::default() }
    }

    /// The same API, whose instances that start from now on have these presets.
    pub fn with_presets(&self, lists: &PresetLists<'_>) -> Self {
        Self { presets: Presets::parse(lists).expect("presets"), ..self.clone() }
    }

    /// Deploys other presets: no instance with the former ones answers from now on.
    pub fn redeploy(&mut self, lists: &PresetLists<'_>) {
        *self = self.with_presets(lists);
        self.idle.borrow_mut().clear();
    }

    /// The same API for another caller, whose key has this limit or none.
    pub async fn other_caller(&self, limit: Option<RateLimit>) -> Self {
        self.caller(|key| key.limit = limit).await
    }

    /// The same API for a caller who may see only this customer's tickets.
    pub async fn caller_of(&self, customer: u64) -> Self {
        self.caller(|key| key.customer = Some(customer.try_into().expect("a customer"))).await
    }

    async fn caller(&self, edit: impl FnOnce(&mut ApiKey)) -> Self {
        let token = BearerToken::generate().expect("randomness");
        let mut key = ApiKey::new(&token, Scope::ALL, self.clock.now());
        edit(&mut key);
        let keys = Keys::new(DynamoDb::new(&self.model.sdk_config()), schema::API_KEYS, self.clock.clone());
        keys.insert(&key).await.expect("a stored key");
        Self { key: token.reveal(), ..self.clone() }
    }

    /// A clock that differs a little from the true time.
    pub fn skewed_clock(&self) -> Clock {
        let (skew, clock) = (fastrand::i64(-SKEW..=SKEW), self.clock.clone());
        Clock::new(move || {
            Timestamp::from_millis(clock.now().millis() + skew).expect("a time like the true one")
        })
    }

    fn instance(&self) -> Instance {
        let clock = self.skewed_clock();
        let mut config = Config::from_lookup(|_| None).expect("a configuration");
        config.settings = self.settings.clone();
        config.presets = self.presets.clone();
        let mortal = self.model.mortal();
        let app = Arc::new(App::open(config, &mortal.sdk_config(), clock));
        Instance { mortal, router: Gateway { app, payload: Payload::Rest }.into_router() }
    }

    /// Sends one request to an idle instance.
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
        let response = tokio::select! {
            // Polled in this order, so that a run can be repeated.
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

    /// Sends a request, and stops it at its first call of this operation that contains this text.
    pub async fn stop<T: 'static>(
        &self,
        point: Point,
        operation: &'static str,
        mentions: &'static str,
        request: impl Future<Output = T> + 'static,
    ) -> (Hold, JoinHandle<T>) {
        let hold = Hold::before(point);
        let (only, mentions) = (Some(operation), Some(mentions));
        self.model.set(Faults { hold: Some(hold.clone()), only, mentions, ..Faults::default() });
        let request = tokio::task::spawn_local(request);
        hold.reached().await;
        (hold, request)
    }

    /// Sends a GET, repeated while the API asks for a retry or does not answer.
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
