//! Fetches tickets by key, consistently, and no more of them than the page can hold.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures::future::try_join_all;
use tickets_domain::error::Cause;
use tickets_domain::{Error, RecordState, Result, Row, Taken, TicketId};

use super::{Candidate, Entry, Page};
use crate::backoff::Backoff;
use crate::capacity::Metering as _;
use crate::failure::Failure;
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;
use crate::transcode::{Member, Transcoder};

/// How long a list waits for throttled keys before it gives up.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// The most keys of one `BatchGetItem`.
const BATCH: usize = 100;
/// The first wave, when sizes are unknown: a page holds this many of the largest tickets, of 256 KiB.
const FIRST_WAVE: usize = 25;
/// The most tickets fetched at the same time, however small they are.
const LARGEST_WAVE: usize = 4 * BATCH;

/// The result of a fetch.
pub(super) enum Fetched {
    /// The page took all candidates that match.
    All,
    /// The page is full: the candidate at this index begins the next one.
    Full { at: usize },
}

/// The entries found under some ids.
#[derive(Default)]
pub(super) struct Found {
    pub(super) entries: BTreeMap<TicketId, Entry>,
    departures: BTreeMap<TicketId, Row>,
}

impl Found {
    /// The row that a list shows for an id. A departure counts only if the ticket is no longer that
    /// customer's: it is written before the ticket moves, and the ticket may have come back.
    fn row(&mut self, id: TicketId) -> Option<Row> {
        let row = self.entries.remove(&id).and_then(|entry| entry.row);
        let Some(departure) = self.departures.remove(&id) else { return row };
        match row {
            Some(row) if row.key.customer == departure.key.customer => Some(row),
            Some(_) | None => Some(departure),
        }
    }
}

impl Tickets {
    /// Fetches the candidates in order until the page is full. Each wave is as large as the page has room
    /// for, by the sizes known so far, and at most four times the one before.
    pub(super) async fn fetch<F: FnMut(&Row) -> Taken>(
        &self,
        candidates: &[Candidate],
        page: &mut Page<F>,
    ) -> Result<Fetched> {
        let customer = page.filter.customer;
        let done = candidates.partition_point(|candidate| candidate.id.get() <= page.done);
        let (mut at, mut wave) = (done, FIRST_WAVE);
        while at < candidates.len() {
            let wanted = &candidates[at..candidates.len().min(at + wave.min(page.room()))];
            let keys = wanted.iter().flat_map(|Candidate { id, departed }| {
                let departure = customer.filter(|_| *departed).map(|from| PrimaryKey::departure(*id, from));
                [Some(PrimaryKey::ticket(*id)), departure].into_iter().flatten()
            });
            let mut found = self.get_all(keys.collect()).await?;
            for candidate in wanted {
                if let Some(row) = found.row(candidate.id)
                    && page.push(&row)? == Taken::Full
                {
                    return Ok(Fetched::Full { at });
                }
                at += 1;
            }
            wave = (wave * 4).min(LARGEST_WAVE);
        }
        Ok(Fetched::All)
    }

    /// Reads what is under these keys, consistently.
    pub(super) async fn get_all(&self, keys: Vec<PrimaryKey>) -> Result<Found> {
        let mut found = Found::default();
        let batches = keys.chunks(BATCH).map(|batch| self.get_batch(batch.to_vec()));
        for entry in try_join_all(batches).await?.into_iter().flatten() {
            match entry.row {
                Some(departure) if departure.key.state == RecordState::Departed => {
                    found.departures.insert(entry.id, departure);
                }
                row => {
                    found.entries.insert(entry.id, Entry { row, ..entry });
                }
            }
        }
        Ok(found)
    }

    /// Reads one batch. Asks again for keys left unprocessed.
    async fn get_batch(&self, keys: Vec<PrimaryKey>) -> Result<Vec<Entry>> {
        let mut backoff = Backoff::within(READ_DEADLINE);
        let mut entries = Vec::with_capacity(keys.len());
        let mut keys: Vec<_> = keys.into_iter().map(PrimaryKey::into_key).collect();
        loop {
            let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys)).build();
            let transcoder = Transcoder::new(Member::Responses);
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted.map_err(Error::internal)?)
                .set_return_consumed_capacity(self.meter.level())
                .customize()
                .interceptor(transcoder.clone())
                .send()
                .await
                .map_err(Failure::of)?;
            self.meter.read(output.consumed_capacity());
            let items = output.responses.into_iter().flat_map(HashMap::into_values).flatten();
            entries.extend(transcoder.read(items.collect())?);
            keys = output
                .unprocessed_keys
                .into_iter()
                .flat_map(HashMap::into_values)
                .flat_map(|left| left.keys)
                .collect();
            if keys.is_empty() {
                return Ok(entries);
            }
            if !backoff.wait().await {
                return Err(left_unprocessed());
            }
        }
    }
}

/// The error if keys are still unprocessed at the deadline.
pub(crate) fn left_unprocessed() -> Error {
    Error::Throttled(Cause("keys were left unprocessed".into()))
}
