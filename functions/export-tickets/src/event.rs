//! The event that starts a run, its answer, and its line in the log.

use serde::{Deserialize, Deserializer, Serialize, de};
use tickets_domain::{Error, Timestamp};
use tickets_http::log::Failure;

/// The event that starts a run: `{}` by the schedule; `{"since": "2026-11-01"}` by hand, to export again
/// everything changed since then, whatever was stored before. Takes any form of date or time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Export what changed then or later.
    #[serde(default, deserialize_with = "since")]
    pub since: Option<Timestamp>,
}

fn since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    // Refuse `null` too: whoever names a time means one.
    String::deserialize(deserializer)?
        .parse()
        .map(Some)
        .map_err(|error| de::Error::custom(format!("since {error}")))
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Whether the pass has ended; if not, the next run continues it.
    pub complete: bool,
    /// Whether this run stopped because another run continues the pass.
    pub overtaken: bool,
    /// The pass covers changes from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The pass covers changes up to then.
    pub until: Timestamp,
    /// Objects that this run stored.
    pub objects: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Every change up to then is stored, by this run or an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
}

impl Outcome {
    /// The outcome of a run that has done nothing yet, of a pass up to this instant.
    pub(crate) fn new(until: Timestamp) -> Self {
        Self {
            complete: false,
            overtaken: false,
            since: None,
            until,
            objects: 0,
            records: 0,
            bytes: 0,
            watermark: None,
        }
    }
}

/// The fields of a run's line in the log.
#[derive(Debug, Serialize)]
pub(crate) struct LogFields {
    #[serde(flatten)]
    stored: Option<Stored>,
    /// Only of a scheduled run: a metric filter of the template makes the alarm's metric from it. It is
    /// missing until the first pass has ended; a missing value is breaching.
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark_age_seconds: Option<f64>,
    #[serde(flatten)]
    failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Stored {
    complete: bool,
    overtaken: bool,
    objects: u64,
    records: u64,
    bytes: u64,
}

impl LogFields {
    pub(crate) fn new(outcome: &Result<Outcome, Error>, scheduled: bool, now: Timestamp) -> Self {
        let stored = |run: &Outcome| {
            let Outcome { complete, overtaken, objects, records, bytes, .. } = *run;
            Stored { complete, overtaken, objects, records, bytes }
        };
        let watermark = outcome.as_ref().ok().and_then(|run| run.watermark).filter(|_| scheduled);
        Self {
            stored: outcome.as_ref().ok().map(stored),
            watermark_age_seconds: watermark.map(|at| (now.millis() - at.millis()) as f64 / 1e3),
            failure: outcome.as_ref().err().map(Failure::of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Result<Event, String> {
        serde_json::from_str(json).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn a_run_is_asked_for_with_or_without_a_time() {
        assert_eq!(event("{}"), Ok(Event { since: None }));
        let since = "2026-11-01T00:00:00Z".parse().ok();
        assert_eq!(event(r#"{"since": "2026-11-01"}"#), Ok(Event { since }));
    }

    #[test]
    fn what_is_misspelt_is_refused_and_not_taken_for_a_scheduled_run() {
        for (json, says) in [
            (r#"{"sinse": "2026-11-01"}"#, "unknown field `sinse`, expected `since`"),
            (r#"{"since": "yesterday"}"#, "since must be a date or time like"),
            (r#"{"since": null}"#, "expected a string"),
        ] {
            let error = event(json).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
