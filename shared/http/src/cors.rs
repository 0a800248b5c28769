//! Which web pages may read the responses (Fetch standard, section 3.2, "CORS protocol").

use std::str::FromStr;

use lambda_http::Body;
use lambda_http::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap,
    HeaderName, VARY,
};
use lambda_http::http::{HeaderValue, StatusCode, Uri};
use thiserror::Error;

use crate::Response;

/// The headers that the API itself reads.
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match";
/// The most headers that are allowed because a page asks for them, and the longest name.
const MOST_ASKED: usize = 50;
const LONGEST_NAME: usize = 100;
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept-encoding, etag, idempotency-replayed, link, location, ratelimit, ratelimit-policy, retry-after, sync-epoch, sync-until, www-authenticate, x-request-id",
);
/// How many seconds a browser may remember a preflight: Chromium's maximum.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins whose pages may read the responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

/// A text that no browser sends as an origin, so that no page would ever match it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no origin: it must be http:// or https://, a host in lower case, and the port if it is another than the \
     scheme's, such as https://portal.example; several have commas between, and * alone is any"
)]
pub struct InvalidOrigin(String);

impl FromStr for Origins {
    type Err = InvalidOrigin;

    /// Parses origins with commas between. A slash at the end of one is ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "*" {
            return Ok(Self(vec!["*".into()]));
        }
        let given = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        let origins = given.map(|given| {
            let origin = given.strip_suffix('/').unwrap_or(given);
            if is_origin(origin) { Ok(origin.to_owned()) } else { Err(InvalidOrigin(given.into())) }
        });
        origins.collect::<Result<_, _>>().map(Self)
    }
}

/// Whether a browser would write an origin like this (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    let (host_and_port, default_port) = match text.split_once("://") {
        Some(("http", rest)) => (rest, 80),
        Some(("https", rest)) => (rest, 443),
        _ => return false,
    };
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let port = host_and_port.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port);
    host_and_port.bytes().all(is_plain)
        && uri.host().is_some_and(|host| !host.is_empty())
        && port.is_none_or(|port| port.parse().is_ok_and(|port: u16| port != default_port))
}

/// Adds the headers that let a page of an allowed origin read the response.
pub fn allow(origins: &Origins, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
    let Origins(origins) = origins;
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

/// The answer to a preflight with these headers. It needs no key, because browsers send none, and it contains no
/// secret.
pub(crate) fn preflight(allowed_methods: &str, request: &HeaderMap) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if let Ok(methods) = HeaderValue::from_str(allowed_methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        headers.insert(lambda_http::http::header::ALLOW, methods);
    }
    if let Ok(names) = HeaderValue::from_str(&request_headers(request)) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

/// The headers that a page may send: those that the API reads, and those that the page asks for, such as
/// `traceparent`. Keys travel in no cookie, so a header lets a page do nothing that it could not do without.
fn request_headers(request: &HeaderMap) -> String {
    let asked =
        request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|names| names.to_str().ok());
    // In lower case, and nothing but the characters of a header's name.
    let names = asked.flat_map(|names| names.split(',')).filter_map(|name| name.trim().parse().ok());
    let others = names.filter(|name: &HeaderName| {
        name.as_str().len() <= LONGEST_NAME
            && !REQUEST_HEADERS.split(", ").any(|known| known == name.as_str())
    });
    others.take(MOST_ASKED).fold(REQUEST_HEADERS.to_owned(), |names, name| names + ", " + name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_send_them() {
        for (text, origins) in [
            ("", &[][..]),
            (" , ", &[]),
            ("*", &["*"]),
            (" * ", &["*"]),
            (
                "https://portal.example/, http://localhost:5173",
                &["https://portal.example", "http://localhost:5173"],
            ),
            ("http://[::1]:3000,http://[::1]", &["http://[::1]:3000", "http://[::1]"]),
            ("https://xn--mnchen-3ya.example", &["https://xn--mnchen-3ya.example"]),
            (
                "http://a_b.example:443,https://10.0.0.1:80",
                &["http://a_b.example:443", "https://10.0.0.1:80"],
            ),
        ] {
            let parsed: Origins = text.parse().unwrap();
            assert_eq!(parsed.0, origins, "{text}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for text in [
            "https://Portal.example",
            "HTTPS://portal.example",
            "https://a.example;https://b.example",
            "https://a.example https://b.example",
            "https://a.example,*",
            "https://*.example",
            "portal.example",
            "https://portal.example/app",
            "https://portal.example//",
            "https://portal.example?a",
            "https://ada@portal.example",
            "https://münchen.example",
            "https://portal.example:443",
            "http://portal.example:80",
            "https://portal.example:",
            "https://portal.example:port",
            "https://portal.example:65536",
            "https://:8443",
            "https://",
            "null",
            "ftp://portal.example",
        ] {
            let error = text.parse::<Origins>().unwrap_err();
            assert!(error.to_string().contains("is no origin"), "{text}");
        }
    }

    fn allowed(asked: &str) -> String {
        request_headers(&HeaderMap::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, asked.parse().unwrap())]))
    }

    #[test]
    fn a_page_may_send_the_headers_it_asks_for_and_nothing_else_is_repeated() {
        assert_eq!(request_headers(&HeaderMap::new()), REQUEST_HEADERS);
        assert_eq!(
            allowed("authorization,baggage, Sentry-Trace,traceparent"),
            format!("{REQUEST_HEADERS}, baggage, sentry-trace, traceparent")
        );
        for nothing in ["", ",", "a b", "(x)", "\"x\"", "*=1; path", "authorization", "IF-MATCH"] {
            assert_eq!(allowed(nothing), REQUEST_HEADERS, "{nothing}");
        }
        let longest = "x".repeat(LONGEST_NAME);
        assert_eq!(allowed(&format!("{longest},y{longest}")), format!("{REQUEST_HEADERS}, {longest}"));
        let many: Vec<_> = (0..=MOST_ASKED).map(|n| format!("x-{n}")).collect();
        let most = many[..MOST_ASKED].join(", ");
        assert_eq!(allowed(&many.join(",")), format!("{REQUEST_HEADERS}, {most}"));
    }
}
