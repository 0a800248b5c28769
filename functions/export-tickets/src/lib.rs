//! Scheduled: writes what changed since the last run to S3, deletions included.
//!
//! - [`event`]: what a run is asked for, and what it answers;
//! - [`export`]: a run: part after part, each step noted before it is taken;
//! - [`part`]: records as gzipped lines of JSON, up to a size;
//! - [`layout`]: the names of objects, and the manifest;
//! - [`bucket`]: the store.

use tickets_app::Config;
use tickets_domain::{Clock, Result, Timestamp};
use tickets_repository::Tickets;
use tickets_repository::checkpoint::Export;

pub mod bucket;
pub mod event;
pub mod export;
pub mod layout;
pub mod part;

pub use bucket::Bucket;
pub use event::{Event, Outcome};
pub use export::Exporter;

/// The exporter of a deployed function, from the environment.
///
/// # Errors
/// The variable that is refused.
pub fn from_env() -> std::result::Result<Exporter, tickets_app::InvalidConfig> {
    let config = Config::from_env()?;
    let clock = Clock::system();
    let database = config.connection(config.endpoint_url.as_deref())?.open();
    let store = config.connection(config.s3_endpoint_url.as_deref())?;
    let tickets = Tickets::new(database, config.tickets_table, clock.clone(), config.policy);
    let bucket = Bucket::open(config.export_bucket, store);
    Ok(Exporter::new(tickets, bucket, clock))
}

/// Answers an event: a run that ends before `deadline`.
///
/// # Errors
/// Where the database or the store does not answer. What is stored stays; the next run goes on.
pub async fn answer(exporter: &Exporter, event: Event, deadline: Timestamp) -> Result<Outcome> {
    if let Some(since) = event.since {
        exporter.ask_again(since).await?;
        return exporter.run(Export::Again, deadline).await;
    }
    let outcome = exporter.run(Export::Scheduled, deadline).await?;
    // A pass asked for by hand that did not fit into its own run goes on in the time that is left.
    if outcome.complete && exporter.is_asked_again().await? {
        exporter.run(Export::Again, deadline).await?;
    }
    Ok(outcome)
}
