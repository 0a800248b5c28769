//! Started by the stream of the tickets' table: writes an entry to the history for each version of a ticket.
//!
//! - [`event`]: the event of the stream, and the answer to it.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use lambda_runtime::LambdaEvent;
use tickets_app::Config;
use tickets_domain::{Clock, Error, Meter, Result, TicketId};
use tickets_http::log::{Entry, Level, Log, Metrics};
use tickets_repository::history::StreamedVersion;
use tickets_repository::{DynamoDb, History};

pub mod event;

pub use event::{Event, Outcome, Run};

/// Tickets whose versions are recorded at the same time: so a batch of a hundred takes some fifty
/// milliseconds.
const AT_ONCE: usize = 16;

/// The history and the log of a deployed function, from the environment. It may not read the deployment's note, so it
/// does not check the format of the stored data: a change that it cannot read fails, and ends in the queue.
pub fn from_env() -> std::result::Result<(History, Log), tickets_app::InvalidConfig> {
    let config = Config::from_env()?;
    let dynamodb = DynamoDb::new(&config.sdk_config(config.endpoint_url.as_deref())?);
    let history = History::new(dynamodb, config.history_table, Clock::system(), config.settings);
    Ok((history, Log::to_cloud_watch(config.log)))
}

/// Records a batch. The answer names the first failure: the stream delivers it, and all after it, again.
pub async fn answer(history: &History, event: Event) -> Outcome {
    Outcome::of(run(history, event).await.failed.map(|(sequence_number, _)| sequence_number))
}

/// Like [`answer`], with a line in the log.
pub async fn answer_logged(
    history: &History,
    log: &Log,
    clock: &Clock,
    event: LambdaEvent<Event>,
) -> Outcome {
    let (began, meter, context) = (Instant::now(), Meter::counting(), event.context);
    let run = run(&history.metered(meter.clone()), event.payload).await;
    let (level, message) = match &run.failed {
        None => (Level::Info, "changes"),
        Some(_) => (Level::Error, "changes failed"),
    };
    let entry = Entry {
        function: "record-changes",
        level,
        message,
        at: clock.now(),
        request_id: Some(&context.request_id),
        trace: context.xray_trace_id.as_deref(),
        correlation_id: None,
        metrics: Metrics::of_run(run.failed.is_some(), began.elapsed(), meter.usage()),
    };
    log.write(&entry, &run.log_fields());
    Outcome::of(run.failed.map(|(sequence_number, _)| sequence_number))
}

/// Records a batch.
pub async fn run(history: &History, event: Event) -> Run {
    let records = event.records.len();
    let mut sequence_numbers = Vec::with_capacity(records);
    let mut failures = Vec::new();
    let mut tickets: BTreeMap<TicketId, Vec<(usize, StreamedVersion)>> = BTreeMap::new();
    for (at, record) in event.records.into_iter().enumerate() {
        sequence_numbers.push(record.dynamodb.sequence_number.clone());
        match record.dynamodb.version() {
            Ok(Some(version)) => tickets.entry(version.ticket).or_default().push((at, version)),
            Ok(None) => {}
            Err(error) => failures.push((at, error)),
        }
    }
    let versions = tickets.values().map(Vec::len).sum();
    let recorded = stream::iter(tickets.into_values().map(|versions| record(history, versions)));
    let recorded: Vec<_> = recorded.buffer_unordered(AT_ONCE).collect().await;
    failures.extend(recorded.into_iter().filter_map(Result::err));
    // The stream delivers everything from the first failure on again.
    let first = failures.into_iter().min_by_key(|(at, _)| *at);
    Run { records, versions, failed: first.map(|(at, error)| (sequence_numbers.swap_remove(at), error)) }
}

/// Records versions of one ticket, in order, up to the first that fails.
async fn record(
    history: &History,
    versions: Vec<(usize, StreamedVersion)>,
) -> std::result::Result<(), (usize, Error)> {
    let mut last = None;
    for (at, version) in versions {
        last = Some(history.record(version, last).await.map_err(|error| (at, error))?);
    }
    Ok(())
}
