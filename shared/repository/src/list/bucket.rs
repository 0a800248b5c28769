//! Reads the buckets in order. The shards of a bucket are read at the same time and merged by id.

use std::collections::VecDeque;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use tickets_domain::{Filter, Result};

use super::Entry;
use super::keys::Position;
use crate::ids::Counter;
use crate::primary_key::{BUCKET_SIZE, SHARDS, bucket, shard};
use crate::tickets::Tickets;

/// The ids from `from` to `to`, bucket by bucket, without those that were never given out.
pub(super) struct Ranges<'a> {
    from: u64,
    to: u64,
    counter: &'a Counter,
    /// Read at least this many ids at a time, or what is left of the bucket.
    least: u64,
}

impl<'a> Ranges<'a> {
    pub(super) fn new(after: u64, counter: &'a Counter) -> Self {
        Self { from: after.saturating_add(1), to: counter.last, counter, least: 1 }
    }

    /// The next range. It has no more ids than records are wanted, until a bucket comes out empty.
    pub(super) fn next(&mut self, wanted: usize) -> Option<(u64, u64)> {
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
    pub(super) fn grow(&mut self) {
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
        let query = self.tickets.dynamodb.query();
        let query = query
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
pub(super) struct Bucket<'a> {
    pub(super) range: (u64, u64),
    shards: Vec<Shard<'a>>,
}

impl<'a> Bucket<'a> {
    /// The records in a range of ids, of which about `wanted` are wanted.
    pub(super) fn new(
        tickets: &'a Tickets,
        only: Option<&'a Filter>,
        range: (u64, u64),
        wanted: usize,
    ) -> Self {
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
    pub(super) async fn next(&mut self) -> Result<Option<Entry>> {
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
pub(super) struct Buckets<'a> {
    tickets: &'a Tickets,
    only: Option<&'a Filter>,
    pub(super) ranges: Ranges<'a>,
    ready: VecDeque<Bucket<'a>>,
}

impl<'a> Buckets<'a> {
    pub(super) fn new(tickets: &'a Tickets, only: Option<&'a Filter>, ranges: Ranges<'a>) -> Self {
        Self { tickets, only, ranges, ready: VecDeque::new() }
    }

    /// The next bucket. If none has been read ahead, reads `ahead` of them at the same time.
    pub(super) async fn next(&mut self, ahead: usize, wanted: usize) -> Result<Option<Bucket<'a>>> {
        if self.ready.is_empty() {
            let ranges = std::iter::from_fn(|| self.ranges.next(wanted)).take(ahead);
            self.ready.extend(ranges.map(|range| Bucket::new(self.tickets, self.only, range, wanted)));
            try_join_all(self.ready.iter_mut().map(Bucket::read_on)).await?;
        }
        Ok(self.ready.pop_front())
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
    use tickets_domain::{Epoch, Timestamp};

    use super::*;
    use crate::scripted;

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

    #[tokio::test]
    async fn the_database_filters_by_dates_and_deletion() {
        let (tickets, _) = scripted::tickets(|_, _| scripted::ok(serde_json::json!({})));
        let asked = |filter: &Filter| {
            let query = only_matching(tickets.dynamodb.query(), filter);
            let mut values: Vec<_> =
                query.get_expression_attribute_values().clone().unwrap_or_default().into_iter().collect();
            values.sort_by(|a, b| a.0.cmp(&b.0));
            let values: Vec<_> = values.into_iter().map(|(_, value)| value.as_n().unwrap().clone()).collect();
            (query.get_filter_expression().clone().unwrap_or_default(), values)
        };
        let time = |millis| Some(Timestamp::from_millis(millis).unwrap());
        let all = Filter {
            created_since: time(1),
            updated_since: time(2),
            updated_until: time(3),
            ..Filter::default()
        };
        let expression = "createdDate >= :created AND updatedDate >= :since AND updatedDate <= :until \
                          AND attribute_not_exists(deletedDate)";
        assert_eq!(asked(&all), (expression.into(), vec!["1".into(), "2".into(), "3".into()]));
        let deleted = Filter { include_deleted: true, ..Filter::default() };
        assert_eq!(asked(&deleted), (String::new(), vec![]));
    }
}
