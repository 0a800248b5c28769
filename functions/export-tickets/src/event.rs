//! What a run is asked for, and what it answers and logs.

use serde::{Deserialize, Deserializer, Serialize, de};
use tickets_domain::{Error, Timestamp};
use tracing::{error, info};

/// What a run is asked for: `{}` by the schedule; `{"since": "2026-11-01"}` by hand for everything
/// changed since then once more, whatever was stored before. Any form of date or time does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Changed then or later.
    #[serde(default, deserialize_with = "since")]
    pub since: Option<Timestamp>,
}

fn since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    // `null` too is refused: whoever names a time means one.
    String::deserialize(deserializer)?
        .parse()
        .map(Some)
        .map_err(|error| de::Error::custom(format!("since {error}")))
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Whether the pass is at its end; if not, the next run goes on.
    pub complete: bool,
    /// Whether another run went on with the pass, and this one left it to that.
    pub overtaken: bool,
    /// The pass: changed then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The pass: everything changed up to then.
    pub until: Timestamp,
    /// Objects this run stored.
    pub objects: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything changed up to it is stored, by this run and those before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
}

impl Outcome {
    /// That of a run which has done nothing yet, of a pass up to this instant.
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

/// Logs what a scheduled run came to. A metric filter of the template makes the alarm's metric of
/// `watermark_age_seconds`.
pub(crate) fn log(outcome: &Outcome, now: Timestamp) {
    let Outcome { complete, overtaken, objects, records, bytes, watermark, .. } = outcome;
    // Before the first pass is at its end there is no watermark: a missing value is breaching.
    match watermark {
        Some(watermark) => {
            let watermark_age_seconds = (now.millis() - watermark.millis()) as f64 / 1e3;
            info!(complete, overtaken, objects, records, bytes, watermark_age_seconds, "export");
        }
        None => info!(complete, overtaken, objects, records, bytes, "export"),
    }
}

/// Logs why a run ended early.
pub fn log_failure(error: &Error) {
    let cause = error.cause().map(ToString::to_string).unwrap_or_default();
    error!(kind = error.to_string(), cause, "export failed");
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
