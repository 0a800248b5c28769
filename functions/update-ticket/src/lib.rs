//! `PUT /tickets/{id}` and `PATCH /tickets/{id}`: updates the given fields.

use std::sync::Arc;

use tickets_app::App;
use tickets_domain::TicketInput;
use tickets_http::{Caller, Problem, Request, Response, reply, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::UPDATE_TICKET, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let id = request.ticket_id()?;
    let change = TicketInput::change(request.json()?, &app.presets)?;
    let apply = |ticket: &_, now| change.apply(ticket, now);
    let (by, visibility) = (caller.key(), caller.visibility());
    let tickets = app.tickets.metered(request.meter());
    let ticket = tickets.update(id, by, visibility, &request.preconditions()?, apply).await?;
    reply::changed(&ticket)
}
