//! One line of JSON per request, on standard output as Lambda collects it. No field holds what a
//! customer wrote, or a secret.

use std::time::Duration;

use lambda_http::http::{Method, StatusCode};
use tracing::{error, info, warn};

use crate::Problem;

/// Sends log lines to standard output as JSON.
pub fn init() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .init();
}

/// What a line tells of a request.
pub(crate) struct Line<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) function: &'static str,
    pub(crate) method: &'a Method,
    pub(crate) key: Option<&'a str>,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
}

/// Writes the line; a failure with its cause, where it is handled and nowhere else.
pub(crate) fn request(line: &Line<'_>, problem: Option<&Problem>) {
    let Line { request_id, function, method, key, status, took } = line;
    let duration_ms = took.as_secs_f64() * 1e3;
    let (status, key, method) = (status.as_u16(), key.unwrap_or("-"), method.as_str());
    match problem.and_then(|problem| problem.cause().map(|error| (error, problem.status()))) {
        None => info!(request_id, function, method, key, status, duration_ms, "request"),
        Some((error, of)) => {
            let kind = error.to_string();
            let cause = error.cause().map(ToString::to_string).unwrap_or_default();
            if of == StatusCode::INTERNAL_SERVER_ERROR {
                error!(request_id, function, method, key, status, duration_ms, kind, cause, "request failed");
            } else {
                warn!(request_id, function, method, key, status, duration_ms, kind, cause, "request failed");
            }
        }
    }
}
