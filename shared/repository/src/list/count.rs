//! Counts tickets by the entries of `byStatus`. A customer with few records has them counted instead, because the index
//! of statuses has everybody's.

use std::collections::HashSet;

use futures::future::try_join_all;
use tickets_domain::count::{CountQuery, Counter};
use tickets_domain::id::CustomerId;
use tickets_domain::preset::{Choice, Folded};
use tickets_domain::{Filter, Fit, Result, Row, Visibility, WorkQueue};

use super::keys::{CustomerKeys, Position, status_query};
use super::page::{Page, affordable};
use crate::item::QueueKey;
use crate::primary_key::{SHARDS, status_shard};
use crate::tickets::Tickets;

/// A customer with at most so many records, deleted ones included, has few: they are one batch to read.
const FEW: usize = 100;

/// One partition of `byStatus`.
struct Partition<'a> {
    status: Option<&'a Folded>,
    name: String,
    position: Position,
}

impl Tickets {
    /// Counts the tickets that the query asks for and the caller may see. Returns whether these were all: it stops
    /// after some read units, like a page of a work queue that finds nothing.
    pub async fn count(&self, query: &CountQuery, visibility: Visibility) -> Result<(Counter, bool)> {
        if let Visibility::Only(customer) = visibility
            && let Some(counter) = self.count_few(query, customer).await?
        {
            return Ok((counter, true));
        }
        let (tickets, meter) = self.counted();
        let before = meter.usage().read_units;
        let units_left = || self.settings.most_vain_units - (meter.usage().read_units - before);
        let shards = |status| (0..SHARDS).map(move |shard| (status, status_shard(status, shard)));
        let partition = |(status, name)| Partition { status, name, position: Position::Start };
        let mut partitions: Vec<_> = query.statuses.iter().flat_map(shards).map(partition).collect();
        let mut counter = Counter::new(&query.by);
        // A ticket whose status changes meanwhile may be in two partitions.
        let mut counted = HashSet::new();
        while !partitions.is_empty() && units_left() > 0.0 {
            let limit = affordable(units_left(), usize::MAX, partitions.len());
            let pages = partitions.iter_mut().map(async |partition| {
                let status_keys = status_query(&tickets, &partition.name, 0);
                let keys: Vec<QueueKey> = tickets.query(status_keys, &mut partition.position, limit).await?;
                Ok::<_, tickets_domain::Error>((partition.status, keys))
            });
            for (status, keys) in try_join_all(pages).await? {
                for QueueKey { id, customer, fields } in keys {
                    let is_asked_for =
                        visibility.includes(customer) && query.queue.includes_whatever_its_status(&fields);
                    if is_asked_for && counted.insert(id) {
                        counter.add(customer, status, &fields);
                    }
                }
            }
            partitions.retain(|partition| !partition.position.is_end());
        }
        Ok((counter, partitions.is_empty()))
    }

    /// Reads and counts the tickets of a customer with few records. `None` if there are more.
    async fn count_few(&self, query: &CountQuery, customer: CustomerId) -> Result<Option<Counter>> {
        let queue = WorkQueue { statuses: Some(query.statuses.clone()), ..query.queue.clone() };
        let filter = Filter { customer: Some(customer), queue, ..Filter::default() };
        let records = CustomerKeys::new(self, &filter, customer).next(FEW).await?;
        if !records.is_end() {
            return Ok(None);
        }
        let mut found = Vec::new();
        let take = |row: &Row| {
            found.push(row.queue_fields());
            Fit::Added
        };
        self.fetch(&records.candidates, &mut Page::new(filter.clone(), take)).await?;
        let mut counter = Counter::new(&query.by);
        for fields in found {
            let fields = fields?;
            counter.add(customer, fields.status.as_ref().map(Choice::folded).as_ref(), &fields);
        }
        Ok(Some(counter))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tickets_domain::count::{CountBy, TicketCounts};
    use tickets_domain::precondition::Preconditions;
    use tickets_domain::status::Statuses;
    use tickets_domain::{JsonObject, Meter, PresetLists, Presets, Settings, TicketChange};

    use super::*;
    use crate::scripted::{self, ok};

    fn presets() -> Presets {
        Presets::parse(&PresetLists::default()).unwrap()
    }

    fn open(by: &[CountBy]) -> CountQuery {
        CountQuery {
            by: by.to_vec(),
            statuses: Statuses::open(true, &presets()),
            queue: WorkQueue::default(),
        }
    }

    async fn counts(tickets: &Tickets, query: &CountQuery, visibility: Visibility) -> TicketCounts {
        let (counter, complete) = tickets.count(query, visibility).await.unwrap();
        counter.finish(complete, &presets())
    }

    /// Changes tickets with these ids.
    async fn change(tickets: &Tickets, ids: impl IntoIterator<Item = u64>, fields: serde_json::Value) {
        for id in ids {
            let mut row = fields.clone();
            row["id"] = json!(id.to_string());
            let row = JsonObject::parse(row.to_string().as_bytes());
            let rows = TicketChange::parse_rows(vec![row], &presets(), |_| Err("unused"));
            let changed = tickets.update_all(&"writer".parse().unwrap(), Visibility::All, rows).await;
            assert!(changed[0].is_ok(), "{changed:?}");
        }
    }

    fn only(customer: u64) -> Visibility {
        Visibility::Only(customer.try_into().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_reads_the_index_of_statuses_and_no_ticket() {
        let (tickets, calls) = scripted::engine(30).await;
        change(&tickets, 1..=5, json!({"status": "closed"})).await;
        change(&tickets, 6..=8, json!({"status": "assigned", "customerID": 2})).await;
        tickets
            .delete(30.try_into().unwrap(), &"w".parse().unwrap(), Visibility::All, &Preconditions::default())
            .await
            .unwrap();
        let read = || ["GetItem", "BatchGetItem", "Query"].map(|call| calls.of(call).len());
        let before = read();
        let counted = counts(&tickets, &open(&[CountBy::Status]), Visibility::All).await;
        assert_eq!(
            serde_json::to_value(&counted).unwrap(),
            json!({"total": 24, "complete": true, "counts": [{"status": "open", "count": 21}, {"status": "assigned", "count": 3}]})
        );
        // A query for each shard of open, assigned, and none.
        let [gets, batches, queries] = before;
        assert_eq!(read(), [gets, batches, queries + 12]);
        assert!(calls.of("Query")[queries..].iter().all(|query| query["IndexName"] == "byStatus"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_two_statuses_have_is_counted_once() {
        let (tickets, _) = scripted::tickets(|_, query| {
            let is_in = |status: &str| query["ExpressionAttributeValues"][":status"]["S"] == status;
            let key = json!({"id": {"N": "5"}, "customerID": {"N": "1"}});
            let is_there = is_in("open#1") || is_in("assigned#1");
            ok(json!({"Items": if is_there { vec![key] } else { Vec::new() }}))
        });
        assert_eq!(counts(&tickets, &open(&[]), Visibility::All).await.total, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_stops_when_it_has_cost_enough_and_says_so() {
        let (tickets, calls) = scripted::engine(400).await;
        let meter = Meter::counting();
        let count = async |most: f64| {
            let settings = Settings { most_vain_units: most, ..Settings::default() };
            let tickets = Tickets { settings, ..tickets.metered(meter.clone()) };
            meter.take();
            let TicketCounts { total, complete, .. } = counts(&tickets, &open(&[]), Visibility::All).await;
            (total, complete, meter.take())
        };
        let (total, complete, cost) = count(1000.0).await;
        assert_eq!((total, complete), (400, true));
        let (total, complete, _) = count(cost * 2.0).await;
        assert_eq!((total, complete), (400, true), "enough, in smaller pages");
        let (total, complete, spent) = count(cost / 3.0).await;
        assert!(
            !complete && (1..400).contains(&total) && spent < cost,
            "at least {total} for {spent} of {cost}"
        );
        // Without a meter of the caller's, too.
        let settings = Settings { most_vain_units: cost / 3.0, ..Settings::default() };
        let TicketCounts { complete, .. } =
            counts(&Tickets { settings, ..tickets.clone() }, &open(&[]), Visibility::All).await;
        assert!(!complete && !calls.of("Query").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_customer_few_records_are_read_and_of_many_the_entries_counted() {
        for (count, few) in [(FEW as u64 - 1, true), (FEW as u64 + 1, false)] {
            let (tickets, calls) = scripted::engine(count as usize + 3).await;
            change(&tickets, [1, 2, 3], json!({"customerID": 2})).await;
            change(&tickets, [4], json!({"status": "closed"})).await;
            // The customer's three that left are departures, and so records.
            let query = open(&[CountBy::Customer, CountBy::Status]);
            let before = calls.of("BatchGetItem").len();
            let own = counts(&tickets, &query, only(2)).await;
            assert_eq!((own.total, own.complete), (3, true));
            assert_eq!(calls.of("BatchGetItem").len(), before + 1);
            let other = counts(&tickets, &query, only(1)).await;
            let expected = json!([{"status": "open", "customerID": 1, "count": count - 1}]);
            assert_eq!((other.total, json!(other.counts)), (count - 1, expected), "few: {few}");
            assert_eq!(counts(&tickets, &query, only(3)).await.total, 0);
        }
    }
}
