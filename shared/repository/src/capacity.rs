//! What calls cost, in DynamoDB's own units.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};

/// Adds up what the calls of a repository consume. Without one, nothing is asked for or counted.
#[derive(Debug, Clone, Default)]
pub struct Meter(Option<Arc<Mutex<f64>>>);

impl Meter {
    /// A meter that counts.
    pub fn counting() -> Self {
        Self(Some(Arc::default()))
    }

    /// The units consumed since this was last asked: read units of reads, write units of writes.
    pub fn take(&self) -> f64 {
        let Some(units) = &self.0 else { return 0.0 };
        std::mem::take(&mut *units.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What to ask DynamoDB for.
    pub(crate) fn level(&self) -> Option<ReturnConsumedCapacity> {
        self.0.as_ref().map(|_| ReturnConsumedCapacity::Total)
    }

    /// Counts what a call consumed.
    pub(crate) fn add<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        if let Some(units) = &self.0 {
            let sum: f64 = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
            *units.lock().unwrap_or_else(PoisonError::into_inner) += sum;
        }
    }
}
