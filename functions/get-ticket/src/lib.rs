//! `GET /tickets/{id}`: returns one ticket.

use std::sync::Arc;

use tickets_app::App;
use tickets_http::{Caller, Problem, Request, Response, reply, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::GET_TICKET, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let id = request.ticket_id()?;
    let ticket = app.tickets.metered(request.meter()).get(id, caller.visibility()).await?;
    reply::ticket(&request, &ticket)
}
