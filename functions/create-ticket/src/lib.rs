//! `POST /tickets/`: a new ticket.

use std::sync::Arc;

use tickets_app::App;
use tickets_domain::TicketFields;
use tickets_http::{Caller, Problem, Request, Response, Service, reply, route};

/// Answers an event: the guard, then [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    let service = Service::new(&route::CREATE_TICKET, &app.keys, &app.cors_origins, &app.clock);
    service.respond(event, |caller, request| handle(&app, caller, request)).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let form = request.form()?;
    let fingerprint = form.fingerprint();
    let named = request.idempotency_key()?.map(|key| caller.request(key, fingerprint));
    let fields = TicketFields::draft(form, &app.presets)?;
    caller.may_write(fields.customer)?;
    let created = app.tickets.create(&fields, named.as_ref()).await?;
    reply::created(&request, &created.ticket, created.replayed)
}
