//! Which web pages may read the responses (Fetch standard, section 3.2, "CORS protocol").

use lambda_http::Body;
use lambda_http::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, VARY,
};
use lambda_http::http::{HeaderValue, StatusCode};

use crate::Response;

const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, if-match, if-none-match");
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept-encoding, etag, idempotency-replayed, link, location, ratelimit, ratelimit-policy, retry-after, sync-epoch, sync-until, www-authenticate, x-request-id",
);
/// How many seconds a browser may remember a preflight: Chromium's maximum.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Adds the headers that let a page of an allowed origin read the response.
pub(crate) fn allow(origins: &[String], origin: Option<&HeaderValue>, response: &mut HeaderMap) {
    if origins.is_empty() {
        return;
    }
    response.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return };
    let listed = origins.iter().any(|allowed| allowed == "*" || origin.as_bytes() == allowed.as_bytes());
    if listed {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
}

/// The answer to a preflight. It needs no key, because browsers send none, and it contains no secret.
pub(crate) fn preflight(allowed_methods: &str) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if let Ok(methods) = HeaderValue::from_str(allowed_methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        headers.insert(lambda_http::http::header::ALLOW, methods);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}
