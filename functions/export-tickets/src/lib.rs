//! Runs on a schedule: stores what changed since the last run, deletions included.
//!
//! - [`event`]: the event of a run, and its answer;
//! - [`export`]: a run, part after part, each step noted before it is taken;
//! - [`part`]: records as gzipped lines of JSON, up to a size;
//! - [`layout`]: the names of objects, and the manifest;
//! - [`erase`]: removes a ticket's content from the stored objects (`tickets erase`);
//! - [`store`]: the bucket or directory of the objects.

use std::time::Instant;

use thiserror::Error;
use tickets_app::{Config, Exports, InvalidConfig};
use tickets_domain::{Clock, Meter, Result, Timestamp};
use tickets_http::log::{Entry, Level, Log, Metrics};
use tickets_repository::checkpoint::ExportKind;
use tickets_repository::{DynamoDb, Tickets};

pub mod erase;
pub mod event;
pub mod export;
pub mod layout;
pub mod part;
pub mod store;

pub use event::{Event, Outcome};
pub use export::Exporter;
pub use store::{Store, StoreError};

/// Why the function does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The exporter and the log of a deployed function, from the environment.
pub async fn from_env() -> Result<(Exporter, Log), StartError> {
    let config = Config::from_env()?;
    let variables = config.variables();
    let clock = Clock::system();
    let dynamodb = DynamoDb::new(&config.sdk_config(config.endpoint_url.as_deref())?);
    let store = match config.exports.as_ref().ok_or(InvalidConfig::NoExports)? {
        Exports::Directory(path) => Store::directory(path)?,
        Exports::Bucket(name) => {
            let sdk_config = config.sdk_config(config.s3_endpoint_url.as_deref())?;
            Store::bucket(name, &sdk_config, Some(&config.roots()?)).await?
        }
    };
    let tickets = Tickets::new(dynamodb, config.tickets_table, clock.clone(), config.settings);
    Ok((Exporter::new(tickets, store, clock).noting(variables), Log::to_cloud_watch(config.log)))
}

/// Answers an event by a run that ends before `deadline`. After an error, what is stored stays, and the next
/// run continues.
pub async fn answer(exporter: &Exporter, event: Event, deadline: Timestamp) -> Result<Outcome> {
    exporter.note_configuration().await?;
    if let Some(since) = event.since {
        exporter.ask_again(since).await?;
        return exporter.run(ExportKind::Again, deadline).await;
    }
    let outcome = exporter.run(ExportKind::Scheduled, deadline).await?;
    // Continue a pass that was asked for by hand and did not fit into its own run.
    if outcome.complete && exporter.is_asked_again().await? {
        exporter.run(ExportKind::Again, deadline).await?;
    }
    Ok(outcome)
}

/// Like [`answer`], with a line in the log.
pub async fn answer_logged(
    exporter: &Exporter,
    log: &Log,
    event: Event,
    invocation: &Invocation<'_>,
) -> Result<Outcome> {
    let (began, meter, scheduled) = (Instant::now(), Meter::counting(), event.since.is_none());
    let metered = exporter.metered(meter.clone());
    // Put it on the heap: as one type, with all it holds, it exceeds the compiler's depth limit.
    let outcome = Box::pin(answer(&metered, event, invocation.deadline)).await;
    let now = exporter.now();
    let (level, message) = match &outcome {
        Ok(_) => (Level::Info, "export"),
        Err(_) => (Level::Error, "export failed"),
    };
    let entry = Entry {
        function: "export-tickets",
        level,
        message,
        at: now,
        request_id: invocation.request_id,
        trace: invocation.trace,
        correlation_id: None,
        metrics: Metrics::of_run(outcome.is_err(), began.elapsed(), meter.usage()),
    };
    log.write(&entry, &event::LogFields::new(&outcome, scheduled, now));
    outcome
}

/// The context of a run.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// When the run has to end.
    pub deadline: Timestamp,
    /// Lambda's id of the invocation.
    pub request_id: Option<&'a str>,
    /// Its tracing header.
    pub trace: Option<&'a str>,
}
