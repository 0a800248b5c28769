//! The rows that a list returns, and how a list ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::continuation::Continuation;
use crate::error::{Error, Result};
use crate::ticket::{Record, RecordKey};
use crate::work_queue::{QueueFields, WorkQueue};

/// A record as a list returns it: the key that filters check, and its JSON, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: RecordKey,
    /// The JSON of a [`Record`].
    pub json: String,
}

impl Row {
    /// The row of a record.
    pub fn of(record: &Record) -> Result<Self> {
        let json = serde_json::to_string(record).map_err(Error::internal)?;
        Ok(Self { key: record.key(), json })
    }

    /// The fields of this ticket that a work queue checks.
    pub fn queue_fields(&self) -> Result<QueueFields> {
        serde_json::from_str(&self.json).map_err(|_| Error::unreadable("a stored ticket"))
    }

    /// Whether this ticket is in a work queue.
    pub(crate) fn is_in(&self, queue: &WorkQueue) -> Result<bool> {
        Ok(queue.includes(&self.queue_fields()?))
    }
}

/// Whether a record that a list offers still fits into the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It fits, and is in the page now.
    Added,
    /// The page has no room for it: the next page begins with it.
    Full,
}

/// How a list ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEnd {
    /// There are no more records, or none that may be shown yet.
    Complete,
    /// There may be more.
    More {
        /// The next page begins after this id. As a rule it is that of the last record. A page of a work queue
        /// may also end, even without a record, because it has read much that is not in the queue.
        after: u64,
        found: Continuation,
    },
}

/// An opaque name for the table's history. It changes only when the table goes back in time, as by a restore:
/// a client that keeps a copy must then start over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The epoch of a table that never had a ticket.
    pub fn none() -> Self {
        Self("0".into())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The result of reading a list, besides its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub end: ListEnd,
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_written_as_its_text() {
        assert_eq!(Epoch::new("7f3a").to_string(), "7f3a");
        assert_eq!(serde_json::to_string(&Epoch::new("7f3a")).unwrap(), "\"7f3a\"");
        assert_eq!(Epoch::none().to_string(), "0", "before the first ticket");
    }
}
