//! What a function runs with.
//!
//! - [`config`]: the configuration, which is read only there;
//! - `aws`: the SDK's configuration, made of it;
//! - [`App`]: the clients built from both, and what answers a request.

use aws_types::SdkConfig;
use thiserror::Error;
use tickets_domain::{Clock, Presets};
use tickets_http::cors::Origins;
use tickets_http::log::Log;
use tickets_http::{Caller, Problem, Request, Response, Route, Service};
use tickets_repository::deployment::FormatError;
use tickets_repository::http_client::is_secure;
use tickets_repository::{DynamoDb, History, Keys, Tickets};

mod aws;
pub mod config;

pub use config::{Config, Exports, InvalidConfig};

/// Why a function does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// Newer stored data than this program knows.
    #[error(transparent)]
    Format(#[from] FormatError),
}

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
    /// The app of a deployed function, built once, from the environment. Its one call connects to DynamoDB before the
    /// first request, while Lambda still gives a starting function whole processors (docs/performance.md has what that
    /// saves). Without TLS there is nothing to save, and who serves a local database has looked at its format.
    ///
    /// # Errors
    /// [`StartError`] if the configuration is invalid, or the stored data are newer than this program.
    pub async fn from_env() -> Result<Self, StartError> {
        let (app, is_remote) = Self::configured()?;
        if is_remote {
            app.tickets.check_format_at_start().await?;
        }
        Ok(app)
    }

    /// The same for a function that reads no ticket, and may not: it connects by asking for a key.
    pub async fn from_env_without_tickets() -> Result<Self, StartError> {
        let (app, is_remote) = Self::configured()?;
        if is_remote {
            app.keys.warm_up().await;
        }
        Ok(app)
    }

    /// The app, and whether its database is reached over TLS.
    fn configured() -> Result<(Self, bool), InvalidConfig> {
        let config = Config::from_env()?;
        let sdk_config = config.sdk_config(config.endpoint_url.as_deref())?;
        let log = Log::to_cloud_watch(config.log.clone());
        let app = Self { log, ..Self::open(config, &sdk_config, Clock::system()) };
        Ok((app, is_secure(sdk_config.endpoint_url())))
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
