//! Reads the keys of records in id order, from the indexes of customers and of statuses.

use std::collections::{BTreeSet, VecDeque};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use tickets_domain::id::CustomerId;
use tickets_domain::status::Statuses;
use tickets_domain::{Filter, RecordKey, Result, TicketId};

use super::{Candidate, Candidates, FIRST_KEYS};
use crate::item::{Item, QueueKey};
use crate::primary_key::{SHARDS, status_shard};
use crate::schema::{BY_CUSTOMER, BY_STATUS};
use crate::tickets::Tickets;
use crate::transcode::FromItem;

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
        let query = query
            .table_name(&self.table)
            .set_exclusive_start_key(start)
            // A page ends at a megabyte, before it reaches a larger limit.
            .set_limit(i32::try_from(limit).ok().filter(|limit| *limit < 10_000));
        let (output, read) = self.dynamodb.query_items(query).await?;
        *position = Position::after(output.last_evaluated_key);
        read
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

    /// Whether the list is better off with this page than with the other, both read after `before`.
    fn is_better_than(&self, other: &Self, before: u64) -> bool {
        self.up_to > other.up_to && self.pace(before) > other.pace(before)
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
        let customer = filter.customer.map(|customer| CustomerKeys::new(tickets, filter, customer));
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
                // `byStatus` knows all that is asked, `byCustomer` only the customer. Once `byStatus` has returned
                // candidates, stay with it: switching would lose them.
                Ok(if customer.is_better_than(&status, before) {
                    by_status.go_on_after(customer.up_to);
                    customer
                } else {
                    by_customer.go_on_after(status.up_to);
                    status
                })
            }
        }
    }

    /// How many times as many keys as it is asked for a page may read.
    pub(super) fn indexes(&self) -> usize {
        match self {
            Self::Customer(_) => 1,
            Self::Status(keys) => keys.statuses(),
            Self::Either(_, keys) => 1 + keys.statuses(),
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

impl<'a> CustomerKeys<'a> {
    pub(super) fn new(tickets: &'a Tickets, filter: &'a Filter, customer: CustomerId) -> Self {
        Self { tickets, filter, customer, after: filter.id_after, position: Position::Start }
    }

    fn go_on_after(&mut self, id: u64) {
        (self.after, self.position) = (id, Position::Start);
    }

    pub(super) async fn next(&mut self, limit: usize) -> Result<OrderedPage> {
        let number = |value: u64| AttributeValue::N(value.to_string());
        let query = self.tickets.dynamodb.query();
        let query = query
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

    fn statuses(&self) -> usize {
        self.shards.len() / SHARDS as usize
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
        // A set: a ticket whose status changes while the shards are read may be in two of them.
        let mut ids = BTreeSet::new();
        for shard in &mut self.shards {
            while let Some(id) = shard.ids.pop_front_if(|id| id.get() <= self.up_to) {
                ids.insert(id);
            }
        }
        let candidates = ids.into_iter().map(Candidate::ticket).collect();
        let highest = read.iter().filter_map(|(_, highest)| *highest).max();
        let read = read.into_iter().map(|(count, _)| count).sum();
        Ok(OrderedPage { candidates, read, up_to: self.up_to, highest })
    }
}

/// A query of the entries of a partition of `byStatus` after this id.
pub(super) fn status_query(tickets: &Tickets, partition: &str, after: u64) -> QueryFluentBuilder {
    let query = tickets.dynamodb.query();
    query
        .index_name(BY_STATUS)
        .key_condition_expression("#status = :status AND #id > :after")
        .expression_attribute_names("#status", "statusShard")
        .expression_attribute_names("#id", "id")
        .expression_attribute_values(":status", AttributeValue::S(partition.to_owned()))
        .expression_attribute_values(":after", AttributeValue::N(after.to_string()))
}

impl StatusShard {
    /// Reads about `limit` keys. Returns how many there were, and the highest id.
    async fn read_on(
        &mut self,
        tickets: &Tickets,
        filter: &Filter,
        limit: usize,
    ) -> Result<(usize, Option<u64>)> {
        let query = status_query(tickets, &self.partition, self.after);
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tickets_domain::work_queue::AnyOf;
    use tickets_domain::{PresetLists, Presets, WorkQueue};

    use super::*;
    use crate::scripted::{self, ok};

    fn ticket(id: u64) -> TicketId {
        id.try_into().unwrap()
    }

    fn ordered(candidates: u64, up_to: u64, highest: Option<u64>) -> OrderedPage {
        let candidates = (1..=candidates).map(|id| Candidate::ticket(ticket(id))).collect();
        OrderedPage { candidates, read: 0, up_to, highest }
    }

    #[test]
    fn the_pace_of_a_page_is_how_far_it_goes_for_each_ticket_to_fetch() {
        assert_eq!(ordered(4, 150, Some(151)).pace(100), 10);
        assert_eq!(ordered(0, 150, Some(151)).pace(100), 50);
        assert_eq!(ordered(4, u64::MAX, Some(150)).pace(100), 10, "the last page goes as far as its keys");
        assert_eq!(ordered(0, u64::MAX, None).pace(100), u64::MAX - 100, "and to the end without any");
    }

    #[test]
    fn of_two_pages_the_one_that_goes_further_for_less_is_better() {
        let page = ordered(4, 150, None);
        assert!(page.is_better_than(&ordered(4, 149, None), 100));
        assert!(!page.is_better_than(&ordered(5, 150, None), 100), "it goes no further");
        assert!(!page.is_better_than(&ordered(2, 140, None), 100), "it has to fetch more for it");
        assert!(!page.is_better_than(&ordered(3, 140, None), 100), "the same is not better");
    }

    fn presets() -> Presets {
        Presets::parse(&PresetLists::default()).unwrap()
    }

    fn status(names: &str) -> Statuses {
        Statuses::any_of(&presets().any_status().choose_any(names).unwrap())
    }

    fn value<'a>(input: &'a Value, name: &str) -> &'a str {
        let value = &input["ExpressionAttributeValues"][name];
        value["S"].as_str().or(value["N"].as_str()).unwrap()
    }

    /// Reads pages of about so many keys until the end. Returns the candidates' ids and the ends of the pages.
    async fn read(keys: &mut OrderedKeys<'_>, limit: usize) -> (Vec<u64>, Vec<u64>) {
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        loop {
            let page = keys.next(limit).await.unwrap();
            ids.extend(page.candidates.iter().map(|candidate| candidate.id.get()));
            ends.push(page.up_to);
            if page.is_end() {
                return (ids, ends);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_customer_s_keys_come_page_by_page_and_the_last_of_a_page_comes_again() {
        let (tickets, calls) = scripted::engine(7).await;
        let filter = Filter { customer: CustomerId::try_from(1).ok(), id_after: 1, ..Filter::default() };
        let mut keys = OrderedKeys::of(&tickets, &filter).unwrap();
        assert_eq!(keys.first_limit(5000), 5000);
        // A departure of the last ticket may be on the next page.
        assert_eq!(read(&mut keys, 4).await, (vec![2, 3, 4, 5, 6, 7], vec![4, u64::MAX]));
        assert!(calls.of("Query").iter().all(|input| value(input, ":after") == "1" && input["Limit"] == 4));
        let mut keys = OrderedKeys::of(&tickets, &filter).unwrap();
        let page = keys.next(10).await.unwrap();
        assert_eq!((page.read, page.highest), (6, Some(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_s_shards_are_merged_and_those_ahead_wait() {
        let (tickets, calls) = scripted::engine(0).await;
        // Shard 1 has many tickets, the others one each.
        for id in 1..=40u64 {
            if id % 4 == 1 || id <= 4 {
                scripted::append(&tickets, 1).await;
            } else {
                scripted::skip(&tickets, 1).await;
            }
        }
        let queue = WorkQueue { statuses: Some(status("open")), ..WorkQueue::default() };
        let filter = Filter { queue, ..Filter::default() };
        let mut keys = OrderedKeys::of(&tickets, &filter).unwrap();
        let (ids, ends) = read(&mut keys, 8).await;
        assert_eq!(ids, [1, 2, 3, 4, 5, 9, 13, 17, 21, 25, 29, 33, 37]);
        assert_eq!(ends, [5, 13, 21, 29, 37, u64::MAX]);
        let queries = calls.of("Query");
        let of_shard =
            |shard: &str| queries.iter().filter(|input| value(input, ":status").ends_with(shard)).count();
        assert_eq!(["0", "1", "2", "3"].map(of_shard), [1, 6, 1, 1]);
        assert!(queries.iter().all(|input| input["Limit"] == 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_two_statuses_have_is_one_candidate() {
        let (tickets, _) = scripted::tickets(|_, input| {
            let key = |id: &str| json!({"id": {"N": id}, "customerID": {"N": "1"}});
            let ids: &[&str] = match value(input, ":status") {
                "open#1" => &["1", "5"],
                "assigned#1" => &["5", "9"],
                _ => &[],
            };
            ok(json!({"Items": ids.iter().map(|id| key(id)).collect::<Vec<_>>()}))
        });
        let queue = WorkQueue { statuses: Some(status("open,assigned")), ..WorkQueue::default() };
        let filter = Filter { queue, ..Filter::default() };
        let mut keys = OrderedKeys::of(&tickets, &filter).unwrap();
        assert_eq!(read(&mut keys, 8).await.0, [1, 5, 9]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_keys_that_may_match_are_candidates() {
        let (tickets, _) = scripted::engine(4).await;
        let queue = |owners: Option<&str>| WorkQueue {
            statuses: Some(status("open")),
            owners: owners.map(|owner| AnyOf::of(&presets().owner.choose_any(owner).unwrap())),
            ..WorkQueue::default()
        };
        for (customer, owners, expected) in
            [(None, None, 4), (Some(1), None, 4), (Some(2), None, 0), (None, Some("ada"), 0)]
        {
            let customer = customer.and_then(|id: u64| CustomerId::try_from(id).ok());
            let filter = Filter { queue: queue(owners), ..Filter::default() };
            let statuses = filter.queue.statuses.clone().unwrap();
            let filter = Filter { customer, ..filter };
            let mut keys = StatusKeys::new(&tickets, &filter, &statuses, 0);
            let page = keys.next(100).await.unwrap();
            assert_eq!((page.candidates.len(), page.read), (expected, 4));
            assert_eq!((page.highest, page.is_end()), (Some(4), true));
        }
    }

    #[test]
    fn shards_that_have_read_further_keep_what_is_left_and_others_start_again() {
        let (tickets, _) = scripted::tickets(|_, _| ok(json!({})));
        let filter = Filter::default();
        let shard = |position: Position, reached, ids: &[u64]| StatusShard {
            partition: String::new(),
            after: 0,
            position,
            reached,
            ids: ids.iter().map(|id| ticket(*id)).collect(),
        };
        let after = |ids: &[u64]| shard(Position::After(Item::new()), *ids.last().unwrap(), ids);
        let shards =
            vec![after(&[20, 30]), after(&[10, 20]), after(&[19]), shard(Position::End, u64::MAX, &[20, 21])];
        let mut keys = StatusKeys { tickets: &tickets, filter: &filter, up_to: 0, shards };
        keys.go_on_after(20);
        assert_eq!(keys.up_to, 20);
        let ids = |shard: &StatusShard| shard.ids.iter().map(|id| id.get()).collect::<Vec<_>>();
        assert_eq!(keys.shards.iter().map(ids).collect::<Vec<_>>(), [vec![30], vec![], vec![], vec![21]]);
        let again: Vec<_> = keys.shards.iter().map(|shard| (shard.after, shard.reached)).collect();
        assert_eq!(again, [(0, 30), (0, 20), (20, 20), (0, u64::MAX)]);
        assert!(matches!(keys.shards[2].position, Position::Start));
        assert!(matches!(keys.shards[1].position, Position::After(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn side_by_side_the_index_that_gets_further_for_less_is_used() {
        // Customer 1 has everything; next to nothing is closed.
        let (tickets, _) = scripted::engine(30).await;
        let queue = WorkQueue { statuses: Some(status("closed")), ..WorkQueue::default() };
        let filter = Filter { customer: CustomerId::try_from(1).ok(), queue, ..Filter::default() };
        let mut keys = OrderedKeys::of(&tickets, &filter).unwrap();
        assert_eq!((keys.first_limit(5000), keys.first_limit(7)), (FIRST_KEYS, 7));
        assert_eq!(read(&mut keys, 8).await, (vec![], vec![u64::MAX]), "the index by status ends at once");
        // Customer 2 has nothing; everything is open.
        let queue = WorkQueue { statuses: Some(status("open")), ..WorkQueue::default() };
        let filter = Filter { customer: CustomerId::try_from(2).ok(), queue, ..Filter::default() };
        let mut keys = OrderedKeys::of(&tickets, &filter).unwrap();
        assert_eq!(read(&mut keys, 8).await, (vec![], vec![u64::MAX]), "the customer's ends at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_says_how_much_unless_a_page_ends_before() {
        for (limit, asked) in
            [(1, json!(1)), (9999, json!(9999)), (10_000, Value::Null), (usize::MAX, Value::Null)]
        {
            let (tickets, calls) = scripted::tickets(|_, _| ok(json!({"Items": []})));
            let mut position = Position::Start;
            let read = tickets.query::<RecordKey>(tickets.dynamodb.query(), &mut position, limit).await;
            assert!(read.unwrap().is_empty() && position.is_end());
            assert_eq!(calls.of("Query")[0]["Limit"], asked);
            let read = tickets.query::<RecordKey>(tickets.dynamodb.query(), &mut position, limit).await;
            assert!(read.unwrap().is_empty() && position.is_end() && calls.of("Query").len() == 1);
        }
    }
}
