//! `DELETE /tickets/{id}`: delete a ticket; what is left tells whoever keeps a copy.

use std::sync::Arc;

use tickets_app::App;
use tickets_http::{Caller, Problem, Request, Response, Service, reply, route};

/// Answers an event: the guard, then [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    let service = Service::new(&route::DELETE_TICKET, &app.keys, &app.cors_origins, &app.clock);
    service.respond(event, |caller, request| handle(&app, caller, request)).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let id = request.ticket_id()?;
    app.tickets.delete(id, caller.customer(), &request.if_match()).await?;
    Ok(reply::no_content())
}
