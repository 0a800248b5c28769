//! `POST /tickets/`: creates a ticket, or up to a hundred.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use tickets_app::App;
use tickets_domain::idempotency::IdempotencyKey;
use tickets_domain::{Error, JsonObject, NewTicket};
use tickets_http::request::Tickets;
use tickets_http::{Caller, Problem, Request, Response, reply, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::CREATE_TICKET, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let key = request.idempotency_key()?;
    match request.tickets()? {
        Tickets::One(object) => create(app, &caller, &request, key, object).await,
        Tickets::Batch(rows) => create_all(app, &caller, &request, key, rows).await,
    }
}

async fn create(
    app: &App,
    caller: &Caller,
    request: &Request,
    key: Option<IdempotencyKey>,
    object: JsonObject,
) -> Result<Response, Problem> {
    let fingerprint = object.fingerprint();
    let named = key.map(|key| caller.request(key, fingerprint));
    let new = NewTicket::parse(object, &app.presets)?;
    let tickets = app.tickets.metered(request.meter());
    let created = tickets.create(caller.key(), caller.visibility(), &new, named.as_ref()).await?;
    reply::created(request, &created.ticket, created.replayed)
}

/// Creates the tickets of a batch. Its rows are independent.
async fn create_all(
    app: &App,
    caller: &Caller,
    request: &Request,
    key: Option<IdempotencyKey>,
    rows: Vec<Result<JsonObject, Error>>,
) -> Result<Response, Problem> {
    let new = rows.into_iter().enumerate().map(|(at, object)| {
        let object = object?;
        let named = key.clone().map(|key| caller.row(key, at, object.fingerprint()));
        Ok((NewTicket::parse(object, &app.presets)?, named))
    });
    let tickets = app.tickets.metered(request.meter());
    let created = tickets.create_all(caller.key(), caller.visibility(), &new.collect::<Vec<_>>()).await;
    reply::batch(StatusCode::CREATED, created.into_iter().map(|created| Ok(created?.ticket)).collect())
}
