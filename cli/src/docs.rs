//! The API's description as a page: Swagger UI, from a crate, over the document this very build makes.

use std::io::{Cursor, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tickets_domain::Presets;
use tickets_http::openapi;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// The page and what it needs.
#[derive(Debug, Clone)]
pub struct Docs {
    document: Arc<str>,
    /// The development key: "try it" works at once.
    key: Arc<str>,
}

/// The files of Swagger UI that the page loads.
const ASSETS: [(&str, &str); 3] = [
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("favicon-32x32.png", "image/png"),
];

impl Docs {
    /// The page of an API with these presets, for whoever has this key.
    pub fn new(presets: &Presets, key: String) -> Self {
        Self { document: openapi::document(presets).to_string().into(), key: key.into() }
    }

    /// The page as an HTTP service.
    pub fn into_router(self) -> Router {
        Router::new()
            .route("/docs", get(page))
            .route("/docs/", get(page))
            .route("/docs/{file}", get(asset))
            .route("/openapi.json", get(document))
            .with_state(self)
    }
}

async fn document(State(docs): State<Docs>) -> Response {
    ([(CONTENT_TYPE, "application/json")], docs.document.to_string()).into_response()
}

async fn page(
    State(docs): State<Docs>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    // The key is for who sits at this machine: not for others on a network, and not for a page elsewhere
    // whose name was made to point here.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let key = if peer.ip().is_loopback() && is_loopback(host) { json!(&*docs.key) } else { json!(null) };
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, PAGE.replace("\"KEY\"", &key.to_string())).into_response()
}

async fn asset(Path(file): Path<String>) -> Response {
    let Some((name, kind)) = ASSETS.into_iter().find(|(name, _)| *name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match unpacked(name) {
        Some(content) => ([(CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A file of the archive in the crate.
fn unpacked(name: &str) -> Option<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).ok()?;
    let path = archive.file_names().flatten().find(|path| is_dist(path, name))?.into_owned();
    let mut content = Vec::new();
    archive.by_name(&path).ok()?.read_to_end(&mut content).ok()?;
    Some(content)
}

/// `swagger-ui-5.32.6/dist/NAME`, whatever the version.
fn is_dist(path: &str, name: &str) -> bool {
    matches!(path.split('/').collect::<Vec<_>>()[..], [_, "dist", file] if file == name)
}

fn is_loopback(host: &str) -> bool {
    let name = match host.parse::<SocketAddr>() {
        Ok(address) => return address.ip().is_loopback(),
        Err(_) => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

const PAGE: &str = r##"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tickets API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
  const key = "KEY";
  const ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#ui",
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    validatorUrl: null,
    onComplete: () => { if (key) ui.preauthorizeApiKey("key", key); },
  });
</script>
</html>
"##;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_of_the_page_is_in_the_archive() {
        for (name, _) in ASSETS {
            assert!(unpacked(name).is_some_and(|content| !content.is_empty()), "{name}");
            assert!(PAGE.contains(&format!("/docs/{name}\"")), "{name} is not loaded");
        }
    }

    #[test]
    fn the_key_is_shown_to_this_machine_only() {
        for local in ["127.0.0.1:3000", "localhost:3000", "localhost", "[::1]:3000", "127.0.0.1"] {
            assert!(is_loopback(local), "{local}");
        }
        for other in
            ["", "example.com", "localhost.example.com:3000", "10.0.0.1:3000", "127.0.0.1.example.com"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
