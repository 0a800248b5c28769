//! Removes from events what makes `lambda_http` panic: it builds a URL from an event, and panics if
//! that fails. No caller may cause that. Nothing here reads the URL, so that parts of it may be dropped.
//! Also keeps `lambda_http` from hiding that a header was given twice, which the guard refuses.

use std::collections::HashMap;

use lambda_http::http::HeaderMap;
use lambda_http::http::header::{HOST, HeaderName};
use lambda_http::request::LambdaRequest;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that `http::Uri` refuses in a query, and `#`, which would end the query.
const NOT_IN_QUERIES: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^');

/// The most bytes of a path or query. The `http` crate allows a URL 65,534 bytes. API Gateway allows 10,240
/// for request line and headers; other ways to a function may allow more.
const MOST_IN_URL: usize = 60_000;
/// Replaces a query that is longer. It is an unknown parameter, which the parsers of queries refuse by name.
const LONG_QUERY: &str = "queryOver60000Bytes";

/// The event without the parts that would make `lambda_http` panic.
pub fn sanitize(mut event: LambdaRequest) -> LambdaRequest {
    match &mut event {
        LambdaRequest::ApiGatewayV1(event) => {
            without_host(&mut event.headers);
            without_host(&mut event.multi_value_headers);
            event.request_context.domain_name = None;
            rooted(&mut event.path);
            let (single, multiple) =
                (&event.query_string_parameters, &event.multi_value_query_string_parameters);
            if is_long(single.iter()) || is_long(multiple.iter()) {
                event.query_string_parameters = Default::default();
                event.multi_value_query_string_parameters =
                    HashMap::from([(LONG_QUERY.to_owned(), vec![String::new()])]).into();
            }
            // These have only the last value of each name, and would replace the complete lists.
            for name in event.multi_value_headers.keys() {
                event.headers.remove(name);
            }
        }
        LambdaRequest::ApiGatewayV2(event) => {
            without_host(&mut event.headers);
            event.request_context.domain_name = None;
            rooted(&mut event.raw_path);
            if let Some(query) = &mut event.raw_query_string {
                *query = utf8_percent_encode(query, NOT_IN_QUERIES).to_string();
                if query.len() > MOST_IN_URL {
                    *query = LONG_QUERY.to_owned();
                }
            }
        }
        // Event formats whose features are disabled.
        _ => {}
    }
    event
}

fn is_long<'a>(query: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    query.map(|(name, value)| encoded(name) + encoded(value) + 2).sum::<usize>() > MOST_IN_URL
}

/// The length of a text in a URL.
fn encoded(text: &str) -> usize {
    utf8_percent_encode(text, NON_ALPHANUMERIC).map(str::len).sum()
}

/// Removes the headers that give a URL its scheme, host and port, which could be invalid.
fn without_host(headers: &mut HeaderMap) {
    headers.remove(HOST);
    headers.remove(HeaderName::from_static("x-forwarded-proto"));
}

fn rooted(path: &mut Option<String>) {
    let Some(path) = path.as_mut() else { return };
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    // No path of the API is this long, so that any other wrong path will do.
    if encoded(path) > MOST_IN_URL {
        "/".clone_into(path);
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::RequestExt;
    use serde_json::{Value, json};

    use super::*;

    const REST: &str = include_str!("../../../events/get-ticket.rest.json");
    const HTTP: &str = include_str!("../../../events/get-ticket.http.json");

    fn request(event: &str, change: impl FnOnce(&mut Value)) -> lambda_http::Request {
        let mut event: Value = serde_json::from_str(event).unwrap();
        change(&mut event);
        sanitize(serde_json::from_value(event).unwrap()).into()
    }

    #[test]
    fn an_invalid_host_or_scheme_does_not_fail_an_event() {
        for event in [REST, HTTP] {
            let request = request(event, |event| {
                event["requestContext"]["domainName"] = "no host".into();
                for (name, value) in [("host", "no host"), ("x-forwarded-proto", "no scheme")] {
                    event["headers"][name] = value.into();
                    event["multiValueHeaders"][name] = json!([value]);
                }
            });
            assert_eq!(request.uri().host(), None);
            assert!(!request.headers().contains_key(HOST) && request.headers().contains_key("accept"));
        }
    }

    #[test]
    fn a_path_without_a_leading_slash_gets_one() {
        let path = |event: &str, name: &str, path: &str| {
            request(event, |event| event[name] = path.into()).raw_http_path().to_owned()
        };
        for (event, name) in [(REST, "path"), (HTTP, "rawPath")] {
            assert_eq!([path(event, name, "tickets/1"), path(event, name, "/tickets/1")], ["/tickets/1"; 2]);
        }
    }

    #[test]
    fn a_query_may_hold_characters_that_a_url_may_not() {
        let request = request(HTTP, |event| event["rawQueryString"] = "status=a|b#c\"<>^".into());
        let query = request.query_string_parameters();
        assert_eq!(query.first("status"), Some("a|b#c\"<>^"));
    }

    #[test]
    fn a_header_given_twice_keeps_both_values() {
        let request = request(REST, |event| {
            event["multiValueHeaders"]["authorization"] = json!(["Bearer a", "Bearer b"]);
            event["headers"]["authorization"] = "Bearer b".into();
        });
        assert_eq!(request.headers().get_all("authorization").iter().count(), 2);
    }
}
