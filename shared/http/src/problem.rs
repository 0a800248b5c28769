//! Error responses as RFC 9457 `application/problem+json`. The only mapping from the domain's errors
//! to them is here, and it names every variant.

use lambda_http::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use lambda_http::http::{HeaderValue, StatusCode};
use serde::Serialize;
use tickets_domain::{Error, Violation};

use crate::request::MAX_BODY;
use crate::{Response, rate_limit};

/// After how many seconds to repeat a request that failed for a temporary reason.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error response. Its status can only be that of a client's or a server's error.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<Violation>,
    headers: HeaderMap,
    /// The error to log.
    cause: Option<Error>,
}

/// What went wrong (RFC 9457).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(crate) struct Body<'a> {
    /// What kind of problem it is: `urn:tickets:problem:…`.
    r#type: String,
    /// The kind, for people.
    title: &'a str,
    /// The status code; the gateway's own problems may lack it.
    #[cfg_attr(feature = "openapi", schemars(extend("format" = "int32", "minimum" = 400, "maximum" = 599)))]
    status: u16,
    /// What went wrong this time, and what would be right.
    detail: &'a str,
    /// Every field, parameter or header that is refused.
    errors: Vec<FieldError<'a>>,
}

/// A field, parameter or header that is refused.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
struct FieldError<'a> {
    /// Its name.
    field: &'a str,
    /// What is wrong with it, and what would be right.
    detail: &'a str,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl ToString) -> Self {
        let detail = detail.to_string();
        Self(Box::new(Parts {
            status,
            kind,
            title,
            detail,
            errors: Vec::new(),
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    fn with_errors(mut self, errors: impl IntoIterator<Item = Violation>) -> Self {
        self.0.errors = errors.into_iter().collect();
        self
    }

    /// Keeps the errors that fit into `room` bytes, says how many do not, and reduces `room` by their size.
    pub(crate) fn fit_errors(&mut self, room: &mut usize) {
        let Parts { errors, detail, .. } = &mut *self.0;
        let mut fits = 0;
        for Violation { field, detail } in &*errors {
            let needed =
                serde_json::to_string(&FieldError { field, detail }).map_or(0, |json| json.len() + 1);
            if needed > *room {
                break;
            }
            *room -= needed;
            fits += 1;
        }
        if fits < errors.len() {
            detail.push_str(&format!("; {} of those listed do not fit here", errors.len() - fits));
            errors.truncate(fits);
            // Later rows list no errors either, so that the errors listed are the first ones without a gap.
            *room = 0;
        }
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// 405: the path does not answer this method.
    pub fn method_not_allowed(allow: &str) -> Self {
        let allowed = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static("OPTIONS"));
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            format!("this path answers {allow}"),
        )
        .with_header(ALLOW, allowed)
    }

    /// 404: there is no such path.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", "there is no such path")
    }

    /// 413: the body is too large.
    pub fn too_large() -> Self {
        let detail = format!("the body may have at most {MAX_BODY} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large", detail)
    }

    /// 415: the body is not JSON.
    pub fn not_json() -> Self {
        let detail =
            "send the body as Content-Type: application/json; a patch may be application/merge-patch+json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Not JSON", detail)
    }

    /// 415: the body is compressed.
    pub fn compressed() -> Self {
        let detail = "send the body as it is, without Content-Encoding";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed", "Compressed body", detail)
            // The codings that are accepted (RFC 9110, section 15.5.16).
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// 429: the gateway's own answer to too many requests at once, as `template.yaml` defines it.
    #[cfg(feature = "openapi")]
    pub(crate) fn too_many_requests() -> Self {
        let detail = "too many requests at once; repeat the request later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
            .with_header(RETRY_AFTER, RETRY_SECONDS)
    }

    /// 400: a header's value is refused.
    pub fn invalid_header(name: &'static str, detail: impl ToString) -> Self {
        Error::InvalidParameters(Violation::new(name, detail).into()).into()
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The error to log, if the caller is not at fault.
    pub fn cause(&self) -> Option<&Error> {
        self.0.cause.as_ref()
    }

    /// The kind of problem: the end of its `type`.
    #[cfg(feature = "openapi")]
    pub(crate) fn kind(&self) -> &'static str {
        self.0.kind
    }

    pub(crate) fn body(&self) -> Body<'_> {
        let parts = &self.0;
        Body {
            r#type: format!("urn:tickets:problem:{}", parts.kind),
            title: parts.title,
            status: parts.status.as_u16(),
            detail: &parts.detail,
            errors: parts.errors.iter().map(|v| FieldError { field: &v.field, detail: &v.detail }).collect(),
        }
    }

    pub fn into_response(self) -> Response {
        // Strings and numbers always have a JSON text.
        let text = serde_json::to_string(&self.body()).unwrap_or_default();
        let parts = *self.0;
        let mut response = Response::new(text.into());
        *response.status_mut() = parts.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(parts.headers);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, kind, title) = kind(&error);
        let mut problem = Self::new(status, kind, title, &error);
        match error {
            Error::InvalidParameters(violations) | Error::InvalidFields(violations) => {
                problem.with_errors(violations)
            }
            Error::OtherCustomer(_) => problem.with_errors([Violation::new("customerID", error)]),
            Error::Unauthenticated => {
                problem.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Error::RateLimited(quota) => {
                rate_limit::refuse(&quota, &mut problem.0.headers);
                problem
            }
            Error::IdempotencyKeyInUse => problem.with_header(RETRY_AFTER, RETRY_SECONDS),
            Error::Contended | Error::Throttled(_) | Error::Unavailable(_) | Error::Undecided(_) => {
                problem.0.cause = Some(error);
                problem.with_header(RETRY_AFTER, RETRY_SECONDS)
            }
            Error::Internal(_) => {
                problem.0.cause = Some(error);
                problem
            }
            Error::MalformedBody(_)
            | Error::MissingScope(_)
            | Error::NotFound
            | Error::VersionMismatch
            | Error::UnusableTag(_)
            | Error::VersionExcluded
            | Error::IdempotencyKeyReused => problem,
        }
    }
}

/// The status, the kind and the title of an error's problem.
fn kind(error: &Error) -> (StatusCode, &'static str, &'static str) {
    let temporary = |kind| (StatusCode::SERVICE_UNAVAILABLE, kind, "Temporarily unavailable");
    match error {
        Error::MalformedBody(_) => (StatusCode::BAD_REQUEST, "malformed-body", "Malformed body"),
        Error::InvalidParameters(_) => (StatusCode::BAD_REQUEST, "invalid-parameters", "Invalid parameters"),
        Error::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "Unauthenticated"),
        Error::MissingScope(_) => (StatusCode::FORBIDDEN, "missing-scope", "Missing scope"),
        Error::OtherCustomer(_) => (StatusCode::FORBIDDEN, "other-customer", "Another customer's ticket"),
        Error::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
        Error::IdempotencyKeyInUse => {
            (StatusCode::CONFLICT, "idempotency-key-in-use", "Idempotency-Key in use")
        }
        Error::VersionMismatch => (StatusCode::PRECONDITION_FAILED, "version-mismatch", "Ticket has changed"),
        Error::UnusableTag(_) => (StatusCode::PRECONDITION_FAILED, "unusable-tag", "Unusable tag"),
        Error::VersionExcluded => {
            (StatusCode::PRECONDITION_FAILED, "version-excluded", "Version is excluded")
        }
        Error::InvalidFields(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-fields", "Invalid fields"),
        Error::IdempotencyKeyReused => {
            (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency-Key reused")
        }
        Error::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        Error::Contended => temporary("contended"),
        Error::Throttled(_) => temporary("throttled"),
        Error::Unavailable(_) => temporary("unavailable"),
        Error::Undecided(_) => temporary("undecided"),
    }
}
