//! `GET /tickets/`: all tickets, or those of the one customer the key is restricted to.

use std::sync::Arc;

use tickets_app::App;
use tickets_http::query::ListQuery;
use tickets_http::{Caller, ListReply, Problem, Request, Response, Service, route};

/// Answers an event: the guard, then [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    let service = Service::new(&route::LIST_TICKETS, &app.keys, &app.cors_origins, &app.clock);
    service.respond(event, |caller, request| handle(&app, caller, request)).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let horizon = request.received().minus(app.tickets.policy().settle);
    let query = ListQuery::parse(request.query(), caller.customer(), horizon)?;
    let mut reply = ListReply::default();
    let flow = app.tickets.list(&query.filter, |record| reply.push(record)).await?;
    reply.finish(&query, flow, horizon)
}
