//! The API's client: pages of lists, tickets by id, creates that may be repeated. It waits and tries
//! again where the API asks for it, as a good citizen does.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderMap, LINK, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;
use tickets_domain::{BearerToken, Timestamp, Violation};
use tickets_http::list::SYNC_UNTIL;
use tickets_http::reply::IDEMPOTENCY_REPLAYED;
use tickets_http::route::BASE_PATH;

use crate::local::DATA;

/// Longer than the slowest answer: API Gateway gives up after 29 s.
const TIMEOUT: Duration = Duration::from_secs(35);
/// How often a request is tried before its failure is reported: half a minute of trouble passes.
const TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Which API, and with which key.
#[derive(Debug, Clone, Args)]
pub struct Api {
    /// Base of the API's paths; the local server's if not said
    #[arg(long, env = "TICKETS_API", value_name = "URL")]
    api: Option<String>,
    /// File with the key; the environment variable TICKETS_KEY is asked first
    #[arg(long, value_name = "FILE", default_value_os_t = PathBuf::from(DATA).join("dev-key"))]
    key_file: PathBuf,
    /// The key itself: not an argument, for every user of a machine sees those
    #[arg(long, env = "TICKETS_KEY", hide = true, hide_env_values = true)]
    key: Option<Secret>,
}

/// A key as it was given, valid or not; it shows nowhere.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why the API did not do it.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no key.
    #[error("no key: set TICKETS_KEY, or --key-file to a file with one ({path}: {reason})", path = path.display())]
    NoKey {
        /// The file that was looked at.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It did not answer.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// It refused.
    #[error("{status}: {detail}{}", listed(violations))]
    Refused {
        /// The status code.
        status: StatusCode,
        /// What it says.
        detail: String,
        /// The fields it names.
        violations: Vec<Violation>,
    },
    /// It is something else than this API.
    #[error("{url} does not answer like the Tickets API: {reason}")]
    Strange {
        /// What was asked for.
        url: String,
        /// What is strange.
        reason: String,
    },
}

fn listed(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  {}: {}", violation.field, violation.detail)).collect()
}

/// A record as it came, with what every reader needs of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id.
    pub id: u64,
    /// When it last changed.
    pub updated: Timestamp,
    /// Its JSON, on one line.
    pub json: Box<RawValue>,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// Its records, ascending by id.
    pub rows: Vec<Row>,
    /// Whether there are more.
    pub more: bool,
    /// Everything changed up to it is in this page and those after it.
    pub sync_until: Option<Timestamp>,
}

/// What came of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// There is a new ticket.
    New,
    /// It was there already.
    Replayed,
}

/// A client of one API.
#[derive(Clone)]
pub struct Client {
    base: String,
    key: String,
    http: reqwest::Client,
}

struct Answer {
    url: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Api {
    /// A client.
    ///
    /// # Errors
    /// Where there is no key.
    pub fn client(&self) -> Result<Client, ClientError> {
        let no_key = |reason: String| ClientError::NoKey { path: self.key_file.clone(), reason };
        let text = match &self.key {
            Some(Secret(key)) => key.clone(),
            None => fs::read_to_string(&self.key_file).map_err(|error| no_key(error.to_string()))?,
        };
        let token: BearerToken = text.trim().parse().map_err(|_| no_key("it holds no key".into()))?;
        let local = || format!("http://127.0.0.1:3000{BASE_PATH}");
        let base = self.api.clone().unwrap_or_else(local).trim_end_matches('/').to_owned();
        let http = http_client().timeout(TIMEOUT).build();
        let http =
            http.map_err(|error| ClientError::Unreachable { url: base.clone(), reason: reason(&error) })?;
        Ok(Client { base, key: token.reveal(), http })
    }
}

/// A builder of HTTP clients, with the TLS provider that everything here has.
pub fn http_client() -> reqwest::ClientBuilder {
    // An error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

impl Client {
    /// The base of the API's paths.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A page of the list at `path`, with these parameters.
    ///
    /// # Errors
    /// Where the API refuses or does not answer.
    pub async fn list(&self, path: &str, query: &[(&str, String)]) -> Result<Page, ClientError> {
        let pair = |(name, value): &(&str, String)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        };
        let query: Vec<_> = query.iter().map(pair).collect();
        let answer =
            self.send(Method::GET, &format!("{path}?{}", query.join("&")), None).await?.expect(200)?;
        let strange = |reason: String| ClientError::Strange { url: answer.url.clone(), reason };
        let records: Vec<Box<RawValue>> =
            serde_json::from_slice(&answer.body).map_err(|error| strange(error.to_string()))?;
        let rows: Result<Vec<_>, _> = records.into_iter().map(row).collect();
        let sync_until = answer.headers.get(SYNC_UNTIL).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Page { rows: rows.map_err(strange)?, more: answer.headers.contains_key(LINK), sync_until })
    }

    /// The JSON of a ticket.
    ///
    /// # Errors
    /// Where there is none, or the API refuses or does not answer.
    pub async fn get(&self, id: u64) -> Result<Box<RawValue>, ClientError> {
        let answer = self.send(Method::GET, &format!("/tickets/{id}"), None).await?.expect(200)?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| ClientError::Strange { url: answer.url, reason: error.to_string() })
    }

    /// Creates a ticket, once however often this is called with the same key.
    ///
    /// # Errors
    /// Where the API refuses or does not answer.
    pub async fn create(&self, body: &str, idempotency_key: &str) -> Result<Creation, ClientError> {
        let request = Some((body, idempotency_key));
        let answer = self.send(Method::POST, "/tickets/", request).await?.expect(201)?;
        let replayed = answer.headers.contains_key(IDEMPOTENCY_REPLAYED);
        Ok(if replayed { Creation::Replayed } else { Creation::New })
    }

    /// Sends a request until it is answered. Both kinds there are may be repeated.
    async fn send(
        &self,
        method: Method,
        path: &str,
        create: Option<(&str, &str)>,
    ) -> Result<Answer, ClientError> {
        let url = format!("{}{path}", self.base);
        let mut wait = FIRST_WAIT;
        for last in (1..=TRIES).map(|tried| tried == TRIES) {
            let mut request = self.http.request(method.clone(), &url).bearer_auth(&self.key);
            if let Some((body, idempotency_key)) = create {
                request = request
                    .header("Content-Type", "application/json")
                    .header("Idempotency-Key", idempotency_key)
                    .body(body.to_owned());
            }
            let mut asked = None;
            match answer(&url, request).await {
                Ok(answer) if last || !is_temporary(answer.status) => return Ok(answer),
                Ok(answer) => asked = retry_after(&answer.headers),
                Err(error) if last || error.is_builder() || error.is_connect() && wait > FIRST_WAIT * 4 => {
                    return Err(ClientError::Unreachable { url, reason: reason(&error) });
                }
                Err(_) => {}
            }
            tokio::time::sleep(asked.unwrap_or(wait).mul_f64(0.5 + fastrand::f64())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        // The last try returns.
        Err(ClientError::Unreachable { url, reason: "no answer".into() })
    }
}

async fn answer(url: &str, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { url: url.to_owned(), status, headers, body: response.bytes().await?.into() })
}

impl Answer {
    /// The answer, if it has this status.
    fn expect(self, status: u16) -> Result<Self, ClientError> {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
            #[serde(default)]
            errors: Vec<FieldError>,
        }
        #[derive(Deserialize)]
        struct FieldError {
            field: String,
            detail: String,
        }
        if self.status.as_u16() == status {
            return Ok(self);
        }
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => {
                let violation = |error: FieldError| Violation::new(error.field, error.detail);
                let violations = problem.errors.into_iter().map(violation).collect();
                Err(ClientError::Refused { status: self.status, detail: problem.detail, violations })
            }
            Err(_) => Err(ClientError::Strange { url: self.url, reason: format!("it says {}", self.status) }),
        }
    }
}

/// What every reader needs of a record.
pub(crate) fn row(json: Box<RawValue>) -> Result<Row, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Known<'a> {
        id: &'a str,
        updated_date: &'a str,
    }
    let known: Known<'_> = serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
    let id = known.id.parse().map_err(|_| format!("the id {}", known.id))?;
    let updated = known.updated_date.parse().map_err(|_| format!("the time {}", known.updated_date))?;
    Ok(Row { id, updated, json })
}

fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 409 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// An error with its causes: `reqwest` alone says only what it was doing.
fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}
