//! A request as handlers read it. They read path parameters and never the path, so that a trailing slash
//! or a prefix makes no difference.

use lambda_http::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, IF_MATCH, IF_NONE_MATCH};
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt};
use serde::de::IgnoredAny;
use tickets_domain::id::CustomerId;
use tickets_domain::idempotency::IdempotencyKey;
use tickets_domain::precondition::Preconditions;
use tickets_domain::{Error, JsonObject, Meter, TicketId, Timestamp, Violation};

use crate::route::BASE_PATH;
use crate::{Problem, etag};

/// The largest body, in bytes. A body with every field at its limit and each character escaped as
/// `\u0001` needs 1.6 MB, so that every ticket that can be stored fits as any usual client sends it.
pub const MAX_BODY: usize = 2 * 1024 * 1024;

/// A request, as a handler gets it.
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

/// The body of a create.
#[derive(Debug)]
pub enum Tickets {
    /// An object.
    One(JsonObject),
    /// An array. Each element is a ticket, or has an error of its own.
    Batch(Vec<Result<JsonObject, Error>>),
}

impl Request {
    pub(crate) fn new(inner: lambda_http::Request, parts: Parts) -> Self {
        Self { inner, parts }
    }

    pub fn received(&self) -> Timestamp {
        self.parts.received
    }

    /// The meter that counts its calls of the database.
    pub fn meter(&self) -> Meter {
        self.parts.meter.clone()
    }

    /// The id of the ticket that the path names.
    ///
    /// # Errors
    /// 400 if it is not a valid id.
    pub fn ticket_id(&self) -> Result<TicketId, Problem> {
        self.path_id()
    }

    /// The id of the customer that the path names.
    ///
    /// # Errors
    /// 400 if it is not a valid id.
    pub fn customer_id(&self) -> Result<CustomerId, Problem> {
        self.path_id()
    }

    fn path_id<T: std::str::FromStr<Err: ToString>>(&self) -> Result<T, Problem> {
        let text = path_id(&self.inner, self.parts.route).unwrap_or_default();
        text.parse()
            .map_err(|error: T::Err| Error::InvalidParameters(Violation::new("id", error).into()).into())
    }

    /// The decoded parameters of the query, in no particular order. One given twice is listed twice.
    pub fn query(&self) -> Vec<(&str, &str)> {
        self.inner.query_string_parameters_ref().map(|query| query.iter().collect()).unwrap_or_default()
    }

    /// The members of the body, which must be a JSON object.
    ///
    /// # Errors
    /// As [`Request::body`]; 400 if it is not an object.
    pub fn json(&self) -> Result<JsonObject, Problem> {
        Ok(JsonObject::parse(self.body()?)?)
    }

    /// The body of a create: one ticket, or a batch.
    ///
    /// # Errors
    /// As [`Request::body`]; 400 if it is neither an object nor an array of 1 to 100 elements.
    pub fn tickets(&self) -> Result<Tickets, Problem> {
        let body = self.body()?;
        Ok(if body.trim_ascii_start().starts_with(b"[") {
            Tickets::Batch(JsonObject::parse_rows(body)?)
        } else {
            Tickets::One(JsonObject::parse(body)?)
        })
    }

    /// The rows of a batch of changes. Each has an error of its own if it is no object.
    ///
    /// # Errors
    /// As [`Request::body`]; 400 if it is not an array of 1 to 100 elements, and for a precondition: it names the
    /// version of one ticket, and to ignore it would overwrite what the caller means to keep.
    pub fn changes(&self) -> Result<Vec<Result<JsonObject, Error>>, Problem> {
        for (name, shown) in [(IF_MATCH, "If-Match"), (IF_NONE_MATCH, "If-None-Match")] {
            if self.headers().contains_key(name) {
                return Err(Problem::invalid_header(
                    shown,
                    "is of one ticket; give each row of the batch its ifMatch",
                ));
            }
        }
        Ok(JsonObject::parse_rows(self.body()?)?)
    }

    /// The body, whose `Content-Type` must be JSON.
    ///
    /// # Errors
    /// 415 if its `Content-Type` is another one, or if it is compressed; 413 if it is too large; 400 if it is not
    /// UTF-8.
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
        // A byte order mark is no part of the text (RFC 8259, section 8.1).
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // API Gateway decompresses a body but may keep the header. A body that is JSON is not compressed.
        if self.is_encoded() && serde_json::from_slice::<IgnoredAny>(body).is_err() {
            return Err(Problem::compressed());
        }
        match other_encoding(body) {
            Some(detail) => Err(Error::MalformedBody(detail).into()),
            None => Ok(body),
        }
    }

    /// Whether `Content-Encoding` names a coding other than `identity`.
    fn is_encoded(&self) -> bool {
        let values = self.headers().get_all(CONTENT_ENCODING).iter();
        let codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut codings = codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty());
        codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
    }

    /// What `If-Match` and `If-None-Match` require.
    ///
    /// # Errors
    /// 400 if one is malformed.
    pub fn preconditions(&self) -> Result<Preconditions, Problem> {
        etag::preconditions(self.headers())
    }

    /// The `Idempotency-Key`, if there is one.
    ///
    /// # Errors
    /// 400 if it is too long, empty, not text, or given twice.
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

    /// The absolute path as the client wrote it, including a stage or mapping in front of it. If the event
    /// has no path that fits this route, the published path.
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

    /// The absolute path of a ticket, for a request whose path is that of all tickets.
    pub fn location_of(&self, id: TicketId) -> String {
        format!("{}/{id}", self.path().trim_end_matches('/'))
    }

    fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }
}

/// Whether a `Content-Type` is `application/json` or derived from it, with any parameters. Of patches only a merge
/// patch (RFC 7396) is read: it has the fields to change, and `null` to clear one, as our bodies have. Others hold
/// instructions in JSON, such as those of RFC 6902.
fn is_json(value: &str) -> bool {
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.strip_prefix("application/") {
        Some("json" | "merge-patch+json") => true,
        Some(subtype) => subtype.ends_with("+json") && !subtype.contains("patch"),
        None => false,
    }
}

/// What is wrong with a body that is not UTF-8.
fn other_encoding(body: &[u8]) -> Option<String> {
    // JSON begins with ASCII, perhaps after a byte order mark (which the gateway may have replaced), and has no
    // U+0000.
    if body.iter().skip_while(|byte| !byte.is_ascii()).take(2).any(|byte| *byte == 0) {
        return Some("the body looks like UTF-16 or UTF-32; send it as UTF-8".into());
    }
    let at = std::str::from_utf8(body).err()?.valid_up_to();
    let byte = body.get(at)?;
    Some(format!(
        "the body is not UTF-8: its byte {at} is 0x{byte:02X}, as in Latin-1 or Windows-1252; send it as UTF-8"
    ))
}

/// The bytes allowed in a path that is sent back in a header: those of RFC 3986, section 3.3, without the
/// separators of header values.
const IN_PATHS: &[u8] = b"/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()*+=:@";

/// The end of a path, which matches a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tail<'a> {
    /// The segment at the place of the route's `{id}`.
    id: Option<&'a str>,
}

/// The id in the path of a request to this route.
pub(crate) fn path_id<'a>(event: &'a lambda_http::Request, route: &str) -> Option<&'a str> {
    let parameter = event.path_parameters_ref().and_then(|parameters| parameters.first("id"));
    parameter.or_else(|| tail(route, event.raw_http_path())?.id)
}

/// Matches the end of a path with `pattern`; anything the API is mapped to may come before it. A function
/// URL needs this, because it has no routes and so no path parameters.
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
