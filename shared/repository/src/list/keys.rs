//! Reads the keys of records from the indexes.

use std::collections::VecDeque;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use tickets_domain::id::CustomerId;
use tickets_domain::work_queue::Statuses;
use tickets_domain::{Filter, RecordKey, Result, TicketId, Timestamp};

use super::{Candidate, Candidates, FIRST_KEYS};
use crate::capacity::Metering as _;
use crate::failure::Failure;
use crate::ids::Counter;
use crate::item::{Item, QueueKey};
use crate::month::Month;
use crate::primary_key::{SHARDS, month_shard, status_shard};
use crate::schema::{BY_CUSTOMER, BY_STATUS, BY_UPDATED};
use crate::tickets::Tickets;
use crate::transcode::{FromItem, Member, Transcoder};

/// Keys in no order; `end` if there are no more.
pub(super) struct KeyPage {
    pub(super) keys: Vec<RecordKey>,
    pub(super) end: bool,
}

/// How far a query has been read.
#[derive(Debug, Clone, Default)]
pub(super) enum Position {
    #[default]
    Start,
    After(Item),
    End,
}

impl Position {
    fn after(last_evaluated_key: Option<Item>) -> Self {
        last_evaluated_key.map_or(Self::End, Self::After)
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::End)
    }
}

impl Tickets {
    /// The next page of a query, of at most `limit` items.
    pub(super) async fn query<T: FromItem>(
        &self,
        query: QueryFluentBuilder,
        position: &mut Position,
        limit: usize,
    ) -> Result<Vec<T>> {
        let start = match std::mem::take(position) {
            Position::Start => None,
            Position::After(key) => Some(key),
            Position::End => {
                *position = Position::End;
                return Ok(Vec::new());
            }
        };
        let transcoder = Transcoder::new(Member::Items);
        let output = query
            .table_name(&self.table)
            .set_exclusive_start_key(start)
            // A page ends at a megabyte, before it reaches a larger limit.
            .set_limit(i32::try_from(limit).ok().filter(|limit| *limit < 10_000))
            .set_return_consumed_capacity(self.meter.level())
            .customize()
            .interceptor(transcoder.clone())
            .send()
            .await
            .map_err(Failure::of)?;
        self.meter.read(output.consumed_capacity());
        *position = Position::after(output.last_evaluated_key);
        transcoder.read(output.items.unwrap_or_default())
    }
}

/// Candidates, ascending by id.
pub(super) struct OrderedPage {
    pub(super) candidates: Vec<Candidate>,
    /// How many keys were read for them.
    pub(super) read: usize,
    /// Every candidate up to this id has been read.
    pub(super) up_to: u64,
    /// The highest id among the keys, if there were any.
    highest: Option<u64>,
}

impl OrderedPage {
    /// How many ids the list advances for each ticket that has to be fetched.
    fn pace(&self, before: u64) -> u64 {
        let reached = if self.is_end() { self.highest.unwrap_or(u64::MAX) } else { self.up_to };
        reached.saturating_sub(before) / (1 + self.candidates.len() as u64)
    }

    pub(super) fn is_end(&self) -> bool {
        self.up_to == u64::MAX
    }
}

/// Candidates in id order, from the indexes that have them in that order.
pub(super) enum OrderedKeys<'a> {
    Customer(CustomerKeys<'a>),
    Status(StatusKeys<'a>),
    /// Either index can answer, and either can be huge while the other is tiny. Both are read side by side,
    /// and the list uses the one that advances further for each ticket fetched.
    Either(CustomerKeys<'a>, StatusKeys<'a>),
}

impl<'a> OrderedKeys<'a> {
    /// The candidates for a filter, if an index has them in id order.
    pub(super) fn of(tickets: &'a Tickets, filter: &'a Filter) -> Option<Self> {
        let after = filter.id_after;
        let customer = filter.customer.map(|customer| CustomerKeys {
            tickets,
            filter,
            customer,
            after,
            position: Position::Start,
        });
        let statuses = filter.queue.statuses.as_ref();
        let status = statuses.map(|statuses| StatusKeys::new(tickets, filter, statuses, after));
        match (customer, status) {
            (Some(customer), Some(status)) => Some(Self::Either(customer, status)),
            (Some(customer), None) => Some(Self::Customer(customer)),
            (None, Some(status)) => Some(Self::Status(status)),
            (None, None) => None,
        }
    }

    /// The next candidates, from about `limit` keys.
    pub(super) async fn next(&mut self, limit: usize) -> Result<OrderedPage> {
        match self {
            Self::Customer(keys) => keys.next(limit).await,
            Self::Status(keys) => keys.next(limit).await,
            Self::Either(by_customer, by_status) => {
                let before = by_status.up_to;
                let (customer, status) = futures::try_join!(by_customer.next(limit), by_status.next(limit))?;
                // `byStatus` knows all that is asked, `byCustomer` only the customer. The list never uses
                // `byCustomer` if `byStatus` is ahead: candidates that `byStatus` has handed out would be
                // lost.
                let further = customer.up_to > status.up_to;
                Ok(if further && customer.pace(before) > status.pace(before) {
                    by_status.go_on_after(customer.up_to);
                    customer
                } else {
                    by_customer.go_on_after(status.up_to);
                    status
                })
            }
        }
    }

    /// How many keys to read first, if this many records are wanted.
    pub(super) fn first_limit(&self, wanted: usize) -> usize {
        match self {
            Self::Customer(_) | Self::Status(_) => wanted,
            // It is not known yet which of the two has less to read.
            Self::Either(..) => wanted.min(FIRST_KEYS),
        }
    }
}

/// A customer's records.
pub(super) struct CustomerKeys<'a> {
    tickets: &'a Tickets,
    filter: &'a Filter,
    customer: CustomerId,
    after: u64,
    position: Position,
}

impl CustomerKeys<'_> {
    fn go_on_after(&mut self, id: u64) {
        (self.after, self.position) = (id, Position::Start);
    }

    async fn next(&mut self, limit: usize) -> Result<OrderedPage> {
        let number = |value: u64| AttributeValue::N(value.to_string());
        let query = self
            .tickets
            .client
            .query()
            .index_name(BY_CUSTOMER)
            .key_condition_expression("#customer = :customer AND #id > :after")
            .expression_attribute_names("#customer", "customerID")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":customer", number(self.customer.get()))
            .expression_attribute_values(":after", number(self.after));
        let keys: Vec<RecordKey> = self.tickets.query(query, &mut self.position, limit).await?;
        let up_to = match keys.last() {
            _ if self.position.is_end() => u64::MAX,
            // A ticket and its departure have the same id: one of them may be on the next page.
            Some(last) => last.id.get() - 1,
            None => self.after,
        };
        let (read, highest) = (keys.len(), keys.last().map(|key| key.id.get()));
        let mut candidates = Candidates::default();
        candidates.extend(keys, self.filter);
        Ok(OrderedPage { candidates: candidates.into_vec(), read, up_to, highest })
    }
}

/// The tickets with some statuses. Each status has one partition per shard; all are read at the same time and
/// merged.
pub(super) struct StatusKeys<'a> {
    tickets: &'a Tickets,
    filter: &'a Filter,
    up_to: u64,
    shards: Vec<StatusShard>,
}

/// One partition of `byStatus`.
struct StatusShard {
    partition: String,
    after: u64,
    position: Position,
    /// The partition has been read up to this id.
    reached: u64,
    /// The ids read that may be in the list.
    ids: VecDeque<TicketId>,
}

impl<'a> StatusKeys<'a> {
    fn new(tickets: &'a Tickets, filter: &'a Filter, statuses: &Statuses, after: u64) -> Self {
        let partitions =
            statuses.iter().flat_map(|status| (0..SHARDS).map(move |shard| status_shard(status, shard)));
        let shard = |partition| StatusShard {
            partition,
            after,
            position: Position::Start,
            reached: after,
            ids: VecDeque::new(),
        };
        Self { tickets, filter, up_to: after, shards: partitions.map(shard).collect() }
    }

    fn go_on_after(&mut self, id: u64) {
        self.up_to = id;
        for shard in &mut self.shards {
            let read_further = shard.reached >= id;
            if read_further {
                shard.ids.retain(|known| known.get() > id);
            } else if !shard.position.is_end() {
                (shard.after, shard.position, shard.reached) = (id, Position::Start, id);
                shard.ids.clear();
            }
        }
    }

    async fn next(&mut self, limit: usize) -> Result<OrderedPage> {
        let limit = limit.div_ceil(SHARDS as usize);
        let (tickets, filter, known) = (self.tickets, self.filter, self.up_to);
        // Shards that are ahead of others can wait.
        let behind = self.shards.iter_mut().filter(|shard| shard.reached <= known);
        let read = try_join_all(behind.map(|shard| shard.read_on(tickets, filter, limit))).await?;
        self.up_to = self.shards.iter().map(|shard| shard.reached).min().unwrap_or(u64::MAX);
        let mut ids = Vec::new();
        for shard in &mut self.shards {
            while let Some(id) = shard.ids.pop_front_if(|id| id.get() <= self.up_to) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        let candidates = ids.into_iter().map(Candidate::ticket).collect();
        let highest = read.iter().filter_map(|(_, highest)| *highest).max();
        let read = read.into_iter().map(|(count, _)| count).sum();
        Ok(OrderedPage { candidates, read, up_to: self.up_to, highest })
    }
}

impl StatusShard {
    /// Reads about `limit` keys. Returns how many there were, and the highest id.
    async fn read_on(
        &mut self,
        tickets: &Tickets,
        filter: &Filter,
        limit: usize,
    ) -> Result<(usize, Option<u64>)> {
        let query = tickets
            .client
            .query()
            .index_name(BY_STATUS)
            .key_condition_expression("#status = :status AND #id > :after")
            .expression_attribute_names("#status", "statusShard")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":status", AttributeValue::S(self.partition.clone()))
            .expression_attribute_values(":after", AttributeValue::N(self.after.to_string()));
        let keys: Vec<QueueKey> = tickets.query(query, &mut self.position, limit).await?;
        let (read, mut highest) = (keys.len(), None);
        for key in keys {
            (self.reached, highest) = (key.id.get(), Some(key.id.get()));
            if filter.customer.is_none_or(|customer| key.customer == customer)
                && filter.queue.includes_whatever_its_status(&key.fields)
            {
                self.ids.push_back(key.id);
            }
        }
        if self.position.is_end() {
            self.reached = u64::MAX;
        }
        Ok((read, highest))
    }
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
        let last = Month::of(tickets.clock.now().plus(tickets.policy.settle)).min(Month::of(until));
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
        self.client
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
