//! How tickets, and what belongs to them, are stored as items. Items go through serde.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use tickets_domain::id::{CustomerId, TicketId, Version};
use tickets_domain::key::KeyId;
use tickets_domain::preset::Choice;
use tickets_domain::work_queue::QueueFields;
use tickets_domain::{
    Departure, Error, Record, RecordKey, RecordState, Result, Tag, Ticket, TicketFields, Timestamp, Tombstone,
};

use crate::month::Month;
use crate::primary_key::{PrimaryKey, holds_departures, month_shard, shard, status_shard};

/// An item as the SDK represents it.
pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn to_item<T: Serialize>(value: T) -> Result<Item> {
    serde_dynamo::to_item(value).map_err(Error::internal)
}

pub(crate) fn to_attribute<T: Serialize>(value: T) -> Result<AttributeValue> {
    serde_dynamo::to_attribute_value(value).map_err(Error::internal)
}

pub(crate) fn from_item<'de, T: Deserialize<'de>>(item: Item) -> Result<T> {
    if !item.values().all(is_known) {
        return Err(unknown_type());
    }
    let id = item.get("id").and_then(|id| id.as_n().ok()?.parse().ok());
    serde_dynamo::from_item(item).map_err(|_| unreadable::<T>(id))
}

pub(crate) fn from_attribute<'de, T: Deserialize<'de>>(value: AttributeValue) -> Result<T> {
    if !is_known(&value) {
        return Err(unknown_type());
    }
    serde_dynamo::from_attribute_value(value).map_err(|_| unreadable::<T>(None))
}

/// Names the type that was expected, and the item's id. Serde's error would quote the value that is there.
fn unreadable<T>(id: Option<u64>) -> Error {
    let name = std::any::type_name::<T>();
    let name = name.rsplit("::").next().unwrap_or(name);
    match id {
        Some(id) => Error::unreadable(&format!("a stored {name} with the id {id}")),
        None => Error::unreadable(&format!("a stored {name}")),
    }
}

/// Whether the SDK knows the type of an attribute, and of all in it. `serde_dynamo` panics over one that it
/// does not know.
fn is_known(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::L(list) => list.iter().all(is_known),
        AttributeValue::M(map) => map.values().all(is_known),
        value => !value.is_unknown(),
    }
}

fn unknown_type() -> Error {
    Error::internal("an attribute of a type that the SDK does not know")
}

/// A timestamp as an attribute: a number of milliseconds, so that it sorts by time.
pub(crate) mod millis {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use tickets_domain::Timestamp;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.millis())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_millis(i64::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    pub(crate) mod optional {
        use super::{Deserialize, Deserializer, Error, Serializer, Timestamp};

        pub(crate) fn serialize<S: Serializer>(
            time: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => serializer.serialize_i64(time.millis()),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            let millis = Option::<i64>::deserialize(deserializer)?;
            millis.map(|millis| Timestamp::from_millis(millis).map_err(D::Error::custom)).transpose()
        }
    }
}

/// When DynamoDB may remove an item: whole seconds since 1970, as its TTL wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Expiry(i64);

impl Expiry {
    /// The second that is `keep` after `time`, rounded down.
    pub(crate) fn after(time: Timestamp, keep: Duration) -> Self {
        Self(time.plus(keep).millis().div_euclid(1000))
    }

    /// Whether it has passed. TTL removes items late, so readers must check.
    pub(crate) fn has_passed(self, now: Timestamp) -> bool {
        self.0.saturating_mul(1000) <= now.millis()
    }
}

/// Identifies a write: the key, and a random part, by which a writer recognizes its own write after a lost
/// answer. Stored as the attribute `writer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct WriteId(String);

impl WriteId {
    /// A new id for a write by this key.
    pub(crate) fn new(by: &KeyId) -> Self {
        Self(format!("{by}.{:016x}", fastrand::u64(..)))
    }

    /// The key that made the write.
    pub(crate) fn key(&self) -> Result<KeyId> {
        let (key, _) = self.0.split_once('.').unwrap_or((&self.0, ""));
        key.parse().map_err(|_| Error::unreadable("the writer of a version"))
    }

    /// The tag of the version that the write made. It shows nothing of the key.
    pub(crate) fn tag(&self, version: Version) -> Result<Tag> {
        let random = self.0.rsplit('.').next().unwrap_or_default();
        let shown = random.get(..8).unwrap_or(random);
        Ok(Tag::new(version, u32::from_str_radix(shown, 16).map_err(Error::internal)?))
    }

    /// The write id in an item.
    pub(crate) fn of(item: &Item) -> Option<Self> {
        item.get("writer").and_then(|writer| writer.as_s().ok()).cloned().map(Self)
    }

    /// Whether this write made the item's version, or the one right before it.
    pub(crate) fn is_in(&self, item: &Item) -> bool {
        ["writer", "previousWriter"]
            .iter()
            .any(|name| item.get(*name).and_then(|writer| writer.as_s().ok()) == Some(&self.0))
    }
}

/// What a write stores under a ticket's id besides the record: who wrote it, and what later writers and readers
/// need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WriteMetadata {
    pub(crate) writer: WriteId,
    /// The write id of the version before: its writer may not know yet that it took effect.
    #[serde(rename = "previousWriter", default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_writer: Option<WriteId>,
    /// When the id before this one was reserved, if the writer knew.
    #[serde(
        rename = "previousReserved",
        with = "millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) previous_reserved: Option<Timestamp>,
    /// The version that moved the ticket to its customer; absent if it has always been that customer's.
    #[serde(rename = "customerSince", default, skip_serializing_if = "Option::is_none")]
    pub(crate) customer_since: Option<Version>,
    /// Where this version came from; absent if somebody wrote it through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Source>,
}

/// Where a version came from that is no event, because nobody changed a ticket. As text: lists read only texts and
/// numbers quickly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    Import,
    Seed,
}

impl WriteMetadata {
    /// The metadata of a first version.
    pub(crate) fn first(writer: WriteId, previous_reserved: Option<Timestamp>) -> Self {
        Self { writer, previous_writer: None, previous_reserved, customer_since: None, source: None }
    }

    /// The same, for a record with dates of its own.
    pub(crate) fn with_source(self, source: Source) -> Self {
        Self { source: Some(source), ..self }
    }
}

/// What is stored under a ticket's id.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: TicketId,
    /// The ticket or its tombstone; `None` for a void: there will never be a ticket.
    pub(crate) record: Option<Record>,
    /// The write that made this version; every item has one.
    pub(crate) writer: Option<WriteId>,
    /// When the id before this one was reserved, if its writer knew.
    pub(crate) previous_reserved: Option<Timestamp>,
    /// The version that moved the ticket to its customer; `None` if it has always been that customer's.
    pub(crate) customer_since: Option<Version>,
}

/// A ticket, with its keys in the table and the indexes.
#[derive(Serialize)]
struct TicketItem<'a> {
    bucket: String,
    id: u64,
    #[serde(flatten)]
    fields: &'a TicketFields,
    #[serde(rename = "createdDate", with = "millis")]
    created: Timestamp,
    #[serde(rename = "updatedDate", with = "millis")]
    updated: Timestamp,
    #[serde(rename = "updatedMonth")]
    month: String,
    #[serde(rename = "statusShard")]
    status_shard: String,
    version: Version,
    #[serde(flatten)]
    metadata: &'a WriteMetadata,
}

/// The tombstone of a deleted ticket.
#[derive(Serialize, Deserialize)]
struct TombstoneItem {
    bucket: String,
    id: u64,
    #[serde(rename = "customerID")]
    customer: CustomerId,
    #[serde(rename = "createdDate", with = "millis")]
    created: Timestamp,
    #[serde(rename = "updatedDate", with = "millis")]
    updated: Timestamp,
    #[serde(rename = "updatedMonth")]
    month: String,
    #[serde(rename = "deletedDate", with = "millis")]
    deleted: Timestamp,
    version: Version,
    #[serde(flatten)]
    metadata: WriteMetadata,
    expires: Expiry,
}

/// A void: there will never be a ticket under this id. It is in no index.
#[derive(Serialize)]
struct VoidItem<'a> {
    bucket: String,
    id: u64,
    #[serde(rename = "voidedDate", with = "millis")]
    voided: Timestamp,
    #[serde(flatten)]
    metadata: &'a WriteMetadata,
    expires: Expiry,
}

/// A departure: a ticket has left this customer. The indexes list it like a ticket of that customer.
#[derive(Serialize, Deserialize)]
struct DepartureItem {
    bucket: String,
    id: u64,
    #[serde(rename = "customerID")]
    customer: CustomerId,
    #[serde(rename = "createdDate", with = "millis")]
    created: Timestamp,
    #[serde(rename = "updatedDate", with = "millis")]
    updated: Timestamp,
    #[serde(rename = "updatedMonth")]
    month: String,
    writer: WriteId,
    expires: Expiry,
}

/// What `byStatus` projects of a ticket, besides its status.
#[derive(Debug, PartialEq)]
pub(crate) struct QueueKey {
    pub(crate) id: TicketId,
    pub(crate) customer: CustomerId,
    pub(crate) fields: QueueFields,
}

/// Reads an entry of `byStatus`.
pub(crate) fn queue_key(mut item: Item) -> Result<QueueKey> {
    let (id, customer) = (ticket_id(taken(&mut item, "id")?)?, taken(&mut item, "customerID")?);
    Ok(QueueKey { id, customer, fields: from_item(item)? })
}

/// What the other indexes project of a record: only what a filter needs.
#[derive(Deserialize)]
struct KeyItem {
    bucket: String,
    id: u64,
    #[serde(rename = "customerID")]
    customer: CustomerId,
    #[serde(rename = "createdDate", with = "millis")]
    created: Timestamp,
    #[serde(rename = "updatedDate", with = "millis")]
    updated: Timestamp,
    #[serde(rename = "deletedDate", default)]
    deleted: Option<i64>,
}

/// The partition of `byUpdated` for a record changed at this time.
fn updated_month(id: TicketId, updated: Timestamp) -> String {
    month_shard(Month::of(updated), shard(id.get()))
}

pub(crate) fn ticket_item(ticket: &Ticket, metadata: &WriteMetadata) -> Result<Item> {
    let PrimaryKey { bucket, id } = PrimaryKey::ticket(ticket.id);
    to_item(TicketItem {
        bucket,
        id,
        fields: &ticket.fields,
        created: ticket.created,
        updated: ticket.updated,
        month: updated_month(ticket.id, ticket.updated),
        status_shard: status_shard(ticket.fields.status.as_ref().map(Choice::folded).as_ref(), shard(id)),
        version: ticket.version,
        metadata,
    })
}

/// The item of a tombstone, kept for `keep` after the deletion.
pub(crate) fn tombstone_item(tombstone: &Tombstone, metadata: WriteMetadata, keep: Duration) -> Result<Item> {
    let PrimaryKey { bucket, id } = PrimaryKey::ticket(tombstone.id);
    to_item(TombstoneItem {
        bucket,
        id,
        customer: tombstone.customer,
        created: tombstone.created,
        updated: tombstone.updated,
        month: updated_month(tombstone.id, tombstone.updated),
        deleted: tombstone.deleted,
        version: tombstone.version,
        metadata,
        expires: Expiry::after(tombstone.deleted, keep),
    })
}

/// The item of a void, kept for `keep` from now.
pub(crate) fn void_item(
    id: TicketId,
    metadata: &WriteMetadata,
    now: Timestamp,
    keep: Duration,
) -> Result<Item> {
    let PrimaryKey { bucket, id } = PrimaryKey::ticket(id);
    to_item(VoidItem { bucket, id, voided: now, metadata, expires: Expiry::after(now, keep) })
}

/// The item of a departure, kept for `keep` after the move.
pub(crate) fn departure_item(departure: &Departure, writer: &WriteId, keep: Duration) -> Result<Item> {
    let PrimaryKey { bucket, id } = PrimaryKey::departure(departure.id, departure.customer);
    to_item(DepartureItem {
        bucket,
        id,
        customer: departure.customer,
        created: departure.created,
        updated: departure.updated,
        month: updated_month(departure.id, departure.updated),
        writer: writer.clone(),
        expires: Expiry::after(departure.moved, keep),
    })
}

/// Reads an item under a ticket's id.
pub(crate) fn stored(mut item: Item) -> Result<Stored> {
    let writer = WriteId::of(&item);
    if item.contains_key("deletedDate") {
        let item: TombstoneItem = from_item(item)?;
        let tombstone = Tombstone {
            id: ticket_id(item.id)?,
            customer: item.customer,
            created: item.created,
            updated: item.updated,
            deleted: item.deleted,
            version: item.version,
        };
        return Ok(Stored {
            id: tombstone.id,
            record: Some(Record::Deleted(tombstone)),
            writer,
            previous_reserved: item.metadata.previous_reserved,
            customer_since: item.metadata.customer_since,
        });
    }
    let id = ticket_id(taken(&mut item, "id")?)?;
    let previous_reserved = item
        .contains_key("previousReserved")
        .then(|| taken_millis(&mut item, "previousReserved"))
        .transpose()?;
    if item.contains_key("voidedDate") {
        return Ok(Stored { id, record: None, writer, previous_reserved, customer_since: None });
    }
    let customer_since =
        item.contains_key("customerSince").then(|| taken(&mut item, "customerSince")).transpose()?;
    // Read one attribute after the other: for a flattened struct serde would first copy every field into a
    // buffer.
    let ticket = Ticket {
        id,
        created: taken_millis(&mut item, "createdDate")?,
        updated: taken_millis(&mut item, "updatedDate")?,
        version: taken(&mut item, "version")?,
        fields: from_item(item)?,
    };
    Ok(Stored { id, record: Some(Record::Live(ticket)), writer, previous_reserved, customer_since })
}

/// The version of a ticket or a tombstone.
pub(crate) fn version(item: &Item) -> Option<Version> {
    item.get("version")?.as_n().ok()?.parse().ok().map(Version::new)
}

/// The `createdDate` of a ticket or a tombstone; a void has none. An id is reserved for one writer, so id and
/// `createdDate` together identify a ticket in all its versions.
pub(crate) fn created(item: &Item) -> Option<Timestamp> {
    let millis = item.get("createdDate")?.as_n().ok()?.parse().ok()?;
    Timestamp::from_millis(millis).ok()
}

/// Takes an attribute out of its item, and parses it.
fn taken<'de, T: Deserialize<'de>>(item: &mut Item, name: &str) -> Result<T> {
    let value = item.remove(name).ok_or_else(|| Error::internal(format!("an item without {name}")))?;
    from_attribute(value)
}

fn taken_millis(item: &mut Item, name: &str) -> Result<Timestamp> {
    Timestamp::from_millis(taken(item, name)?).map_err(Error::internal)
}

pub(crate) fn ticket_id(number: u64) -> Result<TicketId> {
    TicketId::try_from(number).map_err(Error::internal)
}

/// Reads a departure.
pub(crate) fn departure(item: Item) -> Result<Departure> {
    let item: DepartureItem = from_item(item)?;
    Ok(Departure {
        id: ticket_id(item.id)?,
        customer: item.customer,
        created: item.created,
        updated: item.updated,
        moved: item.updated,
    })
}

/// Whether an item is a departure, not something under a ticket's id.
pub(crate) fn is_departure(item: &Item) -> bool {
    item.get("bucket").and_then(|bucket| bucket.as_s().ok()).is_some_and(|bucket| holds_departures(bucket))
}

/// Reads an index entry of a record.
pub(crate) fn record_key(item: Item) -> Result<RecordKey> {
    let item: KeyItem = from_item(item)?;
    let state = match item.deleted {
        _ if holds_departures(&item.bucket) => RecordState::Departed,
        Some(_) => RecordState::Deleted,
        None => RecordState::Live,
    };
    Ok(RecordKey {
        id: ticket_id(item.id)?,
        customer: item.customer,
        created: item.created,
        updated: item.updated,
        state,
    })
}

#[cfg(test)]
mod tests {
    use tickets_domain::{JsonObject, Presets, TicketInput};

    use super::*;

    #[test]
    fn an_expiry_passes_at_its_second() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let expiry = Expiry::after(time("2026-11-24T00:00:00.900Z"), Duration::from_secs(60));
        assert!(!expiry.has_passed(time("2026-11-24T00:00:59.999Z")));
        assert!(expiry.has_passed(time("2026-11-24T00:01:00Z")));
    }

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn ticket() -> Ticket {
        let body = br#"{"customerID":42,"subject":"s","owner":"Ada","status":"Open","ticketFollowupDate":"2026-11-30"}"#;
        let presets = Presets::any();
        let fields = TicketInput::create(JsonObject::parse(body).unwrap(), &presets).unwrap();
        let created = "2026-11-23T00:00:00.500Z".parse().unwrap();
        Ticket { version: Version::new(3), ..Ticket::new("43".parse().unwrap(), fields, created) }
    }

    fn metadata() -> WriteMetadata {
        WriteMetadata {
            writer: WriteId::new(&"ada".parse().unwrap()),
            previous_writer: Some(WriteId::new(&"eve".parse().unwrap())),
            previous_reserved: Some(time(77)),
            customer_since: Some(Version::new(2)),
            source: None,
        }
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written_with_what_is_kept_beside_it() {
        let item = ticket_item(&ticket(), &metadata()).unwrap();
        assert_eq!((version(&item), created(&item)), (Some(Version::new(3)), Some(ticket().created)));
        assert_eq!(item["updatedMonth"], AttributeValue::S("2026-11#3".into()));
        assert_eq!(item["statusShard"], AttributeValue::S("open#3".into()));
        let found = stored(item).unwrap();
        assert_eq!((found.id, found.record), (ticket().id, Some(Record::Live(ticket()))));
        assert_eq!((found.previous_reserved, found.customer_since), (Some(time(77)), Some(Version::new(2))));
        let first = ticket_item(&ticket(), &WriteMetadata::first(metadata().writer, None)).unwrap();
        let found = stored(first).unwrap();
        assert_eq!((found.previous_reserved, found.customer_since), (None, None));
    }

    #[test]
    fn a_tombstone_is_read_as_it_was_written_and_goes_after_its_time() {
        let tombstone = ticket().delete("2026-11-24T00:00:00Z".parse().unwrap());
        let item = tombstone_item(&tombstone, metadata(), Duration::from_secs(60)).unwrap();
        let expires = tombstone.deleted.millis() / 1000 + 60;
        assert_eq!(item["expires"], AttributeValue::N(expires.to_string()));
        let found = stored(item).unwrap();
        assert_eq!(found.record, Some(Record::Deleted(tombstone)));
        assert_eq!((found.previous_reserved, found.customer_since), (Some(time(77)), Some(Version::new(2))));
    }

    #[test]
    fn a_void_is_something_under_an_id_and_no_record() {
        let item =
            void_item("43".parse().unwrap(), &metadata(), time(5000), Duration::from_secs(60)).unwrap();
        assert_eq!((version(&item), created(&item), is_departure(&item)), (None, None, false));
        assert_eq!(item["expires"], AttributeValue::N("65".into()));
        let found = stored(item).unwrap();
        assert_eq!((found.id.get(), found.record, found.previous_reserved), (43, None, Some(time(77))));
    }

    #[test]
    fn a_departure_is_told_from_what_is_under_a_ticket_s_id() {
        let mut after = ticket();
        after.fields.customer = "7".parse().unwrap();
        let left = Departure::of(&ticket(), &after).unwrap();
        let item = departure_item(&left, &metadata().writer, Duration::from_secs(60)).unwrap();
        assert!(is_departure(&item) && !is_departure(&ticket_item(&ticket(), &metadata()).unwrap()));
        let key = record_key(item.clone()).unwrap();
        assert_eq!(
            (key.state, key.customer, key.updated),
            (RecordState::Departed, left.customer, left.updated)
        );
        assert_eq!(departure(item).unwrap(), left);
    }

    #[test]
    fn an_index_entry_says_what_a_record_is() {
        let live = ticket_item(&ticket(), &metadata()).unwrap();
        assert_eq!(record_key(live).unwrap(), Record::Live(ticket()).key());
        let tombstone = ticket().delete(time(1));
        let deleted = tombstone_item(&tombstone, metadata(), Duration::from_secs(60)).unwrap();
        assert_eq!(record_key(deleted).unwrap(), Record::Deleted(tombstone).key());
    }

    #[test]
    fn a_writer_knows_its_own_write_and_the_version_right_after_it() {
        let (ada, eve): (KeyId, KeyId) = ("ada".parse().unwrap(), "eve".parse().unwrap());
        let write = WriteId::new(&ada);
        assert_ne!(write, WriteId::new(&ada), "every write has an id of its own");
        assert_eq!((write.key().unwrap(), WriteId::new(&eve).key().unwrap()), (ada, eve.clone()));
        let written = |writer: &WriteId, before: Option<&WriteId>| {
            let metadata =
                WriteMetadata { writer: writer.clone(), previous_writer: before.cloned(), ..metadata() };
            ticket_item(&ticket(), &metadata).unwrap()
        };
        let other = WriteId::new(&eve);
        assert!(write.is_in(&written(&write, None)) && write.is_in(&written(&other, Some(&write))));
        assert!(!write.is_in(&written(&other, None)) && !write.is_in(&Item::new()));
        assert_eq!((WriteId::of(&written(&write, None)), WriteId::of(&Item::new())), (Some(write), None));
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_of_ours() {
        for missing in ["id", "createdDate", "updatedDate", "version", "customerID", "subject"] {
            let mut item = ticket_item(&ticket(), &metadata()).unwrap();
            item.remove(missing);
            assert!(matches!(stored(item), Err(Error::Internal(_))), "{missing}");
        }
        assert!(ticket_id(0).is_err() && ticket_id(1).is_ok());
    }
}
