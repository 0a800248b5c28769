//! Runs [`deliver_webhooks`] on Lambda.

use std::convert::Infallible;

use deliver_webhooks::{Event, Invocation, answer_logged, from_env};
use lambda_runtime::{LambdaEvent, service_fn};
use tickets_domain::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (deliverer, log) = &from_env()?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
        let (wake, context) = (event.payload.wake(), event.context);
        let deadline = i64::try_from(context.deadline).ok().map(Timestamp::from_millis);
        // `cargo lambda watch` sends a deadline in 1970: then there is none.
        let deadline = deadline.and_then(Result::ok).filter(|deadline| *deadline > deliverer.now());
        let invocation = Invocation {
            wake,
            deadline: deadline.unwrap_or(Timestamp::MAX),
            request_id: Some(&context.request_id),
            trace: context.xray_trace_id.as_deref(),
        };
        // A failure is in the log, and the next run goes on.
        let _ = answer_logged(deliverer, log, &invocation).await;
        Ok::<_, Infallible>(())
    }))
    .await
}
