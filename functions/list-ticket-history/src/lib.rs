//! `GET /tickets/{id}/history/`: lists who changed what, and when.

use std::sync::Arc;

use tickets_app::App;
use tickets_http::history::HistoryQuery;
use tickets_http::{Caller, HistoryReply, Problem, Request, Response, route};

/// Answers an event: checks the key, then calls [`handle`].
pub async fn answer(app: Arc<App>, event: lambda_http::Request) -> Response {
    app.respond(&route::LIST_TICKET_HISTORY, event, handle).await
}

async fn handle(app: &App, caller: Caller, request: Request) -> Result<Response, Problem> {
    let id = request.ticket_id()?;
    let query = HistoryQuery::parse(request.query())?;
    let (tickets, history) = (app.tickets.metered(request.meter()), app.history.metered(request.meter()));
    let range = tickets.history(id, caller.visibility()).await?;
    let mut reply = HistoryReply::default();
    let more = history.list(&range, query.version_after, query.limit, |entry| reply.push(entry)).await?;
    reply.finish(&request, &query, more)
}
