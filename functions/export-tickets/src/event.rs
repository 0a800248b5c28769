//! What a run is asked for, and what it answers and logs.

use serde::{Deserialize, Deserializer, Serialize, de};
use tickets_domain::{Error, Timestamp};
use tickets_http::log::Failure;

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

/// What a run's line in the log tells.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    #[serde(flatten)]
    stored: Option<Stored>,
    /// Of a scheduled run: a metric filter of the template makes the alarm's metric of it. Before the first pass is at
    /// its end there is none, and a missing value is breaching.
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

impl Told {
    /// Of a run that ended like this.
    pub(crate) fn of(outcome: &Result<Outcome, Error>, scheduled: bool, now: Timestamp) -> Self {
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
