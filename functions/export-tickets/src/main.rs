//! Runs [`export_tickets`] on Lambda.

use export_tickets::{Event, Invocation, answer_logged, from_env};
use lambda_runtime::{LambdaEvent, service_fn};
use tickets_domain::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (exporter, log) = &from_env().await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
        let context = event.context;
        let deadline = i64::try_from(context.deadline).ok().map(Timestamp::from_millis);
        // `cargo lambda watch` sends a deadline in 1970: then there is none.
        let deadline = deadline.and_then(Result::ok).filter(|deadline| *deadline > exporter.now());
        let invocation = Invocation {
            deadline: deadline.unwrap_or(Timestamp::MAX),
            request_id: Some(&context.request_id),
            trace: context.xray_trace_id.as_deref(),
        };
        let outcome = answer_logged(exporter, log, event.payload, &invocation).await;
        outcome.map_err(lambda_runtime::Error::from)
    }))
    .await
}
