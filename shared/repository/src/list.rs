//! Lists: never a scan, always ascending by id, complete up to the last id given or an error.
//!
//! - no filter, or ids only: the buckets in order, strongly consistent, up to the first open id (`walk`);
//! - a customer: `byCustomer`, which is in id order (`keys`);
//! - statuses: `byStatus`, whose partitions are merged in id order; with a customer, both indexes side by
//!   side;
//! - a time: `byUpdated`, sorted by id; if a page would read too many keys, the buckets with a filter. The
//!   `Link` carries what a page found out about this, as a [`Continuation`];
//! - a customer or statuses, and a time: both indexes side by side, until one of them ends.
//!
//! Tickets found by key are read consistently (`fetch`): a stale read could miss the change that the index
//! announced. Each ticket is matched again, because it may be newer than the index entry.

mod entry;
mod fetch;
mod keys;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use tickets_domain::{
    Continuation, Filter, ListEnd, Listed, RecordKey, RecordState, Result, Row, Taken, TicketId, Timestamp,
    Visibility,
};

use crate::ids::Counter;
use crate::tickets::Tickets;
pub(crate) use entry::{Entry, Versioned};
use fetch::Fetched;
pub(crate) use fetch::left_unprocessed;
use keys::{ChangedKeys, KeyPage, OrderedKeys};
use walk::Walked;

/// The size of a page without a limit: a Lambda reply of 6 MB. No more is read ahead than fits.
const PAGE_BYTES: usize = 6 * 1024 * 1024;
/// The size of a ticket as JSON, as long as none is known.
const USUAL_ROW: usize = 300;
/// How many keys of each index are read first, when two are read side by side.
const FIRST_KEYS: usize = 200;
/// If more than one in this many tickets has changed, reading all in order costs no more than fetching each.
const DENSE: u64 = 4;

/// A page being filled: takes records in order until the caller has enough, or the limit is reached.
struct Page<F> {
    filter: Filter,
    take: F,
    taken: usize,
    bytes: usize,
    /// Everything up to this id is in the page, or is not in the list.
    done: u64,
}

impl<F: FnMut(&Row) -> Taken> Page<F> {
    /// Takes the row if it matches.
    fn push(&mut self, row: &Row) -> Result<Taken> {
        let id = row.key.id.get();
        if id <= self.done || !self.filter.matches(row)? {
            return Ok(Taken::Accepted);
        }
        if self.filter.limit.is_some_and(|limit| self.taken >= limit) {
            return Ok(Taken::Full);
        }
        let taken = (self.take)(row);
        if taken == Taken::Accepted {
            self.taken += 1;
            self.bytes += row.json.len();
            self.done = id;
        }
        Ok(taken)
    }

    fn skip_to(&mut self, id: u64) {
        self.done = self.done.max(id);
    }

    /// How many records to ask for: one more than the limit tells whether there is a next page.
    fn wanted(&self) -> usize {
        self.filter.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.taken) + 1)
    }

    /// How many more records fit, if they are as large as those so far. One more tells that there is a next
    /// page.
    fn room(&self) -> usize {
        let average = self.bytes.checked_div(self.taken).unwrap_or(USUAL_ROW).max(1);
        // A reader that takes more than one page gets another page's worth.
        let left = PAGE_BYTES - self.bytes % PAGE_BYTES;
        self.wanted().min(left / average + 1)
    }
}

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
        take: impl FnMut(&Row) -> Taken,
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
        let (since, done) = (filter.since(), filter.id_after);
        let mut page = Page { filter: filter.clone(), take, taken: 0, bytes: 0, done };
        let keys = OrderedKeys::of(self, &filter);
        // A missing ticket may arrive while the list is read, so judge open ids by the time before the read.
        let began = self.clock.now();
        let (counter, end) = match (keys, since) {
            (None, None) => {
                let counter = self.counter().await?;
                let end = self.in_order(&counter, began, &mut page).await?;
                (counter, end)
            }
            (None, Some(since)) => {
                let counter = self.counter().await?;
                let end = self.changes(&counter, since, continuation, &mut page).await?;
                (counter, end)
            }
            (Some(keys), None) => futures::try_join!(self.counter(), self.in_key_order(keys, &mut page))?,
            (Some(keys), Some(since)) => {
                let counter = self.counter().await?;
                let end = self.changes_in_key_order(&counter, keys, since, &mut page).await?;
                (counter, end)
            }
        };
        Ok(Listed { end, epoch: counter.epoch })
    }

    /// Lists all tickets.
    async fn in_order<F: FnMut(&Row) -> Taken>(
        &self,
        counter: &Counter,
        began: Timestamp,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        Ok(match self.walk(counter, began, page).await? {
            Walked::Full => ListEnd::More(Continuation::Unknown),
            Walked::Sparse | Walked::End => ListEnd::Complete,
        })
    }

    /// Lists tickets by an index in id order.
    async fn in_key_order<F: FnMut(&Row) -> Taken>(
        &self,
        mut keys: OrderedKeys<'_>,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        let (mut limit, mut read) = (keys.first_limit(page.wanted()), 0);
        loop {
            let found = keys.next(limit).await?;
            read += found.read;
            match self.fetch(&found.candidates, page).await? {
                Fetched::Full { .. } => return Ok(ListEnd::More(Continuation::Unknown)),
                Fetched::All if found.is_end() => return Ok(ListEnd::Complete),
                Fetched::All if read > self.policy.most_keys && page.taken > 0 => {
                    return Ok(ListEnd::More(Continuation::Unknown));
                }
                // If little matches, do not read many small pages.
                Fetched::All => limit = limit.saturating_mul(2),
            }
        }
    }

    /// Lists the changes of tickets that an index has in id order. Either index can answer, and either can be
    /// huge while the other is tiny. So both are read side by side, and the first one to end answers: at most
    /// twice the cost of the cheaper one.
    async fn changes_in_key_order<F: FnMut(&Row) -> Taken>(
        &self,
        counter: &Counter,
        mut by_id: OrderedKeys<'_>,
        since: Timestamp,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        let mut by_time = ChangedKeys::new(self, counter, &page.filter, since);
        let mut changed = Candidates::default();
        let mut limit = FIRST_KEYS;
        loop {
            let (ids, times) = futures::try_join!(by_id.next(limit), by_time.next(limit))?;
            changed.extend(times.keys, &page.filter);
            if times.end {
                return Ok(match self.fetch(&changed.into_vec(), page).await? {
                    Fetched::Full { .. } => ListEnd::More(Continuation::Unknown),
                    Fetched::All => ListEnd::Complete,
                });
            }
            match self.fetch(&ids.candidates, page).await? {
                Fetched::Full { .. } => return Ok(ListEnd::More(Continuation::Unknown)),
                Fetched::All if ids.is_end() => return Ok(ListEnd::Complete),
                Fetched::All => limit = limit.saturating_mul(2),
            }
        }
    }

    /// Lists the changes of all tickets.
    async fn changes<F: FnMut(&Row) -> Taken>(
        &self,
        counter: &Counter,
        since: Timestamp,
        continuation: &Continuation,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        let mut known = continuation.clone();
        loop {
            known = match known {
                Continuation::Unknown => match self.few_changed(counter, since, &page.filter).await? {
                    Some(ids) => Continuation::Ids { ids: ids.into_iter().collect(), complete: true },
                    None => Continuation::Walk,
                },
                Continuation::Walk => match self.walk_changes(counter, page).await? {
                    Walked::Full => return Ok(ListEnd::More(Continuation::Walk)),
                    Walked::End => return Ok(ListEnd::Complete),
                    Walked::Sparse => self.next_changed(counter, since, page).await?,
                },
                Continuation::Ids { ids, complete } => {
                    let candidates: Vec<_> = ids.iter().copied().map(Candidate::ticket).collect();
                    match self.fetch(&candidates, page).await? {
                        Fetched::Full { at } => {
                            let most = self.policy.most_ids;
                            return Ok(ListEnd::More(Continuation::carrying(&ids[at..], complete, most)));
                        }
                        Fetched::All if complete => return Ok(ListEnd::Complete),
                        Fetched::All => {
                            page.skip_to(ids.last().map_or(0, |id| id.get()));
                            Continuation::Unknown
                        }
                    }
                }
            }
        }
    }

    /// The ids of the tickets that have changed; `None` if there are more keys than one page may read.
    async fn few_changed(
        &self,
        counter: &Counter,
        since: Timestamp,
        filter: &Filter,
    ) -> Result<Option<BTreeSet<TicketId>>> {
        let mut keys = ChangedKeys::new(self, counter, filter, since);
        let (mut ids, mut read) = (BTreeSet::new(), 0);
        loop {
            let page = keys.next(self.policy.most_keys.saturating_sub(read) + 1).await?;
            read += page.keys.len();
            ids.extend(page.keys.iter().filter(|key| filter.may_match(key)).map(|key| key.id));
            if page.end {
                return Ok(Some(ids));
            }
            if read > self.policy.most_keys {
                return Ok(None);
            }
        }
    }

    /// After a walk that found next to nothing: finds the next changes by reading all keys, some 60 per read
    /// unit. The ids are kept for the next pages. If they lie close together, the walk goes on there.
    async fn next_changed<F>(
        &self,
        counter: &Counter,
        since: Timestamp,
        page: &mut Page<F>,
    ) -> Result<Continuation> {
        let ahead = Filter { id_after: page.done, ..page.filter.clone() };
        let mut keys = ChangedKeys::new(self, counter, &ahead, since);
        let (mut ids, mut complete) = (BTreeSet::new(), true);
        loop {
            let KeyPage { keys, end } = keys.next(usize::MAX).await?;
            ids.extend(keys.iter().filter(|key| ahead.may_match(key)).map(|key| key.id));
            while ids.len() > self.policy.most_ids {
                ids.pop_last();
                complete = false;
            }
            if end {
                break;
            }
        }
        if let (false, Some(first), Some(last)) = (complete, ids.first(), ids.last())
            && last.get() - first.get() < DENSE * ids.len() as u64
        {
            page.done = page.done.max(first.get() - 1);
            return Ok(Continuation::Walk);
        }
        Ok(Continuation::Ids { ids: ids.into_iter().collect(), complete })
    }
}

#[cfg(test)]
mod tests {
    use tickets_domain::id::CustomerId;

    use super::*;

    fn key(id: u64, state: RecordState) -> RecordKey {
        let at = Timestamp::from_millis(1_764_000_000_000).unwrap();
        let customer = CustomerId::try_from(42).unwrap();
        RecordKey { id: id.try_into().unwrap(), customer, created: at, updated: at, state }
    }

    fn row(id: u64, bytes: usize) -> Row {
        Row { key: key(id, RecordState::Live), json: "x".repeat(bytes) }
    }

    fn page(limit: Option<usize>) -> Page<impl FnMut(&Row) -> Taken> {
        let filter = Filter { limit, ..Filter::default() };
        Page { filter, take: |_: &Row| Taken::Accepted, taken: 0, bytes: 0, done: 0 }
    }

    #[test]
    fn a_page_takes_each_id_once_up_to_its_limit() {
        let mut page = page(Some(2));
        assert_eq!(page.wanted(), 3, "one more tells whether there is a next page");
        assert_eq!(page.push(&row(5, 10)).unwrap(), Taken::Accepted);
        assert_eq!((page.taken, page.bytes, page.done, page.wanted()), (1, 10, 5, 2));
        for known in [5, 4] {
            page.push(&row(known, 10)).unwrap();
        }
        page.skip_to(3);
        assert_eq!((page.taken, page.bytes, page.done), (1, 10, 5), "what is done is not taken again");
        page.skip_to(7);
        page.push(&row(7, 10)).unwrap();
        page.push(&row(8, 30)).unwrap();
        assert_eq!((page.taken, page.bytes, page.done, page.wanted()), (2, 40, 8, 1));
        assert_eq!(page.push(&row(9, 10)).unwrap(), Taken::Full);
        assert_eq!((page.taken, page.done), (2, 8), "what did not fit has left no trace");
    }

    #[test]
    fn a_page_asks_for_what_still_fits_and_one_more() {
        let mut page = page(None);
        assert_eq!(page.room(), 6 * 1024 * 1024 / 300 + 1, "of usual rows");
        page.push(&row(1, 1024 * 1024)).unwrap();
        assert_eq!(page.room(), 6);
        page.push(&row(2, 3 * 1024 * 1024)).unwrap();
        assert_eq!(page.room(), 2, "rows of two megabytes on average, and two megabytes left");
        page.push(&row(3, 2 * 1024 * 1024)).unwrap();
        assert_eq!(page.room(), 4, "another page's worth, when one is full");
        page.filter.limit = Some(5);
        assert_eq!(page.room(), 3, "no more than the limit and one");
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
}
