//! The API's description as a page: Swagger UI with all it needs in one file, so that the page works behind
//! any host and path.

use std::io::{self, Read};

use data_encoding::BASE64;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// Swagger UI: 1.7 MB, of which the binary holds 0.4 MB.
const SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));

/// What Swagger UI's style lacks.
const OWN_STYLE: &str = include_str!("docs/page.css");
/// Starts Swagger UI. It never changes, so that the page's policy can contain its hash.
const START: &str = include_str!("docs/page.js");

/// Shown as long as the page has no key.
const NO_KEY: &str = "This page has no key, so every request is answered 401. Press <b>Authorize</b> and paste a key: \
    <code>tk_</code> and all that follows, without <code>Bearer</code>. The local server prints one when it starts; for a \
    deployment, ask whoever runs it (<code>tickets keys create</code>).";

/// A page, and its `Content-Security-Policy`.
#[derive(Debug)]
pub struct Page {
    pub html: String,
    /// The page may run its own scripts and call its own host; no other page may embed it.
    pub security_policy: String,
}

/// The page for the description at `url`, whose operations it shows in the order of these `operationId`s. With a key,
/// "try it" works at once.
pub fn page(url: &str, operations: &[&str], key: Option<&str>) -> io::Result<Page> {
    let (style, script) = (unpacked(STYLE)?, unpacked(SCRIPT)?);
    let hash = |script: &str| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(script)));
    let security_policy = format!(
        "default-src 'none'; script-src {} {}; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(&script),
        hash(START)
    );
    let key = key.map(|key| format!(" data-key=\"{}\"", escaped(key))).unwrap_or_default();
    let html = [
        r##"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tickets API</title>
<link rel="icon" href="data:,">
<style>"##,
        &style,
        "\n",
        OWN_STYLE,
        "</style>\n<p id=\"no-key\" hidden>",
        NO_KEY,
        "</p>\n<div id=\"ui\" data-url=\"",
        &escaped(url),
        "\" data-order=\"",
        &operations.join(" "),
        "\"",
        &key,
        "></div>\n<script>",
        &script,
        "</script>\n<script>",
        START,
        "</script>\n</html>\n",
    ];
    Ok(Page { html: html.concat(), security_policy })
}

/// Escapes a text as the value of an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

fn unpacked(compressed: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(compressed).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_swagger_ui_ends_the_element_it_is_in() {
        let (style, script) = (unpacked(STYLE).unwrap(), unpacked(SCRIPT).unwrap());
        assert!(style.contains(".swagger-ui") && script.contains("SwaggerUIBundle"));
        assert!(!style.to_lowercase().contains("</style") && !script.to_lowercase().contains("</script"));
    }

    #[test]
    fn a_page_without_a_key_has_none() {
        let page = |key| page("/api/v1/openapi.json", &["one", "two"], key).unwrap().html;
        let element = "<div id=\"ui\" data-url=\"/api/v1/openapi.json\" data-order=\"one two\"></div>";
        assert!(page(None).contains(element));
        assert!(page(Some("tk_a_b")).contains(" data-key=\"tk_a_b\"></div>"));
    }

    #[test]
    fn a_base_path_is_no_markup() {
        // The page takes the API's base path from the request.
        let page = page("/\"><script>alert(1)</script>/openapi.json", &[], None).unwrap();
        assert!(!page.html.contains("<script>alert"));
        assert!(page.security_policy.contains("frame-ancestors 'none'"));
    }
}
