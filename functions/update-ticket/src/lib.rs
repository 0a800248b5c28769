//! `PUT /tickets/{id}` and `PATCH /tickets/{id}`: update the fields given.

use std::sync::Arc;

use tickets_app::App;
use tickets_domain::TicketChange;
use tickets_http::{Caller, Problem, Request, Response, Service, reply, route};

/// Answers an event: the guard, then [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    let service = Service::new(&route::UPDATE_TICKET, &app.keys, &app.cors_origins, &app.clock);
    service.respond(event, |caller, request| handle(&app, caller, request)).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let id = request.ticket_id()?;
    let change = TicketChange::parse(request.form()?, &app.presets)?;
    change.customer.map_or(Ok(()), |customer| caller.may_write(customer))?;
    let apply = |ticket: &_, now| change.apply(ticket, now);
    let ticket = app.tickets.update(id, caller.customer(), &request.if_match(), apply).await?;
    reply::changed(&ticket)
}
