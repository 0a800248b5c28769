//! How a list is handed out, and how it ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::continuation::Continuation;
use crate::error::{Error, Result};
use crate::ticket::{Record, RecordKey};
use crate::work_queue::{QueueFields, WorkQueue};

/// A record as a list hands it out: what a filter asks of it, and its JSON, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What a filter asks.
    pub key: RecordKey,
    /// The JSON of a [`Record`].
    pub json: String,
}

impl Row {
    /// The row of a record.
    ///
    /// # Errors
    /// Where the record cannot be written.
    pub fn of(record: &Record) -> Result<Self> {
        let json = serde_json::to_string(record).map_err(Error::internal)?;
        Ok(Self { key: record.key(), json })
    }

    /// Whether this ticket is in a work queue.
    pub(crate) fn is_in(&self, queue: &WorkQueue) -> Result<bool> {
        let fields: QueueFields = serde_json::from_str(&self.json).map_err(Error::internal)?;
        Ok(queue.includes(&fields))
    }
}

/// What became of a record that a list handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The page has it.
    Accepted,
    /// The page has no room for it: it begins the next one.
    Full,
}

/// How a list ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEnd {
    /// There are no more records, or none that may be shown yet.
    Complete,
    /// The next page goes on after the last record taken.
    More(Continuation),
}

/// Which history of the table this is. It is opaque, and changes only when the table goes back in time:
/// whoever keeps a copy and sees another one starts over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    /// The epoch of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// That of a table in which there never was a ticket.
    pub fn none() -> Self {
        Self("0".into())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A list that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// How it ended.
    pub end: ListEnd,
    /// Which history of the table it is from.
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_shown_and_kept_by_its_name() {
        assert_eq!(Epoch::new("7f3a").to_string(), "7f3a");
        assert_eq!(serde_json::to_string(&Epoch::new("7f3a")).unwrap(), "\"7f3a\"");
        assert_eq!(Epoch::none().to_string(), "0", "before the first ticket");
    }
}
