//! Fetches tickets by key, consistently, and no more of them than the page can hold.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures::future::try_join_all;
use tickets_domain::error::Cause;
use tickets_domain::{Error, Fit, RecordState, Result, Row, TicketId};

use super::{Candidate, Entry, Page};
use crate::backoff::Backoff;
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;

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
    /// The page is full, or has spent what it may: the candidate at this index begins the next one.
    Ended { at: usize },
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
    /// Fetches the candidates in order until the page ends. Each wave is as large as the page has room for, by
    /// the sizes known so far, and at most four times the one before. Where nothing matches, waves grow beyond the
    /// room.
    pub(super) async fn fetch<F: FnMut(&Row) -> Fit>(
        &self,
        candidates: &[Candidate],
        page: &mut Page<F>,
    ) -> Result<Fetched> {
        let customer = page.filter.customer;
        let done = candidates.partition_point(|candidate| candidate.id.get() <= page.done);
        let (mut at, mut wave, mut ahead) = (done, FIRST_WAVE, 1_usize);
        while at < candidates.len() {
            let taken = page.taken;
            let most = wave.min(page.room().saturating_mul(ahead)).min(page.units_left() as usize).max(1);
            let wanted = &candidates[at..candidates.len().min(at + most)];
            let keys = wanted.iter().flat_map(|Candidate { id, departed }| {
                let departure = customer.filter(|_| *departed).map(|from| PrimaryKey::departure(*id, from));
                [Some(PrimaryKey::ticket(*id)), departure].into_iter().flatten()
            });
            let mut found = self.get_all(keys.collect()).await?;
            for candidate in wanted {
                if let Some(row) = found.row(candidate.id)
                    && page.push(&row)? == Fit::Full
                {
                    return Ok(Fetched::Ended { at });
                }
                at += 1;
            }
            if at < candidates.len() && page.is_spent() {
                page.skip_to(candidates[at - 1].id.get());
                return Ok(Fetched::Ended { at });
            }
            wave = (wave * 4).min(LARGEST_WAVE);
            ahead = if page.taken == taken { ahead.saturating_mul(2) } else { 1 };
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
            let wanted = wanted.map_err(Error::internal)?;
            let get = self.dynamodb.batch_get_item().request_items(&self.table, wanted);
            let (output, read) = self.dynamodb.batch_get_items(get).await?;
            entries.extend(read?);
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
    Error::Throttled(Cause::new("keys were left unprocessed"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use tickets_domain::id::CustomerId;
    use tickets_domain::precondition::Preconditions;
    use tickets_domain::{Filter, Visibility};
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Calls, NOW, ok};

    fn ticket(id: u64) -> TicketId {
        id.try_into().unwrap()
    }

    fn keys(input: &Value) -> &Vec<Value> {
        input["RequestItems"]["Tickets"]["Keys"].as_array().unwrap()
    }

    /// How many keys each call asked for.
    fn sizes(calls: &Calls) -> Vec<usize> {
        calls.of("BatchGetItem").iter().map(|input| keys(input).len()).collect()
    }

    fn candidates(ids: impl IntoIterator<Item = u64>) -> Vec<Candidate> {
        ids.into_iter().map(|id| Candidate::ticket(ticket(id))).collect()
    }

    fn page(filter: Filter) -> Page<impl FnMut(&Row) -> Fit> {
        Page::new(filter, |_: &Row| Fit::Added)
    }

    #[tokio::test(start_paused = true)]
    async fn waves_grow_fourfold_to_four_batches() {
        let (tickets, calls) = scripted::engine(1100).await;
        let mut page = page(Filter::default());
        assert!(matches!(tickets.fetch(&candidates(1..=1100), &mut page).await.unwrap(), Fetched::All));
        assert_eq!(page.taken, 1100);
        assert_eq!(sizes(&calls), [25, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 75]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_fetched_than_is_wanted_and_what_is_done_is_left_out() {
        let (tickets, calls) = scripted::engine(20).await;
        let mut page = page(Filter { limit: Some(3), id_after: 5, ..Filter::default() });
        let fetched = tickets.fetch(&candidates(1..=20), &mut page).await.unwrap();
        assert!(matches!(fetched, Fetched::Ended { at: 8 }), "the ninth begins the next page");
        assert_eq!((page.taken, page.done, sizes(&calls)), (3, 8, vec![4]));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_left_unprocessed_are_asked_for_again_until_the_deadline() {
        let count = AtomicUsize::new(0);
        let item = |key: &Value| {
            let mut item = key.clone();
            let time = json!({"N": NOW.to_string()});
            let more = json!({
                "customerID": {"N": "1"}, "subject": {"S": "s"}, "createdDate": time, "updatedDate": time,
                "version": {"N": "1"}, "writer": {"S": "a.1"},
            });
            item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            item
        };
        let (tickets, calls) = scripted::tickets(move |_, input| {
            let processed = if count.fetch_add(1, Ordering::Relaxed) == 0 { 2 } else { 10 };
            let (now, later) = keys(input).split_at(processed.min(keys(input).len()));
            let left = if later.is_empty() { json!({}) } else { json!({"Tickets": {"Keys": later}}) };
            let found: Vec<_> = now.iter().map(item).collect();
            ok(json!({"Responses": {"Tickets": found}, "UnprocessedKeys": left}))
        });
        let all: Vec<_> = (1..=5).map(|id| PrimaryKey::ticket(ticket(id))).collect();
        let found = tickets.get_all(all.clone()).await.unwrap();
        assert_eq!((found.entries.len(), sizes(&calls)), (5, vec![5, 3]));

        let (tickets, calls) =
            scripted::tickets(|_, input| ok(json!({"UnprocessedKeys": input["RequestItems"]})));
        let began = Instant::now();
        assert!(matches!(tickets.get_all(all).await, Err(Error::Throttled(_))));
        assert!(Instant::now() - began <= READ_DEADLINE && sizes(&calls).len() > 8);
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_and_departures_are_told_apart() {
        let (tickets, _) = scripted::engine(2).await;
        let (one, two) = (CustomerId::try_from(1).unwrap(), CustomerId::try_from(2).unwrap());
        let moved = |ticket: &tickets_domain::Ticket, _| {
            let fields = tickets_domain::TicketFields { customer: two, ..ticket.fields.clone() };
            Ok(Some(tickets_domain::Ticket { fields, version: ticket.version.next(), ..ticket.clone() }))
        };
        let by = "writer".parse().unwrap();
        tickets.update(ticket(1), &by, Visibility::All, &Preconditions::default(), moved).await.unwrap();
        let all = [
            PrimaryKey::ticket(ticket(1)),
            PrimaryKey::departure(ticket(1), one),
            PrimaryKey::ticket(ticket(2)),
        ];
        let mut found = tickets.get_all(all.to_vec()).await.unwrap();
        let ids = |entries: &BTreeMap<TicketId, Entry>| entries.keys().map(|id| id.get()).collect::<Vec<_>>();
        assert_eq!(ids(&found.entries), [1, 2]);
        assert_eq!(found.departures.keys().map(|id| id.get()).collect::<Vec<_>>(), [1]);
        let row = found.row(ticket(1)).unwrap();
        assert_eq!((row.key.state, row.key.customer), (RecordState::Departed, one));
        let row = found.row(ticket(2)).unwrap();
        assert_eq!((row.key.state, row.key.customer), (RecordState::Live, one));
        assert!(found.row(ticket(3)).is_none());

        // A departure is looked for only for the customer whose list it is, and shown only to it.
        for (customer, departed, shown) in [(Some(one), true, 1), (Some(one), false, 0), (Some(two), true, 1)]
        {
            let filter = Filter { customer, include_deleted: true, ..Filter::default() };
            let mut page = page(filter);
            let candidate = Candidate { id: ticket(1), departed };
            tickets.fetch(&[candidate], &mut page).await.unwrap();
            assert_eq!(page.taken, shown, "{customer:?} {departed}");
        }
    }
}
