//! `DELETE /tickets/{id}`: deletes a ticket. A tombstone tells those who keep a copy.

use std::sync::Arc;

use tickets_app::App;
use tickets_http::{Caller, Problem, Request, Response, reply, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::DELETE_TICKET, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let id = request.ticket_id()?;
    let tickets = app.tickets.metered(request.meter());
    tickets.delete(id, caller.key(), caller.visibility(), &request.preconditions()?).await?;
    Ok(reply::no_content())
}
