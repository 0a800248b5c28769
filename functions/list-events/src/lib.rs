//! `GET /events/`: lists what changed, over all tickets, in the order in which it was recorded.

use std::sync::Arc;

use futures::try_join;
use tickets_app::App;
use tickets_http::{Caller, EventsReply, Problem, Request, Response, events, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::LIST_EVENTS, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let horizon = app.tickets.settings().horizon(request.received());
    let filter = events::filter(request.query())?;
    let (tickets, history) = (app.tickets.metered(request.meter()), app.history.metered(request.meter()));
    let mut reply = EventsReply::default();
    let events = history.events(&filter, caller.visibility(), horizon, |event| reply.push(event));
    let (end, epoch) = try_join!(events, tickets.epoch())?;
    reply.finish(&request, &filter, end, &epoch, horizon)
}
