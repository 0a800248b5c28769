//! Walks the buckets in order: all records, or those that have changed.

use std::time::Duration;

use tickets_domain::{Filter, Fit, Result, Row, Timestamp};

use super::Entry;
use super::bucket::{Buckets, Ranges};
use super::page::{PAGE_BYTES, Page};
use crate::backoff::Backoff;
use crate::ids::{Counter, Gaps};
use crate::item;
use crate::primary_key::{BUCKET_SIZE, PrimaryKey};
use crate::tickets::Tickets;

/// The most buckets read at the same time.
const AHEAD: usize = 4;
/// How long a list that meets an open id looks again. Creates take milliseconds, so whoever creates a ticket
/// and then lists finds it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How many missing ids are looked for at the same time.
const LOOK_AT: usize = 100;
/// If fewer than one ticket in this many has changed, fetching each costs less than reading all.
const SPARSE: u64 = 16;

/// How a walk ended.
pub(super) enum Walked {
    /// The page is full, or has spent what it may.
    Ended,
    /// It read a thousand ids and found next to nothing.
    Sparse,
    /// There is no more, or the rest may not be shown yet.
    End,
}

/// What a walk has read so far; it decides how many buckets to read at the same time.
struct Progress {
    buckets: usize,
    taken_before: usize,
    bytes_before: usize,
    units_before: f64,
}

impl Progress {
    fn of<F: FnMut(&Row) -> Fit>(page: &Page<F>) -> Self {
        let units_before = page.units_left();
        Self { buckets: 0, taken_before: page.taken, bytes_before: page.bytes, units_before }
    }

    fn taken<F>(&self, page: &Page<F>) -> usize {
        page.taken - self.taken_before
    }

    /// How many buckets to read at the same time: first one, then as many as the page has room for, if they
    /// are like those before. Buckets that are read and not returned only cost.
    fn ahead<F: FnMut(&Row) -> Fit>(&self, page: &Page<F>) -> usize {
        if self.buckets == 0 {
            return 1;
        }
        let left = PAGE_BYTES - page.bytes % PAGE_BYTES;
        let by_size = left / ((page.bytes - self.bytes_before) / self.buckets).max(1);
        let by_number = page.wanted() / (self.taken(page) / self.buckets).max(1);
        let spent = (self.units_before - page.units_left()) / self.buckets as f64;
        let by_units = if spent > 0.0 { page.units_left() / spent } else { f64::INFINITY };
        by_size.min(by_number).min(by_units as usize).clamp(1, AHEAD)
    }
}

impl Tickets {
    /// Walks all records after those in the page, up to the first open id.
    pub(super) async fn walk<F: FnMut(&Row) -> Fit>(
        &self,
        counter: &Counter,
        began: Timestamp,
        page: &mut Page<F>,
    ) -> Result<Walked> {
        let mut gaps = Gaps::after(page.done, counter, began, &self.settings);
        let mut look_again = None;
        // The database filters nothing: a filtered record would look like a gap.
        let mut buckets = Buckets::new(self, None, Ranges::new(page.done, counter));
        let mut progress = Progress::of(page);
        while let Some(mut bucket) = buckets.next(progress.ahead(page), page.wanted()).await? {
            let taken = page.taken;
            while let Some(entry) = bucket.next().await? {
                if let Some(first) = gaps.before(entry.id.get(), entry.previous_reserved, entry.row.is_none())
                {
                    let look_again = look_again.get_or_insert_with(|| Backoff::waiting(LOOK_AGAIN));
                    let missing = (first..entry.id.get()).filter(|id| counter.given_from(*id) == *id);
                    let (found, all) = self.look_again(missing, look_again).await?;
                    for row in found.into_iter().filter_map(|entry| entry.row) {
                        if page.push(&row)? == Fit::Full {
                            return Ok(Walked::Ended);
                        }
                    }
                    if !all {
                        return Ok(Walked::End);
                    }
                    gaps.filled();
                }
                if let Some(row) = entry.row
                    && page.push(&row)? == Fit::Full
                {
                    return Ok(Walked::Ended);
                }
            }
            progress.buckets += 1;
            if page.taken == taken {
                buckets.ranges.grow();
            }
        }
        Ok(Walked::End)
    }

    /// Looks for missing ids until all are found or time is up. Returns the entries before the first id that
    /// is still missing, and whether none is missing.
    async fn look_again(
        &self,
        mut missing: impl Iterator<Item = u64>,
        backoff: &mut Backoff,
    ) -> Result<(Vec<Entry>, bool)> {
        let mut there = Vec::new();
        let mut ids = Vec::new();
        loop {
            if ids.is_empty() {
                ids = missing.by_ref().take(LOOK_AT).map(item::ticket_id).collect::<Result<_>>()?;
            }
            if ids.is_empty() {
                return Ok((there, true));
            }
            let mut found = self.get_all(ids.iter().copied().map(PrimaryKey::ticket).collect()).await?;
            let before = there.len();
            there.extend(ids.iter().map_while(|id| found.entries.remove(id)));
            ids.drain(..there.len() - before);
            if !ids.is_empty() && !backoff.wait().await {
                return Ok((there, false));
            }
        }
    }

    /// Walks the changed records after those in the page.
    pub(super) async fn walk_changes<F: FnMut(&Row) -> Fit>(
        &self,
        counter: &Counter,
        page: &mut Page<F>,
    ) -> Result<Walked> {
        let filter = page.filter.clone();
        let mut walk = ChangesWalk::new(self, &filter, counter, page);
        loop {
            if let Some(walked) = walk.step(page, page.wanted()).await? {
                return Ok(walked);
            }
        }
    }
}

/// A walk over changed records, bucket by bucket.
pub(super) struct ChangesWalk<'a> {
    buckets: Buckets<'a>,
    progress: Progress,
    /// Of the last thousand ids or more: how many there were, and under how many the database found a change. A work
    /// queue may want few of those.
    ids: u64,
    found: u64,
}

impl<'a> ChangesWalk<'a> {
    /// A walk that begins after the records in the page.
    pub(super) fn new<F: FnMut(&Row) -> Fit>(
        tickets: &'a Tickets,
        filter: &'a Filter,
        counter: &'a Counter,
        page: &Page<F>,
    ) -> Self {
        let buckets = Buckets::new(tickets, Some(filter), Ranges::new(page.done, counter));
        Self { buckets, progress: Progress::of(page), ids: 0, found: 0 }
    }

    /// Walks one bucket, or the part of it that begins with about `wanted` ids. `None` if the walk can go on.
    pub(super) async fn step<F: FnMut(&Row) -> Fit>(
        &mut self,
        page: &mut Page<F>,
        wanted: usize,
    ) -> Result<Option<Walked>> {
        let Some(mut bucket) = self.buckets.next(self.progress.ahead(page), wanted).await? else {
            return Ok(Some(Walked::End));
        };
        let before = page.taken;
        while let Some(entry) = bucket.next().await? {
            self.found += 1;
            if let Some(row) = entry.row
                && page.push(&row)? == Fit::Full
            {
                return Ok(Some(Walked::Ended));
            }
            if page.is_spent() {
                page.skip_to(entry.id.get());
                return Ok(Some(Walked::Ended));
            }
        }
        let (from, to) = bucket.range;
        page.skip_to(to);
        self.progress.buckets += 1;
        if page.taken == before {
            self.buckets.ranges.grow();
        }
        self.ids += to - from + 1;
        if self.ids >= BUCKET_SIZE {
            if self.is_sparse() {
                return Ok(Some(Walked::Sparse));
            }
            (self.ids, self.found) = (0, 0);
        }
        Ok(None)
    }

    /// Whether fetching each changed ticket costs less than walking.
    pub(super) fn is_sparse(&self) -> bool {
        self.found * SPARSE < self.ids
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tickets_domain::{RecordKey, RecordState};
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Calls};

    fn page(filter: Filter) -> Page<impl FnMut(&Row) -> Fit> {
        Page::new(filter, |_: &Row| Fit::Added)
    }

    fn limited(limit: usize) -> Filter {
        Filter { limit: Some(limit), ..Filter::default() }
    }

    /// What the database was asked for: partition, first and last id, and how many.
    fn asked(calls: &Calls) -> Vec<(String, u64, u64, u64)> {
        let query = |input: &Value| {
            let value = |name: &str, kind: &str| {
                input["ExpressionAttributeValues"][name][kind].as_str().unwrap().to_owned()
            };
            let id = |name: &str| value(name, "N").parse().unwrap();
            (value(":bucket", "S"), id(":from"), id(":to"), input["Limit"].as_u64().unwrap_or_default())
        };
        calls.of("Query").iter().map(query).collect()
    }

    /// The ranges asked for, in order.
    fn asked_ranges(calls: &Calls) -> Vec<(u64, u64)> {
        let mut ranges: Vec<_> = asked(calls).into_iter().map(|(_, from, to, _)| (from, to)).collect();
        ranges.dedup();
        ranges
    }

    async fn walk(tickets: &Tickets, page: &mut Page<impl FnMut(&Row) -> Fit>) -> Walked {
        let counter = tickets.counter().await.unwrap();
        tickets.walk(&counter, tickets.clock.now(), page).await.unwrap()
    }

    /// Removes a ticket as if it had never come.
    async fn remove(tickets: &Tickets, id: u64) {
        let key = PrimaryKey::ticket(item::ticket_id(id).unwrap()).into_key();
        let delete = tickets.dynamodb.client().delete_item().table_name("Tickets").set_key(Some(key));
        delete.send().await.unwrap();
    }

    /// The table at a time when every missing id is closed.
    fn later(tickets: &Tickets) -> Tickets {
        let then = tickets.clock.now().plus(Duration::from_secs(60));
        Tickets { clock: tickets_domain::Clock::new(move || then), ..tickets.clone() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_found_at_once_reads_no_further() {
        let (tickets, calls) = scripted::engine(2100).await;
        let mut page = page(limited(10));
        assert!(matches!(walk(&tickets, &mut page).await, Walked::Ended));
        assert_eq!((page.taken, page.done), (10, 10));
        let shards = ["0#1", "0#2", "0#3", "0#0"].map(|shard| (shard.to_owned(), 1, 11, 4));
        assert_eq!(asked(&calls), shards, "each shard is asked for its share and two more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_range_asks_only_the_shards_it_touches() {
        let (tickets, calls) = scripted::engine(30).await;
        let mut page = page(Filter { id_after: 20, ..limited(1) });
        assert!(matches!(walk(&tickets, &mut page).await, Walked::Ended));
        assert_eq!(asked(&calls), [("0#1".into(), 21, 22, 2), ("0#2".into(), 21, 22, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_found_whole_buckets_are_read_four_at_a_time() {
        let (tickets, calls) = scripted::engine(0).await;
        scripted::skip(&tickets, 6000).await;
        scripted::append(&tickets, 100).await;
        let mut page = page(limited(5));
        assert!(matches!(walk(&later(&tickets), &mut page).await, Walked::Ended));
        assert_eq!((page.taken, page.done), (5, 6005));
        let buckets = [(1000, 1999), (2000, 2999), (3000, 3999), (4000, 4999), (5000, 5999), (6000, 6100)];
        let mut expected = vec![(1, 6), (7, 999)];
        expected.extend(buckets);
        assert_eq!(asked_ranges(&calls), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn where_something_is_found_ranges_stay_as_short_as_what_is_wanted() {
        let (tickets, calls) = scripted::engine(0).await;
        scripted::skip(&tickets, 8).await;
        scripted::append(&tickets, 92).await;
        let mut page = page(limited(10));
        assert!(matches!(walk(&later(&tickets), &mut page).await, Walked::Ended));
        // Three of the first eleven are there, so that eight more are wanted; twice, if others are like them.
        assert_eq!(asked_ranges(&calls), [(1, 11), (12, 19), (20, 27)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_id_is_looked_for_until_it_comes() {
        let (tickets, calls) = scripted::engine(5).await;
        remove(&tickets, 2).await;
        remove(&tickets, 3).await;
        let began = Instant::now();
        let mut first = page(Filter::default());
        assert!(matches!(walk(&tickets, &mut first).await, Walked::End));
        assert_eq!((first.taken, first.done), (1, 1), "what comes after it is not shown");
        let waited = Instant::now() - began;
        assert!(waited >= LOOK_AGAIN && waited < LOOK_AGAIN * 2, "{waited:?}");
        let looks = calls.of("BatchGetItem");
        assert!(looks.len() > 2, "{}", looks.len());
        let keys = |look: &Value| look["RequestItems"]["Tickets"]["Keys"].as_array().unwrap().len();
        assert!(looks.iter().all(|look| keys(look) == 2));
        let mut closed = page(Filter::default());
        walk(&later(&tickets), &mut closed).await;
        assert_eq!((closed.taken, closed.done), (3, 5), "once its reservation is old, it will not come");
    }

    /// A DynamoDB whose tickets from 2 to 251 come only after their buckets were read, some at each look.
    async fn coming(at_once: usize) -> (Tickets, Calls) {
        let (tickets, _) = scripted::engine(252).await;
        let mut items = Vec::new();
        for id in 1..=252 {
            let key = PrimaryKey::ticket(item::ticket_id(id).unwrap());
            let item = serde_dynamo::Item::from(tickets.read(key).await.unwrap().unwrap());
            items.push(serde_json::to_value(item).unwrap());
        }
        let id_of = |item: &Value| -> u64 { item["id"]["N"].as_str().unwrap().parse().unwrap() };
        scripted::tickets(move |operation, input| match operation {
            "Query" => {
                let bucket = &input["ExpressionAttributeValues"][":bucket"];
                let ends = |item: &&Value| [1, 252].contains(&id_of(item)) && &item["bucket"] == bucket;
                scripted::ok(json!({"Items": items.iter().filter(ends).collect::<Vec<_>>()}))
            }
            "BatchGetItem" => {
                let keys = input["RequestItems"]["Tickets"]["Keys"].as_array().unwrap();
                let found: Vec<_> =
                    keys.iter().take(at_once).map(|key| &items[id_of(key) as usize - 1]).collect();
                scripted::ok(json!({"Responses": {"Tickets": found}}))
            }
            _ => scripted::ok(json!({"Item": {
                "last": {"N": "252"}, "firstMonth": {"S": "2026-01"}, "epoch": {"S": "e"},
            }})),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn open_ids_that_come_are_shown_in_order_a_hundred_at_a_time() {
        for (at_once, looks) in [(100, vec![100, 100, 50]), (70, vec![100, 30, 100, 30, 50])] {
            let (tickets, calls) = coming(at_once).await;
            let mut ids = Vec::new();
            let take = |row: &Row| {
                ids.push(row.key.id.get());
                Fit::Added
            };
            let mut page = Page::new(Filter::default(), take);
            assert!(matches!(walk(&tickets, &mut page).await, Walked::End));
            assert_eq!(ids, (1..=252).collect::<Vec<_>>());
            let keys = |look: &Value| look["RequestItems"]["Tickets"]["Keys"].as_array().unwrap().len();
            assert_eq!(calls.of("BatchGetItem").iter().map(keys).collect::<Vec<_>>(), looks);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_open_ids_fill_ends_there() {
        let (tickets, _) = coming(100).await;
        let mut page = page(limited(50));
        assert!(matches!(walk(&tickets, &mut page).await, Walked::Ended));
        assert_eq!((page.taken, page.done), (50, 50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_over_changes_gives_up_where_less_than_a_sixteenth_has_changed() {
        for (there, sparse) in [(125, false), (124, true)] {
            let (tickets, calls) = scripted::engine(there).await;
            scripted::skip(&tickets, 1999 - there as u64).await;
            scripted::append(&tickets, 300).await;
            scripted::skip(&tickets, 700).await;
            let counter = tickets.counter().await.unwrap();
            let mut page =
                page(Filter { updated_since: Timestamp::from_millis(0).ok(), ..Filter::default() });
            let walked = tickets.walk_changes(&counter, &mut page).await.unwrap();
            assert_eq!(matches!(walked, Walked::Sparse), sparse, "{there} of 1,999");
            assert_eq!(page.done, if sparse { 1999 } else { 2999 });
            assert_eq!(calls.of("Query")[0]["ConsistentRead"], true);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_over_changes_reads_whole_buckets_where_nothing_has_changed() {
        let (tickets, calls) = scripted::engine(0).await;
        scripted::append_at(&tickets, 100, scripted::NOW - 1000).await;
        scripted::append(&tickets, 100).await;
        let counter = tickets.counter().await.unwrap();
        let changed = |id_after| Filter {
            updated_since: Timestamp::from_millis(scripted::NOW).ok(),
            id_after,
            ..limited(5)
        };
        let mut first = page(changed(0));
        assert!(matches!(tickets.walk_changes(&counter, &mut first).await.unwrap(), Walked::Ended));
        assert_eq!((first.taken, first.done), (5, 105));
        assert_eq!(asked_ranges(&calls), [(1, 6), (7, 200)]);
        let mut next = page(changed(99));
        assert!(matches!(tickets.walk_changes(&counter, &mut next).await.unwrap(), Walked::Ended));
        assert_eq!(asked_ranges(&calls)[2..], [(100, 105), (106, 106)], "no further than what is wanted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_over_changes_counts_anew_after_each_thousand_ids() {
        let (tickets, _) = scripted::engine(250).await;
        scripted::skip(&tickets, 3749).await;
        let counter = tickets.counter().await.unwrap();
        let mut page = page(Filter { updated_since: Timestamp::from_millis(0).ok(), ..Filter::default() });
        let walked = tickets.walk_changes(&counter, &mut page).await.unwrap();
        assert!(matches!(walked, Walked::Sparse), "the first two thousand do not count for the third");
        assert_eq!(page.done, 2999);
    }

    #[test]
    fn as_many_buckets_are_read_ahead_as_the_page_has_room_for() {
        const MEGABYTE: usize = 1024 * 1024;
        let row = |id: u64, bytes: usize| {
            let at = Timestamp::from_millis(scripted::NOW).unwrap();
            let customer = tickets_domain::id::CustomerId::try_from(1).unwrap();
            let key = RecordKey {
                id: id.try_into().unwrap(),
                customer,
                created: at,
                updated: at,
                state: RecordState::Live,
            };
            Row { key, json: "x".repeat(bytes) }
        };
        let ahead = |limit: Option<usize>, before: &[usize], since: &[usize], buckets: usize| {
            let mut page = page(Filter { limit, ..Filter::default() });
            for (id, bytes) in (1..).zip(before) {
                page.push(&row(id, *bytes)).unwrap();
            }
            let mut progress = Progress::of(&page);
            for (id, bytes) in (100..).zip(since) {
                page.push(&row(id, *bytes)).unwrap();
            }
            progress.buckets = buckets;
            progress.ahead(&page)
        };
        assert_eq!(ahead(None, &[], &[], 0), 1, "first one, for nothing is known");
        assert_eq!(ahead(None, &[], &[100], 1), 4, "never more than four");
        assert_eq!(ahead(None, &[], &[2 * MEGABYTE], 1), 2, "two more of two megabytes fit");
        assert_eq!(ahead(None, &[MEGABYTE], &[MEGABYTE, MEGABYTE], 2), 3);
        assert_eq!(ahead(None, &[], &[5 * MEGABYTE], 1), 1);
        assert_eq!(ahead(Some(13), &[10], &[10; 4], 1), 2, "nine more of four each");
        assert_eq!(ahead(Some(13), &[10], &[10; 4], 2), 4, "nine more of two each");
        assert_eq!(ahead(Some(5), &[10], &[10; 4], 1), 1);
    }
}
