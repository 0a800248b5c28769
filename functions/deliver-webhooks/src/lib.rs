//! Started by the stream of the history, and once a minute: sends events to the receivers of webhooks.
//!
//! - [`deliver`]: a run, with a task for each webhook;
//! - [`send`]: one request to a receiver;
//! - [`resolver`]: which addresses it may be sent to.
//!
//! What is sent when, and where the cursor goes, is decided in `tickets_domain::delivery`.

use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tickets_app::{Config, InvalidConfig};
use tickets_domain::{Clock, Meter, Result, Timestamp, WebhookId};
use tickets_http::log::{Entry, Failure, Level, Log, Metrics};
use tickets_repository::{DynamoDb, History, Webhooks};

pub mod deliver;
pub mod resolver;
pub mod send;

pub use deliver::{Behind, Deliverer, Report, Wake};
pub use send::{HttpSender, Sender};

/// The most webhooks that a line in the log names.
const MOST_NAMED: usize = 10;

/// Why the function does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    #[error("cannot send requests: {0}")]
    Client(#[from] reqwest::Error),
}

/// The deliverer and the log of a deployed function, from the environment.
pub fn from_env() -> std::result::Result<(Deliverer<HttpSender>, Log), StartError> {
    let (config, clock) = (Config::from_env()?, Clock::system());
    let dynamodb = DynamoDb::new(&config.sdk_config(config.endpoint_url.as_deref())?);
    let sender = HttpSender::new(config.webhooks_to_this_machine)?;
    let deliverer = deliverer(&config, dynamodb, clock, sender);
    Ok((deliverer, Log::to_cloud_watch(config.log)))
}

/// The deliverer of a configuration.
pub fn deliverer<S: Sender>(config: &Config, dynamodb: DynamoDb, clock: Clock, sender: S) -> Deliverer<S> {
    let history =
        History::new(dynamodb.clone(), &config.history_table, clock.clone(), config.settings.clone());
    let webhooks = Webhooks::new(dynamodb, &config.webhooks_table, clock.clone());
    let (settle, longest_failing) = (config.settings.settle, config.longest_failing);
    Deliverer { history, webhooks, clock, sender, settle, longest_failing }
}

/// What starts a run: a batch of the stream's records, or the schedule's event. Nothing in it is read: what is to be
/// sent is in the feed.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(rename = "Records", default)]
    records: Option<IgnoredAny>,
}

impl Event {
    pub fn wake(&self) -> Wake {
        if self.records.is_some() { Wake::Recorded } else { Wake::Scheduled }
    }
}

/// The context of a run.
#[derive(Debug)]
pub struct Invocation<'a> {
    pub wake: Wake,
    /// When the run has to end.
    pub deadline: Timestamp,
    /// Lambda's id of the invocation.
    pub request_id: Option<&'a str>,
    /// Its tracing header.
    pub trace: Option<&'a str>,
}

/// Sends what there is to send, and writes a line in the log: of a local server, only if anything was done.
pub async fn answer_logged<S: Sender + Clone>(
    deliverer: &Deliverer<S>,
    log: &Log,
    invocation: &Invocation<'_>,
) -> Result<Vec<Report>> {
    let (began, meter) = (Instant::now(), Meter::counting());
    let run = deliverer.metered(meter.clone()).run(invocation.wake, invocation.deadline).await;
    let is_idle = run.as_ref().is_ok_and(|reports| reports.iter().all(Report::is_idle));
    if invocation.request_id.is_some() || !is_idle {
        let metrics = Metrics::of_run(has_failed(&run), began.elapsed(), meter.usage());
        write(log, deliverer.now(), invocation, &run, metrics);
    }
    run
}

/// Whether the run itself failed, not a receiver.
fn has_failed(run: &Result<Vec<Report>>) -> bool {
    run.as_ref().map_or(true, |reports| reports.iter().any(|report| report.error.is_some()))
}

/// Writes a run's line in the log.
fn write(log: &Log, at: Timestamp, invocation: &Invocation<'_>, run: &Result<Vec<Report>>, metrics: Metrics) {
    let fields = LogFields::new(run);
    let (level, message) = match fields.disabled {
        _ if has_failed(run) => (Level::Error, "deliveries failed"),
        0 => (Level::Info, "deliveries"),
        _ => (Level::Warn, "webhook disabled"),
    };
    let entry = Entry {
        function: "deliver-webhooks",
        level,
        message,
        at,
        request_id: invocation.request_id,
        trace: invocation.trace,
        correlation_id: None,
        metrics,
    };
    log.write(&entry, &fields);
}

/// The fields of a run's line in the log.
#[derive(Debug, Serialize)]
struct LogFields<'a> {
    /// Active webhooks.
    webhooks: usize,
    accepted: u64,
    refused: u64,
    failed: u64,
    /// Webhooks that this run has disabled: a metric filter of the template makes the alarm's metric of it.
    disabled: usize,
    /// The age of the oldest event that some receiver has not accepted; likewise.
    behind_seconds: f64,
    /// Webhooks whose receivers fail or refuse events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    troubled: Vec<&'a WebhookId>,
    #[serde(flatten)]
    failure: Option<Failure>,
}

impl<'a> LogFields<'a> {
    fn new(run: &'a Result<Vec<Report>>) -> Self {
        let reports = run.as_deref().unwrap_or_default();
        let is_troubled = |report: &&Report| {
            report.failing || report.disabled || report.failed + report.refused > 0 || report.error.is_some()
        };
        let error = run.as_ref().err().or_else(|| reports.iter().find_map(|report| report.error.as_ref()));
        let behind = reports.iter().map(|report| report.behind).max().unwrap_or(Duration::ZERO);
        Self {
            webhooks: reports.len(),
            accepted: reports.iter().map(|report| report.accepted).sum(),
            refused: reports.iter().map(|report| report.refused).sum(),
            failed: reports.iter().map(|report| report.failed).sum(),
            disabled: reports.iter().filter(|report| report.disabled).count(),
            behind_seconds: behind.as_secs_f64(),
            troubled: reports.iter().filter(is_troubled).take(MOST_NAMED).map(|report| &report.id).collect(),
            failure: error.map(Failure::of),
        }
    }
}
