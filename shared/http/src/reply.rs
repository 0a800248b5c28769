//! The responses that are not problems, and how large a response may be.

use lambda_http::Body;
use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use lambda_http::http::{HeaderValue, StatusCode};
use memchr::memchr_iter;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tickets_domain::precondition::Freshness;
use tickets_domain::{Error, TaggedTicket, TicketId};

use crate::headers::IDEMPOTENCY_REPLAYED;
use crate::log::Failure;
use crate::{Problem, Request, Response, etag, problem};

/// Lambda refuses a reply of more bytes than this, after the function has returned it (AWS Lambda
/// quotas: 6 MB; the error message gives the exact number).
pub const MAX_REPLY: usize = 6_291_556;
/// A generous allowance for status and headers.
const ENVELOPE: usize = 16 * 1024;
/// The most bytes of the body, escaped as it is inside the reply.
pub(crate) const MAX_ESCAPED: usize = MAX_REPLY - ENVELOPE;

/// The tickets that a response is about but its path does not name, for the request's log line.
#[derive(Debug, Clone)]
pub(crate) enum About {
    /// A new ticket.
    Ticket(TicketId),
    /// The tickets that a batch created or changed, and the failures of rows that were not the caller's fault.
    Batch { tickets: Vec<TicketId>, failed: Vec<Failure> },
}

/// Tickets are private and change at any time, so that no shared or stale copy may be served.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

pub(crate) fn json(text: String) -> Response {
    let mut response = Response::new(Body::Text(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, PRIVATE);
    response
}

/// 200 with a value as JSON.
pub fn of(value: &impl Serialize) -> Result<Response, Problem> {
    Ok(json(serde_json::to_string(value).map_err(Error::internal)?))
}

/// 200 with a document that anybody may read. It only changes with the deployment, so caches may keep it.
pub fn document(content_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::Text(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// 200 with a page for browsers, and the content security policy that they must enforce.
pub fn page(html: String, security_policy: &str) -> Result<Response, Problem> {
    let mut response = document("text/html; charset=utf-8", html);
    let policy = header(security_policy)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    // For browsers that do not know `frame-ancestors`.
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// 200 with a ticket and its `ETag`, or 304 if the client has this version.
///
/// # Errors
/// 400 if `If-Match` or `If-None-Match` is malformed; 412 if `If-Match` names another version.
pub fn ticket(request: &Request, ticket: &TaggedTicket) -> Result<Response, Problem> {
    match request.preconditions()?.check_read(ticket.tag)? {
        Freshness::New => changed(ticket),
        Freshness::NotModified => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            // What the 200 says to caches (RFC 9110, section 15.4.5).
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, PRIVATE);
            headers.insert(ETAG, etag::of(ticket.tag));
            Ok(response)
        }
    }
}

/// 200 with a ticket after a change, and its `ETag`.
pub fn changed(ticket: &TaggedTicket) -> Result<Response, Problem> {
    let mut response = of(&ticket.ticket)?;
    response.headers_mut().insert(ETAG, etag::of(ticket.tag));
    Ok(response)
}

/// 201 with a new ticket, its `Location` and its `ETag`. A header marks a replay.
pub fn created(request: &Request, ticket: &TaggedTicket, replayed: bool) -> Result<Response, Problem> {
    let mut response = changed(ticket)?;
    *response.status_mut() = StatusCode::CREATED;
    let id = ticket.id();
    let location = header(&request.location_of(id))?;
    response.headers_mut().insert(LOCATION, location);
    response.extensions_mut().insert(About::Ticket(id));
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The most bytes of listed errors in the answer to a batch: some four hundred errors of usual length. Bad
/// input must not get an answer above 64 KiB, and a hundred problems take up to 26 KB without their errors.
const MOST_ERRORS: usize = 36 * 1024;

/// The most bytes of tickets in the answer to a batch, escaped. The rest is for what rows have besides. A batch of
/// changes can be small and its tickets large: a hundred of the largest have 25 MB.
const MOST_TICKETS: usize = MAX_ESCAPED - 128 * 1024;

/// The result of a row of a batch.
#[derive(Serialize)]
struct Row<'a> {
    status: u16,
    /// Absent where it does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<Box<RawValue>>,
    /// As the header `ETag` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<problem::Body<'a>>,
}

impl<'a> Row<'a> {
    /// The result of a row that is answered `success` if nothing is wrong. `room` is left for tickets.
    fn of(
        row: &'a Result<TaggedTicket, Problem>,
        success: StatusCode,
        room: &mut usize,
    ) -> Result<Self, Error> {
        let row = match row {
            Ok(TaggedTicket { ticket, tag }) => {
                let json = to_raw_value(ticket).map_err(Error::internal)?;
                let left = room.checked_sub(escaped_len(json.get()));
                *room = left.unwrap_or(*room);
                let (ticket, etag) = (left.map(|_| json), Some(etag::text(*tag)));
                Self { status: success.as_u16(), ticket, etag, problem: None }
            }
            Err(problem) => {
                let status = problem.status().as_u16();
                Self { status, ticket: None, etag: None, problem: Some(problem.body()) }
            }
        };
        Ok(row)
    }
}

/// 207 with the result of each row of a batch, which is `success` if nothing is wrong.
pub fn batch(success: StatusCode, rows: Vec<Result<TaggedTicket, Error>>) -> Result<Response, Problem> {
    let mut room = MOST_ERRORS;
    let mut problem = |error| {
        let mut problem = Problem::from(error);
        problem.fit_errors(&mut room);
        problem
    };
    let rows: Vec<_> = rows.into_iter().map(|row| row.map_err(&mut problem)).collect();
    let tickets = rows.iter().flatten().map(TaggedTicket::id).collect();
    let failed = rows.iter().filter_map(|row| row.as_ref().err()?.cause()).map(Failure::of).collect();
    let mut room = MOST_TICKETS;
    let rows: Vec<_> = rows.iter().map(|row| Row::of(row, success, &mut room)).collect::<Result<_, _>>()?;
    let mut response = json(serde_json::to_string(&rows).map_err(Error::internal)?);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    response.extensions_mut().insert(About::Batch { tickets, failed });
    Ok(response)
}

/// 204 without a body.
pub fn no_content() -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The value of a header that holds a text of ours.
pub(crate) fn header(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(Error::internal)
}

/// The length of a JSON text inside a JSON string. Quotes and backslashes take two bytes. The text
/// has no control characters, and characters outside ASCII stay as they are.
pub(crate) fn escaped_len(json: &str) -> usize {
    let count = |byte| memchr_iter(byte, json.as_bytes()).count();
    json.len() + count(b'"') + count(b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_escaped_length_is_what_serde_makes_of_it(text in ".{0,200}") {
            let json = serde_json::to_string(&text).unwrap();
            let inside = serde_json::to_string(&json).unwrap();
            prop_assert_eq!(escaped_len(&json), inside.len() - 2);
        }
    }
}
