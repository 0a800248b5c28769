//! The page with the API's description, as in a deployment. The first request with the printed link's token
//! also gets the development key. Every user of the machine can open the page, so others must not get the
//! key.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use get_ticket_configuration::docs;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use tickets_domain::Presets;
use tickets_http::openapi;
use tickets_http::route::{BASE_PATH, DOCS, OPENAPI};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

/// The page, with the document that it shows.
#[derive(Debug, Clone)]
pub struct Docs {
    document: Arc<Value>,
    /// Its operations, in the order in which the page shows them.
    operations: Arc<[&'static str]>,
    /// The development key, which makes "try it" work at once. Emptied when it was given away.
    key: Arc<Mutex<Option<Once>>>,
}

/// A key, for the first request that has the token.
#[derive(Debug)]
struct Once {
    token: String,
    key: String,
}

#[derive(Debug, Deserialize)]
struct Link {
    token: Option<String>,
}

impl Docs {
    /// The page for an API with these presets, and the path under which it gives `key` once.
    pub fn new(presets: &Presets, key: String) -> Result<(Self, String), getrandom::Error> {
        let mut token = [0; 16];
        getrandom::fill(&mut token)?;
        let token = HEXLOWER.encode(&token);
        let path = format!("{DOCS}?token={token}");
        let key = Arc::new(Mutex::new(Some(Once { token, key })));
        let operations = openapi::operation_ids(presets).into();
        Ok((Self { document: Arc::new(openapi::document(presets)), operations, key }, path))
    }

    /// Takes the key if `token` is right and the key was not taken before.
    fn take(&self, token: &str) -> Option<String> {
        let mut kept = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take_if(|once| once.token.as_bytes().ct_eq(token.as_bytes()).into()).map(|once| once.key)
    }

    pub fn into_router(self) -> Router {
        Router::new()
            .route("/", get(async || Redirect::temporary(DOCS)))
            .route(DOCS, get(page))
            .route(&format!("{DOCS}/"), get(page))
            .route(OPENAPI, get(document))
            // In a deployment API Gateway does this.
            .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
            .with_state(self)
    }
}

async fn document(State(docs): State<Docs>, headers: HeaderMap) -> Response {
    let mut document = Value::clone(&docs.document);
    // Tools that import the document into a workspace, such as Postman, know no host to which a path belongs.
    if let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) {
        document["servers"][0]["url"] = format!("http://{host}{BASE_PATH}").into();
    }
    ([(CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

async fn page(method: Method, State(docs): State<Docs>, Query(link): Query<Link>) -> Response {
    // A HEAD request must not use up the key.
    let token = link.token.filter(|_| method == Method::GET);
    let key = token.and_then(|token| docs.take(&token));
    match docs::page(OPENAPI, &docs.operations, key.as_deref()) {
        Ok(page) => {
            let headers = [
                (CONTENT_TYPE, "text/html; charset=utf-8"),
                (CACHE_CONTROL, "no-store"),
                (CONTENT_SECURITY_POLICY, page.security_policy.as_str()),
                (X_FRAME_OPTIONS, "DENY"),
                (REFERRER_POLICY, "no-referrer"),
            ];
            (headers, page.html).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_given_once_and_for_the_token_only() {
        let (docs, path) = Docs::new(&Presets::any(), "tk_a_b".into()).unwrap();
        let token = path.strip_prefix("/docs?token=").unwrap();
        for wrong in ["", "tk_a_b", &token[1..], &token.to_uppercase().replace(|c: char| c.is_numeric(), "0")]
        {
            assert_eq!(docs.take(wrong), None, "{wrong}");
        }
        assert_eq!(docs.take(token).as_deref(), Some("tk_a_b"));
        assert_eq!(docs.take(token), None);
    }
}
