//! Events made harmless: `lambda_http` builds a URL of an event and panics where that fails, which a
//! caller must not be able to bring about. Nothing here reads that URL: only its failing matters.
//! And it hides that a header was given twice, which the guard wants to know.

use lambda_http::http::HeaderMap;
use lambda_http::http::header::{HOST, HeaderName};
use lambda_http::request::LambdaRequest;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What `http::Uri` does not take in a query, and the `#` that would end it.
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

/// The event without what would make its URL fail.
pub fn harmless(mut event: LambdaRequest) -> LambdaRequest {
    match &mut event {
        LambdaRequest::ApiGatewayV1(event) => {
            without_host(&mut event.headers);
            without_host(&mut event.multi_value_headers);
            event.request_context.domain_name = None;
            rooted(&mut event.path);
            // They have the last value of each name, and would replace all that there are.
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
            }
        }
        // Formats whose features are off.
        _ => {}
    }
    event
}

/// Without a host there is no scheme, host or port to get wrong.
fn without_host(headers: &mut HeaderMap) {
    headers.remove(HOST);
    headers.remove(HeaderName::from_static("x-forwarded-proto"));
}

fn rooted(path: &mut Option<String>) {
    if let Some(path) = path.as_mut().filter(|path| !path.starts_with('/')) {
        path.insert(0, '/');
    }
}
