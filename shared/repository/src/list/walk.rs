//! Walks the buckets in order. The shards of a bucket are read at the same time and merged by id.

use std::collections::VecDeque;
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use tickets_domain::{Filter, Result, Row, Taken, Timestamp};

use super::keys::Position;
use super::{Entry, PAGE_BYTES, Page};
use crate::backoff::Backoff;
use crate::ids::{Counter, Gaps};
use crate::item;
use crate::primary_key::{BUCKET_SIZE, PrimaryKey, SHARDS, bucket, shard};
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
    /// The page is full.
    Full,
    /// It read a thousand ids and found next to nothing.
    Sparse,
    /// There is no more, or the rest may not be shown yet.
    End,
}

/// The ids from `from` to `to`, bucket by bucket, without those that were never given out.
struct Ranges<'a> {
    from: u64,
    to: u64,
    counter: &'a Counter,
    /// The least number of ids in a range, as far as its bucket has them.
    least: u64,
}

impl<'a> Ranges<'a> {
    fn new(after: u64, counter: &'a Counter) -> Self {
        Self { from: after.saturating_add(1), to: counter.last, counter, least: 1 }
    }

    /// The next range. It has no more ids than records are wanted, until a bucket comes out empty.
    fn next(&mut self, wanted: usize) -> Option<(u64, u64)> {
        self.from = self.counter.given_from(self.from);
        if self.from > self.to {
            return None;
        }
        let bucket_end = self.from / BUCKET_SIZE * BUCKET_SIZE + BUCKET_SIZE - 1;
        let enough = self.from.saturating_add(self.least.max(wanted as u64) - 1);
        let end = self.to.min(bucket_end).min(enough);
        let range = (self.from, end);
        self.from = end + 1;
        Some(range)
    }

    /// Reads whole buckets from here on, because nothing was found.
    fn grow(&mut self) {
        self.least = BUCKET_SIZE;
    }
}

/// One shard of a bucket.
struct Shard<'a> {
    tickets: &'a Tickets,
    /// What the database itself filters: it costs the same to read, but less to send.
    only: Option<&'a Filter>,
    bucket: String,
    range: (u64, u64),
    limit: usize,
    position: Position,
    read: VecDeque<Entry>,
}

impl Shard<'_> {
    fn is_exhausted(&self) -> bool {
        self.read.is_empty() && !self.position.is_end()
    }

    async fn read_on(&mut self) -> Result<()> {
        let number = |value: u64| AttributeValue::N(value.to_string());
        let query = self
            .tickets
            .client
            .query()
            .consistent_read(true)
            .key_condition_expression("#bucket = :bucket AND #id BETWEEN :from AND :to")
            .expression_attribute_names("#bucket", "bucket")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":bucket", AttributeValue::S(self.bucket.clone()))
            .expression_attribute_values(":from", number(self.range.0))
            .expression_attribute_values(":to", number(self.range.1));
        let query = match self.only {
            Some(filter) => only_matching(query, filter),
            None => query,
        };
        self.read.extend(self.tickets.query::<Entry>(query, &mut self.position, self.limit).await?);
        // If little matches, do not read many small pages.
        self.limit = self.limit.saturating_mul(2);
        Ok(())
    }
}

/// A bucket, or part of one.
struct Bucket<'a> {
    range: (u64, u64),
    shards: Vec<Shard<'a>>,
}

impl<'a> Bucket<'a> {
    /// The records in a range of ids, of which about `wanted` are wanted.
    fn new(tickets: &'a Tickets, only: Option<&'a Filter>, range: (u64, u64), wanted: usize) -> Self {
        let (from, to) = range;
        // A short range does not touch every shard.
        let shards = (from..=to.min(from + SHARDS - 1)).map(|id| Shard {
            tickets,
            only,
            bucket: bucket(from / BUCKET_SIZE, shard(id)),
            range,
            limit: (wanted / SHARDS as usize).saturating_add(2),
            position: Position::Start,
            read: VecDeque::new(),
        });
        Self { range, shards: shards.collect() }
    }

    /// Reads on in the exhausted shards, until the lowest id is known.
    async fn read_on(&mut self) -> Result<()> {
        while self.shards.iter().any(Shard::is_exhausted) {
            let exhausted = self.shards.iter_mut().filter(|shard| shard.is_exhausted());
            try_join_all(exhausted.map(Shard::read_on)).await?;
        }
        Ok(())
    }

    /// Takes the entry with the lowest id, if that is known without reading on.
    fn pop(&mut self) -> Option<Entry> {
        if self.shards.iter().any(Shard::is_exhausted) {
            return None;
        }
        let lowest = self.shards.iter_mut().filter_map(|shard| {
            let id = shard.read.front()?.id;
            Some((id, shard))
        });
        lowest.min_by_key(|(id, _)| *id).and_then(|(_, shard)| shard.read.pop_front())
    }

    /// Takes the entry with the lowest id; reads on if it is not known.
    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(stored) = self.pop() {
                return Ok(Some(stored));
            }
            if self.is_done() {
                return Ok(None);
            }
            self.read_on().await?;
        }
    }

    fn is_done(&self) -> bool {
        self.shards.iter().all(|shard| shard.read.is_empty() && shard.position.is_end())
    }
}

/// Buckets, some of them read ahead.
struct Buckets<'a> {
    tickets: &'a Tickets,
    only: Option<&'a Filter>,
    ranges: Ranges<'a>,
    ready: VecDeque<Bucket<'a>>,
}

impl<'a> Buckets<'a> {
    fn new(tickets: &'a Tickets, only: Option<&'a Filter>, ranges: Ranges<'a>) -> Self {
        Self { tickets, only, ranges, ready: VecDeque::new() }
    }

    /// The next bucket. If none has been read ahead, reads `ahead` of them at the same time.
    async fn next(&mut self, ahead: usize, wanted: usize) -> Result<Option<Bucket<'a>>> {
        if self.ready.is_empty() {
            let ranges = std::iter::from_fn(|| self.ranges.next(wanted)).take(ahead);
            self.ready.extend(ranges.map(|range| Bucket::new(self.tickets, self.only, range, wanted)));
            try_join_all(self.ready.iter_mut().map(Bucket::read_on)).await?;
        }
        Ok(self.ready.pop_front())
    }
}

/// What a walk has read so far; it decides how many buckets to read at the same time.
struct Progress {
    buckets: usize,
    taken_before: usize,
    bytes_before: usize,
}

impl Progress {
    fn of<F>(page: &Page<F>) -> Self {
        Self { buckets: 0, taken_before: page.taken, bytes_before: page.bytes }
    }

    fn taken<F>(&self, page: &Page<F>) -> usize {
        page.taken - self.taken_before
    }

    /// How many buckets to read at the same time: first one, then as many as the page has room for, if they
    /// are like those before. Buckets that are read and not returned only cost.
    fn ahead<F: FnMut(&Row) -> Taken>(&self, page: &Page<F>) -> usize {
        if self.buckets == 0 {
            return 1;
        }
        let left = PAGE_BYTES - page.bytes % PAGE_BYTES;
        let by_size = left / ((page.bytes - self.bytes_before) / self.buckets).max(1);
        let by_number = page.wanted() / (self.taken(page) / self.buckets).max(1);
        by_size.min(by_number).clamp(1, AHEAD)
    }
}

impl Tickets {
    /// Walks all records after those in the page, up to the first open id.
    pub(super) async fn walk<F: FnMut(&Row) -> Taken>(
        &self,
        counter: &Counter,
        began: Timestamp,
        page: &mut Page<F>,
    ) -> Result<Walked> {
        let mut gaps = Gaps::after(page.done, counter, began, &self.policy);
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
                        if page.push(&row)? == Taken::Full {
                            return Ok(Walked::Full);
                        }
                    }
                    if !all {
                        return Ok(Walked::End);
                    }
                    gaps.filled();
                }
                if let Some(row) = entry.row
                    && page.push(&row)? == Taken::Full
                {
                    return Ok(Walked::Full);
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
    pub(super) async fn walk_changes<F: FnMut(&Row) -> Taken>(
        &self,
        counter: &Counter,
        page: &mut Page<F>,
    ) -> Result<Walked> {
        let filter = page.filter.clone();
        let mut buckets = Buckets::new(self, Some(&filter), Ranges::new(page.done, counter));
        let mut progress = Progress::of(page);
        // Counts what the database found: a work queue may want little of it.
        let (mut ids, mut found) = (0, 0);
        while let Some(mut bucket) = buckets.next(progress.ahead(page), page.wanted()).await? {
            let before = page.taken;
            while let Some(entry) = bucket.next().await? {
                found += 1;
                if let Some(row) = entry.row
                    && page.push(&row)? == Taken::Full
                {
                    return Ok(Walked::Full);
                }
            }
            let (from, to) = bucket.range;
            page.skip_to(to);
            progress.buckets += 1;
            if page.taken == before {
                buckets.ranges.grow();
            }
            ids += to - from + 1;
            if ids >= BUCKET_SIZE {
                if found * SPARSE < ids {
                    return Ok(Walked::Sparse);
                }
                (ids, found) = (0, 0);
            }
        }
        Ok(Walked::End)
    }
}

/// Lets the database filter by dates and deletion.
fn only_matching(mut query: QueryFluentBuilder, filter: &Filter) -> QueryFluentBuilder {
    let mut conditions = Vec::new();
    let bounds = [
        ("createdDate", ">=", ":created", filter.created_since),
        ("updatedDate", ">=", ":since", filter.updated_since),
        ("updatedDate", "<=", ":until", filter.updated_until),
    ];
    for (attribute, comparison, name, bound) in bounds {
        if let Some(bound) = bound {
            conditions.push(format!("{attribute} {comparison} {name}"));
            query = query.expression_attribute_values(name, AttributeValue::N(bound.millis().to_string()));
        }
    }
    if !filter.include_deleted {
        conditions.push("attribute_not_exists(deletedDate)".into());
    }
    if conditions.is_empty() { query } else { query.filter_expression(conditions.join(" AND ")) }
}

#[cfg(test)]
mod tests {
    use tickets_domain::Epoch;

    use super::*;

    fn ranges(after: u64, last: u64, skipped: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let counter = Counter { last, first_month: None, epoch: Epoch::none(), skipped: skipped.to_vec() };
        let mut ranges = Ranges::new(after, &counter);
        std::iter::from_fn(|| ranges.next(usize::MAX)).collect()
    }

    #[test]
    fn a_range_is_no_longer_than_what_is_wanted_until_nothing_is_found() {
        let counter = Counter { last: 2500, first_month: None, epoch: Epoch::none(), skipped: Vec::new() };
        let mut ranges = Ranges::new(997, &counter);
        assert_eq!([ranges.next(1), ranges.next(3)], [Some((998, 998)), Some((999, 999))]);
        assert_eq!(ranges.next(3), Some((1000, 1002)));
        ranges.grow();
        assert_eq!([ranges.next(3), ranges.next(3)], [Some((1003, 1999)), Some((2000, 2500))]);
    }

    #[test]
    fn a_walk_goes_bucket_by_bucket() {
        assert_eq!(ranges(0, 2500, &[]), [(1, 999), (1000, 1999), (2000, 2500)]);
        assert_eq!(ranges(2499, 2500, &[]), [(2500, 2500)]);
        assert_eq!(ranges(2500, 2500, &[]), []);
        assert_eq!(ranges(u64::MAX, 2500, &[]), []);
    }

    #[test]
    fn a_walk_leaves_out_ids_that_were_never_given() {
        let skipped = [(1501, 1_001_500), (1_001_501, 1_003_000)];
        assert_eq!(ranges(0, 1_003_002, &skipped), [(1, 999), (1000, 1999), (1_003_001, 1_003_002)]);
        assert_eq!(ranges(1600, 1_003_001, &skipped), [(1_003_001, 1_003_001)]);
        assert_eq!(ranges(5, 1_000_000, &[(1, 1_000_000)]), []);
    }
}
