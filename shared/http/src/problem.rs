//! What went wrong, as RFC 9457 `application/problem+json`, and the only mapping from the domain's
//! errors to it: every variant by name.

use lambda_http::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use lambda_http::http::{HeaderValue, StatusCode};
use serde::Serialize;
use tickets_domain::{Error, Violation};

use crate::{Response, limit};

/// The largest body, in bytes: every field at its limit, with each character escaped as `\u0000`
/// would need 1.6 MB; no ticket that can be stored is longer as sent by any usual client.
pub const MAX_BODY: usize = 2 * 1024 * 1024;

/// Seconds after which it makes sense to repeat a request that came at a bad time.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error response. Its status is a client's or a server's error: there is no way to make another.
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
    /// What the log gets to know besides.
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

    /// Lists the errors for which there is room, and says how many more there are. Takes from the room, in bytes, what
    /// they need.
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
            // What comes after it is not shown either: rows are to be read from the first one on.
            *room = 0;
        }
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The path has no such method.
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

    /// There is no such path.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", "there is no such path")
    }

    /// The body is too large.
    pub fn too_large() -> Self {
        let detail = format!("the body may have at most {MAX_BODY} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large", detail)
    }

    /// The body is not JSON.
    pub fn not_json() -> Self {
        let detail = "send the body as Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Not JSON", detail)
    }

    /// The body is compressed.
    pub fn compressed() -> Self {
        let detail = "send the body as it is, without Content-Encoding";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed", "Compressed body", detail)
            // Which codings would do (RFC 9110, section 15.5.16).
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// More requests than the gateway lets through at once: its answer, which `template.yaml` has.
    #[cfg(feature = "openapi")]
    pub(crate) fn too_many_requests() -> Self {
        let detail = "too many requests at once; repeat the request later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
            .with_header(RETRY_AFTER, RETRY_SECONDS)
    }

    /// A header's value is refused.
    pub fn invalid_header(name: &'static str, detail: impl ToString) -> Self {
        Error::InvalidParameters(Violation::new(name, detail).into()).into()
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What the log gets to know besides the response.
    pub fn cause(&self) -> Option<&Error> {
        self.0.cause.as_ref()
    }

    /// What kind of problem it is: the end of its `type`.
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

    /// The response.
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
        let detail = error.to_string();
        match error {
            Error::MalformedBody(_) => {
                Self::new(StatusCode::BAD_REQUEST, "malformed-body", "Malformed body", detail)
            }
            Error::InvalidParameters(violations) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid-parameters", "Invalid parameters", detail)
                    .with_errors(violations)
            }
            Error::InvalidFields(violations) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-fields", "Invalid fields", detail)
                    .with_errors(violations)
            }
            Error::Unauthenticated => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Unauthenticated", detail)
                    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Error::RateLimited(quota) => {
                let mut problem =
                    Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests", detail);
                limit::refuse(&quota, &mut problem.0.headers);
                problem
            }
            Error::MissingScope(_) => {
                Self::new(StatusCode::FORBIDDEN, "missing-scope", "Missing scope", detail)
            }
            Error::OtherCustomer(_) => {
                let violation = Violation::new("customerID", &detail);
                Self::new(StatusCode::FORBIDDEN, "other-customer", "Another customer's ticket", detail)
                    .with_errors(vec![violation])
            }
            Error::NotFound => Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail),
            Error::VersionMismatch => {
                Self::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", "Ticket has changed", detail)
            }
            Error::IdempotencyKeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency-Key reused",
                detail,
            ),
            Error::IdempotencyKeyInUse => {
                Self::new(StatusCode::CONFLICT, "idempotency-key-in-use", "Idempotency-Key in use", detail)
                    .with_header(RETRY_AFTER, RETRY_SECONDS)
            }
            Error::Contended | Error::Throttled(_) | Error::Unavailable(_) | Error::Undecided(_) => {
                let kind = match &error {
                    Error::Contended => "contended",
                    Error::Throttled(_) => "throttled",
                    Error::Undecided(_) => "undecided",
                    _ => "unavailable",
                };
                let mut problem =
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Temporarily unavailable", detail)
                        .with_header(RETRY_AFTER, RETRY_SECONDS);
                problem.0.cause = Some(error);
                problem
            }
            Error::Internal(_) => {
                let mut problem =
                    Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail);
                problem.0.cause = Some(error);
                problem
            }
        }
    }
}
