//! The table of the history: an item for each version of a ticket, made from the stream of the tickets'
//! table.
//!
//! A stream delivers every record at least once. A record that fails is delivered again later, perhaps after
//! younger ones. So writing an entry must be repeatable, and correct in any order:
//! - an entry is put if nothing is under its version;
//! - a deletion *erases* every version before its own: an existing item loses its values; where there is
//!   none, an empty item is put. An entry that comes later finds it, and adds who, when and which fields, but
//!   no values.
//!
//! A put with values and an erasure write the same item, one after the other: no order brings a value back.
//! The deletion's own entry is put last: once it exists, no earlier version has values.
//!
//! Every entry is also an event of the feed (`events`), unless its version was imported or seeded. It says when it was
//! recorded, by which the feed is in order. Each attempt to write an entry has a new time, and ends after a second.
//! So an entry cannot appear long after the time it carries, behind a reader who has come that far. A ticket's entries
//! rise in that time if the stream delivers its versions in order, even where the clocks of two instances differ:
//! each looks at the last entry before its own.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tickets_domain::filter::MAX_LIMIT;
use tickets_domain::json::Members;
use tickets_domain::preset::Choices;
use tickets_domain::{
    ChangeKind, Clock, CustomerId, Error, Fit, HistoryEntry, KeyId, Meter, Record, RecordState, Result,
    Settings, TicketId, Timestamp, Version, Visibility,
};
use tokio::sync::OnceCell;

use crate::backoff::Backoff;
use crate::dynamodb::DynamoDb;
use crate::failure::WriteError;
use crate::item::{self, Expiry, Item, WriteId, millis};
use crate::month::Month;
use crate::primary_key::{PrimaryKey, month_shard, shard};
use crate::schema::{EXPIRES, RECORDED, RECORDED_MONTH};
use crate::tickets::Tickets;
use crate::write::{Attempt, Outcome, WRITE_DEADLINE, until_known};

/// The attribute with the fields' values. A deletion removes it.
const VALUES: &str = "values";
/// What a deletion removes from every entry of its ticket: the values, and those that the feed shows.
const ERASED: [&str; 5] = {
    let [a, b, c, d] = Choices::NAMES;
    [VALUES, a, b, c, d]
};
/// Erasures sent at the same time. More would be throttled by the one partition they are in.
const AT_ONCE: usize = 8;

/// The table of the history.
#[derive(Debug, Clone)]
pub struct History {
    pub(crate) dynamodb: DynamoDb,
    /// For writes that take effect once, however often they are repeated.
    pub(crate) repeating: DynamoDb,
    pub(crate) table: String,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    /// Set once the feed's start has been noted.
    pub(crate) start: Arc<OnceCell<()>>,
}

/// A record of the tickets' table's stream: an item before and after a write.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamRecord {
    /// Its place in the stream.
    #[serde(rename = "SequenceNumber")]
    pub sequence_number: String,
    #[serde(rename = "NewImage", default)]
    new: Option<serde_dynamo::Item>,
    #[serde(rename = "OldImage", default)]
    old: Option<serde_dynamo::Item>,
}

/// A version of a ticket, as the stream delivers it.
#[derive(Debug, Clone)]
pub struct StreamedVersion {
    pub ticket: TicketId,
    pub entry: HistoryEntry,
    /// When the tombstone of a deleted ticket may be removed.
    expires: Option<Expiry>,
    /// Whether the table had a version before this one.
    has_earlier: bool,
    /// What the feed shows of it; `None` if it is no event.
    event: Option<EventItem>,
}

/// An entry that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    version: Version,
    /// When it was recorded; `None` if it is no event.
    at: Option<Timestamp>,
}

/// The versions of a ticket that a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryRange {
    ticket: TicketId,
    first: Version,
    last: Version,
    /// Whether the ticket is deleted: then no values are shown.
    deleted: bool,
}

/// An entry to be written.
struct Entry {
    ticket: TicketId,
    version: Version,
    item: Item,
    /// Whether it is an event: then each attempt to write it adds when it is recorded.
    is_event: bool,
    /// When the last version before it was recorded.
    previous: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct EntryItem {
    ticket: u64,
    version: Version,
    #[serde(with = "millis")]
    date: Timestamp,
    change: ChangeKind,
    by: KeyId,
    /// The fields that changed. They stay when the values are erased.
    names: Vec<String>,
    /// The values of the fields that were not cleared; absent once erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Members>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Expiry>,
}

/// What an entry has if it is an event, besides the time at which it was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventItem {
    /// Whose ticket it is after the change.
    #[serde(rename = "customerID")]
    pub(crate) customer: CustomerId,
    /// The customer that it left with this change.
    #[serde(rename = "leftCustomerID", default, skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<CustomerId>,
    #[serde(flatten)]
    pub(crate) shown: Choices,
}

impl StreamRecord {
    /// The version of a ticket that was written. `None` for anything else: the counter, a claim, a void, a
    /// departure, a checkpoint, or a removal by TTL.
    pub fn version(self) -> Result<Option<StreamedVersion>> {
        let Some(new) = self.new.map(Item::from) else { return Ok(None) };
        if !is_version(&new) {
            return Ok(None);
        }
        let old = self.old.map(Item::from).filter(is_version);
        let is_event = !new.contains_key("source");
        let writer = WriteId::of(&new).ok_or_else(|| Error::internal("a version without its writer"))?;
        let expires = new.get(EXPIRES).cloned().map(item::from_attribute).transpose();
        let before = old.map(item::stored).transpose()?.and_then(|stored| stored.record);
        let stored = item::stored(new)?;
        let after = stored.record.ok_or_else(|| Error::internal("a version of no ticket"))?;
        let entry = HistoryEntry::of(before.as_ref(), &after, writer.key()?)?;
        let expires = expires?;
        Ok(entry.map(|entry| StreamedVersion {
            ticket: stored.id,
            entry,
            expires,
            has_earlier: before.is_some(),
            event: is_event.then(|| EventItem::of(before.as_ref(), &after)),
        }))
    }
}

impl EventItem {
    fn of(before: Option<&Record>, after: &Record) -> Self {
        let customer = after.key().customer;
        let shown = match after {
            Record::Live(ticket) => ticket.fields.choices(),
            Record::Deleted(_) | Record::Departed(_) => Choices::default(),
        };
        let left = before.map(|before| before.key().customer).filter(|before| *before != customer);
        Self { customer, left, shown }
    }
}

/// Whether an item is a version of a ticket: it lies in the partition of its id, and has a version, which a
/// void does not.
fn is_version(item: &Item) -> bool {
    let number = |name: &str| item.get(name)?.as_n().ok()?.parse().ok();
    let bucket = item.get("bucket").and_then(|bucket| bucket.as_s().ok());
    let key = number("id").and_then(|id| item::ticket_id(id).ok()).map(PrimaryKey::ticket);
    item::version(item).is_some() && bucket.is_some() && bucket == key.as_ref().map(|key| &key.bucket)
}

impl EntryItem {
    fn of(ticket: TicketId, entry: HistoryEntry, expires: Option<Expiry>) -> Self {
        let names = entry.fields.keys().cloned().collect();
        let values = entry.fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
        Self {
            ticket: ticket.get(),
            version: entry.version,
            date: entry.date,
            change: entry.change,
            by: entry.by,
            names,
            values: Some(Members(values)),
            expires,
        }
    }
}

impl From<EntryItem> for HistoryEntry {
    fn from(item: EntryItem) -> Self {
        let Members(mut values) = item.values.unwrap_or_default();
        let field = |name: String| {
            let value = values.remove(&name).unwrap_or(Value::Null);
            (name, value)
        };
        Self {
            version: item.version,
            date: item.date,
            change: item.change,
            by: item.by,
            fields: item.names.into_iter().map(field).collect(),
        }
    }
}

impl History {
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>, clock: Clock, settings: Settings) -> Self {
        let (repeating, start) = (dynamodb.repeating_writes(), Arc::default());
        Self { dynamodb, repeating, table: table.into(), clock, settings, start }
    }

    /// The same table, with a meter that counts what its calls consume.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        let (dynamodb, repeating) = (self.dynamodb.metered(meter.clone()), self.repeating.metered(meter));
        Self { dynamodb, repeating, ..self.clone() }
    }

    /// Makes sure that a version has an entry, however often and in whatever order this is called. After an error,
    /// call it again: what is done stays done. `last` is what was recorded of this ticket right before, if anything.
    ///
    /// # Errors
    /// After the write deadline, if the outcome is not known by then.
    pub async fn record(&self, version: StreamedVersion, last: Option<Recorded>) -> Result<Recorded> {
        let StreamedVersion { ticket, entry, expires, has_earlier, event } = version;
        let version = entry.version;
        if let (ChangeKind::Deleted, Some(expires), true) = (entry.change, expires, has_earlier) {
            self.erase_before(ticket, version, expires).await?;
        }
        let previous = match (&event, last) {
            (None, _) => None,
            (Some(_), Some(last)) if last.version.next() == version => last.at,
            (Some(_), _) if !has_earlier => None,
            (Some(_), _) => self.recorded_before(ticket, version).await?,
        };
        let mut item = item::to_item(EntryItem::of(ticket, entry, expires))?;
        let is_event = event.is_some();
        if let Some(event) = event {
            self.note_start(self.clock.now()).await?;
            item.extend(item::to_item(event)?);
        }
        let entry = Entry { ticket, version, item, is_event, previous };
        let read_back = || self.recorded(ticket, version);
        let mut backoff = Backoff::within(WRITE_DEADLINE);
        let at = match until_known(&mut backoff, || self.put_once(&entry), read_back).await?.0 {
            Outcome::Written(at) => at,
            Outcome::Refused(Some(found)) if is_filled(&found) => recorded_at(&found)?,
            // Not every engine returns the item that is there.
            Outcome::Refused(_) => {
                match until_known(&mut backoff, || self.fill_once(&entry), read_back).await?.0 {
                    Outcome::Written(at) => at,
                    Outcome::Refused(_) => self.recorded(ticket, version).await?.flatten(),
                }
            }
        };
        Ok(Recorded { version, at })
    }

    /// Puts an entry if nothing is under its version. Returns when it was recorded, if it is an event.
    async fn put_once(&self, entry: &Entry) -> Result<Attempt<Option<Timestamp>>> {
        let (item, at) = self.stamped(entry);
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#version)")
            .expression_attribute_names("#version", "version");
        Attempt::of(self.dynamodb.wrote(put.send().await).map(|_| at))
    }

    /// Adds what an entry has besides values to the item that a deletion left for its version, if there is one.
    async fn fill_once(&self, entry: &Entry) -> Result<Attempt<Option<Timestamp>>> {
        let (mut item, at) = self.stamped(entry);
        item.retain(|name, _| {
            !ERASED.contains(&&**name) && !["ticket", "version", EXPIRES].contains(&&**name)
        });
        let set: Vec<_> = item.keys().map(|name| format!("#{name} = :{name}")).collect();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(entry.ticket.get(), entry.version)))
            .update_expression(format!("SET {}", set.join(", ")))
            .condition_expression("attribute_exists(#version) AND attribute_not_exists(#date)")
            .expression_attribute_names("#version", "version");
        let update = item.into_iter().fold(update, |update, (name, value)| {
            update
                .expression_attribute_values(format!(":{name}"), value)
                .expression_attribute_names(format!("#{name}"), name)
        });
        Attempt::of(self.dynamodb.wrote(update.send().await).map(|_| at))
    }

    /// The item of an entry for one attempt to write it, with the time at which it is recorded, if it is an event. To be
    /// called right before the attempt: after a wait, a reader may have passed that time.
    fn stamped(&self, entry: &Entry) -> (Item, Option<Timestamp>) {
        let mut item = entry.item.clone();
        if !entry.is_event {
            return (item, None);
        }
        let now = self.clock.now();
        let at = entry.previous.map_or(now, |previous| now.after(previous));
        let month = month_shard(Month::of(at), shard(entry.ticket.get()));
        item.insert(RECORDED.into(), AttributeValue::N(at.millis().to_string()));
        item.insert(RECORDED_MONTH.into(), AttributeValue::S(month));
        (item, Some(at))
    }

    /// When the last version before this one was recorded that is there. The one right before may come later: then its
    /// record was given up, and an operator delivers it by hand.
    async fn recorded_before(&self, ticket: TicketId, version: Version) -> Result<Option<Timestamp>> {
        let mut start = None;
        loop {
            let query = self
                .recorded_where(ticket, "#version < :version", version)
                .scan_index_forward(false)
                // An entry may have hundreds of kilobytes, which count though they are not returned.
                .limit(1)
                .set_exclusive_start_key(start);
            let output = self.dynamodb.read(query.send().await)?;
            // What a deletion left for a version that is still to come says nothing.
            if let Some(found) = output.items.into_iter().flatten().find(is_filled) {
                return recorded_at(&found);
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(None);
            }
        }
    }

    /// When a version was recorded: the outer `None` if it was not, the inner one if it is no event.
    async fn recorded(&self, ticket: TicketId, version: Version) -> Result<Option<Option<Timestamp>>> {
        let query = self.recorded_where(ticket, "#version = :version", version);
        let output = self.dynamodb.read(query.send().await)?;
        let found = output.items.into_iter().flatten().find(is_filled);
        found.as_ref().map(recorded_at).transpose()
    }

    /// A query that tells when versions of a ticket were recorded.
    fn recorded_where(&self, ticket: TicketId, condition: &str, version: Version) -> QueryFluentBuilder {
        self.dynamodb
            .query()
            .table_name(&self.table)
            .key_condition_expression(format!("#ticket = :ticket AND {condition}"))
            .projection_expression("#date, #recorded")
            .expression_attribute_names("#ticket", "ticket")
            .expression_attribute_names("#version", "version")
            .expression_attribute_names("#date", "date")
            .expression_attribute_names("#recorded", RECORDED)
            .expression_attribute_values(":ticket", AttributeValue::N(ticket.to_string()))
            .expression_attribute_values(":version", AttributeValue::N(version.get().to_string()))
            .consistent_read(true)
    }

    /// Removes the values from every version before `deletion`, also from versions that have not arrived yet.
    pub(crate) async fn erase_before(
        &self,
        ticket: TicketId,
        deletion: Version,
        expires: Expiry,
    ) -> Result<()> {
        let erased: HashSet<_> = self.versions_with(ticket, EXPIRES, false).await?.into_iter().collect();
        let versions = (Version::FIRST.get()..deletion.get()).map(Version::new);
        let erasures: Vec<_> = versions
            .filter(|version| !erased.contains(version))
            .map(|version| self.erase(ticket, version, expires))
            .collect();
        stream::iter(erasures).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Removes the values from every version in the table, whatever an earlier deletion did.
    pub(crate) async fn erase_values(&self, ticket: TicketId) -> Result<()> {
        for version in self.versions_with(ticket, VALUES, true).await? {
            let update = self
                .update_item(key(ticket.get(), version), "")
                .condition_expression("attribute_exists(#version)")
                .expression_attribute_names("#version", "version");
            match self.repeating.wrote(update.send().await) {
                // If the condition failed, TTL removed it first.
                Ok(_) | Err(WriteError::ConditionFailed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The versions of a ticket whose entries have this attribute.
    async fn versions_with(
        &self,
        ticket: TicketId,
        attribute: &str,
        consistent: bool,
    ) -> Result<Vec<Version>> {
        let (mut versions, mut start) = (Vec::new(), None);
        loop {
            let query = self
                .dynamodb
                .query()
                .table_name(&self.table)
                .key_condition_expression("#ticket = :ticket")
                .filter_expression("attribute_exists(#attribute)")
                .projection_expression("#version")
                .expression_attribute_names("#ticket", "ticket")
                .expression_attribute_names("#version", "version")
                .expression_attribute_names("#attribute", attribute)
                .expression_attribute_values(":ticket", AttributeValue::N(ticket.to_string()))
                .consistent_read(consistent)
                .set_exclusive_start_key(start);
            let output = self.dynamodb.read(query.send().await)?;
            versions.extend(output.items.iter().flatten().filter_map(item::version));
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(versions);
            }
        }
    }

    async fn erase(&self, ticket: TicketId, version: Version, expires: Expiry) -> Result<()> {
        let update = self
            .update_item(key(ticket.get(), version), "SET #expires = :expires ")
            .expression_attribute_names("#expires", EXPIRES)
            .expression_attribute_values(":expires", item::to_attribute(expires)?);
        self.repeating.wrote(update.send().await)?;
        Ok(())
    }

    /// An update that erases an entry, and sets this.
    fn update_item(&self, key: Item, set: &str) -> UpdateItemFluentBuilder {
        let erased: Vec<_> = ERASED.iter().map(|name| format!("#{name}")).collect();
        let update = self.repeating.update_item().table_name(&self.table).set_key(Some(key));
        let update = update.update_expression(format!("{set}REMOVE {}", erased.join(", ")));
        ERASED
            .iter()
            .fold(update, |update, name| update.expression_attribute_names(format!("#{name}"), *name))
    }

    /// Passes the entries of a range after version `after` to `take`, ascending, until `take` is full or
    /// `limit` is reached. Returns whether there are more.
    pub async fn list(
        &self,
        range: &HistoryRange,
        after: u64,
        limit: Option<usize>,
        mut take: impl FnMut(&HistoryEntry) -> Fit,
    ) -> Result<bool> {
        let first = range.first.get().max(after.saturating_add(1));
        if first > range.last.get() {
            return Ok(false);
        }
        let number = |number: u64| AttributeValue::N(number.to_string());
        let (mut taken, mut start) = (0, None);
        loop {
            // One more than asked for tells whether there are more.
            let wanted = limit.map_or(MAX_LIMIT, |limit| limit + 1 - taken);
            let query = self
                .dynamodb
                .query()
                .table_name(&self.table)
                .key_condition_expression("#ticket = :ticket AND #version BETWEEN :first AND :last")
                .expression_attribute_names("#ticket", "ticket")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":ticket", number(range.ticket.get()))
                .expression_attribute_values(":first", number(first))
                .expression_attribute_values(":last", number(range.last.get()))
                .set_limit(i32::try_from(wanted).ok())
                .set_exclusive_start_key(start);
            let output = self.dynamodb.read(query.send().await)?;
            // An item that a deletion left for a missing entry is not an entry.
            for item in output.items.into_iter().flatten().filter(is_filled) {
                let entry = HistoryEntry::from(item::from_item::<EntryItem>(item)?);
                let entry = if range.deleted { entry.without_values() } else { entry };
                if limit == Some(taken) || take(&entry) == Fit::Full {
                    return Ok(true);
                }
                taken += 1;
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(false);
            }
        }
    }
}

/// Whether an item is an entry, and not what a deletion left for one that has not arrived yet.
fn is_filled(item: &Item) -> bool {
    item.contains_key("date")
}

/// When an entry was recorded, if it is an event.
fn recorded_at(entry: &Item) -> Result<Option<Timestamp>> {
    let Some(recorded) = entry.get(RECORDED).cloned() else { return Ok(None) };
    let millis = item::from_attribute(recorded)?;
    Timestamp::from_millis(millis).map(Some).map_err(|_| Error::unreadable("when an entry was recorded"))
}

fn key(ticket: u64, version: Version) -> Item {
    Item::from([
        ("ticket".into(), AttributeValue::N(ticket.to_string())),
        ("version".into(), AttributeValue::N(version.get().to_string())),
    ])
}

impl Tickets {
    /// The versions of a ticket that the caller may see. A caller restricted to one customer sees those since
    /// the ticket came to that customer. The range ends at the current version, so that a move right after
    /// this shows nothing of the next customer.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there never was a ticket, or the caller may not see it.
    pub async fn history(&self, id: TicketId, visibility: Visibility) -> Result<HistoryRange> {
        let stored = self.read(PrimaryKey::ticket(id)).await?.map(item::stored).transpose()?;
        let (record, customer_since) = stored
            .and_then(|stored| Some((stored.record?, stored.customer_since)))
            .filter(|(record, _)| visibility.includes(record.key().customer))
            .ok_or(Error::NotFound)?;
        let first = match visibility {
            Visibility::All => Version::FIRST,
            Visibility::Only(_) => customer_since.unwrap_or(Version::FIRST),
        };
        let last = match &record {
            Record::Live(ticket) => ticket.version,
            Record::Deleted(tombstone) => tombstone.version,
            Record::Departed(_) => return Err(Error::NotFound),
        };
        let deleted = record.key().state == RecordState::Deleted;
        Ok(HistoryRange { ticket: id, first, last, deleted })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Answer, Calls, NOW, condition_failed, lost, ok, refused};

    fn history(answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> (History, Calls) {
        let (tickets, calls) = scripted::tickets(answer);
        (History::new(tickets.dynamodb, "History", tickets.clock, Settings::default()), calls)
    }

    fn version(change: ChangeKind, has_earlier: bool) -> StreamedVersion {
        let date = Timestamp::from_millis(NOW).unwrap();
        let fields = [("subject".to_owned(), json!("s"))].into_iter().collect();
        let entry =
            HistoryEntry { version: Version::new(4), date, change, by: "ada".parse().unwrap(), fields };
        let expires = Some(Expiry::after(date, std::time::Duration::from_secs(60)));
        StreamedVersion { ticket: TicketId::FIRST, entry, expires, has_earlier, event: None }
    }

    fn versions(updates: &[Value]) -> Vec<String> {
        let mut versions: Vec<_> =
            updates.iter().map(|input| input["Key"]["version"]["N"].as_str().unwrap().to_owned()).collect();
        versions.sort_unstable();
        versions
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_is_there_is_filled_in_and_other_errors_are_told() {
        let record = async |put: fn() -> Answer, update: fn() -> Answer| {
            let (history, calls) = history(move |operation, _| match operation {
                "PutItem" => put(),
                "UpdateItem" => update(),
                _ => ok(json!({})),
            });
            (history.record(version(ChangeKind::Updated, true), None).await, calls.of("UpdateItem").len())
        };
        let there = || condition_failed(json!(null));
        assert!(matches!(record(|| ok(json!({})), lost).await, (Ok(_), 0)));
        assert!(matches!(record(there, || ok(json!({}))).await, (Ok(_), 1)));
        assert!(matches!(record(there, there).await, (Ok(_), 1)), "it was recorded before");
        let wrong = || refused("ValidationException");
        assert!(matches!(record(there, wrong).await, (Err(Error::Internal(_)), 1)));
        assert!(matches!(record(wrong, wrong).await, (Err(Error::Internal(_)), 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_the_time_at_which_it_is_made() {
        // The entry is put; or filled in, because a deletion came before it.
        for (operation, at) in
            [("PutItem", "/Item/recorded/N"), ("UpdateItem", "/ExpressionAttributeValues/:recorded/N")]
        {
            let attempts = AtomicUsize::new(0);
            let (tickets, calls) = scripted::tickets(move |asked, input| {
                if input["Item"]["ticket"]["N"] == "0" {
                    ok(json!({}))
                } else if asked == operation {
                    match attempts.fetch_add(1, Ordering::Relaxed) {
                        10.. => ok(json!({})),
                        attempt if attempt % 2 == 0 => refused("ThrottlingException"),
                        _ => lost(),
                    }
                } else {
                    condition_failed(json!({"ticket": {"N": "1"}, "version": {"N": "4"}}))
                }
            });
            let began = Instant::now();
            let now = move || Timestamp::from_millis(NOW).unwrap().plus(began.elapsed());
            let history = History::new(tickets.dynamodb, "History", Clock::new(now), Settings::default());
            let shown = Choices::default();
            let event = Some(EventItem { customer: 7.try_into().unwrap(), left: None, shown });
            let version = StreamedVersion { event, ..version(ChangeKind::Created, false) };
            let recorded = history.record(version, None).await.unwrap().at.unwrap();
            let puts = calls.of(operation);
            let stamps: Vec<i64> = puts
                .iter()
                .filter(|put| put["Item"]["ticket"]["N"] != "0")
                .map(|put| put.pointer(at).unwrap().as_str().unwrap().parse().unwrap())
                .collect();
            assert_eq!(stamps.len(), 11, "{operation}");
            assert!(stamps.is_sorted() && stamps[0] < stamps[10], "{stamps:?}");
            assert_eq!((stamps[10], recorded), (now().millis(), now()), "time passes only in the waits");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_erases_each_version_before_it_that_is_not_erased_yet() {
        let (history, calls) =
            history(|operation, input| match (operation, input.get("ExclusiveStartKey")) {
                ("Query", None) => ok(json!({
                    "Items": [{"version": {"N": "2"}}],
                    "LastEvaluatedKey": {"ticket": {"N": "1"}, "version": {"N": "2"}},
                })),
                _ => ok(json!({})),
            });
        history.record(version(ChangeKind::Deleted, true), None).await.unwrap();
        assert_eq!(versions(&calls.of("UpdateItem")), ["1", "3"]);
        assert_eq!(calls.of("Query").len(), 2, "to the last page");
        let expires = &calls.of("UpdateItem")[0]["ExpressionAttributeValues"][":expires"];
        assert_eq!(*expires, json!({"N": (NOW / 1000 + 60).to_string()}));
        for (change, has_earlier) in [(ChangeKind::Deleted, false), (ChangeKind::Updated, true)] {
            let before = calls.of("UpdateItem").len();
            history.record(version(change, has_earlier), None).await.unwrap();
            assert_eq!(calls.of("UpdateItem").len(), before);
        }
        assert_eq!(calls.of("PutItem").len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn values_are_erased_from_every_entry_that_is_still_there() {
        let erase = async |update: fn() -> Answer| {
            let (history, calls) = history(move |operation, _| match operation {
                "Query" => ok(json!({"Items": [{"version": {"N": "2"}}, {"version": {"N": "5"}}]})),
                _ => update(),
            });
            let erased = history.erase_values(TicketId::FIRST).await;
            assert_eq!(calls.of("Query")[0]["ConsistentRead"], true);
            (erased, versions(&calls.of("UpdateItem")))
        };
        let both = vec!["2".to_owned(), "5".to_owned()];
        assert!(matches!(erase(|| ok(json!({}))).await, (Ok(()), erased) if erased == both));
        let gone = erase(|| condition_failed(json!(null))).await;
        assert!(matches!(gone, (Ok(()), erased) if erased == both), "TTL was faster");
        assert!(
            matches!(erase(|| refused("ValidationException")).await, (Err(_), erased) if erased == both[..1])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_asks_for_one_more_than_it_returns_page_by_page() {
        // Two entries a page, without an end.
        let next = Mutex::new(0);
        let (history, calls) = history(move |_, _| {
            let mut next = next.lock().unwrap();
            *next += 2;
            let item = |version: u64| {
                json!({
                    "ticket": {"N": "1"}, "version": {"N": version.to_string()}, "date": {"N": NOW.to_string()},
                    "change": {"S": "updated"}, "by": {"S": "ada"}, "names": {"L": []},
                })
            };
            ok(json!({
                "Items": [item(*next - 1), item(*next)],
                "LastEvaluatedKey": {"ticket": {"N": "1"}, "version": {"N": next.to_string()}},
            }))
        });
        let (first, last) = (Version::new(1), Version::new(9));
        let range = HistoryRange { ticket: TicketId::FIRST, first, last, deleted: false };
        let mut count = 0;
        let take = |_: &HistoryEntry| {
            count += 1;
            Fit::Added
        };
        assert!(history.list(&range, 0, Some(5), take).await.unwrap(), "there are more");
        assert_eq!(count, 5);
        let limits: Vec<_> = calls.of("Query").iter().map(|input| input["Limit"].clone()).collect();
        assert_eq!(limits, [6, 4, 2]);
        let asked = calls.of("Query").len();
        assert!(!history.list(&range, 9, None, |_: &HistoryEntry| Fit::Added).await.unwrap());
        assert_eq!(calls.of("Query").len(), asked, "nothing comes after the last version");
        let full = history.list(&range, 8, None, |_: &HistoryEntry| Fit::Full).await.unwrap();
        assert!(full);
        let values = &calls.of("Query")[asked]["ExpressionAttributeValues"];
        assert_eq!((&values[":first"], &values[":last"]), (&json!({"N": "9"}), &json!({"N": "9"})));
    }
}
