//! Writes rows straight into the table, with their ids and dates.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use indicatif::ProgressBar;
use tickets_domain::{Error, KeyId, Record, Timestamp, Violation};
use tickets_repository::Tickets;
use tickets_repository::operator::import::{Imported, ReservedRanges};

use super::report::Report;
use crate::error::CommandError;

/// How often a record is tried before the import stops: enough to outlast half a minute of trouble.
const TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What is known of all rows together.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Each row's id and line.
    ids: Vec<(u64, u64)>,
    earliest: Option<Timestamp>,
}

/// How many records had which outcome.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) new: u64,
    pub(super) there: u64,
    pub(super) changed: u64,
}

impl Survey {
    pub(super) fn note(&mut self, line: u64, record: &Record) {
        let key = record.key();
        self.ids.push((key.id.get(), line));
        self.earliest = Some(self.earliest.map_or(key.updated, |earliest| earliest.min(key.updated)));
    }

    /// Refuses rows whose id occurs on an earlier line.
    pub(super) fn refuse_twins(&mut self, report: &mut Report, progress: &ProgressBar) {
        self.ids.sort_unstable();
        for pair in self.ids.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let violation = Violation::new("id", format!("{} is on line {} too", pair[1].0, pair[0].1));
            report.refuse(pair[1].1, &[violation], progress);
        }
    }

    /// Whether some ids are not free, so that the table must be searched for their records.
    pub(super) fn is_to_be_looked_for(&self, ranges: &ReservedRanges) -> bool {
        let admits = |id: u64| id.try_into().is_ok_and(|id| ranges.admits(id));
        !self.ids.iter().all(|(id, _)| admits(*id))
    }
}

/// The name that is recorded as the writer of moved records.
fn importer() -> Result<KeyId, Error> {
    "import".parse().map_err(Error::internal)
}

/// Refuses rows whose ids are not free, unless the same record is there already. Writes nothing.
pub(super) async fn look(
    tickets: &Tickets,
    ranges: &ReservedRanges,
    records: impl Iterator<Item = Result<(u64, Record), CommandError>>,
    parallel: usize,
    report: &mut Report,
    progress: &ProgressBar,
) -> Result<(), CommandError> {
    let given = records.filter(|record| !matches!(record, Ok((_, record)) if ranges.admits(record.key().id)));
    let looks = stream::iter(given).map(|record| async {
        let (line, record) = record?;
        let became = patiently(|| tickets.look_for(&record)).await?;
        Ok::<_, CommandError>((line, record, became))
    });
    let mut looks = std::pin::pin!(looks.buffer_unordered(parallel));
    while let Some(look) = looks.next().await {
        let (line, record, became) = look?;
        refusal(&record, became).iter().for_each(|violation| {
            report.refuse(line, std::slice::from_ref(violation), progress);
        });
    }
    Ok(())
}

/// Reserves the ids and puts every record that is missing. It can be repeated.
///
/// # Errors
/// [`CommandError::TooSparse`] if the ids are too far apart.
pub(super) async fn import(
    tickets: &Tickets,
    survey: &Survey,
    records: impl Iterator<Item = Result<(u64, Record), CommandError>>,
    parallel: usize,
    report: &mut Report,
    progress: &ProgressBar,
) -> Result<Moved, CommandError> {
    let mut moved = Moved::default();
    let Some(earliest) = survey.earliest else { return Ok(moved) };
    let ids: Vec<u64> = survey.ids.iter().map(|(id, _)| *id).collect();
    let ranges = patiently(|| tickets.reserve_ranges(&ids, earliest)).await?;
    let ranges = ranges.map_err(|sparse| CommandError::TooSparse {
        count: ids.len(),
        first: sparse.first,
        last: sparse.last,
    })?;
    let by = importer()?;
    let puts = stream::iter(records).map(|record| async {
        let (line, record) = record?;
        let became = patiently(|| tickets.import(&by, &ranges, &record)).await?;
        Ok::<_, CommandError>((line, record, became))
    });
    let mut puts = std::pin::pin!(puts.buffer_unordered(parallel));
    while let Some(put) = puts.next().await {
        let (line, record, became) = put?;
        progress.inc(1);
        match became {
            Imported::New => moved.new += 1,
            Imported::There => moved.there += 1,
            Imported::Changed => moved.changed += 1,
            Imported::Taken | Imported::GivenOut => {
                refusal(&record, became)
                    .iter()
                    .for_each(|violation| report.refuse(line, std::slice::from_ref(violation), progress));
            }
        }
    }
    Ok(moved)
}

/// Why a record was not moved in; `None` if it was.
fn refusal(record: &Record, became: Imported) -> Option<Violation> {
    let id = record.key().id;
    match became {
        Imported::New | Imported::There | Imported::Changed => None,
        Imported::Taken => Some(Violation::new("id", format!("{id} is taken by another ticket"))),
        Imported::GivenOut => Some(Violation::new(
            "id",
            format!("{id} is not free: it was given out before, and nothing is under it now"),
        )),
    }
}

/// Retries for half a minute, until the database answers.
async fn patiently<T, F: Future<Output = Result<T, Error>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut wait = FIRST_WAIT;
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if is_temporary(&error) => {
                tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await
            }
            ended => return ended,
        }
        wait *= 2;
    }
    attempt().await
}

fn is_temporary(error: &Error) -> bool {
    match error {
        Error::Contended | Error::Throttled(_) | Error::Unavailable(_) | Error::Undecided(_) => true,
        Error::MalformedBody(_)
        | Error::InvalidParameters(_)
        | Error::InvalidFields(_)
        | Error::Unauthenticated
        | Error::RateLimited(_)
        | Error::MissingScope(_)
        | Error::OtherCustomer(_)
        | Error::NotFound
        | Error::VersionMismatch
        | Error::UnusableTag(_)
        | Error::VersionExcluded
        | Error::IdempotencyKeyReused
        | Error::IdempotencyKeyInUse
        | Error::Internal(_) => false,
    }
}
