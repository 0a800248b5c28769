//! How tickets, tombstones, keys and what commits with them look as items. Items go through serde.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use tickets_domain::id::{CustomerId, TicketId, Version};
use tickets_domain::idempotency::Fingerprint;
use tickets_domain::key::{ApiKey, KeyId, Scope, SecretHash};
use tickets_domain::ticket::Stamps;
use tickets_domain::time::{Expiry, Month};
use tickets_domain::{Error, Record, Result, Ticket, TicketFields, Timestamp, Tombstone};

use crate::address::Address;

/// An item, as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// A timestamp as an attribute: a number of milliseconds, which sorts as time does.
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

/// Who wrote a version: random, so that after an answer was lost a writer can tell its own write
/// from another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Writer(String);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)))
    }
}

/// A ticket, with its place in the table and the indexes.
#[derive(Serialize)]
struct TicketItem {
    bucket: String,
    id: u64,
    #[serde(flatten)]
    fields: TicketFields,
    #[serde(rename = "createdDate", with = "millis")]
    created: Timestamp,
    #[serde(rename = "updatedDate", with = "millis")]
    updated: Timestamp,
    #[serde(rename = "updatedMonth")]
    month: Month,
    version: Version,
    writer: Writer,
}

/// What is left of a deleted ticket.
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
    month: Month,
    #[serde(rename = "deletedDate", with = "millis")]
    deleted: Timestamp,
    version: Version,
    writer: Writer,
    expires: Expiry,
}

/// What the indexes hold of a record: as little as answers a filter.
#[derive(Deserialize)]
struct KeyItem {
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

/// The highest id given out, and the first month any ticket was written in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SequenceItem {
    pub(crate) last: u64,
    #[serde(rename = "firstMonth")]
    pub(crate) first_month: Month,
}

/// That a request took effect: enough to answer it again as it was answered first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IdempotencyItem {
    pub(crate) bucket: String,
    pub(crate) id: u64,
    pub(crate) ticket: u64,
    #[serde(with = "millis")]
    pub(crate) created: Timestamp,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) expires: Expiry,
}

/// A key.
#[derive(Serialize, Deserialize)]
struct ApiKeyItem {
    #[serde(rename = "keyId")]
    id: KeyId,
    hash: SecretHash,
    scopes: BTreeSet<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer: Option<CustomerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(with = "millis")]
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::optional")]
    expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::optional")]
    revoked: Option<Timestamp>,
}

pub(crate) fn to_item(value: impl Serialize) -> Result<Item> {
    serde_dynamo::to_item(value).map_err(Error::internal)
}

pub(crate) fn from_item<'de, T: Deserialize<'de>>(item: Item) -> Result<T> {
    serde_dynamo::from_item(item).map_err(Error::internal)
}

/// The item of a record. A tombstone expires `keep` after its deletion.
pub(crate) fn record_item(record: &Record, writer: &Writer, keep: std::time::Duration) -> Result<Item> {
    match record {
        Record::Live(ticket) => ticket_item(ticket, writer),
        Record::Deleted(tombstone) => {
            let Address { bucket, id } = Address::ticket(tombstone.id);
            to_item(TombstoneItem {
                bucket,
                id,
                customer: tombstone.customer,
                created: tombstone.created,
                updated: tombstone.updated,
                month: tombstone.updated.month(),
                deleted: tombstone.deleted,
                version: tombstone.version,
                writer: writer.clone(),
                expires: Expiry::after(tombstone.deleted, keep),
            })
        }
    }
}

/// The item of a ticket.
pub(crate) fn ticket_item(ticket: &Ticket, writer: &Writer) -> Result<Item> {
    let Address { bucket, id } = Address::ticket(ticket.id);
    to_item(TicketItem {
        bucket,
        id,
        fields: ticket.fields.clone(),
        created: ticket.created,
        updated: ticket.updated,
        month: ticket.updated.month(),
        version: ticket.version,
        writer: writer.clone(),
    })
}

/// The record an item holds, and who wrote it.
pub(crate) fn written_record(mut item: Item) -> Result<(Record, Writer)> {
    if item.contains_key("deletedDate") {
        let item: TombstoneItem = from_item(item)?;
        let tombstone = Tombstone {
            id: TicketId::try_from(item.id).map_err(Error::internal)?,
            customer: item.customer,
            created: item.created,
            updated: item.updated,
            deleted: item.deleted,
            version: item.version,
        };
        return Ok((Record::Deleted(tombstone), item.writer));
    }
    // Not by way of a flattened struct, for which serde would first copy every field into a buffer.
    let writer = taken(&mut item, "writer")?;
    let ticket = Ticket {
        id: TicketId::try_from(taken::<u64>(&mut item, "id")?).map_err(Error::internal)?,
        created: taken_millis(&mut item, "createdDate")?,
        updated: taken_millis(&mut item, "updatedDate")?,
        version: taken(&mut item, "version")?,
        fields: from_item(item)?,
    };
    Ok((Record::Live(ticket), writer))
}

/// An attribute's value, out of its item.
fn taken<'de, T: Deserialize<'de>>(item: &mut Item, name: &str) -> Result<T> {
    let value = item.remove(name).ok_or_else(|| Error::internal(format!("an item without {name}")))?;
    serde_dynamo::from_attribute_value(value).map_err(Error::internal)
}

fn taken_millis(item: &mut Item, name: &str) -> Result<Timestamp> {
    Timestamp::from_millis(taken(item, name)?).map_err(Error::internal)
}

/// The record an item holds.
pub(crate) fn record(item: Item) -> Result<Record> {
    written_record(item).map(|(record, _)| record)
}

/// What an index entry says of a record.
pub(crate) fn stamps(item: Item) -> Result<Stamps> {
    let item: KeyItem = from_item(item)?;
    Ok(Stamps {
        id: TicketId::try_from(item.id).map_err(Error::internal)?,
        customer: item.customer,
        created: item.created,
        updated: item.updated,
        deleted: item.deleted.is_some(),
    })
}

/// The item of a key.
pub(crate) fn api_key_item(key: &ApiKey) -> Result<Item> {
    to_item(ApiKeyItem {
        id: key.id.clone(),
        hash: key.hash.clone(),
        scopes: key.scopes.clone(),
        customer: key.customer,
        note: key.note.clone(),
        created: key.created,
        expires: key.expires,
        revoked: key.revoked,
    })
}

/// The key an item holds.
pub(crate) fn api_key(item: Item) -> Result<ApiKey> {
    let item: ApiKeyItem = from_item(item)?;
    Ok(ApiKey {
        id: item.id,
        hash: item.hash,
        scopes: item.scopes,
        customer: item.customer,
        note: item.note,
        created: item.created,
        expires: item.expires,
        revoked: item.revoked,
    })
}
