//! Plays Lambda's event source mapping: passes every write to the tickets' table to `record-changes`, as in a
//! deployment.
//!
//! The engine has streams, and stores their records in a table of its SQLite database together with the item.
//! So even a killed process loses none. But that table has no index, so each write would search all records:
//! [`prepare`] adds one. Records that are done are removed from a database file; in memory they stay until
//! the process ends.

use std::path::Path;
use std::time::Duration;

use dynoxide::Database;
use dynoxide::actions::get_records::{GetRecordsRequest, Record};
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use dynoxide::storage::Storage;
use dynoxide::streams::{shard_id, stream_arn};
use record_changes::Event;
use serde_json::json;
use thiserror::Error;
use tickets_domain::error::Cause;
use tickets_repository::{History, schema};
use tokio::task::JoinHandle;
use tracing::error;

use crate::data;

/// The batch size, as in the template.
const BATCH: usize = 100;
/// The time between two polls. Lambda polls four times a second.
const LOOK: Duration = Duration::from_millis(100);
/// The time between two attempts after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How often a record is tried. After that, a deployment puts it into a queue; here it is only logged.
const TRIES: u32 = 10;
/// The engine's first sequence number. In its table, numbers start at 0.
const FIRST_SEQUENCE_NUMBER: u128 = 100_000_000_000_000_000_000;

const INDEX: &str = "CREATE INDEX IF NOT EXISTS _stream_position \
    ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";
const REMOVE: &str =
    "DELETE FROM _stream_records WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) <= ?2";
const LEFT: &str = "SELECT count(*) FROM _stream_records WHERE table_name = ?1";
/// How often [`scrub`] looks whether the stream is empty: for a minute.
const LOOKS: u32 = 600;

/// The engine's message about the stream.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct StreamError(String);

impl StreamError {
    fn of(error: impl ToString) -> Self {
        Self(error.to_string())
    }
}

/// Adds an index to the stream table of the open database `name`.
pub fn prepare(name: &str) -> Result<(), StreamError> {
    let storage = Storage::new(name).map_err(StreamError::of)?;
    storage.conn().execute_batch(INDEX).map_err(StreamError::of)
}

/// Whether a table has a stream. `DescribeTable` would tell too, but counts every item for it.
pub fn is_enabled(database: &Database, table: &str) -> Result<bool, StreamError> {
    let request = ListStreamsRequest { table_name: Some(table.to_owned()), ..ListStreamsRequest::default() };
    database.list_streams(request).map(|listed| !listed.streams.is_empty()).map_err(StreamError::of)
}

/// Removes deleted data from the files of a data directory: waits until the process that opened it has
/// recorded every change of the stream, then lets SQLite rewrite the file without free space.
///
/// # Errors
/// If the changes are not recorded within a minute, or SQLite refuses.
pub async fn scrub(directory: &Path) -> Result<(), StreamError> {
    let path = directory.join(data::DATABASE);
    let storage = Storage::new(&path.to_string_lossy()).map_err(StreamError::of)?;
    for _ in 0..LOOKS {
        let left: i64 =
            storage.conn().query_row(LEFT, [schema::TICKETS], |row| row.get(0)).map_err(StreamError::of)?;
        // A concurrent reader keeps the log from being emptied; then try again.
        if left == 0 && rewrite(&storage)? {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(StreamError("the database is too busy to be written anew: run this again".into()))
}

/// Rewrites the file, and empties the write-ahead log, which holds old pages too. True if the log is empty.
fn rewrite(storage: &Storage) -> Result<bool, StreamError> {
    storage.conn().execute_batch("VACUUM").map_err(StreamError::of)?;
    let busy: i64 = storage
        .conn()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(StreamError::of)?;
    Ok(busy == 0)
}

/// A running feed of the function. Dropping it stops the feed.
#[derive(Debug)]
pub struct Feed(JoinHandle<()>);

impl Feed {
    /// Passes every write to the function, which records it in `history`. `file` is the database's path,
    /// unless it is in memory.
    pub fn start(database: Database, file: Option<&str>, history: History) -> Result<Self, StreamError> {
        let file = file.map(Storage::new).transpose().map_err(StreamError::of)?;
        let stream = Stream { database, file, after: None };
        Ok(Self(tokio::spawn(stream.feed(history))))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Stream {
    database: Database,
    file: Option<Storage>,
    /// The sequence number of the last record that was handled.
    after: Option<String>,
}

impl Stream {
    async fn feed(mut self, history: History) {
        let mut tries = 0;
        loop {
            match self.step(&history).await {
                Ok(Step::Done { full: true }) => tries = 0,
                Ok(Step::Done { full: false }) => {
                    tries = 0;
                    tokio::time::sleep(LOOK).await;
                }
                Ok(Step::Failed { sequence_number }) => {
                    tries += 1;
                    if tries == TRIES {
                        error!(sequence_number, "a change is not in the history");
                        self.after = Some(sequence_number);
                        tries = 0;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    error!(%error, "the stream cannot be read");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Passes one batch to the function.
    async fn step(&mut self, history: &History) -> Result<Step, StreamError> {
        let records = self.records()?;
        let Some(last) = records.last() else { return Ok(Step::Done { full: false }) };
        let last = last.dynamodb.sequence_number.clone();
        let numbers: Vec<_> = records.iter().map(|record| record.dynamodb.sequence_number.clone()).collect();
        // The error would quote the record.
        let event: Event = serde_json::from_value(json!({"Records": records}))
            .map_err(|_| StreamError::of("a record has another form"))?;
        let run = record_changes::run(history, event).await;
        let failed = run.failed.map(|(sequence_number, error)| {
            let cause = error.cause().map_or("", Cause::as_str);
            error!(sequence_number, %error, cause, "a change could not be recorded");
            sequence_number
        });
        let done = match &failed {
            None => Some(last),
            Some(failed) => numbers.iter().take_while(|number| *number != failed).last().cloned(),
        };
        if let Some(done) = done {
            self.remove(&done)?;
            self.after = Some(done);
        }
        Ok(match failed {
            None => Step::Done { full: numbers.len() == BATCH },
            Some(sequence_number) => Step::Failed { sequence_number },
        })
    }

    fn records(&self) -> Result<Vec<Record>, StreamError> {
        let kind = if self.after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" };
        let position = self.database.get_shard_iterator(GetShardIteratorRequest {
            stream_arn: stream_arn(schema::TICKETS, "local"),
            shard_id: shard_id(schema::TICKETS),
            shard_iterator_type: kind.into(),
            sequence_number: self.after.clone(),
        });
        let shard_iterator = position.map_err(StreamError::of)?.shard_iterator.unwrap_or_default();
        let request = GetRecordsRequest { shard_iterator, limit: Some(BATCH) };
        Ok(self.database.get_records(request).map_err(StreamError::of)?.records)
    }

    /// Removes the records up to this one from the file.
    fn remove(&self, sequence_number: &str) -> Result<(), StreamError> {
        let Some(file) = &self.file else { return Ok(()) };
        let number = sequence_number.parse::<u128>().map_err(StreamError::of)?;
        let stored = i64::try_from(number.saturating_sub(FIRST_SEQUENCE_NUMBER)).map_err(StreamError::of)?;
        file.conn().execute(REMOVE, (schema::TICKETS, stored)).map_err(StreamError::of)?;
        Ok(())
    }
}

/// The result of one batch.
enum Step {
    /// All records are in the history. After a full batch, more may be waiting.
    Done { full: bool },
    /// All records before this one are in the history.
    Failed { sequence_number: String },
}
