//! What a request consumed of the database. The code that makes the calls counts it, for the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was consumed of the database.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    pub read_units: f64,
    /// Writes whose condition failed are missing here: the database does not report what they consumed.
    pub write_units: f64,
    /// Calls of the database, including each repeat of a write.
    pub attempts: u32,
    /// Write attempts that failed, or may have: another writer was faster, or the database was too slow.
    pub contention: u32,
    /// Creates that repeated an earlier one, and returned its ticket.
    pub replays: u32,
}

/// Adds up the usage of one request. Clones share the same total. The default meter counts nothing, and then
/// the database is not asked to report what it consumed.
#[derive(Debug, Clone, Default)]
pub struct Meter(Option<Arc<Mutex<Usage>>>);

impl Meter {
    pub fn counting() -> Self {
        Self(Some(Arc::default()))
    }

    pub fn counts(&self) -> bool {
        self.0.is_some()
    }

    /// The usage counted so far.
    pub fn usage(&self) -> Usage {
        self.locked().map(|usage| *usage).unwrap_or_default()
    }

    /// Returns the read and write units counted since the last call, and resets the meter.
    pub fn take(&self) -> f64 {
        let usage = self.locked().map(|mut usage| std::mem::take(&mut *usage)).unwrap_or_default();
        usage.read_units + usage.write_units
    }

    /// Counts a read that consumed so many units.
    pub fn add_read(&self, units: f64) {
        self.change(|usage| {
            (usage.attempts, usage.read_units) = (usage.attempts + 1, usage.read_units + units)
        });
    }

    /// Counts a write that consumed so many units.
    pub fn add_write(&self, units: f64) {
        self.change(|usage| {
            (usage.attempts, usage.write_units) = (usage.attempts + 1, usage.write_units + units)
        });
    }

    /// Counts a write attempt that did not take effect, or may not have.
    pub fn add_lost(&self) {
        self.change(|usage| (usage.attempts, usage.contention) = (usage.attempts + 1, usage.contention + 1));
    }

    /// Counts a create that repeated an earlier one.
    pub fn add_replay(&self) {
        self.change(|usage| usage.replays += 1);
    }

    fn change(&self, change: impl FnOnce(&mut Usage)) {
        if let Some(mut usage) = self.locked() {
            change(&mut usage);
        }
    }

    fn locked(&self) -> Option<MutexGuard<'_, Usage>> {
        self.0.as_ref().map(|usage| usage.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_meter_share_one_count() {
        let (meter, other) = (Meter::counting(), Meter::counting());
        meter.clone().add_read(0.5);
        meter.add_write(2.0);
        meter.add_lost();
        meter.add_replay();
        let usage = Usage { read_units: 0.5, write_units: 2.0, attempts: 3, contention: 1, replays: 1 };
        assert_eq!((meter.usage(), other.usage()), (usage, Usage::default()));
        assert_eq!((meter.take(), meter.take()), (2.5, 0.0));
    }

    #[test]
    fn the_default_meter_counts_nothing() {
        let meter = Meter::default();
        meter.add_write(1.0);
        assert!(!meter.counts() && meter.usage() == Usage::default() && meter.take() == 0.0);
    }
}
