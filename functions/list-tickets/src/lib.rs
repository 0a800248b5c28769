//! `GET /tickets/`: lists all tickets, or those of the customer to whom the key is restricted.

use std::sync::Arc;

use tickets_app::App;
use tickets_http::{Caller, ListQuery, ListReply, Problem, Request, Response, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::LIST_TICKETS, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let horizon = app.tickets.settings().horizon(request.received());
    let query = ListQuery::parse(request.query(), None, caller.visibility(), &app.presets, horizon)?;
    let mut reply = ListReply::default();
    let take = |row: &_| reply.push(row);
    let tickets = app.tickets.metered(request.meter());
    let listed = tickets.list(&query.filter, &query.continuation, caller.visibility(), take).await?;
    reply.finish(&request, &query, &listed, horizon)
}
