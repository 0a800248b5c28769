//! What a function runs with.
//!
//! - [`config`]: the configuration, which is read only there;
//! - `aws`: the SDK's configuration, made of it;
//! - [`App`]: the clients built from both, and what answers a request.

use aws_types::SdkConfig;
use tickets_domain::{Clock, Presets};
use tickets_http::cors::Origins;
use tickets_http::log::Log;
use tickets_http::{Caller, Problem, Request, Response, Route, Service};
use tickets_repository::http_client::is_secure;
use tickets_repository::{DynamoDb, History, Keys, Tickets};

mod aws;
pub mod config;

pub use config::{Config, Exports, InvalidConfig};

/// What every handler works with.
#[derive(Debug)]
pub struct App {
    pub tickets: Tickets,
    /// The history of tickets.
    pub history: History,
    /// The allowed values of preset fields.
    pub presets: Presets,
    /// The keys, for the guard.
    pub keys: Keys,
    /// The origins whose pages may read responses, for the guard.
    pub cors_origins: Origins,
    /// Whether the API's description is shown as a page.
    pub serve_docs: bool,
    pub clock: Clock,
    /// Where requests are logged.
    pub log: Log,
}

impl App {
    /// The app of a deployed function, built once, from the environment. It connects to DynamoDB before the first
    /// request, while Lambda still gives a starting function whole processors (docs/performance.md has what that
    /// saves). Without TLS there is nothing to save.
    pub async fn from_env() -> Result<Self, InvalidConfig> {
        let config = Config::from_env()?;
        let sdk_config = config.sdk_config(config.endpoint_url.as_deref())?;
        let log = Log::to_cloud_watch(config.log.clone());
        let app = Self { log, ..Self::open(config, &sdk_config, Clock::system()) };
        if is_secure(sdk_config.endpoint_url()) {
            app.keys.warm_up().await;
        }
        Ok(app)
    }

    /// The app with this configuration, database and clock. It logs nothing.
    pub fn open(config: Config, sdk_config: &SdkConfig, clock: Clock) -> Self {
        let dynamodb = DynamoDb::new(sdk_config);
        Self {
            history: History::new(
                dynamodb.clone(),
                config.history_table,
                clock.clone(),
                config.settings.clone(),
            ),
            tickets: Tickets::new(dynamodb.clone(), config.tickets_table, clock.clone(), config.settings),
            presets: config.presets,
            keys: Keys::new(dynamodb, config.api_keys_table, clock.clone()),
            cors_origins: config.cors_origins,
            serve_docs: config.serve_docs,
            clock,
            log: Log::silent(),
        }
    }

    /// Answers a request: checks its key, then calls the handler.
    pub async fn respond(
        &self,
        route: &Route,
        event: lambda_http::Request,
        handler: impl AsyncFnOnce(&Self, Caller, Request) -> Result<Response, Problem>,
    ) -> Response {
        self.service(route).respond(event, |caller, request| handler(self, caller, request)).await
    }

    /// The service that answers a route's requests.
    pub fn service<'a>(&'a self, route: &'a Route) -> Service<'a, Keys> {
        Service::new(route, &self.keys, &self.cors_origins, &self.clock, &self.log)
    }
}
