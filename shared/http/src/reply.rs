//! The responses that are not problems.

use lambda_http::Body;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use lambda_http::http::{HeaderValue, StatusCode};
use tickets_domain::{Error, Ticket};

use crate::{Problem, Request, Response, etag};

/// Marks the answer to a request that took effect before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(crate) fn json(text: String) -> Response {
    let mut response = Response::new(Body::Text(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Tickets are for who asked, and as of now: no cache between may answer with an older one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// A ticket with its `ETag`: 200, or 304 where the client has this version.
///
/// # Errors
/// 500 where it could not be written.
pub fn ticket(request: &Request, ticket: &Ticket) -> Result<Response, Problem> {
    if request.has(ticket.version) {
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
    let mut response = json(serde_json::to_string(ticket).map_err(Error::internal)?);
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
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Done, and nothing to say: 204.
pub fn no_content() -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
