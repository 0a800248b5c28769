//! What the tests share: above all [`Api`], an API on the embedded engine with an HTTP client for it.

pub mod clients;
pub mod events;
pub mod files;
pub mod model;
pub mod operation;
pub mod simulation;
pub mod stream;
pub mod webhooks;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_types::SdkConfig;
use reqwest::Method;
use reqwest::header::{HeaderMap, LINK};
use serde_json::Value;
use tickets_app::{App, Config};
use tickets_cli::server::gateway::{Gateway, Payload};
use tickets_cli::server::http;
use tickets_cli::server::local::{Local, any_port};
use tickets_cli::server::stream::Feed;
use tickets_domain::id::CustomerId;
use tickets_domain::{ApiKey, BearerToken, Clock, Scope, Tag, Timestamp};
use tickets_http::route::BASE_PATH;
use tickets_repository::http_client::local_config;
use tickets_repository::{DynamoDb, Keys, Tickets, schema};

/// The options of an [`Api`].
#[derive(Debug, Default)]
pub struct Options {
    /// The format of the events that its functions get.
    pub payload: Payload,
    /// The environment variables of its configuration.
    pub environment: Vec<(&'static str, String)>,
    /// Its clock, if not the system clock.
    pub clock: Option<Clock>,
    /// The most index entries that one list reads, if not the default.
    pub most_keys: Option<usize>,
    /// What a page of a work queue may spend on what is not in it, if not the default.
    pub most_vain_units: Option<f64>,
    /// Whether changes are not recorded, where only the API itself counts.
    pub without_history: bool,
}

/// A running API, with an HTTP client and a direct connection to its database.
#[derive(Debug)]
pub struct Api {
    /// The base URL, such as `http://127.0.0.1:3000/backend/api/v1`.
    pub base: String,
    /// A key with every scope.
    pub key: String,
    /// The state of its functions; `None` if they run elsewhere.
    pub app: Option<Arc<App>>,
    /// The SDK's configuration for its database.
    pub database: SdkConfig,
    /// The names of its tables for tickets and keys.
    pub tables: (String, String),
    http: reqwest::Client,
    local: Option<(Local, Option<Feed>)>,
}

/// A response that was read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body, as text.
    pub text: String,
}

impl Answer {
    /// A header's value; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }

    /// The version in its `ETag`; 0 without one.
    pub fn version(&self) -> u64 {
        version(self.header("etag"))
    }

    /// The body as JSON; null if it is empty.
    pub fn json(&self) -> Value {
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).expect(&self.text) }
    }

    /// The ids of a list, as numbers.
    pub fn ids(&self) -> Vec<u64> {
        let list = self.json();
        let ids = list.as_array().unwrap_or_else(|| panic!("a list, not {list}")).iter();
        ids.map(|ticket| ticket["id"].as_str().expect("an id").parse().expect("digits")).collect()
    }

    /// The path of the next page; see [`next_page`].
    pub fn next(&self) -> Option<String> {
        next_page(&self.headers)
    }

    /// The fields that a problem names, sorted.
    pub fn fields(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        let mut fields: Vec<_> =
            errors.iter().map(|error| error["field"].as_str().expect("a field").to_owned()).collect();
        fields.sort();
        fields
    }
}

impl Api {
    /// The APIs to test: one for each event format, each with its own database. If `TICKETS_API` is set, only
    /// the running API there, with the database at `AWS_ENDPOINT_URL_DYNAMODB`; other tests use it at the
    /// same time.
    pub async fn each() -> Vec<Self> {
        #[expect(clippy::disallowed_methods, reason = "configuration of the tests")]
        let (base, database) = (std::env::var("TICKETS_API"), std::env::var("AWS_ENDPOINT_URL_DYNAMODB"));
        match (base, database) {
            (Ok(base), Ok(database)) => {
                // A deployment has its own table names, and needs credentials.
                let config = Config::from_env().expect("a configuration");
                let database = config.sdk_config(Some(&database)).expect("credentials");
                let tables = (config.tickets_table, config.api_keys_table);
                vec![Self::at(base, database, tables, None, None).await]
            }
            _ => {
                let [rest, http] = [Payload::Rest, Payload::Http]
                    .map(|payload| Self::start_with(Options { payload, ..Options::default() }));
                vec![rest.await, http.await]
            }
        }
    }

    /// Starts an API in this process with its own tables: in the embedded engine, or in the one at
    /// `TEST_DYNAMODB`.
    pub async fn start_with(options: Options) -> Self {
        let (database, local) = match other_engine() {
            Some(url) => (local_config(url), None),
            None => {
                let local = Local::in_memory(any_port()).await.expect("a database");
                let feed = match options.without_history {
                    true => None,
                    false => local.feed().await.expect("a stream"),
                };
                (local.sdk_config(), Some((local, feed)))
            }
        };
        let mut config = Config::from_lookup(|name| {
            options.environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        })
        .expect("a configuration");
        let settings = &mut config.settings;
        settings.most_keys = options.most_keys.unwrap_or(settings.most_keys);
        settings.most_vain_units = options.most_vain_units.unwrap_or(settings.most_vain_units);
        if local.is_none() {
            // Other tests use the same engine.
            let suffix = format!("{}-{}", std::process::id(), fresh_customer());
            config.tickets_table = format!("Tickets-{suffix}");
            config.api_keys_table = format!("ApiKeys-{suffix}");
            config.history_table = format!("History-{suffix}");
            let dynamodb = DynamoDb::new(&database);
            schema::create_tables(&dynamodb, &config.tickets_table, &config.api_keys_table)
                .await
                .expect("tables");
            schema::create_history_table(&dynamodb, &config.history_table).await.expect("a table");
        }
        let tables = (config.tickets_table.clone(), config.api_keys_table.clone());
        let app = Arc::new(App::open(config, &database, options.clock.unwrap_or_else(Clock::system)));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let base = format!("http://{}{BASE_PATH}", listener.local_addr().expect("an address"));
        let router = Gateway { app: Arc::clone(&app), payload: options.payload }.into_router();
        tokio::spawn(http::serve(listener, router, std::future::pending()));
        Self::at(base, database, tables, Some(app), local).await
    }

    async fn at(
        base: String,
        database: SdkConfig,
        tables: (String, String),
        app: Option<Arc<App>>,
        local: Option<(Local, Option<Feed>)>,
    ) -> Self {
        let http =
            tickets_cli::client::http_client().timeout(Duration::from_secs(120)).build().expect("a client");
        let mut api = Self { base, key: String::new(), app, database, tables, http, local };
        api.key = api.make_key(|_| {}).await;
        api
    }

    /// A new key with every scope, changed by `edit` before it is stored.
    pub async fn make_key(&self, edit: impl FnOnce(&mut ApiKey)) -> String {
        let clock = Clock::system();
        let token = BearerToken::generate().expect("randomness");
        let mut key = ApiKey::new(&token, Scope::ALL, clock.now());
        edit(&mut key);
        let dynamodb = DynamoDb::new(&self.database);
        Keys::new(dynamodb, &self.tables.1, clock).insert(&key).await.expect("a stored key");
        token.reveal()
    }

    /// The tickets' table, accessed directly.
    pub async fn tickets(&self) -> Tickets {
        let dynamodb = DynamoDb::new(&self.database);
        Tickets::new(dynamodb, &self.tables.0, Clock::system(), Default::default())
    }

    /// A request to `path` below the base URL, with the key.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.key)
    }

    /// A request to `path` below the base URL, without a key.
    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// Posts a ticket.
    pub async fn post(&self, body: &Value) -> Answer {
        answer(self.request(Method::POST, "/tickets/").json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.request(Method::DELETE, path)).await
    }

    /// Creates a ticket and returns its id.
    pub async fn create(&self, body: &Value) -> u64 {
        let answer = self.post(body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").parse().expect("digits")
    }

    /// Whether changes are recorded. Another engine has no stream that feeds the function.
    pub fn records_changes(&self) -> bool {
        self.local.is_some() || other_engine().is_none()
    }

    /// A ticket's history, once it has this many entries.
    pub async fn history(&self, id: u64, entries: usize) -> Vec<Value> {
        for _ in 0..200 {
            let answer = self.get(&format!("/tickets/{id}/history/")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let history = answer.json().as_array().expect("a list").clone();
            if history.len() >= entries {
                assert_eq!(history.len(), entries, "{history:?}");
                return history;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the history of ticket {id} does not come to {entries} entries");
    }

    /// All pages of a list, from `path` on along the `Link`s.
    pub async fn pages(&self, path: &str) -> Vec<Answer> {
        let mut pages = vec![self.get(path).await];
        while let Some(next) = pages.last().and_then(Answer::next) {
            assert!(pages.len() < 10_000, "the links of {path} do not end");
            pages.push(self.get(&next).await);
        }
        pages
    }
}

/// The path and query of the next page in a `Link`, below the API's base URL.
pub fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().expect("a header of text");
    let reference = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
    let path = reference.and_then(|reference| reference.strip_prefix(BASE_PATH));
    Some(path.unwrap_or_else(|| panic!("an absolute path, not {link}")).to_owned())
}

/// The version in an entity tag of this API; 0 if the text is none.
pub fn version(tag: &str) -> u64 {
    let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    tag.and_then(|tag| tag.parse::<Tag>().ok()).map_or(0, |tag| tag.version().get())
}

/// Sends a request and reads the response.
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("a response");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("a body of text") }
}

/// The URL of another engine to run the tests on, if set.
fn other_engine() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "configuration of the tests")]
    std::env::var("TEST_DYNAMODB").ok()
}

/// Whether the engine counts units as DynamoDB does.
pub fn counts_units() -> bool {
    other_engine().is_none()
}

/// A customer that no other test uses.
pub fn fresh_customer() -> CustomerId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Tests of several processes may share one API: the time makes their customers different.
    let start = NEXT.fetch_add(1, Ordering::Relaxed) + Clock::system().now().millis().unsigned_abs() * 100;
    CustomerId::try_from(start).expect("in range")
}

pub fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}
