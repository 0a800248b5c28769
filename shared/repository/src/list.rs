//! Lists: never a scan, always ascending by id, complete up to the last id given or an error.
//!
//! - no `since`: the buckets in order, strongly consistent ([`Plan::Buckets`]);
//! - a customer: the keys in `byCustomer`, which is in id order ([`Plan::Customer`]);
//! - `since`: the keys in `byUpdated`, sorted by id ([`Plan::Changed`]); where there are more than a
//!   bounded read takes, the buckets with a filter instead. Where many buckets in a row have nothing,
//!   `byUpdated` says where to go on, so that what changed far up is found in a table of any size.
//!
//! Tickets found by key are fetched strongly consistent, for a copy older than the index entry that
//! led to it would lose the change; and each is asked again whether it matches, for it may be newer.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::stream::{self, FuturesOrdered, StreamExt, TryStreamExt};
use tickets_domain::error::Cause;
use tickets_domain::id::CustomerId;
use tickets_domain::time::Month;
use tickets_domain::{Error, Filter, Record, Result, TicketId, Timestamp};

use crate::address::{Address, BUCKET_SIZE, bucket};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::item::{self, Item};
use crate::schema::{BY_CUSTOMER, BY_UPDATED};
use crate::tickets::Tickets;

/// How long a list waits for throttled keys before it gives up.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// The most keys of one `BatchGetItem`.
const BATCH: usize = 100;
/// Buckets or batches read at the same time.
const AHEAD: usize = 4;
/// A bucket is read until its tickets have this many bytes of content: what a response can hold.
const ENOUGH_BYTES: usize = 6 * 1024 * 1024;

/// How a list is answered.
enum Plan {
    Buckets,
    Customer(CustomerId),
    Changed(Timestamp),
}

impl Plan {
    fn of(filter: &Filter) -> Self {
        match (filter.customer, filter.since()) {
            (Some(customer), _) => Self::Customer(customer),
            (None, Some(since)) => Self::Changed(since),
            (None, None) => Self::Buckets,
        }
    }
}

/// A page being filled: takes records in order until the caller has enough, or the limit is reached.
struct Page<'a, F> {
    filter: &'a Filter,
    take: &'a mut F,
    taken: usize,
}

/// Whether a list goes on.
type Flow = ControlFlow<()>;

impl<F: FnMut(&Record) -> Flow> Page<'_, F> {
    fn push(&mut self, record: &Record) -> Flow {
        if !self.filter.matches(&record.stamps()) {
            return Flow::Continue(());
        }
        if self.remaining() == Some(0) {
            return Flow::Break(());
        }
        (self.take)(record)?;
        self.taken += 1;
        Flow::Continue(())
    }

    /// How many more the limit allows, where there is one.
    fn remaining(&self) -> Option<usize> {
        self.filter.limit.map(|limit| limit.saturating_sub(self.taken))
    }

    /// How many records to ask for: one more than the limit allows tells whether there is a next page.
    fn wanted(&self) -> usize {
        self.remaining().map_or(usize::MAX, |remaining| remaining + 1)
    }
}

impl Tickets {
    /// Hands the records that match to `take`, ascending by id, until it breaks (that record then
    /// counts as not taken) or the filter's limit is reached. `Continue`: there are no more.
    ///
    /// # Errors
    /// Where the database does not answer for part of the list: never a list with a gap.
    pub async fn list(&self, filter: &Filter, mut take: impl FnMut(&Record) -> Flow) -> Result<Flow> {
        let mut page = Page { filter, take: &mut take, taken: 0 };
        match Plan::of(filter) {
            Plan::Buckets => self.walk(&mut page).await,
            Plan::Customer(customer) => self.of_customer(customer, &mut page).await,
            Plan::Changed(since) => match self.changed(filter, since).await? {
                Some(ids) => self.fetch(&ids.into_iter().collect::<Vec<_>>(), &mut page).await,
                None => self.walk(&mut page).await,
            },
        }
    }

    /// The buckets in order, from the first id asked for to the last id given out.
    async fn walk<F: FnMut(&Record) -> Flow>(&self, page: &mut Page<'_, F>) -> Result<Flow> {
        let last = self.sequence().await?.map_or(0, |sequence| sequence.last);
        let first = page.filter.id_after.saturating_add(1);
        if first > last {
            return Ok(Flow::Continue(()));
        }
        let filter = page.filter;
        let (mut ranges, mut reading) = (buckets(first, last), FuturesOrdered::new());
        // With a limit one after the other, each for what is then still wanted: what is read and not
        // returned only costs.
        let mut ahead = if filter.limit.is_some() { 1 } else { AHEAD };
        let mut walked = 0;
        loop {
            for (from, to) in ranges.by_ref().take(ahead.saturating_sub(reading.len())) {
                let read = self.bucket(filter, from, to, page.wanted());
                reading.push_back(async move { Ok::<_, Error>((to, read.await?)) });
            }
            let Some((to, (mut records, mut next))) = reading.try_next().await? else {
                return Ok(Flow::Continue(()));
            };
            let taken = page.taken;
            loop {
                for record in &records {
                    if page.push(record).is_break() {
                        return Ok(Flow::Break(()));
                    }
                }
                let Some(from) = next else { break };
                (records, next) = self.bucket(filter, from, to, page.wanted()).await?;
            }
            if filter.limit.is_some() {
                ahead = if page.taken > taken { 1 } else { AHEAD };
            }
            walked += 1;
            if walked < self.policy.most_buckets || to == last {
                continue;
            }
            if page.taken > 0 {
                return Ok(Flow::Break(())); // The next page goes on from there.
            }
            if let Some(since) = filter.since() {
                let beyond = Filter { id_after: to, ..filter.clone() };
                let Some(first) = self.first_changed(&beyond, since).await? else {
                    return Ok(Flow::Continue(()));
                };
                (ranges, reading, walked) = (buckets(first.get(), last), FuturesOrdered::new(), 0);
            }
        }
    }

    /// The records of one bucket from id `from` to `to` that pass the filter: all, or enough and the
    /// id to go on from.
    async fn bucket(
        &self,
        filter: &Filter,
        from: u64,
        to: u64,
        wanted: usize,
    ) -> Result<(Vec<Record>, Option<u64>)> {
        let (mut records, mut bytes, mut start) = (Vec::new(), 0, None);
        loop {
            let query = self
                .client
                .query()
                .consistent_read(true)
                .key_condition_expression("#bucket = :bucket AND #id BETWEEN :from AND :to")
                .expression_attribute_names("#bucket", "bucket")
                .expression_attribute_names("#id", "id")
                .expression_attribute_values(":bucket", AttributeValue::S(bucket(from / BUCKET_SIZE)))
                .expression_attribute_values(":from", number(from))
                .expression_attribute_values(":to", number(to))
                .set_limit(page_size(wanted - records.len().min(wanted - 1)));
            let (items, next) = self.query(only_matching(query, filter), start.take()).await?;
            for item in items {
                bytes +=
                    item.get("ticketContent").and_then(|content| content.as_s().ok()).map_or(0, String::len);
                records.push(item::record(item)?);
            }
            let Some(next) = next else { return Ok((records, None)) };
            if bytes >= ENOUGH_BYTES || records.len() >= wanted {
                let id = next.get("id").and_then(|id| id.as_n().ok()).and_then(|id| id.parse::<u64>().ok());
                let id = id.ok_or_else(|| Error::internal("a page of a bucket ended without an id"))?;
                return Ok((records, Some(id + 1)));
            }
            start = Some(next);
        }
    }

    /// A customer's tickets by their keys, which are in id order.
    async fn of_customer<F: FnMut(&Record) -> Flow>(
        &self,
        customer: CustomerId,
        page: &mut Page<'_, F>,
    ) -> Result<Flow> {
        let (mut start, mut read) = (None, 0);
        loop {
            let mut query = self
                .client
                .query()
                .index_name(BY_CUSTOMER)
                .key_condition_expression("#customer = :customer AND #id > :after")
                .expression_attribute_names("#customer", "customerID")
                .expression_attribute_names("#id", "id")
                .expression_attribute_values(":customer", number(customer.get()))
                .expression_attribute_values(":after", number(page.filter.id_after));
            if page.filter.since().is_none() {
                // Nearly every key matches, so a small page needs few; with a time most may not.
                query = query.set_limit(page_size(page.wanted()));
            }
            let (items, next) = self.query(query, start.take()).await?;
            read += items.len();
            let ids = matching(items, page.filter)?;
            if self.fetch(&ids, page).await?.is_break() {
                return Ok(Flow::Break(()));
            }
            start = next;
            if start.is_none() {
                return Ok(Flow::Continue(()));
            }
            if read > self.policy.most_keys && page.taken > 0 {
                return Ok(Flow::Break(()));
            }
        }
    }

    /// The ids of the tickets changed since, or `None` if there are more than one list reads.
    async fn changed(&self, filter: &Filter, since: Timestamp) -> Result<Option<BTreeSet<TicketId>>> {
        let (mut ids, mut read) = (BTreeSet::new(), 0);
        let flow = self.read_changed(filter, since, |keys| {
            read += keys.len();
            if read > self.policy.most_keys {
                return Ok(Flow::Break(()));
            }
            ids.extend(matching(keys, filter)?);
            Ok(Flow::Continue(()))
        });
        Ok(flow.await?.is_continue().then_some(ids))
    }

    /// The lowest id of a ticket changed since, of however many: a unit for some 60 of them.
    async fn first_changed(&self, filter: &Filter, since: Timestamp) -> Result<Option<TicketId>> {
        let mut first = None;
        let flow = self.read_changed(filter, since, |keys| {
            first = first.into_iter().chain(matching(keys, filter)?).min();
            Ok(Flow::Continue(()))
        });
        let _ = flow.await?;
        Ok(first)
    }

    /// Hands the keys of the tickets changed since, page by page, to `take`, until it breaks.
    async fn read_changed(
        &self,
        filter: &Filter,
        since: Timestamp,
        mut take: impl FnMut(Vec<Item>) -> Result<Flow>,
    ) -> Result<Flow> {
        let until = filter.updated_until.unwrap_or(Timestamp::MAX);
        if until < since {
            return Ok(Flow::Continue(()));
        }
        let Some(sequence) = self.sequence().await? else { return Ok(Flow::Continue(())) };
        // The first month as the first writer's clock had it: another's may have been behind.
        let first = since.month().max(sequence.first_month.previous());
        // The last as the fastest of the writers' clocks may have it.
        let last = self.clock.now().plus(self.policy.settle).month();
        let last = last.min(until.month());
        for month in std::iter::successors(Some(first), |month| Some(month.next())).take_while(|m| *m <= last)
        {
            let mut start = None;
            loop {
                let (keys, next) = self.query(self.changed_in(month, since, until), start).await?;
                if take(keys)?.is_break() {
                    return Ok(Flow::Break(()));
                }
                start = next;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(Flow::Continue(()))
    }

    fn changed_in(&self, month: Month, since: Timestamp, until: Timestamp) -> QueryFluentBuilder {
        let millis = |time: Timestamp| AttributeValue::N(time.millis().to_string());
        self.client
            .query()
            .index_name(BY_UPDATED)
            .key_condition_expression("#month = :month AND #updated BETWEEN :since AND :until")
            .expression_attribute_names("#month", "updatedMonth")
            .expression_attribute_names("#updated", "updatedDate")
            .expression_attribute_values(":month", AttributeValue::S(month.to_string()))
            .expression_attribute_values(":since", millis(since))
            .expression_attribute_values(":until", millis(until))
    }

    /// One page of a query, and where the next begins.
    async fn query(
        &self,
        query: QueryFluentBuilder,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>)> {
        let output = query
            .table_name(&self.table)
            .set_exclusive_start_key(start)
            .set_return_consumed_capacity(self.meter.level())
            .send()
            .await
            .map_err(Failure::of)?;
        self.meter.add(output.consumed_capacity());
        Ok((output.items.unwrap_or_default(), output.last_evaluated_key))
    }

    /// Fetches these tickets in order, a few batches ahead, until the page is full.
    async fn fetch<F: FnMut(&Record) -> Flow>(
        &self,
        ids: &[TicketId],
        page: &mut Page<'_, F>,
    ) -> Result<Flow> {
        let wanted = page.wanted();
        let batches: Vec<_> = ids.chunks(wanted.clamp(1, BATCH)).map(<[_]>::to_vec).collect();
        let ahead = wanted.div_ceil(BATCH).clamp(1, AHEAD);
        let mut batches = stream::iter(batches).map(|ids| self.batch(ids)).buffered(ahead);
        while let Some(records) = batches.try_next().await? {
            for record in &records {
                if page.push(record).is_break() {
                    return Ok(Flow::Break(()));
                }
            }
        }
        Ok(Flow::Continue(()))
    }

    /// One batch of records, ascending by id. Keys left unprocessed are asked for again.
    async fn batch(&self, ids: Vec<TicketId>) -> Result<Vec<Record>> {
        let mut backoff = Backoff::within(READ_DEADLINE);
        let mut records = Vec::with_capacity(ids.len());
        let mut keys: Vec<_> = ids.into_iter().map(|id| Address::ticket(id).into_key()).collect();
        loop {
            let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys)).build();
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted.map_err(Error::internal)?)
                .set_return_consumed_capacity(self.meter.level())
                .send()
                .await
                .map_err(Failure::of)?;
            self.meter.add(output.consumed_capacity());
            for item in output.responses.into_iter().flat_map(HashMap::into_values).flatten() {
                records.push(item::record(item)?);
            }
            keys = output
                .unprocessed_keys
                .into_iter()
                .flat_map(HashMap::into_values)
                .flat_map(|left| left.keys)
                .collect();
            if keys.is_empty() {
                records.sort_by_key(|record| record.stamps().id);
                return Ok(records);
            }
            if !backoff.wait().await {
                return Err(Error::Throttled(Cause("keys were left unprocessed".into())));
            }
        }
    }
}

/// The buckets from one id to another, and which of their ids are in between.
fn buckets(first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
    (first / BUCKET_SIZE..=last / BUCKET_SIZE).map(move |number| {
        (first.max(number * BUCKET_SIZE), last.min(number * BUCKET_SIZE + BUCKET_SIZE - 1))
    })
}

/// The ids of the index entries that match, in their order.
fn matching(items: Vec<Item>, filter: &Filter) -> Result<Vec<TicketId>> {
    let stamps = items.into_iter().map(item::stamps);
    stamps
        .filter(|stamps| stamps.as_ref().map_or(true, |stamps| filter.matches(stamps)))
        .map(|s| Ok(s?.id))
        .collect()
}

/// Leaves out what the filter would: it costs the same to read, but not to send.
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

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A `Query`'s limit; none where a page of a megabyte ends it first.
fn page_size(wanted: usize) -> Option<i32> {
    i32::try_from(wanted).ok().filter(|wanted| *wanted <= BUCKET_SIZE as i32)
}
