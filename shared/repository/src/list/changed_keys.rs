//! Reads the keys of changed records, from the index of changes.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use tickets_domain::{Filter, RecordKey, Result, Timestamp};

use super::keys::Position;
use crate::ids::Counter;
use crate::month::Month;
use crate::primary_key::{SHARDS, month_shard};
use crate::schema::BY_UPDATED;
use crate::tickets::Tickets;

/// Keys in no order; `end` if there are no more.
pub(super) struct KeyPage {
    pub(super) keys: Vec<RecordKey>,
    pub(super) end: bool,
}

/// The keys of changed records, month by month, all shards of a month at the same time.
pub(super) struct ChangedKeys<'a> {
    tickets: &'a Tickets,
    since: Timestamp,
    until: Timestamp,
    /// The months that are left, first and last; `shards` tells how far the first has been read.
    months: Option<(Month, Month)>,
    shards: Vec<Position>,
}

impl<'a> ChangedKeys<'a> {
    /// Changes from `since` on, up to the filter's end.
    pub(super) fn new(tickets: &'a Tickets, counter: &Counter, filter: &Filter, since: Timestamp) -> Self {
        let until = filter.updated_until.unwrap_or(Timestamp::MAX);
        // The first writer's clock named the first month. Another writer's clock may have been behind.
        let first = counter.first_month.map(|first| Month::of(since).max(first.previous()));
        // The fastest of the writers' clocks may already be in this month.
        let last = Month::of(tickets.clock.now().plus(tickets.settings.settle)).min(Month::of(until));
        let months = first.filter(|first| *first <= last && since <= until).map(|first| (first, last));
        Self { tickets, since, until, months, shards: fresh_shards() }
    }

    /// Reads about `limit` keys, in no order.
    pub(super) async fn next(&mut self, limit: usize) -> Result<KeyPage> {
        let Some((month, last)) = self.months else { return Ok(KeyPage { keys: Vec::new(), end: true }) };
        let limit = limit.div_ceil(SHARDS as usize);
        let (tickets, since, until) = (self.tickets, self.since, self.until);
        let read = (0..).zip(&mut self.shards).map(|(shard, position)| async move {
            tickets.query(tickets.changed_in(&month_shard(month, shard), since, until), position, limit).await
        });
        let keys = try_join_all(read).await?.into_iter().flatten().collect();
        if self.shards.iter().all(Position::is_end) {
            self.months = (month < last).then(|| (month.next(), last));
            self.shards = fresh_shards();
        }
        Ok(KeyPage { keys, end: self.months.is_none() })
    }
}

fn fresh_shards() -> Vec<Position> {
    (0..SHARDS).map(|_| Position::Start).collect()
}

impl Tickets {
    fn changed_in(&self, month_shard: &str, since: Timestamp, until: Timestamp) -> QueryFluentBuilder {
        let millis = |time: Timestamp| AttributeValue::N(time.millis().to_string());
        self.dynamodb
            .query()
            .index_name(BY_UPDATED)
            .key_condition_expression("#month = :month AND #updated BETWEEN :since AND :until")
            .expression_attribute_names("#month", "updatedMonth")
            .expression_attribute_names("#updated", "updatedDate")
            .expression_attribute_values(":month", AttributeValue::S(month_shard.to_owned()))
            .expression_attribute_values(":since", millis(since))
            .expression_attribute_values(":until", millis(until))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use tickets_domain::Epoch;

    use super::*;
    use crate::scripted::{self, Calls, ok};

    fn value<'a>(input: &'a Value, name: &str) -> &'a str {
        let value = &input["ExpressionAttributeValues"][name];
        value["S"].as_str().or(value["N"].as_str()).unwrap()
    }

    fn months(calls: &Calls) -> BTreeSet<String> {
        calls.of("Query").iter().map(|input| value(input, ":month").to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_read_in_the_months_that_can_have_them() {
        let time = |text: &str| -> Timestamp { text.parse().unwrap() };
        let read = async |first: Option<&str>, since: &str, until: Option<&str>, now: &str| {
            let (tickets, calls) = scripted::tickets(|_, _| ok(json!({"Items": []})));
            let now = time(now);
            let tickets = Tickets { clock: tickets_domain::Clock::new(move || now), ..tickets };
            let first_month = first.map(|first| Month::of(time(first)));
            let counter = Counter { last: 9, first_month, epoch: Epoch::none(), skipped: Vec::new() };
            let filter = Filter { updated_until: until.map(time), ..Filter::default() };
            let mut keys = ChangedKeys::new(&tickets, &counter, &filter, time(since));
            while !keys.next(6).await.unwrap().end {}
            assert!(calls.of("Query").iter().all(|input| input["Limit"] == 2));
            let shards: Vec<_> = months(&calls).into_iter().collect();
            let months: BTreeSet<_> = shards.iter().map(|shard| shard[..7].to_owned()).collect();
            assert_eq!(shards.len(), months.len() * SHARDS as usize, "{shards:?}");
            months.into_iter().collect::<Vec<_>>()
        };
        let now = "2026-04-10";
        assert_eq!(read(Some("2026-01-01"), "2026-03-05", None, now).await, ["2026-03", "2026-04"]);
        let all = ["2026-01", "2026-02", "2026-03", "2026-04"];
        assert_eq!(read(Some("2026-02-01"), "2020-01-01", None, now).await, all, "a clock may be behind");
        let until = Some("2026-02-10");
        assert_eq!(read(Some("2026-02-01"), "2020-01-01", until, now).await, all[..2]);
        let late = "2026-04-30T23:59:50.000Z";
        assert_eq!(read(Some("2026-04-01"), late, None, late).await, ["2026-04", "2026-05"], "or ahead");
        assert_eq!(read(Some("2026-04-01"), "2026-04-10", None, "2026-04-30T23:59:49Z").await, ["2026-04"]);
        assert!(read(None, "2026-01-01", None, now).await.is_empty(), "there are no tickets");
        assert!(read(Some("2026-01-01"), "2026-02-11", until, now).await.is_empty());
        assert_eq!(read(Some("2026-01-01"), "2026-02-10", until, now).await, ["2026-02"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_month_is_read_to_its_end_before_the_next() {
        let (tickets, calls) = scripted::engine(20).await;
        let counter = tickets.counter().await.unwrap();
        let since = Timestamp::from_millis(scripted::NOW - 40 * 24 * 60 * 60 * 1000).unwrap();
        let mut keys = ChangedKeys::new(&tickets, &counter, &Filter::default(), since);
        let (mut found, mut pages) = (0, 0);
        loop {
            let page = keys.next(8).await.unwrap();
            (found, pages) = (found + page.keys.len(), pages + 1);
            if page.end {
                break;
            }
        }
        // Five in each shard, two at a time; the month before has none.
        assert_eq!((found, pages, calls.of("Query").len()), (20, 4, 16));
        assert!(keys.next(8).await.unwrap().end);
        assert_eq!(calls.of("Query").len(), 16, "nothing is read after the end");
    }
}
