//! Runs [`export_tickets`] on Lambda.

use export_tickets::event::log_failure;
use export_tickets::{Event, answer, from_env};
use lambda_runtime::{LambdaEvent, service_fn};
use tickets_domain::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tickets_http::log::init();
    let exporter = &from_env()?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
        let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let deadline = Timestamp::from_millis(deadline).unwrap_or(Timestamp::MAX);
        let outcome = answer(exporter, event.payload, deadline).await;
        outcome.inspect_err(log_failure).map_err(lambda_runtime::Error::from)
    }))
    .await
}
