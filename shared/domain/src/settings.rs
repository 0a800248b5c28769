//! What a deployment configures about keeping and listing tickets.

use std::time::Duration;

use crate::continuation::MOST_IDS;
use crate::time::Timestamp;

#[derive(Debug, Clone)]
pub struct Settings {
    /// A write is visible in every index this long after it was stamped: the write deadline plus
    /// an allowance for index propagation and clock skew.
    pub settle: Duration,
    /// How long tombstones and departures are kept.
    pub keep_tombstones: Duration,
    /// The most index entries that a page of changes reads before it walks the buckets instead: 200 read
    /// units, twice the cost of 100 tickets.
    pub most_keys: usize,
    /// The read units that a page of a work queue may spend on what is not in the queue, before it ends with a
    /// `Link`, even if it is empty, and that a count may cost: some 60,000 entries of the index.
    pub most_vain_units: f64,
    /// The most ids a `Link` carries.
    pub most_ids: usize,
}

impl Settings {
    /// The instant up to which every change is visible.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        now.minus(self.settle)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            keep_tombstones: Duration::from_secs(90 * 24 * 60 * 60),
            most_keys: 12_000,
            most_vain_units: 1000.0,
            most_ids: MOST_IDS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_lists_settle_after_ten_seconds_and_tombstones_stay_for_ninety_days() {
        let settings = Settings::default();
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(settings.horizon(now).to_string(), "2026-11-23T23:59:50.000Z");
        assert_eq!(settings.keep_tombstones, Duration::from_secs(90 * 86_400));
    }
}
