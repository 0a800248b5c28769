//! Ids: the counter they are reserved from, and which missing ids are open.
//!
//! Reserving is one `UpdateItem` without a condition, so it cannot conflict. A create then puts its ticket
//! under its id, so 43 can exist before 42. A reader that goes by id must not pass 42 and lose it. A missing
//! id is *open* while its ticket may still come, and *closed* once its reservation is older than any write
//! can last. The next ticket stores when it was reserved.

use std::sync::Arc;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use serde::Deserialize;
use tickets_domain::{Epoch, Error, Result, Settings, Timestamp};

use crate::backoff::Backoff;
use crate::failure::WriteError;
use crate::item::{self, millis};
use crate::month::Month;
use crate::primary_key::PrimaryKey;
use crate::ranges::{FreeRange, IdRange, Ranges};
use crate::tickets::Tickets;
use crate::write::{Attempt, Outcome, until_known};

pub(crate) fn new_epoch() -> Epoch {
    Epoch::new(format!("{:016x}", fastrand::u64(..)))
}

/// The counter's item. Every reservation writes `last` and `reserved`; the first one sets month and epoch.
#[derive(Debug, Deserialize)]
struct CounterItem {
    last: u64,
    #[serde(default, with = "millis::optional")]
    reserved: Option<Timestamp>,
    #[serde(rename = "firstMonth")]
    first_month: Month,
    epoch: Epoch,
    /// The id of its list of ranges.
    #[serde(default)]
    ranges: Option<u64>,
    /// Ranges that an earlier version put here, until the counter is moved the next time.
    #[serde(default)]
    skipped: Vec<IdRange>,
    #[serde(default)]
    moved: Vec<FreeRange>,
}

/// The state of the counter.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    /// The highest id reserved; 0 before the first.
    pub(crate) last: u64,
    /// The month of the earliest change; `None` before the first.
    pub(crate) first_month: Option<Month>,
    pub(crate) epoch: Epoch,
    /// Ranges of ids that were never given out. A walk skips them.
    pub(crate) skipped: Vec<IdRange>,
}

impl Counter {
    /// This id, or the first one after it that is in no skipped range.
    pub(crate) fn given_from(&self, mut id: u64) -> u64 {
        while let Some((_, to)) = self.skipped.iter().find(|(from, to)| (*from..=*to).contains(&id)) {
            id = to + 1;
        }
        id
    }
}

/// The state of the counter for whoever moves it.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) last: u64,
    /// When `last` was reserved; `None` if it never was.
    pub(crate) reserved: Option<Timestamp>,
    pub(crate) ranges: Arc<Ranges>,
}

/// Ids reserved for one writer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reservation {
    pub(crate) first: u64,
    /// When the id before the first was reserved; `None` if there is none.
    pub(crate) previous_reserved: Option<Timestamp>,
    /// When these ids were reserved.
    pub(crate) reserved: Timestamp,
}

impl Tickets {
    /// Reads the counter consistently.
    pub(crate) async fn counter(&self) -> Result<Counter> {
        let Some(item) = self.counter_item().await? else {
            return Ok(Counter { last: 0, first_month: None, epoch: Epoch::none(), skipped: Vec::new() });
        };
        let CounterItem { last, first_month, epoch, ranges, skipped, moved, .. } = item;
        let ranges = self.ranges(ranges, Ranges { skipped, moved }).await?;
        Ok(Counter { last, first_month: Some(first_month), epoch, skipped: ranges.skipped.clone() })
    }

    /// The table's epoch, which changes when the table goes back in time, or gets records with dates in the past. Reads
    /// the counter's item alone, and no ranges: whoever asks only for this may read nothing else.
    pub async fn epoch(&self) -> Result<Epoch> {
        Ok(self.counter_item().await?.map_or_else(Epoch::none, |item| item.epoch))
    }

    /// Reads the counter to move it; `None` before the first id.
    pub(crate) async fn position(&self) -> Result<Option<Position>> {
        let Some(item) = self.counter_item().await? else { return Ok(None) };
        let CounterItem { last, reserved, ranges, skipped, moved, .. } = item;
        let ranges = self.ranges(ranges, Ranges { skipped, moved }).await?;
        Ok(Some(Position { last, reserved, ranges }))
    }

    /// When the last id was reserved, if that lies ahead of now by more than clocks may differ.
    pub async fn reserved_ahead(&self) -> Result<Option<Timestamp>> {
        let latest = self.clock.now().plus(self.settings.settle);
        Ok(self.position().await?.and_then(|found| found.reserved).filter(|reserved| *reserved > latest))
    }

    async fn counter_item(&self) -> Result<Option<CounterItem>> {
        self.read(PrimaryKey::counter()).await?.map(item::from_item).transpose()
    }

    /// Reserves `count` ids. If the answer is lost, the ids stay missing, and close when the reservation is
    /// old.
    ///
    /// # Errors
    /// [`Error::Throttled`] or [`Error::Unavailable`] after the deadline.
    pub(crate) async fn reserve(&self, count: u64, backoff: &mut Backoff) -> Result<Reservation> {
        match until_known(backoff, || self.reserve_once(count), async || Ok(None)).await {
            Ok((Outcome::Written(reservation), _)) => Ok(reservation),
            Ok((Outcome::Refused(_), _)) => Err(Error::internal("a reservation has no condition")),
            // Nobody knows the ids, so no ticket was written under them.
            Err(Error::Undecided(cause)) => Err(Error::Unavailable(cause)),
            Err(error) => Err(error),
        }
    }

    async fn reserve_once(&self, count: u64) -> Result<Attempt<Reservation>> {
        #[derive(Deserialize)]
        struct Old {
            last: u64,
            #[serde(default, with = "millis::optional")]
            reserved: Option<Timestamp>,
        }
        let now = self.clock.now();
        let update = self
            .update_counter()
            .update_expression(
                "ADD #last :count SET #reserved = :now, #month = if_not_exists(#month, :month), \
                 #epoch = if_not_exists(#epoch, :epoch)",
            )
            .expression_attribute_names("#last", "last")
            .expression_attribute_names("#reserved", "reserved")
            .expression_attribute_names("#month", "firstMonth")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_values(":count", AttributeValue::N(count.to_string()))
            .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
            .expression_attribute_values(":month", AttributeValue::S(Month::of(now).to_string()))
            .expression_attribute_values(":epoch", AttributeValue::S(new_epoch().to_string()))
            .return_values(ReturnValue::UpdatedOld);
        let output = match self.dynamodb.wrote(update.send().await) {
            Ok(output) => output,
            Err(error) => return Attempt::of(Err(error)),
        };
        let old = output.attributes.filter(|old| !old.is_empty());
        let old = old.map(item::from_item).transpose()?.unwrap_or(Old { last: 0, reserved: None });
        let Old { last, reserved } = old;
        Ok(Attempt::Written(Reservation { first: last + 1, previous_reserved: reserved, reserved: now }))
    }

    /// An update of the counter.
    pub(crate) fn update_counter(&self) -> UpdateItemFluentBuilder {
        let key = PrimaryKey::counter().into_key();
        self.dynamodb.update_item().table_name(&self.table).set_key(Some(key))
    }

    /// Lowers the counter's first month, to which lists of changes go back.
    pub(crate) async fn lower_first_month(&self, month: Month) -> Result<()> {
        let update = self
            .update_counter()
            .update_expression("SET #month = :month")
            .condition_expression("#month > :month")
            .expression_attribute_names("#month", "firstMonth")
            .expression_attribute_values(":month", AttributeValue::S(month.to_string()));
        match self.dynamodb.wrote(update.send().await) {
            // It is as low already.
            Ok(_) | Err(WriteError::ConditionFailed(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// This part of the settle window, a tenth, is kept for clocks that differ. A list leaves out what comes
/// after an open id, and the next pass asks only for changes after `Sync-Until`. So an id must close before
/// anything after it is that old.
const CLOCKS: u32 = 10;

/// Follows the ids of a list in id order, and tells where the list must stop.
#[derive(Debug)]
pub(crate) struct Gaps<'a> {
    counter: &'a Counter,
    /// Ids reserved at this time or earlier are closed.
    closed: Timestamp,
    /// The id that should come next.
    expected: u64,
    /// The first missing id, until something tells when it was reserved.
    missing: Option<u64>,
}

impl<'a> Gaps<'a> {
    /// For a list of the ids after `id_after`, read from `began` on.
    pub(crate) fn after(id_after: u64, counter: &'a Counter, began: Timestamp, settings: &Settings) -> Self {
        let closed = began.minus(settings.settle - settings.settle / CLOCKS);
        Self { counter, closed, expected: counter.given_from(id_after.saturating_add(1)), missing: None }
    }

    /// Takes the next id under which something is stored: a ticket, or a void. Returns the first open id
    /// before it, if there is one.
    pub(crate) fn before(
        &mut self,
        id: u64,
        previous_reserved: Option<Timestamp>,
        is_void: bool,
    ) -> Option<u64> {
        if id > self.expected && self.missing.is_none() {
            self.missing = Some(self.expected);
        }
        self.expected = self.counter.given_from(id + 1);
        let first = self.missing?;
        match previous_reserved {
            Some(reserved) if reserved > self.closed => return Some(first),
            // Whoever puts a void in another writer's place does not know when the id before was reserved: the next
            // item decides. A ticket without that time is the first, or imported: all ids before it are closed.
            None if is_void => return None,
            Some(_) | None => self.missing = None,
        }
        None
    }

    /// Notes that the ids before `expected` were found after all.
    pub(crate) fn filled(&mut self) {
        self.missing = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::scripted::{self, Answer, NOW, condition_failed, lost, ok, refused};

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn counter(skipped: &[(u64, u64)]) -> Counter {
        Counter { last: 50, first_month: None, epoch: Epoch::none(), skipped: skipped.to_vec() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_epoch_is_read_from_the_counter_alone_though_it_names_ranges() {
        let (tickets, calls) = scripted::engine(1).await;
        let restored = tickets.start_epoch(10).await.unwrap();
        let before = calls.of("GetItem").len();
        let (dynamodb, clock) = (tickets.dynamodb.clone(), tickets.clock.clone());
        let instance = Tickets::new(dynamodb, "Tickets", clock, Settings::default());
        assert_eq!(instance.epoch().await.unwrap().to_string(), restored.epoch.to_string());
        let reads = &calls.of("GetItem")[before..];
        assert_eq!(reads.len(), 1);
        assert_eq!(reads[0]["Key"]["bucket"], json!({"S": "counter"}));
        assert_eq!(instance.counter().await.unwrap().skipped, [(2, 11)], "there are ranges");
    }

    #[test]
    fn a_missing_id_is_open_until_its_reservation_is_old() {
        let counter = counter(&[]);
        let gaps = || Gaps::after(40, &counter, time(100_000), &Settings::default());
        // The window is ten seconds, less a tenth.
        assert_eq!(gaps().before(43, Some(time(91_001)), true), Some(41));
        assert_eq!(gaps().before(43, Some(time(91_000)), true), None);
        assert_eq!(gaps().before(41, Some(time(99_999)), true), None, "nothing is missing");
    }

    #[test]
    fn a_skipped_id_is_not_missing() {
        let counter = counter(&[(42, 44), (45, 46)]);
        let mut gaps = Gaps::after(40, &counter, time(100_000), &Settings::default());
        assert_eq!(gaps.before(41, None, true), None);
        assert_eq!(gaps.before(47, Some(time(99_000)), true), None);
        assert_eq!(
            Gaps::after(42, &counter, time(100_000), &Settings::default()).before(
                47,
                Some(time(99_000)),
                true
            ),
            None
        );
        assert_eq!(gaps.before(49, Some(time(99_000)), true), Some(48));
    }

    #[test]
    fn if_a_void_has_no_reservation_time_the_next_record_decides() {
        let counter = counter(&[]);
        let mut gaps = Gaps::after(40, &counter, time(100_000), &Settings::default());
        assert_eq!(gaps.before(42, None, true), None);
        assert_eq!(gaps.before(43, None, true), None);
        assert_eq!(gaps.before(44, Some(time(99_000)), true), Some(41));
        gaps.filled();
        assert_eq!(gaps.before(45, Some(time(99_000)), true), None);
    }

    #[test]
    fn skipped_ids_lead_to_the_first_id_that_was_given_out() {
        let counter = counter(&[(42, 44), (45, 46), (60, 60)]);
        for (from, given) in [(41, 41), (42, 47), (44, 47), (45, 47), (47, 47), (60, 61), (61, 61)] {
            assert_eq!(counter.given_from(from), given, "{from}");
        }
    }

    #[test]
    fn epochs_are_told_apart() {
        let (one, other) = (new_epoch(), new_epoch());
        assert_ne!(one, other);
        assert_eq!(one.to_string().len(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_begins_after_the_last_id_given_and_knows_when_that_was() {
        let mut backoff = Backoff::within(Duration::from_secs(3));
        let old = json!({"Attributes": {"last": {"N": "41"}, "reserved": {"N": "90000"}}});
        let (tickets, calls) = scripted::tickets(move |_, _| ok(old.clone()));
        let reservation = tickets.reserve(3, &mut backoff).await.unwrap();
        assert_eq!((reservation.first, reservation.previous_reserved), (42, Some(time(90_000))));
        assert_eq!(reservation.reserved, time(NOW));
        let values = &calls.of("UpdateItem")[0]["ExpressionAttributeValues"];
        assert_eq!(values[":count"], json!({"N": "3"}));

        for nothing in [json!({}), json!({"Attributes": {}})] {
            let (tickets, _) = scripted::tickets(move |_, _| ok(nothing.clone()));
            let reservation = tickets.reserve(1, &mut backoff).await.unwrap();
            assert_eq!((reservation.first, reservation.previous_reserved), (1, None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_whose_answer_is_lost_is_repeated_and_never_undecided() {
        let count = AtomicUsize::new(0);
        let (tickets, _) = scripted::tickets(move |_, _| match count.fetch_add(1, Ordering::Relaxed) {
            0..2 => lost(),
            _ => ok(json!({"Attributes": {"last": {"N": "7"}}})),
        });
        let mut backoff = Backoff::within(Duration::from_secs(3));
        assert_eq!(tickets.reserve(1, &mut backoff).await.unwrap().first, 8);
        let (tickets, _) = scripted::tickets(|_, _| lost());
        assert!(matches!(tickets.reserve(1, &mut backoff).await, Err(Error::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_reserved_ahead_of_now_by_more_than_the_settle_window_is_told() {
        let ahead = async |millis: i64| {
            let item = json!({
                "last": {"N": "1"}, "reserved": {"N": (NOW + millis).to_string()},
                "firstMonth": {"S": "2026-01"}, "epoch": {"S": "e"},
            });
            let (tickets, _) = scripted::tickets(move |_, _| ok(json!({"Item": item})));
            tickets.reserved_ahead().await.unwrap()
        };
        assert_eq!((ahead(-1).await, ahead(10_000).await), (None, None));
        assert_eq!(ahead(10_001).await, Some(time(NOW + 10_001)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_month_is_only_lowered() {
        let lower = async |answer: fn() -> Answer| {
            let (tickets, _) = scripted::tickets(move |_, _| answer());
            tickets.lower_first_month(Month::of(time(NOW))).await
        };
        assert!(lower(|| ok(json!({}))).await.is_ok());
        assert!(lower(|| condition_failed(Value::Null)).await.is_ok(), "it is as low already");
        assert!(matches!(lower(|| refused("ValidationException")).await, Err(Error::Internal(_))));
    }
}
