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
    Continuation, Filter, Fit, ListEnd, Listed, RecordKey, RecordState, Result, Row, TicketId, Timestamp,
    Visibility,
};

use crate::ids::Counter;
use crate::tickets::Tickets;
pub(crate) use entry::Entry;
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

impl<F: FnMut(&Row) -> Fit> Page<F> {
    /// Takes the row if it matches.
    fn push(&mut self, row: &Row) -> Result<Fit> {
        let id = row.key.id.get();
        if id <= self.done || !self.filter.matches(row)? {
            return Ok(Fit::Added);
        }
        if self.filter.limit.is_some_and(|limit| self.taken >= limit) {
            return Ok(Fit::Full);
        }
        let taken = (self.take)(row);
        if taken == Fit::Added {
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
    async fn in_order<F: FnMut(&Row) -> Fit>(
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
    async fn in_key_order<F: FnMut(&Row) -> Fit>(
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
                Fetched::All if read > self.settings.most_keys && page.taken > 0 => {
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
    async fn changes_in_key_order<F: FnMut(&Row) -> Fit>(
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
    async fn changes<F: FnMut(&Row) -> Fit>(
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
                            let most = self.settings.most_ids;
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
            let page = keys.next(self.settings.most_keys.saturating_sub(read) + 1).await?;
            read += page.keys.len();
            ids.extend(page.keys.iter().filter(|key| filter.may_match(key)).map(|key| key.id));
            if page.end {
                return Ok(Some(ids));
            }
            if read > self.settings.most_keys {
                return Ok(None);
            }
        }
    }

    /// After a walk that found next to nothing: finds the next changes by reading all keys, some 60 per read
    /// unit. The ids are kept for the next pages. If they lie close together, the walk goes on there.
    async fn next_changed<F: FnMut(&Row) -> Fit>(
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
            while ids.len() > self.settings.most_ids {
                ids.pop_last();
                complete = false;
            }
            if end {
                break;
            }
        }
        if let (false, Some(first)) = (complete, ids.first().filter(|_| lie_close(&ids))) {
            page.skip_to(first.get() - 1);
            return Ok(Continuation::Walk);
        }
        Ok(Continuation::Ids { ids: ids.into_iter().collect(), complete })
    }
}

/// Whether more than one in [`DENSE`] of the ids from the first to the last is among these.
fn lie_close(ids: &BTreeSet<TicketId>) -> bool {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return false };
    last.get() - first.get() < DENSE * ids.len() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tickets_domain::id::CustomerId;
    use tickets_domain::precondition::Preconditions;

    use super::*;
    use crate::scripted::{self, Calls};
    use tickets_domain::Settings;

    fn key(id: u64, state: RecordState) -> RecordKey {
        let at = Timestamp::from_millis(1_764_000_000_000).unwrap();
        let customer = CustomerId::try_from(42).unwrap();
        RecordKey { id: id.try_into().unwrap(), customer, created: at, updated: at, state }
    }

    fn row(id: u64, bytes: usize) -> Row {
        Row { key: key(id, RecordState::Live), json: "x".repeat(bytes) }
    }

    fn page(limit: Option<usize>) -> Page<impl FnMut(&Row) -> Fit> {
        let filter = Filter { limit, ..Filter::default() };
        Page { filter, take: |_: &Row| Fit::Added, taken: 0, bytes: 0, done: 0 }
    }

    #[test]
    fn a_page_takes_each_id_once_up_to_its_limit() {
        let mut page = page(Some(2));
        assert_eq!(page.wanted(), 3, "one more tells whether there is a next page");
        assert_eq!(page.push(&row(5, 10)).unwrap(), Fit::Added);
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
        assert_eq!(page.push(&row(9, 10)).unwrap(), Fit::Full);
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

    #[test]
    fn ids_lie_close_if_more_than_one_in_four_is_there() {
        let close = |ids: &[u64]| lie_close(&ids.iter().map(|id| TicketId::try_from(*id).unwrap()).collect());
        assert!(close(&[100]) && close(&[100, 107]) && close(&[1, 2, 3]) && close(&[1, 5, 12]));
        assert!(!close(&[]) && !close(&[100, 108]) && !close(&[1, 5, 13]));
    }

    async fn list(tickets: &Tickets, filter: &Filter, found: Continuation) -> (Vec<u64>, ListEnd) {
        let mut ids = Vec::new();
        let take = |row: &Row| {
            ids.push(row.key.id.get());
            Fit::Added
        };
        let listed = tickets.list(filter, &found, Visibility::All, take).await.unwrap();
        (ids, listed.end)
    }

    fn customer(id: u64) -> Option<CustomerId> {
        CustomerId::try_from(id).ok()
    }

    async fn delete(tickets: &Tickets, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            let (id, by) = (TicketId::try_from(id).unwrap(), "writer".parse().unwrap());
            tickets.delete(id, &by, Visibility::All, &Preconditions::default()).await.unwrap();
        }
    }

    fn limits(calls: &Calls, index: &str) -> Vec<u64> {
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
        assert_eq!((ids, end), (vec![1, 2], ListEnd::More(Continuation::Unknown)));
        assert_eq!(limits(&calls, "byCustomer"), [4, 8, 16], "each page is twice the one before");
        // A page must not come out empty: without anything it goes on.
        let next = Filter { id_after: 2, ..filter };
        assert_eq!(list(&tickets, &next, Continuation::Unknown).await, (vec![100], ListEnd::Complete));
    }

    #[tokio::test(start_paused = true)]
    async fn few_changes_are_fetched_and_many_are_walked_over() {
        for (count, walked) in [(39, false), (40, true)] {
            let (tickets, calls) = scripted::engine(count).await;
            let tickets = Tickets { settings: Settings { most_keys: 39, ..Settings::default() }, ..tickets };
            let since = Some(tickets.clock.now());
            let filter = Filter { updated_since: since, ..Filter::default() };
            let (ids, end) = list(&tickets, &filter, Continuation::Unknown).await;
            assert_eq!((ids.len(), end), (count, ListEnd::Complete));
            assert_eq!(calls.of("BatchGetItem").is_empty(), walked, "{count}");
            assert_eq!(limits(&calls, "byUpdated")[..4], [10, 10, 10, 10], "one more than may be read");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_far_apart_are_carried_in_the_link_and_close_ones_walked() {
        let (tickets, calls) = scripted::engine(0).await;
        let tickets = Tickets { settings: Settings { most_ids: 3, ..Settings::default() }, ..tickets };
        for _ in 0..6 {
            scripted::append(&tickets, 1).await;
            scripted::skip(&tickets, 9).await;
        }
        let counter = tickets.counter().await.unwrap();
        let since = tickets.clock.now();
        let next = async |id_after: u64| {
            let filter = Filter { updated_since: Some(since), id_after, ..Filter::default() };
            let mut page = Page { filter, take: |_: &Row| Fit::Added, taken: 0, bytes: 0, done: id_after };
            let next = tickets.next_changed(&counter, since, &mut page).await.unwrap();
            (next, page.done)
        };
        let ids = |ids: &[u64], complete| {
            let ids = ids.iter().map(|id| TicketId::try_from(*id).unwrap()).collect();
            Continuation::Ids { ids, complete }
        };
        assert_eq!(next(1).await, (ids(&[11, 21, 31], false), 1), "the lowest");
        assert_eq!(next(21).await, (ids(&[31, 41, 51], true), 21));
        assert_eq!(next(60).await, (ids(&[], true), 60));
        scripted::append(&tickets, 4).await;
        let counter = tickets.counter().await.unwrap();
        let filter = Filter { updated_since: Some(since), ..Filter::default() };
        let mut page = Page { filter, take: |_: &Row| Fit::Added, taken: 0, bytes: 0, done: 51 };
        let next = tickets.next_changed(&counter, since, &mut page).await.unwrap();
        assert_eq!((next, page.done), (Continuation::Walk, 60), "from the first of them");
        assert!(calls.of("BatchGetItem").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_s_ids_are_fetched_and_the_rest_is_found_anew() {
        let (tickets, calls) = scripted::engine(30).await;
        let filter = Filter { updated_since: Some(tickets.clock.now()), ..Filter::default() };
        let known = |ids: &[u64], complete| {
            let ids = ids.iter().map(|id| TicketId::try_from(*id).unwrap()).collect();
            Continuation::Ids { ids, complete }
        };
        let complete = list(&tickets, &filter, known(&[4, 7], true)).await;
        assert_eq!(complete, (vec![4, 7], ListEnd::Complete));
        assert!(calls.of("Query").is_empty());
        let (ids, end) = list(&tickets, &filter, known(&[4, 7], false)).await;
        assert_eq!((ids, end), ([4].into_iter().chain(7..=30).collect(), ListEnd::Complete));
        let two = Filter { limit: Some(2), ..filter };
        let (ids, end) = list(&tickets, &two, known(&[4, 7, 9, 12], true)).await;
        assert_eq!((ids, end), (vec![4, 7], ListEnd::More(known(&[9, 12], true))));
    }

    #[tokio::test(start_paused = true)]
    async fn side_by_side_the_first_index_to_end_answers() {
        let (tickets, calls) = scripted::engine(450).await;
        let since = Some(tickets.clock.now());
        // The customer's index has 450 keys, as the one by time.
        let filter = Filter { customer: customer(1), updated_since: since, ..Filter::default() };
        let (ids, end) = list(&tickets, &filter, Continuation::Unknown).await;
        assert_eq!((ids.len(), end), (450, ListEnd::Complete));
        assert_eq!(limits(&calls, "byCustomer"), [200, 400]);
        // Nothing is customer 2's: one look at each.
        let (tickets, calls) = scripted::engine(450).await;
        let filter = Filter { customer: customer(2), updated_since: since, ..Filter::default() };
        assert_eq!(list(&tickets, &filter, Continuation::Unknown).await, (vec![], ListEnd::Complete));
        assert_eq!((limits(&calls, "byCustomer"), limits(&calls, "byUpdated").len()), (vec![200], 4));
        assert!(calls.of("BatchGetItem").is_empty());
        // Nothing has changed since.
        let later = tickets.clock.now().plus(std::time::Duration::from_millis(1));
        let filter = Filter { customer: customer(1), updated_since: Some(later), ..Filter::default() };
        assert_eq!(list(&tickets, &filter, Continuation::Unknown).await, (vec![], ListEnd::Complete));
        assert!(calls.of("BatchGetItem").is_empty());
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
