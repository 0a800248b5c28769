//! Lists what has changed since a time.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use tickets_domain::{Continuation, Filter, Fit, ListEnd, Result, Row, TicketId, Timestamp};

use super::changed_keys::{ChangedKeys, KeyPage};
use super::fetch::Fetched;
use super::keys::OrderedKeys;
use super::page::Page;
use super::walk::{ChangesWalk, Walked};
use super::{Candidate, Candidates, FIRST_KEYS};
use crate::ids::Counter;
use crate::tickets::Tickets;

/// If more than one in this many tickets has changed, reading all in order costs no more than fetching each.
const DENSE: u64 = 4;

impl Tickets {
    /// Lists the changes of tickets that an index has in id order. Either index can answer, and either can be
    /// huge while the other is tiny. So both are read side by side, and the first one to end answers: at most
    /// twice the cost of the cheaper one.
    pub(super) async fn changes_in_key_order<F: FnMut(&Row) -> Fit>(
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
            let most = page.affordable(limit, 1 + by_id.indexes());
            let (ids, times) = futures::try_join!(by_id.next(most), by_time.next(most))?;
            changed.extend(times.keys, &page.filter);
            if times.end {
                return Ok(match self.fetch(&changed.into_vec(), page).await? {
                    Fetched::Ended { .. } => page.more(Continuation::Unknown),
                    Fetched::All => ListEnd::Complete,
                });
            }
            match self.fetch(&ids.candidates, page).await? {
                Fetched::Ended { .. } => return Ok(page.more(Continuation::Unknown)),
                Fetched::All if ids.is_end() => return Ok(ListEnd::Complete),
                Fetched::All if page.is_spent() => {
                    page.skip_to(ids.up_to);
                    return Ok(page.more(Continuation::Unknown));
                }
                Fetched::All => limit = limit.saturating_mul(2),
            }
        }
    }

    /// Lists the changes of all tickets.
    pub(super) async fn changes<F: FnMut(&Row) -> Fit>(
        &self,
        counter: &Counter,
        since: Timestamp,
        continuation: &Continuation,
        page: &mut Page<F>,
    ) -> Result<ListEnd> {
        let mut known = continuation.clone();
        loop {
            known = match known {
                Continuation::Unknown => match self.count_beside_walk(counter, since, page).await? {
                    ControlFlow::Break(end) => return Ok(end),
                    ControlFlow::Continue(found) => found,
                },
                Continuation::Walk => match self.walk_changes(counter, page).await? {
                    Walked::Ended => return Ok(page.more(Continuation::Walk)),
                    Walked::End => return Ok(ListEnd::Complete),
                    Walked::Sparse if page.is_spent() => return Ok(page.more(Continuation::Walk)),
                    Walked::Sparse => self.next_changed(counter, since, page).await?,
                },
                Continuation::Ids { ids, complete } => {
                    let candidates: Vec<_> = ids.iter().copied().map(Candidate::ticket).collect();
                    match self.fetch(&candidates, page).await? {
                        Fetched::Ended { at } => {
                            let most = self.settings.most_ids;
                            return Ok(page.more(Continuation::carrying(&ids[at..], complete, most)));
                        }
                        Fetched::All if complete => return Ok(ListEnd::Complete),
                        Fetched::All => {
                            page.skip_to(ids.last().map_or(0, |id| id.get()));
                            if page.is_spent() {
                                return Ok(page.more(Continuation::Unknown));
                            }
                            Continuation::Unknown
                        }
                    }
                }
            }
        }
    }

    /// Finds out whether few records have changed: then it returns their ids. Counting the keys of many takes long,
    /// so a walk begins beside it, once there are some, and takes what fills the page first. The walk is given up
    /// where it finds little.
    async fn count_beside_walk<F: FnMut(&Row) -> Fit>(
        &self,
        counter: &Counter,
        since: Timestamp,
        page: &mut Page<F>,
    ) -> Result<ControlFlow<ListEnd, Continuation>> {
        let filter = page.filter.clone();
        let mut keys = ChangedKeys::new(self, counter, &filter, since);
        let mut walk = Some(ChangesWalk::new(self, &filter, counter, page));
        let (mut ids, mut read, mut limit) = (BTreeSet::new(), 0, FIRST_KEYS);
        loop {
            let next = keys.next(limit.min(self.settings.most_keys.saturating_sub(read) + 1));
            let (found, walked) = match &mut walk {
                Some(walk) if read >= FIRST_KEYS / 2 => {
                    // A walk in vain costs no more than to fetch the changes that are known already.
                    let wanted = page.wanted().min(read);
                    futures::try_join!(next, walk.step(page, wanted))?
                }
                Some(_) | None => (next.await?, None),
            };
            match walked {
                Some(Walked::Ended) => return Ok(ControlFlow::Break(page.more(Continuation::Walk))),
                Some(Walked::End) => return Ok(ControlFlow::Break(ListEnd::Complete)),
                Some(Walked::Sparse) => walk = None,
                None => walk = walk.filter(|walk| !walk.is_sparse()),
            }
            read += found.keys.len();
            ids.extend(found.keys.iter().filter(|key| filter.may_match(key)).map(|key| key.id));
            if found.end {
                let ids = ids.into_iter().collect();
                return Ok(ControlFlow::Continue(Continuation::Ids { ids, complete: true }));
            }
            if read > self.settings.most_keys {
                return Ok(ControlFlow::Continue(Continuation::Walk));
            }
            limit = limit.saturating_mul(2);
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
    use tickets_domain::Settings;

    use super::super::tests::{customer, limits, list};
    use super::*;
    use crate::scripted;

    #[test]
    fn ids_lie_close_if_more_than_one_in_four_is_there() {
        let close = |ids: &[u64]| lie_close(&ids.iter().map(|id| TicketId::try_from(*id).unwrap()).collect());
        assert!(close(&[100]) && close(&[100, 107]) && close(&[1, 2, 3]) && close(&[1, 5, 12]));
        assert!(!close(&[]) && !close(&[100, 108]) && !close(&[1, 5, 13]));
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
            let mut page = Page::new(filter, |_: &Row| Fit::Added);
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
        let filter = Filter { updated_since: Some(since), id_after: 51, ..Filter::default() };
        let mut page = Page::new(filter, |_: &Row| Fit::Added);
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
        assert_eq!((ids, end), (vec![4, 7], ListEnd::More { after: 7, found: known(&[9, 12], true) }));
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
}
