//! Imports records from elsewhere, under the ids they had there: another system's tickets, or a restored
//! export. The API may run meanwhile.
//!
//! First the counter moves past all of their ids, in one step, on the condition that it has not changed since
//! it was read. So no writer reserves these ids, and none has before. The ranges are kept, so that an import
//! that died can be repeated. An id that was given out before is not used, even if nothing is under
//! it: its ticket may still come. Every record is put if nothing is under its id, and never overwrites
//! anything.
//!
//! A list by id ends before an open id. What it leaves out is shown later, because it is a change; an imported
//! record is not, because its date lies in the past. So an import waits until every id before its range is
//! closed, and puts nothing earlier. From then on the ids that the file lacks are closed too. Large gaps
//! between ids are left out of the range, and noted as ids that were never given out. A new epoch at the end
//! tells copies that poll for changes to start over.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tickets_domain::{Error, KeyId, Record, Result, TicketId, Timestamp};

use crate::backoff::Backoff;
use crate::ids::{Position, new_epoch};
use crate::item::{self, Item, Source, WriteId, WriteMetadata};
use crate::month::Month;
use crate::primary_key::PrimaryKey;
use crate::ranges::{FreeRange, IdRange};
use crate::tickets::Tickets;
use crate::write::{Attempt, Condition, Outcome, Put, WRITE_DEADLINE};

/// A gap of so many ids is left out of the range: a list would read ten empty buckets to cross it.
const LEAP: u64 = 10_000;
/// The most gaps that one import leaves out, so that the list of ranges stays small.
const MOST_RANGES: usize = 100;
/// The most ids in the ranges for each record: lists by id read buckets, and nearly empty ones cost without
/// end.
const SPARSE: u64 = 100;
/// A range of fewer ids than this is never too sparse.
const FEW: u64 = 1_000_000;

/// The ranges of ids that imported records may have.
#[derive(Debug, Clone)]
pub struct ReservedRanges {
    last: u64,
    ranges: Vec<FreeRange>,
}

/// The result of importing a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// The record was put.
    New,
    /// The record is already there, unchanged.
    There,
    /// The record is already there, and has changed since.
    Changed,
    /// Something else is under its id.
    Taken,
    /// Nothing is under its id, but the id was given out: a ticket may still come, or is gone.
    GivenOut,
}

/// The ids are too far apart for one import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSparse {
    pub first: u64,
    pub last: u64,
}

impl ReservedRanges {
    /// Whether a record may be put under this id if nothing is there: it is free, or above every reserved id.
    pub fn admits(&self, id: TicketId) -> bool {
        id.get() > self.last || self.is_free(id)
    }

    fn is_free(&self, id: TicketId) -> bool {
        self.ranges.iter().any(|(from, to, _)| (*from..=*to).contains(&id.get()))
    }
}

impl From<Option<&Position>> for ReservedRanges {
    fn from(found: Option<&Position>) -> Self {
        found.map_or(Self { last: 0, ranges: Vec::new() }, |found| Self {
            last: found.last,
            ranges: found.ranges.moved.clone(),
        })
    }
}

/// The ranges that hold the ids above `last`, without large gaps; and the gaps.
fn ranges(last: u64, ids: &[u64]) -> (Vec<IdRange>, Vec<IdRange>) {
    let above: Vec<u64> = std::iter::once(last).chain(ids.iter().copied().filter(|id| *id > last)).collect();
    let mut leaps: Vec<IdRange> = above
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > LEAP)
        .map(|pair| (pair[0] + 1, pair[1] - 1))
        .collect();
    // Keep the longest gaps, if there are many.
    leaps.sort_by_key(|(from, to)| std::cmp::Reverse(to - from));
    leaps.truncate(MOST_RANGES);
    leaps.sort_unstable();
    let mut ranges = Vec::new();
    let mut from = last + 1;
    for (first, end) in &leaps {
        if from < *first {
            ranges.push((from, first - 1));
        }
        from = end + 1;
    }
    if let Some(highest) = above.last().filter(|highest| from <= **highest) {
        ranges.push((from, *highest));
    }
    (ranges, leaps)
}

impl Tickets {
    /// The ranges as the table has them now.
    pub async fn reserved_ranges(&self) -> Result<ReservedRanges> {
        Ok(self.position().await?.as_ref().into())
    }

    /// Reserves ranges for records with these ids, in ascending order, that were changed no earlier than
    /// `earliest`. From now on no writer is given their ids, and lists of changes go back to that time. Ids in
    /// no range were given out before. Returns when their writers have ended: after the settle window at most.
    ///
    /// # Errors
    /// [`Error::Contended`] if ids are reserved all the time. The inner error: the ids are too far apart.
    pub async fn reserve_ranges(
        &self,
        ids: &[u64],
        earliest: Timestamp,
    ) -> Result<Result<ReservedRanges, TooSparse>> {
        let mut backoff = Backoff::within(Duration::from_secs(10));
        let ranges = loop {
            let found = self.position().await?;
            let last = found.as_ref().map_or(0, |found| found.last);
            let Some(highest) = ids.last().copied().filter(|highest| *highest > last) else {
                break ReservedRanges::from(found.as_ref());
            };
            let (free, leaps) = ranges(last, ids);
            let size: u64 = free.iter().map(|(from, to)| to - from + 1).sum();
            if size > FEW.max(SPARSE * ids.len() as u64) {
                return Ok(Err(TooSparse { first: ids[0], last: highest }));
            }
            if self.move_past(found, highest, free, leaps, earliest).await? {
                continue; // Read the moved counter.
            }
            if !backoff.wait().await {
                return Err(Error::Contended);
            }
        };
        self.lower_first_month(Month::of(earliest)).await?;
        let reserved = ranges.ranges.iter().map(|(_, _, reserved)| *reserved).max();
        let closed = Timestamp::from_millis(reserved.unwrap_or(0)).map_err(Error::internal)?;
        let left = closed.plus(self.settings.settle).millis() - self.clock.now().millis();
        tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
        Ok(Ok(ranges))
    }

    /// Moves the counter to `highest`, if it has not changed since it was read. `true` if it surely moved.
    async fn move_past(
        &self,
        found: Option<Position>,
        highest: u64,
        free: Vec<IdRange>,
        leaps: Vec<IdRange>,
        earliest: Timestamp,
    ) -> Result<bool> {
        let last = found.as_ref().map(|found| found.last);
        let reserved = found.as_ref().and_then(|found| found.reserved).map_or(0, Timestamp::millis);
        let mut ranges = found.map(|found| Arc::unwrap_or_clone(found.ranges)).unwrap_or_default();
        ranges.skipped.extend(leaps);
        ranges.moved.extend(free.into_iter().map(|(from, to)| (from, to, reserved)));
        let sets = "#month = if_not_exists(#month, :month), #epoch = if_not_exists(#epoch, :epoch)";
        let update = self
            .move_counter(last, highest, &ranges, sets)
            .await?
            .expression_attribute_names("#month", "firstMonth")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_values(":month", AttributeValue::S(Month::of(earliest).to_string()))
            .expression_attribute_values(":epoch", AttributeValue::S(new_epoch().to_string()));
        match Attempt::of(self.dynamodb.wrote(update.send().await))? {
            Attempt::Written(_) => Ok(true),
            // If it was moved, the next attempt finds it so.
            Attempt::Refused(_) | Attempt::Retry(_) | Attempt::Unknown(_) => Ok(false),
        }
    }

    /// Puts a record under its id, if nothing is there and the id is in a range. After an error, it can be
    /// repeated.
    pub async fn import(&self, by: &KeyId, ranges: &ReservedRanges, record: &Record) -> Result<Imported> {
        let id = record.key().id;
        if !ranges.is_free(id) {
            return self.look_for(record).await;
        }
        let write_id = WriteId::new(by);
        // Without a time of reservation: the ids before it are closed.
        let metadata = WriteMetadata::first(write_id.clone(), None).with_source(Source::Import);
        let item = match record {
            Record::Live(ticket) => item::ticket_item(ticket, &metadata)?,
            Record::Deleted(tombstone) => {
                item::tombstone_item(tombstone, metadata, self.settings.keep_tombstones)?
            }
            Record::Departed(_) => return Err(Error::internal("a departure is no version of a ticket")),
        };
        let put = Put { key: PrimaryKey::ticket(id), item, write_id, condition: Condition::Absent };
        match self.put(&put, &mut Backoff::within(WRITE_DEADLINE)).await? {
            Outcome::Written(()) => Ok(Imported::New),
            Outcome::Refused(Some(found)) => compare(found, record),
            // The item that refused it has gone since.
            Outcome::Refused(None) => Err(Error::Contended),
        }
    }

    /// Whether a record is already there, or something else is under its id. Writes nothing.
    pub async fn look_for(&self, record: &Record) -> Result<Imported> {
        match self.read(PrimaryKey::ticket(record.key().id)).await? {
            Some(found) => compare(found, record),
            None => Ok(Imported::GivenOut),
        }
    }
}

/// Whether an item is the record, in any version: id and `createdDate` tell.
fn compare(found: Item, record: &Record) -> Result<Imported> {
    let is_it = item::created(&found) == Some(record.key().created);
    let as_it_is = match (item::stored(found)?.record, record) {
        (Some(Record::Live(found)), Record::Live(record)) => {
            found.fields == record.fields && found.updated == record.updated
        }
        (Some(Record::Deleted(found)), Record::Deleted(record)) => {
            found.customer == record.customer && found.deleted == record.deleted
        }
        _ => false,
    };
    Ok(match (is_it, as_it_is) {
        (true, true) => Imported::There,
        (true, false) => Imported::Changed,
        (false, _) => Imported::Taken,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use tickets_domain::{Ticket, Tombstone};
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Answer, NOW, condition_failed, lost, ok, refused};

    #[test]
    fn ranges_hold_every_id_above_the_last_and_skip_far_leaps() {
        assert_eq!(ranges(0, &[1, 2, 3]), (vec![(1, 3)], vec![]));
        assert_eq!(ranges(10, &[1, 2, 12, 20]), (vec![(11, 20)], vec![]));
        assert_eq!(ranges(10, &[10_010, 10_011]), (vec![(11, 10_011)], vec![]));
        assert_eq!(ranges(10, &[10_011, 10_012]), (vec![(10_011, 10_012)], vec![(11, 10_010)]));
        assert_eq!(
            ranges(0, &[1, 50_000, 50_002, 1_000_000]),
            (vec![(1, 1), (50_000, 50_002), (1_000_000, 1_000_000)], vec![(2, 49_999), (50_003, 999_999)])
        );
    }

    #[test]
    fn of_many_leaps_the_longest_are_skipped() {
        let ids: Vec<u64> = (1..=300).map(|n: u64| n * (LEAP + 1 + n % 2)).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        let (ranges, leaps) = ranges(0, &sorted);
        assert_eq!(leaps.len(), MOST_RANGES);
        assert!(sorted.iter().all(|id| ranges.iter().any(|(from, to)| (*from..=*to).contains(id))));
        assert!(leaps.iter().all(|(from, to)| !sorted.iter().any(|id| (*from..=*to).contains(id))));
    }

    #[test]
    fn only_free_ids_and_those_above_the_last_are_admitted() {
        let ranges = ReservedRanges { last: 20, ranges: vec![(5, 9, 0)] };
        let admitted = (1..30).filter(|id| ranges.admits(TicketId::try_from(*id).unwrap()));
        assert_eq!(admitted.collect::<Vec<_>>(), [5, 6, 7, 8, 9, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
    }

    /// The counter's item.
    fn counter(last: u64, reserved: i64, moved: Value) -> Answer {
        let reserved = json!({"N": reserved.to_string()});
        ok(json!({"Item": {
            "last": {"N": last.to_string()}, "reserved": reserved, "firstMonth": {"S": "2026-01"},
            "epoch": {"S": "e"}, "moved": {"L": moved},
        }}))
    }

    fn earliest() -> Timestamp {
        "2025-03-04".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_above_the_last_id_once_its_writers_have_ended() {
        // The counter is moved by somebody else first; then the answer to our own move is lost.
        let reads = AtomicUsize::new(0);
        let updates = AtomicUsize::new(0);
        let (tickets, calls) = scripted::tickets(move |operation, _| match operation {
            "GetItem" => match reads.fetch_add(1, Ordering::Relaxed) {
                0 => counter(5, NOW - 4000, json!([])),
                1 => counter(6, NOW - 3000, json!([])),
                _ => counter(
                    20,
                    NOW - 3000,
                    json!([{"L": [{"N": "7"}, {"N": "20"}, {"N": (NOW - 3000).to_string()}]}]),
                ),
            },
            "UpdateItem" => match updates.fetch_add(1, Ordering::Relaxed) {
                0 => condition_failed(Value::Null),
                1 => lost(),
                _ => ok(json!({})),
            },
            "PutItem" => ok(json!({})),
            _ => refused("ValidationException"),
        });
        let began = Instant::now();
        let ranges = tickets.reserve_ranges(&[10, 20], earliest()).await.unwrap().unwrap();
        let admitted = (1..25).filter(|id| ranges.admits(TicketId::try_from(*id).unwrap()));
        assert_eq!(admitted.collect::<Vec<_>>(), (7..25).collect::<Vec<_>>());
        // The settle window is ten seconds: seven are left, besides the waits between attempts.
        let waited = Instant::now() - began;
        assert!(waited >= Duration::from_secs(7) && waited < Duration::from_millis(7100), "{waited:?}");
        let updates = calls.of("UpdateItem");
        assert_eq!(updates.len(), 3, "two moves, and the first month");
        let values = &updates[1]["ExpressionAttributeValues"];
        let range = [7, 20, NOW - 3000].map(|number: i64| json!({"N": number.to_string()}));
        let lists = calls.of("PutItem");
        assert_eq!(lists[1]["Item"]["moved"], json!({"L": [{"L": range}]}));
        assert_eq!(values[":ranges"], lists[1]["Item"]["id"], "the counter names its list");
        assert_eq!((&values[":last"], &values[":next"]), (&json!({"N": "6"}), &json!({"N": "20"})));
        assert_eq!(values[":month"], json!({"S": "2025-03"}));
        assert_eq!(updates[2]["ExpressionAttributeValues"][":month"], json!({"S": "2025-03"}));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_counter_keeps_earlier_ranges_and_gaps_of_a_file() {
        let reads = AtomicUsize::new(0);
        let (tickets, calls) = scripted::tickets(move |operation, _| match operation {
            "GetItem" if reads.fetch_add(1, Ordering::Relaxed) == 0 => ok(json!({})),
            "GetItem" => counter(50_000, 0, json!([])),
            _ => ok(json!({})),
        });
        let began = Instant::now();
        tickets.reserve_ranges(&[1, 2, 50_000], earliest()).await.unwrap().unwrap();
        assert!(Instant::now() - began < Duration::from_secs(1), "nobody had reserved an id");
        let update = &calls.of("UpdateItem")[0];
        assert_eq!(update["ConditionExpression"], "attribute_not_exists(#last)");
        let list = &calls.of("PutItem")[0]["Item"];
        let ranges = |name: &str| list[name].to_string();
        assert_eq!(
            ranges("moved"),
            r#"{"L":[{"L":[{"N":"1"},{"N":"2"},{"N":"0"}]},{"L":[{"N":"50000"},{"N":"50000"},{"N":"0"}]}]}"#
        );
        assert_eq!(ranges("skipped"), r#"{"L":[{"L":[{"N":"3"},{"N":"49999"}]}]}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_cannot_be_made_says_why() {
        let make = async |update: fn() -> Answer| {
            let (tickets, calls) = scripted::tickets(move |operation, _| match operation {
                "GetItem" => counter(5, 0, json!([])),
                "PutItem" => ok(json!({})),
                _ => update(),
            });
            (tickets.reserve_ranges(&[10], earliest()).await.unwrap_err(), calls.of("UpdateItem").len())
        };
        let began = Instant::now();
        let (error, attempts) = make(|| condition_failed(Value::Null)).await;
        assert!(matches!(error, Error::Contended) && attempts > 10, "{error:?} {attempts}");
        assert!((9..=10).contains(&(Instant::now() - began).as_secs()));
        let (error, attempts) = make(|| refused("ValidationException")).await;
        assert!(matches!(error, Error::Internal(_)) && attempts == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_ids_are_room_for_any_file_and_a_hundred_for_each_ticket() {
        let make = async |ids: Vec<u64>| {
            let (tickets, _) = scripted::tickets(|operation, _| match operation {
                "GetItem" => ok(json!({})),
                _ => refused("ValidationException"),
            });
            tickets.reserve_ranges(&ids, earliest()).await
        };
        // Ids as far apart as a range may have them.
        let ids =
            |count: u64, last: u64| -> Vec<u64> { (1..count).map(|n| n * LEAP).chain([last]).collect() };
        assert!(make(ids(100, 1_000_000)).await.is_err(), "it is not refused before it is written");
        let sparse = TooSparse { first: LEAP, last: 1_000_001 };
        assert_eq!(make(ids(101, 1_000_001)).await.unwrap().unwrap_err(), sparse);
        let dense: Vec<u64> = (1..=10_001).map(|n| n * 100).collect();
        assert!(make(dense.clone()).await.is_err());
        let dense = dense.into_iter().map(|id| id + 1).collect();
        assert!(make(dense).await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_import_below_the_last_id_moves_nothing() {
        let (tickets, calls) = scripted::tickets(|operation, _| match operation {
            "GetItem" => counter(20, 0, json!([{"L": [{"N": "7"}, {"N": "20"}, {"N": "0"}]}])),
            _ => ok(json!({})),
        });
        let ranges = tickets.reserve_ranges(&[10, 20], earliest()).await.unwrap().unwrap();
        assert!(
            ranges.admits(TicketId::try_from(7).unwrap()) && !ranges.admits(TicketId::try_from(6).unwrap())
        );
        let updates = calls.of("UpdateItem");
        assert_eq!(updates.len(), 1, "only the first month");
        assert_eq!(updates[0]["UpdateExpression"], "SET #month = :month");
    }

    #[test]
    fn a_record_is_there_as_it_is_only_if_all_of_it_is() {
        let at = |millis: i64| Timestamp::from_millis(NOW + millis).unwrap();
        let metadata = || WriteMetadata::first(WriteId::new(&"a".parse().unwrap()), None);
        let ticket = Ticket::new(TicketId::FIRST, scripted::fields(json!({})), at(0));
        let changed = Ticket { updated: at(1), ..ticket.clone() };
        let other = Ticket { fields: scripted::fields(json!({"subject": "t"})), ..ticket.clone() };
        let tombstone = ticket.delete(at(5));
        let later = Tombstone { deleted: at(6), ..tombstone.clone() };
        let customer = 2.try_into().unwrap();
        let moved = Tombstone { customer, ..tombstone.clone() };
        let elsewhere = Ticket { created: at(-1), ..ticket.clone() };
        let (live, deleted) = (Record::Live, Record::Deleted);
        let item = |record: &Record| match record {
            Record::Live(ticket) => item::ticket_item(ticket, &metadata()).unwrap(),
            Record::Deleted(tombstone) => {
                item::tombstone_item(tombstone, metadata(), WRITE_DEADLINE).unwrap()
            }
            Record::Departed(_) => unreachable!(),
        };
        for (found, record, is) in [
            (live(ticket.clone()), live(ticket.clone()), Imported::There),
            (live(changed), live(ticket.clone()), Imported::Changed),
            (live(other), live(ticket.clone()), Imported::Changed),
            (live(elsewhere), live(ticket.clone()), Imported::Taken),
            (deleted(tombstone.clone()), live(ticket.clone()), Imported::Changed),
            (deleted(tombstone.clone()), deleted(tombstone.clone()), Imported::There),
            (deleted(later), deleted(tombstone.clone()), Imported::Changed),
            (deleted(moved), deleted(tombstone), Imported::Changed),
        ] {
            assert_eq!(compare(item(&found), &record).unwrap(), is, "{found:?} {record:?}");
        }
        let void = item::void_item(TicketId::FIRST, &metadata(), at(0), WRITE_DEADLINE).unwrap();
        assert_eq!(compare(void, &live(ticket)).unwrap(), Imported::Taken);
    }
}
