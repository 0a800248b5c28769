//! The responses that are not problems.

use lambda_http::Body;
use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use lambda_http::http::{HeaderValue, StatusCode};
use serde::Serialize;
use tickets_domain::{Error, Ticket, TicketId};

use crate::headers::IDEMPOTENCY_REPLAYED;
use crate::log::Failure;
use crate::{Problem, Request, Response, etag, problem};

/// What a response is about that its path does not say: for the request's line in the log.
#[derive(Debug, Clone)]
pub(crate) enum About {
    /// A new ticket.
    Ticket(TicketId),
    /// The new tickets of a batch, and why rows failed that the caller is not to blame for.
    Batch { tickets: Vec<TicketId>, failed: Vec<Failure> },
}

pub(crate) fn json(text: String) -> Response {
    let mut response = Response::new(Body::Text(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Tickets are for who asked, and as of now: no cache between may answer with an older one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// A value as JSON: 200.
///
/// # Errors
/// 500 where it could not be written.
pub fn of(value: &impl Serialize) -> Result<Response, Problem> {
    Ok(json(serde_json::to_string(value).map_err(Error::internal)?))
}

/// A document that anybody may read: 200. It changes when the deployment does.
pub fn document(content_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::Text(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// A page for browsers, under the policy that they are to hold it to: 200.
///
/// # Errors
/// 500 where the policy is no header.
pub fn page(html: String, security_policy: &str) -> Result<Response, Problem> {
    let mut response = document("text/html; charset=utf-8", html);
    let policy = HeaderValue::from_str(security_policy).map_err(Error::internal)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    // For browsers that do not know `frame-ancestors`.
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// A ticket with its `ETag`: 200, or 304 where the client has this version.
///
/// # Errors
/// 500 where it could not be written.
pub fn ticket(request: &Request, ticket: &Ticket) -> Result<Response, Problem> {
    if request.has(ticket.version)? {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(ETAG, etag::of(ticket.version));
        return Ok(response);
    }
    changed(ticket)
}

/// A ticket after a change: 200 with its `ETag`.
///
/// # Errors
/// 500 where it could not be written.
pub fn changed(ticket: &Ticket) -> Result<Response, Problem> {
    let mut response = of(ticket)?;
    response.headers_mut().insert(ETAG, etag::of(ticket.version));
    Ok(response)
}

/// A new ticket: 201 with its `Location` and `ETag`; marked where it is a replay.
///
/// # Errors
/// 500 where it could not be written.
pub fn created(request: &Request, ticket: &Ticket, replayed: bool) -> Result<Response, Problem> {
    let mut response = changed(ticket)?;
    *response.status_mut() = StatusCode::CREATED;
    let location = HeaderValue::from_str(&request.location_of(ticket.id)).map_err(Error::internal)?;
    response.headers_mut().insert(LOCATION, location);
    response.extensions_mut().insert(About::Ticket(ticket.id));
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Bytes of what is wrong with the rows of a batch: some four hundred mistakes of usual length. Bad input gets no answer
/// that is larger than 64 KiB, and a hundred problems are up to 26 KB without what they list.
const MOST_ERRORS: usize = 36 * 1024;

/// What became of a row of a batch.
#[derive(Serialize)]
struct Row<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a Ticket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<problem::Body<'a>>,
}

/// What became of the rows of a batch: 207.
///
/// # Errors
/// 500 where it could not be written.
pub fn batch(rows: Vec<Result<Ticket, Error>>) -> Result<Response, Problem> {
    let mut room = MOST_ERRORS;
    let mut problem = |error| {
        let mut problem = Problem::from(error);
        problem.fit_errors(&mut room);
        problem
    };
    let rows: Vec<_> = rows.into_iter().map(|row| row.map_err(&mut problem)).collect();
    let tickets = rows.iter().flatten().map(|ticket| ticket.id).collect();
    let failed = rows.iter().filter_map(|row| row.as_ref().err()?.cause()).map(Failure::of).collect();
    let row = |row| match row {
        Ok(ticket) => Row { status: StatusCode::CREATED.as_u16(), ticket: Some(ticket), problem: None },
        Err(problem) => {
            Row { status: Problem::status(problem).as_u16(), ticket: None, problem: Some(problem.body()) }
        }
    };
    let rows: Vec<_> = rows.iter().map(Result::as_ref).map(row).collect();
    let mut response = json(serde_json::to_string(&rows).map_err(Error::internal)?);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    response.extensions_mut().insert(About::Batch { tickets, failed });
    Ok(response)
}

/// Done, and nothing to say: 204.
pub fn no_content() -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
