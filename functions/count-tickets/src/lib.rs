//! `GET /ticket-counts/`: counts the tickets that wait, or others.

use std::sync::Arc;

use tickets_app::App;
use tickets_http::{Caller, Problem, Request, Response, counts, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::COUNT_TICKETS, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let query = counts::query(request.query(), &app.presets)?;
    let tickets = app.tickets.metered(request.meter());
    let (counter, complete) = tickets.count(&query, caller.visibility()).await?;
    counts::reply(counter.finish(complete, &app.presets))
}
