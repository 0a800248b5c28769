//! Runs [`record_changes`] on Lambda.

use std::convert::Infallible;

use lambda_runtime::{LambdaEvent, service_fn};
use record_changes::{Event, answer_logged, from_env};
use tickets_domain::Clock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let ((history, log), clock) = (&from_env()?, &Clock::system());
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
        Ok::<_, Infallible>(answer_logged(history, log, clock, event).await)
    }))
    .await
}
