//! A request, as handlers read it: path parameters and never a path, so that no slash or prefix
//! changes what is meant.

use lambda_http::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt};
use serde::de::IgnoredAny;
use tickets_domain::id::{CustomerId, Precondition};
use tickets_domain::idempotency::IdempotencyKey;
use tickets_domain::{Error, Form, Meter, TicketId, Timestamp, Version, Violation};

use crate::problem::MAX_BODY;
use crate::route::BASE_PATH;
use crate::{Problem, etag};

/// A request whose caller is known.
#[derive(Debug)]
pub struct Request {
    inner: lambda_http::Request,
    parts: Parts,
}

/// What is known of a request besides the event.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The path of its route.
    pub(crate) route: &'static str,
    pub(crate) received: Timestamp,
    pub(crate) meter: Meter,
}

/// What a create is given.
#[derive(Debug)]
pub enum Tickets {
    /// An object.
    One(Form),
    /// An array, each element of which is a ticket or a mistake of its own.
    Batch(Vec<Result<Form, Error>>),
}

impl Request {
    pub(crate) fn new(inner: lambda_http::Request, parts: Parts) -> Self {
        Self { inner, parts }
    }

    /// When it began.
    pub fn received(&self) -> Timestamp {
        self.parts.received
    }

    /// What counts its calls of the database.
    pub fn meter(&self) -> Meter {
        self.parts.meter.clone()
    }

    /// The ticket the path names.
    ///
    /// # Errors
    /// 400 where it is none.
    pub fn ticket_id(&self) -> Result<TicketId, Problem> {
        self.path_id()
    }

    /// The customer the path names.
    ///
    /// # Errors
    /// 400 where it is none.
    pub fn customer_id(&self) -> Result<CustomerId, Problem> {
        self.path_id()
    }

    fn path_id<T: std::str::FromStr<Err: ToString>>(&self) -> Result<T, Problem> {
        let text = path_id(&self.inner, self.parts.route).unwrap_or_default();
        text.parse()
            .map_err(|error: T::Err| Error::InvalidParameters(Violation::new("id", error).into()).into())
    }

    /// The query's parameters, decoded, in no particular order; one given twice is here twice.
    pub fn query(&self) -> Vec<(&str, &str)> {
        self.inner.query_string_parameters_ref().map(|query| query.iter().collect()).unwrap_or_default()
    }

    /// The body, as a form of JSON.
    ///
    /// # Errors
    /// As [`Request::body`]; 400 where it is no object.
    pub fn form(&self) -> Result<Form, Problem> {
        Ok(Form::parse(self.body()?)?)
    }

    /// The body of a create: one ticket, or a batch.
    ///
    /// # Errors
    /// As [`Request::body`]; 400 where it is neither an object nor an array of 1 to 100 elements.
    pub fn tickets(&self) -> Result<Tickets, Problem> {
        let body = self.body()?;
        Ok(if body.trim_ascii_start().starts_with(b"[") {
            Tickets::Batch(Form::parse_rows(body)?)
        } else {
            Tickets::One(Form::parse(body)?)
        })
    }

    /// The body, which says that it is JSON.
    ///
    /// # Errors
    /// 415 where it says it is something else, or is compressed; 413 where it is too large.
    fn body(&self) -> Result<&[u8], Problem> {
        let kind = self.inner.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        if !kind.is_some_and(is_json) {
            return Err(Problem::not_json());
        }
        let body: &[u8] = match self.inner.body() {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        };
        if body.len() > MAX_BODY {
            return Err(Problem::too_large());
        }
        // API Gateway decompresses a body and may leave its header: what is JSON is not compressed any more.
        if self.is_encoded() && serde_json::from_slice::<IgnoredAny>(body).is_err() {
            return Err(Problem::compressed());
        }
        Ok(body)
    }

    /// Whether `Content-Encoding` names a coding.
    fn is_encoded(&self) -> bool {
        let values = self.headers().get_all(CONTENT_ENCODING).iter();
        let codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut codings = codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty());
        codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
    }

    /// `If-Match`.
    ///
    /// # Errors
    /// 400 where it is malformed.
    pub fn if_match(&self) -> Result<Precondition, Problem> {
        etag::if_match(self.headers())
    }

    /// Whether `If-None-Match` says the client has this version.
    ///
    /// # Errors
    /// 400 where it is malformed.
    pub fn has(&self, version: Version) -> Result<bool, Problem> {
        etag::none_match(self.headers(), version)
    }

    /// `Idempotency-Key`.
    ///
    /// # Errors
    /// 400 where it is too long, empty, not text, or given twice.
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        const NAME: &str = "Idempotency-Key";
        let mut values = self.headers().get_all(NAME).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                let text =
                    std::str::from_utf8(value.as_bytes()).map_err(|e| Problem::invalid_header(NAME, e))?;
                text.parse().map(Some).map_err(|error| Problem::invalid_header(NAME, error))
            }
            (Some(_), Some(_)) => Err(Problem::invalid_header(NAME, "is given twice")),
        }
    }

    /// The absolute path as the client wrote it, with whatever stage or mapping is in front of it; the
    /// published path where the event has none that is this route's.
    pub fn path(&self) -> String {
        let written = match self.inner.request_context_ref() {
            // The event's own `path` lacks the stage.
            Some(RequestContext::ApiGatewayV1(context)) => context.path.as_deref(),
            Some(RequestContext::ApiGatewayV2(context)) => context.http.path.as_deref(),
            _ => None,
        };
        let fit_for_headers = |path: &&str| {
            path.starts_with('/') && !path.starts_with("//") && path.bytes().all(|b| IN_PATHS.contains(&b))
        };
        let written = written.filter(fit_for_headers).filter(|path| tail(self.parts.route, path).is_some());
        written.map_or_else(
            || {
                let id = self.customer_id().map(|id| id.to_string()).unwrap_or_default();
                format!("{BASE_PATH}{}/", self.parts.route.replace("{id}", &id))
            },
            str::to_owned,
        )
    }

    /// The absolute path of a ticket in the list that this request's path names.
    pub fn location_of(&self, id: TicketId) -> String {
        format!("{}/{id}", self.path().trim_end_matches('/'))
    }

    fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }
}

/// `application/json`, or a type derived from it, whatever its parameters.
fn is_json(value: &str) -> bool {
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The bytes of a path that goes back in a header: those of RFC 3986, section 3.3, without the separators of
/// header values.
const IN_PATHS: &[u8] = b"/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()*+=:@";

/// The end of a path that is a route's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tail<'a> {
    /// What stands where the route has `{id}`.
    id: Option<&'a str>,
}

/// The id in the path of a request to this route.
pub(crate) fn path_id<'a>(event: &'a lambda_http::Request, route: &str) -> Option<&'a str> {
    let parameter = event.path_parameters_ref().and_then(|parameters| parameters.first("id"));
    parameter.or_else(|| tail(route, event.raw_http_path())?.id)
}

/// The end of a path that ends like `pattern`. What stands before is whatever the API is mapped to. A function
/// URL has no routes, and so no path parameters.
pub(crate) fn tail<'a>(pattern: &str, path: &'a str) -> Option<Tail<'a>> {
    let mut segments = path.strip_suffix('/').unwrap_or(path).rsplit('/');
    let mut tail = Tail::default();
    for expected in pattern.trim_start_matches('/').rsplit('/') {
        match segments.next()? {
            value if expected == "{id}" => tail.id = Some(value),
            value if value == expected => {}
            _ => return None,
        }
    }
    Some(tail)
}

#[cfg(test)]
mod tests {
    use super::tail;
    use crate::route::{CUSTOMER_TICKETS, TICKET, TICKETS};

    #[test]
    fn a_path_without_parameters_is_read_from_its_end() {
        for path in ["/tickets/7", "/tickets/7/", "/backend/api/v1/tickets/7"] {
            assert_eq!(tail(TICKET, path).unwrap().id, Some("7"), "{path}");
        }
        assert_eq!(tail(CUSTOMER_TICKETS, "/x/customers/42/tickets/").unwrap().id, Some("42"));
        assert_eq!(tail(TICKETS, "/x/tickets/").unwrap().id, None);
        for path in ["/", "", "/tickets", "/ticket/7", "/tickets/7//", "7"] {
            assert_eq!(tail(TICKET, path), None, "{path}");
        }
    }
}
