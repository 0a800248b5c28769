//! `PATCH /tickets/`: updates the given fields of up to a hundred tickets.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use tickets_app::App;
use tickets_domain::TicketChange;
use tickets_http::{Caller, Problem, Request, Response, etag, reply, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::UPDATE_TICKETS, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let changes = TicketChange::parse_rows(request.changes()?, &app.presets, etag::if_match);
    let tickets = app.tickets.metered(request.meter());
    let updated = tickets.update_all(caller.key(), caller.visibility(), changes).await;
    reply::batch(StatusCode::OK, updated)
}
