//! An HTTP client of the API: pages of lists, tickets by id, and writes that may be repeated. It waits and
//! retries as the API asks.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, IF_MATCH, LINK, LOCATION};
use reqwest::{Method, StatusCode, redirect};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tickets_domain::count::TicketCounts;
use tickets_domain::json::{self, Json};
use tickets_domain::{
    BearerToken, Error as ApiError, ListEnd, PresetLists, Presets, Scope, Tag, TicketId, Timestamp, Violation,
};
use tickets_http::etag;
use tickets_http::headers::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, SYNC_UNTIL};
use tickets_http::list::Parameter;
use tickets_repository::http_client::{is_on_this_machine, use_ring};

use super::connect::BaseUrl;
use super::error::{ClientError, is_temporary};
use super::patience::{Patience, Waits, retry_after};
use crate::output::note;

/// Longer than the slowest answer: API Gateway gives up after 29 s.
const TIMEOUT: Duration = Duration::from_secs(35);
/// People are told of a longer wait, so that it does not look like a standstill.
const NOTED_WAIT: Duration = Duration::from_secs(5);

/// A record as received, with the fields that every reader needs.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: u64,
    /// `updatedDate`.
    pub updated: Timestamp,
    /// The record's JSON, on one line.
    pub json: Box<RawValue>,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Whether more records follow.
    pub end: ListEnd,
    /// This page and those after it contain every change up to this time.
    pub sync_until: Option<Timestamp>,
}

/// One page of the feed of events.
#[derive(Debug)]
pub struct EventPage {
    pub events: Vec<Box<RawValue>>,
    /// The parameter with which the next page begins, and its value; `None` if there is no next page yet.
    pub next: Option<(String, String)>,
    /// This page and those after it contain every event recorded up to this time.
    pub sync_until: Option<Timestamp>,
}

/// A ticket as the API returned it.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The ticket's JSON, on one line.
    pub json: Box<RawValue>,
    /// The tag in its `ETag`.
    pub tag: Option<Tag>,
}

/// Whether a create made a new ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    New,
    /// An earlier request with the same idempotency key had made it.
    Replayed,
}

/// A client of one API.
#[derive(Clone)]
pub struct Client {
    base: BaseUrl,
    key: String,
    http: reqwest::Client,
    patience: Patience,
}

pub(super) struct Answer {
    pub(super) url: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether an earlier attempt, whose outcome is unknown, may have taken effect.
    pub(super) after_unknown: bool,
}

/// A builder of HTTP clients that use the `ring` TLS provider.
pub fn http_client() -> reqwest::ClientBuilder {
    use_ring();
    reqwest::Client::builder()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

impl Client {
    /// A client of the API at `base`.
    pub fn new(base: BaseUrl, key: &BearerToken, patience: Patience) -> Result<Self, ClientError> {
        // A redirect would send a body to a host that nobody has chosen.
        let mut builder = http_client().timeout(TIMEOUT).redirect(redirect::Policy::none());
        if is_on_this_machine(base.as_str()) {
            // A proxy would see the local key, and look for the server on its own machine.
            builder = builder.no_proxy();
        }
        match builder.build() {
            Ok(http) => Ok(Self { base, key: key.reveal(), http, patience }),
            Err(error) => Err(ClientError::Unreachable { url: base.to_string(), reason: reason(&error) }),
        }
    }

    /// The base of the API's paths.
    pub fn base(&self) -> &str {
        self.base.as_str()
    }

    /// One page of the list at `path`.
    pub async fn list(&self, path: &str, query: &[(&str, String)]) -> Result<Page, ClientError> {
        let answer = self.send(Method::GET, &with_query(path, query), None, &[]).await?.expect(200)?;
        let strange = |reason: String| ClientError::Strange { url: answer.url.clone(), reason };
        let records: Vec<Box<RawValue>> =
            serde_json::from_slice(&answer.body).map_err(|error| strange(error.to_string()))?;
        let rows: Result<Vec<_>, _> = records.into_iter().map(row).collect();
        let sync_until = answer.sync_until();
        let end = match answer.headers.get(LINK) {
            Some(link) => next_page(link.to_str().unwrap_or_default())
                .ok_or_else(|| strange("its Link says not where to go on".into()))?,
            None => ListEnd::Complete,
        };
        Ok(Page { rows: rows.map_err(strange)?, end, sync_until })
    }

    /// A ticket by its id.
    pub async fn get(&self, id: TicketId) -> Result<Answered, ClientError> {
        self.send(Method::GET, &format!("/tickets/{id}"), None, &[]).await?.expect(200)?.ticket()
    }

    /// A page of a ticket's history: the entries after `version_after`, and whether more follow.
    pub async fn history(
        &self,
        id: TicketId,
        version_after: u64,
        limit: Option<u64>,
    ) -> Result<(Vec<Box<RawValue>>, bool), ClientError> {
        let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        let path = format!("/tickets/{id}/history/?versionAfter={version_after}{limit}");
        let answer = self.send(Method::GET, &path, None, &[]).await?.expect(200)?;
        Ok((answer.json()?, answer.headers.contains_key(LINK)))
    }

    /// A page of the feed of events.
    pub async fn events(&self, query: &[(&str, String)]) -> Result<EventPage, ClientError> {
        let answer = self.send(Method::GET, &with_query("/events/", query), None, &[]).await?.expect(200)?;
        let nowhere = || ClientError::Strange {
            url: answer.url.clone(),
            reason: "its Link says not where to go on".into(),
        };
        // The place where the next page begins comes last.
        let place = |link: &str| {
            let (name, value) = link.split('>').next()?.rsplit(['?', '&']).next()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let next = answer.headers.get(LINK).map(|link| place(link.to_str().unwrap_or_default()));
        let next = next.map(|place| place.ok_or_else(nowhere)).transpose()?;
        Ok(EventPage { events: answer.json()?, next, sync_until: answer.sync_until() })
    }

    /// How many tickets there are, and that as the API gave it.
    pub async fn counts(
        &self,
        query: &[(&str, String)],
    ) -> Result<(Box<RawValue>, TicketCounts), ClientError> {
        let path = with_query("/ticket-counts/", query);
        let answer = self.send(Method::GET, &path, None, &[]).await?.expect(200)?;
        Ok((answer.json()?, answer.json()?))
    }

    /// The API's configuration: the values of the preset fields, and every limit.
    pub async fn configuration(&self) -> Result<Value, ClientError> {
        let answer = self.send(Method::GET, "/ticket-configuration/", None, &[]).await?.expect(200)?;
        answer.json().map(|Json(configuration)| configuration)
    }

    /// The values that preset fields may have.
    pub async fn presets(&self) -> Result<Presets, ClientError> {
        let answer = self.send(Method::GET, "/ticket-configuration/", None, &[]).await?.expect(200)?;
        let Configuration { presets, closed_statuses } = answer.json()?;
        let strange = |reason: String| ClientError::Strange { url: answer.url.clone(), reason };
        let lists = PresetLists {
            types: &presets.ticket_type.join(","),
            statuses: &presets.status.join(","),
            closed: &closed_statuses.join(","),
            priorities: &presets.ticket_priority.join(","),
            owners: &presets.owner.join(","),
        };
        Presets::parse(&lists).map_err(|(field, error)| strange(format!("{field} {error}")))
    }

    /// Creates a ticket. Repeating the call with the same key creates no second one.
    pub async fn create(
        &self,
        body: &str,
        idempotency_key: &str,
    ) -> Result<(Answered, Creation), ClientError> {
        let headers = [(IDEMPOTENCY_KEY, idempotency_key.to_owned())];
        let answer = self.send(Method::POST, "/tickets/", Some(body), &headers).await?.expect(201)?;
        let replayed = answer.headers.contains_key(IDEMPOTENCY_REPLAYED);
        Ok((answer.ticket()?, if replayed { Creation::Replayed } else { Creation::New }))
    }

    /// Changes the given fields, whatever others have changed meanwhile. With `if_match`, only if the ticket
    /// is still at that version.
    pub async fn update(
        &self,
        id: TicketId,
        body: &str,
        if_match: Option<Tag>,
    ) -> Result<Answered, ClientError> {
        let headers = if_match_header(if_match);
        let answer = self.send(Method::PATCH, &format!("/tickets/{id}"), Some(body), &headers).await?;
        answer.decided()?.expect(200)?.ticket()
    }

    /// Deletes a ticket. With `if_match`, only if it is still at that version.
    pub async fn delete(&self, id: TicketId, if_match: Option<Tag>) -> Result<(), ClientError> {
        let headers = if_match_header(if_match);
        let answer = self.send(Method::DELETE, &format!("/tickets/{id}"), None, &headers).await?;
        // An earlier attempt, whose answer was lost, has deleted it.
        if answer.after_unknown && answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        answer.decided()?.expect(204).map(drop)
    }

    /// The scopes of the key. No endpoint tells them, but every function checks the key before the request.
    /// So this sends requests that have no effect and read no table: one that the key may make is refused for
    /// its content.
    ///
    /// # Errors
    /// If the API does not know the key, or does not answer.
    pub async fn scopes(&self) -> Result<BTreeSet<Scope>, ClientError> {
        // There is no ticket 0, and a ticket needs a subject.
        let harmless = [
            (Scope::Read, Method::GET, "/tickets/0", None),
            (Scope::Write, Method::POST, "/tickets/", Some("{}")),
            (Scope::Delete, Method::DELETE, "/tickets/0", None),
        ];
        let mut scopes = BTreeSet::new();
        for (scope, method, path, body) in harmless {
            let answer = self.send(method, path, body, &[]).await?;
            match answer.status.as_u16() {
                400 | 422 => drop(scopes.insert(scope)),
                403 => {}
                _ => return Err(answer.refused()),
            }
        }
        Ok(scopes)
    }

    pub(super) fn waits(&self) -> Waits {
        self.patience.waits()
    }

    /// Sends a request until it is answered. Every request of this client may be repeated.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
        headers: &[(HeaderName, String)],
    ) -> Result<Answer, ClientError> {
        let url = format!("{}{path}", self.base);
        let mut waits = self.patience.waits();
        let mut after_unknown = false;
        loop {
            let mut request = self.http.request(method.clone(), &url).bearer_auth(&self.key);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(body) = body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
            }
            let wait = match answer(&url, request).await {
                Ok(answer) => {
                    let asked = retry_after(&answer.headers);
                    let repeated = is_temporary(answer.status).then(|| waits.after(answer.status, asked));
                    let Some(wait) = repeated.flatten() else {
                        return Ok(Answer { after_unknown, ..answer });
                    };
                    after_unknown |= answer.may_have_taken_effect();
                    if asked > Some(NOTED_WAIT) {
                        let seconds = wait.as_secs_f64().ceil();
                        note(format!("waiting {seconds} s, as the API asks: {}", answer.status));
                    }
                    wait
                }
                Err(error) => {
                    let is_unsent = error.is_builder() || error.is_connect();
                    after_unknown |= !is_unsent;
                    let wait = if error.is_connect() {
                        waits.after_refused_connection()
                    } else {
                        waits.after_failure().filter(|_| !error.is_builder())
                    };
                    let unreachable =
                        || ClientError::Unreachable { url: url.clone(), reason: reason(&error) };
                    wait.ok_or_else(unreachable)?
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}

/// A path with a query. Names are encoded too: an agent may make them up.
fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pair = |(name, value): &(&str, String)| format!("{}={}", encoded(name), encoded(value));
    format!("{path}?{}", query.iter().map(pair).collect::<Vec<_>>().join("&"))
}

fn if_match_header(tag: Option<Tag>) -> Vec<(HeaderName, String)> {
    tag.map(|tag| (IF_MATCH, etag::text(tag))).into_iter().collect()
}

/// What a `Link` header says about the pages after this one.
fn next_page(link: &str) -> Option<ListEnd> {
    let value = |parameter: Parameter| {
        let mut parameters = link.split(['?', '&', '>']).filter_map(|pair| pair.split_once('='));
        parameters.find(|(name, _)| *name == parameter.name()).map(|(_, value)| value)
    };
    let found = value(Parameter::Continuation).and_then(|text| text.parse().ok());
    let after = value(Parameter::IdAfter)?.parse().ok()?;
    Some(ListEnd::More { after, found: found.unwrap_or_default() })
}

async fn answer(url: &str, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await?.into();
    Ok(Answer { url: url.to_owned(), status, headers, body, after_unknown: false })
}

impl Answer {
    /// The answer, or its problem if it has another status.
    pub(super) fn expect(self, status: u16) -> Result<Self, ClientError> {
        if self.status.as_u16() == status { Ok(self) } else { Err(self.refused()) }
    }

    /// Whether the request may have taken effect although this answer is an error.
    fn may_have_taken_effect(&self) -> bool {
        match self.status.as_u16() {
            500 | 502 | 504 => true,
            // Every other 503 says that nothing was written.
            503 => String::from_utf8_lossy(&self.body).contains("problem:undecided"),
            _ => false,
        }
    }

    /// The answer; an error if it is a 412 that an earlier attempt of the same request may have caused.
    fn decided(self) -> Result<Self, ClientError> {
        let doubtful = self.after_unknown && self.status == StatusCode::PRECONDITION_FAILED;
        if doubtful { Err(ClientError::Undecided) } else { Ok(self) }
    }

    /// The answer's problem, as an error.
    fn refused(self) -> ClientError {
        let Self { url, status, .. } = &self;
        let problem = json::value(&self.body).and_then(|problem| refusal(*status, &problem));
        match problem {
            Ok(ClientError::Refused { status, mut detail, violations }) => {
                if let Some(wait) = retry_after(&self.headers) {
                    detail.push_str(&format!(" (Retry-After: {} s)", wait.as_secs()));
                }
                if status == StatusCode::NOT_FOUND && detail != ApiError::NotFound.to_string() {
                    detail.push_str(&format!(": {url}"));
                }
                ClientError::Refused { status, detail, violations }
            }
            // What stands before the API says that the API did not answer.
            _ if is_temporary(*status) => {
                ClientError::Unreachable { url: url.clone(), reason: format!("it says {status}") }
            }
            _ => {
                let to = self.headers.get(LOCATION).filter(|_| status.is_redirection());
                let to = to.map(|to| format!(", and to go to {}", String::from_utf8_lossy(to.as_bytes())));
                let reason = format!("it says {status}{}", to.unwrap_or_default());
                ClientError::Strange { url: url.clone(), reason }
            }
        }
    }

    fn sync_until(&self) -> Option<Timestamp> {
        self.headers.get(SYNC_UNTIL)?.to_str().ok()?.parse().ok()
    }

    /// The answer's body, parsed.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ClientError::Strange { url: self.url.clone(), reason: error.to_string() })
    }

    /// The answer's ticket, with its tag.
    fn ticket(&self) -> Result<Answered, ClientError> {
        Ok(Answered { json: self.json()?, tag: etag::read(&self.headers) })
    }
}

/// A problem document as an error.
pub(super) fn refusal(status: StatusCode, problem: &Value) -> serde_json::Result<ClientError> {
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
    let Problem { detail, errors } = Problem::deserialize(problem)?;
    let violations = errors.into_iter().map(|error| Violation::new(error.field, error.detail)).collect();
    Ok(ClientError::Refused { status, detail, violations })
}

/// The parts of a deployment's configuration that the client uses.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    presets: ConfiguredPresets,
    closed_statuses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfiguredPresets {
    ticket_type: Vec<String>,
    status: Vec<String>,
    ticket_priority: Vec<String>,
    owner: Vec<String>,
}

/// Reads the fields that every reader needs from a record.
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

/// An error's innermost cause: `reqwest` alone says only what it was doing.
fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}
