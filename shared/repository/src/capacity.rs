//! Counts what calls cost, in DynamoDB's own units.

use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use tickets_domain::Meter;

/// Connects a meter to the SDK's calls.
pub(crate) trait Metering {
    /// The value of `ReturnConsumedCapacity`; `None` if nothing is counted.
    fn level(&self) -> Option<ReturnConsumedCapacity>;

    /// Counts what a read consumed.
    fn read<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>);

    /// Counts what a write consumed.
    fn wrote<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>);
}

impl Metering for Meter {
    fn level(&self) -> Option<ReturnConsumedCapacity> {
        self.counts().then_some(ReturnConsumedCapacity::Total)
    }

    fn read<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        self.add_read(units(consumed));
    }

    fn wrote<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        self.add_write(units(consumed));
    }
}

fn units<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> f64 {
    consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumed(units: f64) -> ConsumedCapacity {
        ConsumedCapacity::builder().capacity_units(units).build()
    }

    #[test]
    fn a_meter_adds_up_what_was_consumed_since_it_was_last_asked() {
        let meter = Meter::counting();
        assert_eq!(meter.level(), Some(ReturnConsumedCapacity::Total));
        meter.read([&consumed(1.5), &consumed(2.0)]);
        meter.clone().wrote([&consumed(0.5)]);
        assert_eq!(meter.take(), 4.0, "clones count together");
        assert_eq!(meter.take(), 0.0);
    }

    #[test]
    fn without_a_meter_nothing_is_asked_for_or_counted() {
        let meter = Meter::default();
        meter.read([&consumed(1.5)]);
        assert_eq!((meter.level(), meter.take()), (None, 0.0));
    }
}
