//! A request, as handlers read it: path parameters and never a path, so that no slash or prefix
//! changes what is meant.

use lambda_http::http::header::{CONTENT_TYPE, HeaderMap};
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt};
use tickets_domain::id::{CustomerId, Precondition};
use tickets_domain::idempotency::IdempotencyKey;
use tickets_domain::{Error, Form, TicketId, Timestamp, Version, Violation};

use crate::problem::MAX_BODY;
use crate::route::BASE_PATH;
use crate::{Problem, etag};

/// A request whose caller is known.
#[derive(Debug)]
pub struct Request {
    inner: lambda_http::Request,
    route: &'static str,
    received: Timestamp,
}

impl Request {
    pub(crate) fn new(inner: lambda_http::Request, route: &'static str, received: Timestamp) -> Self {
        Self { inner, route, received }
    }

    /// When it began.
    pub fn received(&self) -> Timestamp {
        self.received
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
        let parameters = self.inner.path_parameters_ref();
        let text = parameters
            .and_then(|parameters| parameters.first("id"))
            .or_else(|| tail_parameter(self.route, self.inner.raw_http_path()))
            .unwrap_or_default();
        text.parse()
            .map_err(|error: T::Err| Error::InvalidParameters(vec![Violation::new("id", error)]).into())
    }

    /// The query's parameters, decoded, in no particular order; one given twice is here twice.
    pub fn query(&self) -> Vec<(&str, &str)> {
        self.inner.query_string_parameters_ref().map(|query| query.iter().collect()).unwrap_or_default()
    }

    /// The body, as a form of JSON.
    ///
    /// # Errors
    /// 415 where it says it is something else, 413 where it is too large, 400 where it is no object.
    pub fn form(&self) -> Result<Form, Problem> {
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
        Ok(Form::parse(body)?)
    }

    /// `If-Match`.
    pub fn if_match(&self) -> Precondition {
        etag::if_match(self.headers())
    }

    /// Whether `If-None-Match` says the client has this version.
    pub fn has(&self, version: Version) -> bool {
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

    /// The absolute path of a ticket as this request's client has to write it: the path of the list
    /// it was posted to, with whatever stage or mapping is in front of it, and the id.
    pub fn location_of(&self, id: TicketId) -> String {
        let path = match self.inner.request_context_ref() {
            // What the client wrote; the event's own `path` lacks the stage.
            Some(RequestContext::ApiGatewayV1(context)) => context.path.as_deref(),
            Some(RequestContext::ApiGatewayV2(context)) => context.http.path.as_deref(),
            _ => None,
        };
        let list = path
            .map(|path| path.trim_end_matches('/'))
            .filter(|path| path.starts_with('/') && !path.starts_with("//") && path.ends_with("/tickets"))
            .filter(|path| path.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\".contains(&b)))
            .map_or_else(|| format!("{BASE_PATH}/tickets"), str::to_owned);
        format!("{list}/{id}")
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

/// The `{id}` of a path that ends like `pattern`: a function URL has no routes, and so no path
/// parameters. What stands before is whatever the URL is mapped to.
fn tail_parameter<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let mut segments = path.strip_suffix('/').unwrap_or(path).rsplit('/');
    let mut id = None;
    for expected in pattern.trim_start_matches('/').rsplit('/') {
        match segments.next()? {
            value if expected == "{id}" => id = Some(value),
            value if value == expected => {}
            _ => return None,
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::tail_parameter;
    use crate::route::{CUSTOMER_TICKETS, TICKET};

    #[test]
    fn a_path_without_parameters_is_read_from_its_end() {
        for path in ["/tickets/7", "/tickets/7/", "/backend/api/v1/tickets/7"] {
            assert_eq!(tail_parameter(TICKET, path), Some("7"), "{path}");
        }
        assert_eq!(tail_parameter(CUSTOMER_TICKETS, "/x/customers/42/tickets/"), Some("42"));
        for path in ["/", "", "/tickets", "/ticket/7", "/tickets/7//", "7"] {
            assert_eq!(tail_parameter(TICKET, path), None, "{path}");
        }
    }
}
