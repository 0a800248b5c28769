//! Writes one line of JSON for each request or run to standard output, where Lambda collects it. Members
//! have the names of Powertools for AWS Lambda where it defines them (*Logger*, "Standard structured keys").
//! The line also holds metrics in CloudWatch's embedded metric format (Amazon CloudWatch User Guide,
//! *Specification: Embedded metric format*).
//!
//! The function is the only dimension. Keys and tickets are members to search for and never dimensions,
//! because each value of a dimension is a metric of its own. No member holds a customer's text or a secret.

use std::fmt;
use std::io::{self, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lambda_http::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tickets_domain::{Error, Timestamp, Usage};

/// How a deployment names itself in the log.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The metrics' namespace.
    pub namespace: String,
    /// The service that the functions are part of.
    pub service: String,
    /// The name of the deployed function; `None` if it is not deployed.
    pub function_name: Option<String>,
}

/// The format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For CloudWatch: one JSON object a line.
    Json,
    /// For a person who watches: without metrics, and without values that never change.
    Text,
}

/// A log, which writes lines or discards them.
pub struct Log {
    sink: Option<Sink>,
    is_warm: AtomicBool,
}

struct Sink {
    form: Form,
    settings: Settings,
    /// Tells CloudWatch which members are metrics; the same in each line.
    directive: Option<Box<RawValue>>,
    writer: Mutex<Box<dyn Write + Send>>,
}

/// Writes a line for each panic of this process from now on. It says where the panic was, and not its message,
/// which may quote a text that could not be handled.
pub fn panics_to<W: Write>(writer: impl Fn() -> W + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |panicked| {
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        let line = json!({"level": Level::Error, "message": "panicked", "place": place});
        // There is nowhere to report a failure to write.
        let _ = writeln!(writer(), "{line}");
    }));
}

/// The severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// A success, or a fault of the caller.
    Info,
    /// A failure that passes by itself.
    Warn,
    /// A fault of the service.
    Error,
}

/// The most causes that a line names.
const MOST_CAUSES: usize = 5;

/// What every line contains.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The function's name in the code.
    pub function: &'static str,
    pub level: Level,
    /// What happened, in a few words that are always the same.
    pub message: &'static str,
    pub at: Timestamp,
    /// Lambda's id of the invocation.
    pub request_id: Option<&'a str>,
    /// The tracing header of the invocation.
    pub trace: Option<&'a str>,
    /// The gateway's id of the request, which is `requestId` in its access log.
    pub correlation_id: Option<&'a str>,
    pub metrics: Metrics,
}

/// The metrics of a line, under the names that CloudWatch knows.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metrics {
    requests: u8,
    /// In milliseconds.
    duration: f64,
    /// Of a batch, the rows that failed and not by the caller's fault.
    errors: u32,
    client_errors: u8,
    unauthenticated: u8,
    rate_limited: u8,
    read_units: f64,
    write_units: f64,
    attempts: u32,
    contention: u32,
}

/// The metrics' names and units for CloudWatch. The template's alarms and dashboard use these names.
pub const METRICS: [(&str, &str); 10] = [
    ("Requests", "Count"),
    ("Duration", "Milliseconds"),
    ("Errors", "Count"),
    ("ClientErrors", "Count"),
    ("Unauthenticated", "Count"),
    ("RateLimited", "Count"),
    ("ReadUnits", "Count"),
    ("WriteUnits", "Count"),
    ("Attempts", "Count"),
    ("Contention", "Count"),
];

impl Metrics {
    /// The metrics of a request.
    pub fn of_request(status: StatusCode, took: Duration, usage: Usage) -> Self {
        let one = |is: bool| u8::from(is);
        Self {
            client_errors: one(status.is_client_error()),
            unauthenticated: one(status == StatusCode::UNAUTHORIZED),
            // The gateway sends its own 429s without calling the function.
            rate_limited: one(status == StatusCode::TOO_MANY_REQUESTS),
            ..Self::of_run(status.is_server_error(), took, usage)
        }
    }

    /// The same, with so many failures among the rows of a batch.
    #[must_use]
    pub fn with_failed_rows(self, rows: &[FailedRows]) -> Self {
        Self { errors: self.errors + rows.iter().map(|failed| failed.rows).sum::<u32>(), ..self }
    }

    /// The metrics of a run that no caller waits for.
    pub fn of_run(failed: bool, took: Duration, usage: Usage) -> Self {
        Self {
            requests: 1,
            duration: (took.as_secs_f64() * 1e6).round() / 1e3,
            errors: u32::from(failed),
            client_errors: 0,
            unauthenticated: 0,
            rate_limited: 0,
            read_units: usage.read_units,
            write_units: usage.write_units,
            attempts: usage.attempts,
            contention: usage.contention,
        }
    }
}

/// Why something failed: the message for callers, and the cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    kind: String,
    cause: String,
}

impl Failure {
    pub fn of(error: &Error) -> Self {
        Self {
            kind: error.to_string(),
            cause: error.cause().map(|cause| cause.as_str().to_owned()).unwrap_or_default(),
        }
    }
}

/// Rows of a batch that failed alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedRows {
    rows: u32,
    #[serde(flatten)]
    failure: Failure,
}

impl FailedRows {
    /// Groups the failures of a batch. A hundred rows as a rule fail for one cause, and a line must stay short:
    /// where there are many causes, the last of those named stands for the rest.
    pub fn of(failures: impl IntoIterator<Item = Failure>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for failure in failures {
            let is_full = groups.len() == MOST_CAUSES;
            match groups
                .iter()
                .position(|group| group.failure == failure)
                .or(is_full.then_some(MOST_CAUSES - 1))
            {
                Some(at) => groups[at].rows += 1,
                None => groups.push(Self { rows: 1, failure }),
            }
        }
        groups
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "_aws", skip_serializing_if = "Option::is_none")]
    aws: Option<Aws<'a>>,
    level: Level,
    message: &'static str,
    timestamp: Timestamp,
    service: &'a str,
    cold_start: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xray_trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    function: &'static str,
    #[serde(flatten)]
    fields: &'a T,
    #[serde(flatten)]
    metrics: Metrics,
}

/// The member that makes a line one of the embedded metric format.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Aws<'a> {
    timestamp: i64,
    cloud_watch_metrics: &'a RawValue,
}

impl Log {
    /// A log that discards every line.
    pub fn silent() -> Self {
        Self { sink: None, is_warm: AtomicBool::new(false) }
    }

    /// A log that writes to `writer`.
    pub fn to(settings: Settings, form: Form, writer: impl Write + Send + 'static) -> Self {
        let metrics = METRICS.map(|(name, unit)| json!({"Name": name, "Unit": unit}));
        let directive = json!([{
            "Namespace": settings.namespace,
            "Dimensions": [["function"]],
            "Metrics": metrics,
        }]);
        let directive = serde_json::value::to_raw_value(&directive).ok().filter(|_| form == Form::Json);
        let writer = Mutex::new(Box::new(writer) as Box<dyn Write + Send>);
        let sink = Some(Sink { form, settings, directive, writer });
        Self { sink, is_warm: AtomicBool::new(false) }
    }

    /// The log of a deployed function, which Lambda collects, with its panics.
    #[expect(clippy::disallowed_methods, reason = "Lambda collects the log from standard output")]
    pub fn to_cloud_watch(settings: Settings) -> Self {
        panics_to(io::stdout);
        Self::to(settings, Form::Json, io::stdout())
    }

    /// Writes a line with these fields. Ignores a failure to write, which must not fail the request.
    pub fn write(&self, entry: &Entry<'_>, fields: &impl Serialize) {
        let cold_start = !self.is_warm.swap(true, Ordering::Relaxed);
        let Some(sink) = &self.sink else { return };
        let Some(mut line) = sink.line(entry, cold_start, fields) else { return };
        line.push(b'\n');
        // Write the whole line at once, because other requests of this process write too.
        let mut writer = sink.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(&line).and_then(|()| writer.flush());
    }
}

impl Sink {
    fn line(&self, entry: &Entry<'_>, cold_start: bool, fields: &impl Serialize) -> Option<Vec<u8>> {
        let Entry { function, level, message, at, request_id, trace, correlation_id, metrics } = *entry;
        if self.form == Form::Text {
            let (fields, took) = (serde_json::to_string(fields).ok()?, metrics.duration);
            let level = format!("{level:?}").to_uppercase();
            return Some(format!("{at} {level:5} {function} {message}, {took:.1} ms {fields}").into_bytes());
        }
        let aws = self.directive.as_deref();
        let line = Line {
            aws: aws.map(|directive| Aws { timestamp: at.millis(), cloud_watch_metrics: directive }),
            level,
            message,
            timestamp: at,
            service: &self.settings.service,
            cold_start,
            function_name: self.settings.function_name.as_deref(),
            function_request_id: request_id,
            xray_trace_id: trace.and_then(root),
            correlation_id,
            function,
            fields,
            metrics,
        };
        let mut bytes = Vec::with_capacity(1536);
        serde_json::to_writer(&mut bytes, &line).ok()?;
        Some(bytes)
    }
}

/// The trace's id in a tracing header: `Root=1-…;Parent=…;Sampled=1`.
fn root(header: &str) -> Option<&str> {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root="))
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_directive_names_exactly_the_numbers_of_the_line() {
        let metrics = Metrics::of_run(true, Duration::from_micros(1_234), Usage::default());
        let Ok(Value::Object(members)) = serde_json::to_value(metrics) else { panic!("an object") };
        let mut named = METRICS.map(|(name, _)| name);
        named.sort_unstable();
        assert_eq!(members.keys().collect::<Vec<_>>(), named);
        assert!(members.values().all(Value::is_number));
        assert_eq!((&members["Duration"], &members["Errors"]), (&json!(1.234), &json!(1)));
    }

    #[test]
    fn a_status_is_counted_under_its_own_metric() {
        let of = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let metrics = Metrics::of_request(status, Duration::ZERO, Usage::default());
            [
                u8::from(metrics.errors > 0),
                metrics.client_errors,
                metrics.unauthenticated,
                metrics.rate_limited,
            ]
        };
        assert_eq!(of(200), [0, 0, 0, 0]);
        assert_eq!(of(404), [0, 1, 0, 0]);
        assert_eq!(of(401), [0, 1, 1, 0]);
        assert_eq!(of(429), [0, 1, 0, 1]);
        assert_eq!(of(503), [1, 0, 0, 0]);
    }

    /// Keeps what a log writes.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Two lines in this form.
    fn two_lines(form: Form) -> Vec<String> {
        let settings = Settings {
            namespace: "Tickets".to_owned(),
            service: "tickets".to_owned(),
            function_name: Some("stack-get-ticket".to_owned()),
        };
        let written = Written::default();
        let log = Log::to(settings, form, written.clone());
        let entry = Entry {
            function: "get-ticket",
            level: Level::Warn,
            message: "request",
            at: "2026-11-25T08:00:00.5Z".parse().unwrap(),
            request_id: Some("lambda-1"),
            trace: Some("Root=1-5759e988-bd86;Sampled=1"),
            correlation_id: None,
            metrics: Metrics::of_request(StatusCode::OK, Duration::from_micros(1_250), Usage::default()),
        };
        for status in [200, 304] {
            log.write(&entry, &json!({"status": status}));
        }
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_for_cloudwatch_is_one_object_with_everything_known_of_the_request() {
        let lines: Vec<Value> =
            two_lines(Form::Json).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let metrics = METRICS.map(|(name, unit)| json!({"Name": name, "Unit": unit}));
        let expected = |status: u16, cold: bool| {
            json!({
                "_aws": {
                    "Timestamp": 1_795_593_600_500_i64,
                    "CloudWatchMetrics": [
                        {"Namespace": "Tickets", "Dimensions": [["function"]], "Metrics": metrics}
                    ],
                },
                "level": "WARN", "message": "request", "timestamp": "2026-11-25T08:00:00.500Z",
                "service": "tickets", "cold_start": cold, "function_name": "stack-get-ticket",
                "function_request_id": "lambda-1", "xray_trace_id": "1-5759e988-bd86",
                "function": "get-ticket", "status": status,
                "Requests": 1, "Duration": 1.25, "Errors": 0, "ClientErrors": 0, "Unauthenticated": 0,
                "RateLimited": 0, "ReadUnits": 0.0, "WriteUnits": 0.0, "Attempts": 0, "Contention": 0,
            })
        };
        assert_eq!(lines, [expected(200, true), expected(304, false)]);
    }

    #[test]
    fn a_line_for_a_person_has_no_metrics() {
        assert_eq!(
            two_lines(Form::Text),
            [
                r#"2026-11-25T08:00:00.500Z WARN  get-ticket request, 1.2 ms {"status":200}"#,
                r#"2026-11-25T08:00:00.500Z WARN  get-ticket request, 1.2 ms {"status":304}"#,
            ]
        );
    }

    #[test]
    fn a_failure_tells_its_kind_and_its_cause() {
        let failure = Failure::of(&Error::internal("the disk is full"));
        assert_eq!(failure.cause, "the disk is full");
        assert_eq!(failure.kind, Error::internal("").to_string());
        assert_eq!(Failure::of(&Error::NotFound).cause, "");
    }

    #[test]
    fn rows_that_failed_alike_are_one_entry_and_five_entries_are_the_most() {
        let failure = |cause: u32| Failure::of(&Error::internal(cause));
        let counts = |causes: &[u32]| {
            let rows = FailedRows::of(causes.iter().map(|cause| failure(*cause)));
            rows.into_iter().map(|failed| (failed.failure.cause, failed.rows)).collect::<Vec<_>>()
        };
        let named = |cause: &str, rows| (cause.to_owned(), rows);
        assert_eq!(counts(&[1, 2, 1, 1]), [named("1", 3), named("2", 1)]);
        let many = counts(&[1, 2, 3, 4, 5, 6, 7, 1]);
        assert_eq!((many.len(), &many[0], &many[4]), (5, &named("1", 2), &named("5", 3)));
        let metrics = Metrics::of_request(StatusCode::MULTI_STATUS, Duration::ZERO, Usage::default());
        let rows = FailedRows::of((0..100).map(|_| failure(1)));
        assert_eq!(metrics.with_failed_rows(&rows).errors, 100);
    }

    #[test]
    fn a_trace_is_named_by_its_root() {
        assert_eq!(root("Root=1-5759e988-bd86;Parent=53995c3f42cd8ad8;Sampled=1"), Some("1-5759e988-bd86"));
        assert_eq!(root("Sampled=0"), None);
    }
}
