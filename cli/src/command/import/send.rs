//! Sends rows through the API in batches, named so that each row takes effect once.
//!
//! The service identifies a row by its batch's idempotency key and its position in the batch. So the limits
//! and the name of a batch must follow from the rows alone: the same file makes the same batches. A row's own
//! content decides whether a batch ends with it, so added or removed lines change only their own batch. A
//! batch is named after its first row. If other rows of it have changed, the service refuses those and
//! creates no ticket for them.

use std::collections::HashMap;
use std::io;

use data_encoding::HEXLOWER;
use futures::stream::{self, StreamExt};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use tickets_domain::json_object::MOST_ROWS;
use tickets_domain::{Timestamp, Violation};
use tickets_http::request::MAX_BODY;

use super::report::{ROW, Report};
use crate::client::{Client, ClientError};
use crate::error::CommandError;

/// One row in this many ends its batch. Still, nearly half of all batches are full.
const ENDS: u8 = 128;

/// A row's hash, short enough for a batch name.
type Hash = [u8; 16];

fn hash(body: &str) -> Hash {
    let hash = Sha256::digest(body.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

struct Batch {
    name: String,
    /// Each row's line number and body.
    rows: Vec<(u64, String)>,
}

struct Batches<I: Iterator> {
    rows: std::iter::Peekable<I>,
    /// How many batches so far begin with the same row.
    seen: HashMap<Hash, u32>,
}

impl<I: Iterator<Item = Result<(u64, String), CommandError>>> Batches<I> {
    fn new(rows: I) -> Self {
        Self { rows: rows.peekable(), seen: HashMap::new() }
    }
}

impl<I: Iterator<Item = Result<(u64, String), CommandError>>> Iterator for Batches<I> {
    type Item = Result<Batch, CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rows = Vec::new();
        // Counts the brackets, and a comma for each row.
        let mut size = 2;
        while rows.len() < MOST_ROWS {
            let fits = |row: &I::Item| {
                row.as_ref().map_or(true, |(_, body)| rows.is_empty() || size + body.len() < MAX_BODY)
            };
            let Some(row) = self.rows.next_if(fits) else { break };
            let (line, body) = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            size += body.len() + 1;
            let ends = hash(&body)[15].is_multiple_of(ENDS);
            rows.push((line, body));
            if ends {
                break;
            }
        }
        let first = hash(&rows.first()?.1);
        let count = self.seen.entry(first).or_default();
        *count += 1;
        Some(Ok(Batch { name: format!("import-{}-{count}", HEXLOWER.encode(&first)), rows }))
    }
}

/// How many tickets exist for the rows sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) new: u64,
    /// Those that an earlier import created.
    pub(super) replayed: u64,
}

/// Sends rows, `parallel` batches at a time, and reports those that the service refuses. Tickets created
/// before `began` count as those of an earlier import.
///
/// # Errors
/// If the API does not answer, or refuses for another reason than a row's content.
pub(super) async fn send(
    client: &Client,
    bodies: impl Iterator<Item = Result<(u64, String), CommandError>>,
    parallel: usize,
    began: Timestamp,
    report: &mut Report,
    progress: &ProgressBar,
) -> Result<Sent, CommandError> {
    let answers = stream::iter(Batches::new(bodies)).map(|batch| async {
        let Batch { name, rows } = batch?;
        let bodies: Vec<&str> = rows.iter().map(|(_, body)| body.as_str()).collect();
        let created = match client.create_all(&bodies, &name).await {
            // A single row is too large.
            Err(refused @ ClientError::Refused { .. }) if rows.len() == 1 => vec![Err(refused)],
            created => created?,
        };
        Ok::<_, CommandError>((rows, created))
    });
    let mut answers = std::pin::pin!(answers.buffer_unordered(parallel));
    let mut sent = Sent::default();
    while let Some(answer) = answers.next().await {
        let (rows, created) = answer?;
        for ((line, _), created) in rows.into_iter().zip(created) {
            progress.inc(1);
            match created {
                // Compared with this machine's clock: the count only informs people.
                Ok(created) if created < began => sent.replayed += 1,
                Ok(_) => sent.new += 1,
                Err(ClientError::Refused { status, violations, detail })
                    if matches!(status.as_u16(), 400 | 413 | 422) =>
                {
                    let said =
                        if violations.is_empty() { vec![Violation::new(ROW, detail)] } else { violations };
                    report.refuse(line, &said, progress);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(sent)
}

/// The error if a second reading of the file differs from the first.
pub(super) fn has_changed() -> CommandError {
    CommandError::Io(io::Error::other("the file changed while it was read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(rows: impl IntoIterator<Item = String>) -> Vec<(String, Vec<String>)> {
        let rows = rows.into_iter().zip(1..).map(|(row, line)| Ok((line, row)));
        let bodies = |batch: Batch| batch.rows.into_iter().map(|(_, body)| body).collect();
        Batches::new(rows)
            .map(|batch| batch.unwrap())
            .map(|batch| (batch.name.clone(), bodies(batch)))
            .collect()
    }

    fn rows(count: u64) -> Vec<String> {
        (0..count).map(|n| format!("{{\"subject\":\"{n}\"}}")).collect()
    }

    #[test]
    fn a_file_makes_the_same_batches_again_and_every_row_is_in_one() {
        let first = batches(rows(5000));
        assert_eq!(batches(rows(5000)), first);
        assert!(first.iter().all(|(_, rows)| (1..=MOST_ROWS).contains(&rows.len())));
        assert!(first.len() < 100, "{} batches", first.len());
        assert_eq!(first.into_iter().flat_map(|(_, rows)| rows).collect::<Vec<_>>(), rows(5000));
    }

    #[test]
    fn lines_added_at_the_end_change_no_name_and_others_few() {
        let before = batches(rows(5000));
        let longer = batches(rows(5030));
        for (before, longer) in before.iter().zip(&longer) {
            assert!(before.0 == longer.0 && longer.1.starts_with(&before.1));
        }
        let mut inserted = rows(5000);
        inserted.insert(2500, "{}".into());
        let inserted = batches(inserted);
        let moved = before.iter().filter(|batch| !inserted.contains(batch)).count();
        assert!((1..=5).contains(&moved), "{moved} batches of {}", before.len());
    }

    #[test]
    fn equal_batches_have_names_of_their_own() {
        let twice = batches(vec!["{}".to_owned(); 150]);
        assert!(twice.windows(2).all(|pair| pair[0].0 != pair[1].0));
    }

    #[test]
    fn a_body_is_no_larger_than_the_service_takes_but_for_a_single_row() {
        let large = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        let body = |batch: &(String, Vec<String>)| format!("[{}]", batch.1.join(",")).len();
        let half = MAX_BODY / 2 - 2;
        let made = batches([large(half), large(half), large(half), large(MAX_BODY), large(10)]);
        let sizes: Vec<usize> = made.iter().map(body).collect();
        assert!(sizes.iter().filter(|size| **size > MAX_BODY).count() == 1, "{sizes:?}");
        assert_eq!(made.iter().map(|batch| batch.1.len()).sum::<usize>(), 5);
    }
}
