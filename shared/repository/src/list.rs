//! Lists: never a scan, always ascending by id, complete up to the last id given or an error.
//!
//! - tickets by their ids: those are fetched;
//! - no filter, or `id_after` only: the buckets in order, strongly consistent, up to the first open id (`walk`);
//! - a customer: `byCustomer`, which is in id order (`keys`);
//! - statuses: `byStatus`, whose partitions are merged in id order; with a customer, both indexes side by
//!   side;
//! - a time: `byUpdated`, sorted by id; if a page would read too many keys, the buckets with a filter (`changes`).
//!   The `Link` carries what a page found out about this, as a [`Continuation`];
//! - a customer or statuses, and a time: both indexes side by side, until one of them ends.
//!
//! Tickets found by key are read consistently (`fetch`): a stale read could miss the change that the index
//! announced. Each ticket is matched again, because it may be newer than the index entry.
//!
//! No page is empty while records remain, with one exception: a page of a work queue ends when it has spent much on
//! what is not in the queue (`page`). Otherwise it could read a million keys for nothing.

mod bucket;
mod changed_keys;
mod changes;
mod count;
mod entry;
mod fetch;
mod keys;
mod page;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use tickets_domain::{
    Continuation, Filter, Fit, ListEnd, Listed, Meter, RecordKey, RecordState, Result, Row, TicketId,
    Timestamp, Visibility,
};

use crate::ids::Counter;
use crate::tickets::Tickets;
pub(crate) use entry::Entry;
use fetch::Fetched;
pub(crate) use fetch::left_unprocessed;
use keys::OrderedKeys;
use page::Page;
use walk::Walked;

/// How many keys of each index are read first, when two are read side by side.
const FIRST_KEYS: usize = 200;

/// A ticket that may be in the list; `departed` if a departure of it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    id: TicketId,
    departed: bool,
}

impl Candidate {
    fn ticket(id: TicketId) -> Self {
        Self { id, departed: false }
    }
}

/// Candidates, by id.
#[derive(Debug, Default)]
struct Candidates(BTreeMap<TicketId, bool>);

impl Candidates {
    /// Adds the keys that may match.
    fn extend(&mut self, keys: Vec<RecordKey>, filter: &Filter) {
        for key in keys.into_iter().filter(|key| filter.may_match(key)) {
            let departed = key.state == RecordState::Departed;
            self.0.entry(key.id).and_modify(|known| *known |= departed).or_insert(departed);
        }
    }

    fn into_vec(self) -> Vec<Candidate> {
        self.0.into_iter().map(|(id, departed)| Candidate { id, departed }).collect()
    }
}

impl Tickets {
    /// Passes the rows that match, and that the caller may see, to `take`, ascending by id, until it is full
    /// or the filter's limit is reached. `continuation` comes from the `Link` to this page.
    ///
    /// # Errors
    /// If the database does not answer for a part of the list: a list never has a gap.
    pub async fn list(
        &self,
        filter: &Filter,
        continuation: &Continuation,
        visibility: Visibility,
        take: impl FnMut(&Row) -> Fit,
    ) -> Result<Listed> {
        let customer = match (visibility, filter.customer) {
            (Visibility::All, customer) => customer,
            (Visibility::Only(own), None) => Some(own),
            (Visibility::Only(own), Some(customer)) if own == customer => Some(own),
            (Visibility::Only(_), Some(_)) => {
                return Ok(Listed { end: ListEnd::Complete, epoch: self.counter().await?.epoch });
            }
        };
        let filter = Filter { customer, ..filter.clone() };
        let (tickets, meter) = self.counted();
        let mut page = Page::new(filter.clone(), take);
        if !filter.queue.is_empty() {
            page.allow(self.settings.most_vain_units, meter);
        }
        tickets.fill(&filter, continuation, &mut page).await
    }

    /// The same table with a meter that counts, as what may be spent needs it.
    fn counted(&self) -> (Self, Meter) {
        let meter = self.dynamodb.meter();
        let meter = if meter.counts() { meter.clone() } else { Meter::counting() };
        (self.metered(meter.clone()), meter)
    }

    /// Fills a page by the plan that suits the filter.
    async fn fill<F: FnMut(&Row) -> Fit>(
        &self,
        filter: &Filter,
        continuation: &Continuation,
        page: &mut Page<F>,
    ) -> Result<Listed> {
        // A missing ticket may arrive while the list is read, so judge open ids by the time before the read.
        let began = self.clock.now();
        let (counter, end) = match (&filter.ids, OrderedKeys::of(self, filter), filter.since()) {
            (Some(ids), ..) => futures::try_join!(self.counter(), self.by_id(ids, page))?,
            (None, None, None) => {
                let counter = self.counter().await?;
                let end = self.in_order(&counter, began, page).await?;
                (counter, end)
            }
            (None, None, Some(since)) => {
                let counter = self.counter().await?;
                let end = self.changes(&counter, since, continuation, page).await?;
                (counter, end)
            }
            (None, Some(keys), None) => futures::try_join!(self.counter(), self.in_key_order(keys, page))?,
            (None, Some(keys), Some(since)) => {
                let counter = self.counter().await?;
                let end = self.changes_in_key_order(&counter, keys, since, page).await?;
                (counter, end)
            }
        };
        Ok(Listed { end, epoch: counter.epoch })
    }

    /// Lists the tickets with these ids.
    async fn by_id<F: FnMut(&Row) -> Fit>(
        &self,
        ids: &BTreeSet<TicketId>,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        let departed = page.filter.may_show_departures();
        let candidates: Vec<_> = ids.iter().map(|id| Candidate { id: *id, departed }).collect();
        Ok(match self.fetch(&candidates, page).await? {
            Fetched::Ended { .. } => page.more(Continuation::Unknown),
            Fetched::All => ListEnd::Complete,
        })
    }

    /// Lists all tickets.
    async fn in_order<F: FnMut(&Row) -> Fit>(
        &self,
        counter: &Counter,
        began: Timestamp,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        Ok(match self.walk(counter, began, page).await? {
            Walked::Ended => page.more(Continuation::Unknown),
            Walked::Sparse | Walked::End => ListEnd::Complete,
        })
    }

    /// Lists tickets by an index in id order.
    async fn in_key_order<F: FnMut(&Row) -> Fit>(
        &self,
        mut keys: OrderedKeys<'_>,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        let (mut limit, mut read) = (keys.first_limit(page.wanted()), 0);
        loop {
            let found = keys.next(page.affordable(limit, keys.indexes())).await?;
            read += found.read;
            let is_enough = read > self.settings.most_keys && page.taken > 0;
            match self.fetch(&found.candidates, page).await? {
                Fetched::Ended { .. } => return Ok(page.more(Continuation::Unknown)),
                Fetched::All if found.is_end() => return Ok(ListEnd::Complete),
                Fetched::All if is_enough || page.is_spent() => {
                    page.skip_to(found.up_to);
                    return Ok(page.more(Continuation::Unknown));
                }
                // If little matches, do not read many small pages.
                Fetched::All => limit = limit.saturating_mul(2),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tickets_domain::Settings;
    use tickets_domain::id::CustomerId;
    use tickets_domain::precondition::Preconditions;

    use super::*;
    use crate::scripted::{self, Calls};

    fn key(id: u64, state: RecordState) -> RecordKey {
        let at = Timestamp::from_millis(1_764_000_000_000).unwrap();
        let customer = CustomerId::try_from(42).unwrap();
        RecordKey { id: id.try_into().unwrap(), customer, created: at, updated: at, state }
    }

    #[test]
    fn a_candidate_is_departed_if_any_of_its_keys_is() {
        let customer = Some(CustomerId::try_from(42).unwrap());
        let filter = Filter { customer, include_deleted: true, id_after: 1, ..Filter::default() };
        let (live, departed) = (RecordState::Live, RecordState::Departed);
        let mut candidates = Candidates::default();
        candidates.extend(vec![key(4, live), key(2, live), key(3, departed), key(1, live)], &filter);
        candidates.extend(vec![key(2, departed), key(3, live), key(4, live)], &filter);
        let found: Vec<_> = candidates
            .into_vec()
            .into_iter()
            .map(|candidate| (candidate.id.get(), candidate.departed))
            .collect();
        assert_eq!(found, [(2, true), (3, true), (4, false)], "by id, and without those that cannot match");
    }

    pub(super) async fn list(tickets: &Tickets, filter: &Filter, found: Continuation) -> (Vec<u64>, ListEnd) {
        let mut ids = Vec::new();
        let take = |row: &Row| {
            ids.push(row.key.id.get());
            Fit::Added
        };
        let listed = tickets.list(filter, &found, Visibility::All, take).await.unwrap();
        (ids, listed.end)
    }

    pub(super) fn customer(id: u64) -> Option<CustomerId> {
        CustomerId::try_from(id).ok()
    }

    async fn delete(tickets: &Tickets, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            let (id, by) = (TicketId::try_from(id).unwrap(), "writer".parse().unwrap());
            tickets.delete(id, &by, Visibility::All, &Preconditions::default()).await.unwrap();
        }
    }

    pub(super) fn limits(calls: &Calls, index: &str) -> Vec<u64> {
        let queries = calls.of("Query");
        let limit = |input: &Value| input["Limit"].as_u64().unwrap();
        queries.iter().filter(|input| input["IndexName"] == index).map(limit).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_has_something_ends_after_enough_keys() {
        let (tickets, calls) = scripted::engine(100).await;
        delete(&tickets, 3..100).await;
        let settings = Settings { most_keys: 20, ..Settings::default() };
        let tickets = Tickets { settings, ..tickets };
        let filter = Filter { customer: customer(1), limit: Some(3), ..Filter::default() };
        let (ids, end) = list(&tickets, &filter, Continuation::Unknown).await;
        // The key of ticket 28 may be followed by that of its departure.
        assert_eq!((ids, end), (vec![1, 2], ListEnd::More { after: 27, found: Continuation::Unknown }));
        assert_eq!(limits(&calls, "byCustomer"), [4, 8, 16], "each page is twice the one before");
        // A page must not come out empty: without anything it goes on.
        let next = Filter { id_after: 27, ..filter };
        assert_eq!(list(&tickets, &next, Continuation::Unknown).await, (vec![100], ListEnd::Complete));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_restricted_to_a_customer_lists_only_its_tickets() {
        let (tickets, calls) = scripted::engine(3).await;
        let count = async |own: u64, asked: Option<u64>| {
            let filter = Filter { customer: asked.and_then(customer), ..Filter::default() };
            let mut count = 0;
            let take = |_: &Row| {
                count += 1;
                Fit::Added
            };
            let visibility = Visibility::Only(customer(own).unwrap());
            let listed = tickets.list(&filter, &Continuation::Unknown, visibility, take).await.unwrap();
            assert_eq!(listed.end, ListEnd::Complete);
            count
        };
        assert_eq!([count(1, None).await, count(1, Some(1)).await, count(2, None).await], [3, 3, 0]);
        let before = calls.of("Query").len();
        assert_eq!([count(1, Some(2)).await, count(2, Some(1)).await], [0, 0]);
        assert_eq!(calls.of("Query").len(), before, "nothing is read for another one's");
    }
}
