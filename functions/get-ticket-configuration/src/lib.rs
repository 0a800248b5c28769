//! `GET /ticket-configuration/`: returns the presets and limits. Also serves the API's description without a
//! key: `GET /openapi.json`, and `GET /docs` if the deployment allows it.

pub mod docs;

use std::sync::Arc;

use tickets_app::App;
use tickets_domain::Error;
use tickets_http::route::{DOCS, OPENAPI};
use tickets_http::{Problem, Request, Response, TicketConfiguration, openapi, reply, route};

/// Answers an event: with a document, or, after checking the key, with the configuration.
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    let route = &route::GET_TICKET_CONFIGURATION;
    match route::document(&event) {
        Some(path) => {
            app.service(route).respond_to_anyone(event, path, |request| document(&app, path, &request))
        }
        None => app.respond(route, event, async |app, _, _| configuration(app)).await,
    }
}

fn configuration(app: &App) -> Result<Response, Problem> {
    let settings = app.tickets.settings();
    reply::of(&TicketConfiguration::new(&app.presets, settings.settle, settings.keep_tombstones))
}

/// Makes a document on request, so that no cold start waits for it.
fn document(app: &App, path: &'static str, request: &Request) -> Result<Response, Problem> {
    // The API's base for this client: behind a custom domain's mapping it is not the published one.
    let written = request.path();
    let base = written.trim_end_matches('/').trim_end_matches(path);
    match path {
        OPENAPI => {
            let mut document = openapi::document(&app.presets);
            document["servers"][0]["url"] = base.into();
            Ok(reply::document("application/json", document.to_string()))
        }
        DOCS if app.serve_docs => {
            let operations = openapi::operation_ids(&app.presets);
            let page = docs::page(&format!("{base}{OPENAPI}"), &operations, None).map_err(Error::internal)?;
            reply::page(page.html, &page.security_policy)
        }
        _ => Err(Problem::no_such_path()),
    }
}
