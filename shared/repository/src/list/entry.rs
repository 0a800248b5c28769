//! Reads items for lists.

use std::fmt::Write as _;

use serde::Deserialize as _;
use serde::de::value::MapDeserializer;
use tickets_domain::id::CustomerId;
use tickets_domain::ticket::TEXT_FIELDS;
use tickets_domain::work_queue::{INDEXED_FIELDS, QueueFields};
use tickets_domain::{RecordKey, RecordState, Result, Row, TicketId, Timestamp, Version};

use crate::item::{self, Item, QueueKey};
use crate::primary_key::holds_departures;
use crate::transcode::{Attributes, FromItem};

/// What is stored under a ticket's id; or a departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: TicketId,
    /// `None` for a void: there will never be a ticket.
    pub(crate) row: Option<Row>,
    /// When the id before this one was reserved, if its writer knew.
    pub(crate) previous_reserved: Option<Timestamp>,
}

impl FromItem for Entry {
    /// Reads a ticket. `None` for a tombstone, a void or a departure: their attributes differ.
    fn from_attributes(attributes: &Attributes<'_>) -> Option<Self> {
        let is_other = attributes.get("deletedDate").is_some() || attributes.get("voidedDate").is_some();
        if is_other || holds_departures(&attributes.text("bucket")?) {
            return None;
        }
        let id = TicketId::try_from(attributes.number::<u64>("id")?).ok()?;
        let time = |name| Timestamp::from_millis(attributes.number(name)?).ok();
        let key = RecordKey {
            id,
            customer: CustomerId::try_from(attributes.number::<u64>("customerID")?).ok()?,
            created: time("createdDate")?,
            updated: time("updatedDate")?,
            state: RecordState::Live,
        };
        let _: Version = Version::new(attributes.number("version")?);
        let previous_reserved = match attributes.get("previousReserved") {
            Some(_) => Some(time("previousReserved")?),
            None => None,
        };
        if attributes.get("customerSince").is_some() {
            attributes.number::<u64>("customerSince")?;
        }
        attributes.get("subject")?;
        let mut json = String::with_capacity(attributes.json_len());
        write!(json, "{{\"id\":\"{id}\",\"customerID\":{}", key.customer).ok()?;
        for (name, kind) in TEXT_FIELDS {
            if let Some(attribute) = attributes.get(name) {
                let text = attribute.json_text()?;
                if !kind.is_written(&text.decoded) {
                    return None;
                }
                json.extend([",\"", name, "\":", &text.json]);
            }
        }
        write!(json, ",\"createdDate\":\"{}\",\"updatedDate\":\"{}\"}}", key.created, key.updated).ok()?;
        Some(Self { id, row: Some(Row { key, json }), previous_reserved })
    }

    fn from_item(item: Item) -> Result<Self> {
        if item::is_departure(&item) {
            let departure = item::departure(item)?;
            let row = Row::of(&tickets_domain::Record::Departed(departure))?;
            return Ok(Self { id: row.key.id, row: Some(row), previous_reserved: None });
        }
        let stored = item::stored(item)?;
        let row = stored.record.as_ref().map(Row::of).transpose()?;
        Ok(Self { id: stored.id, row, previous_reserved: stored.previous_reserved })
    }
}

impl FromItem for RecordKey {
    fn from_attributes(attributes: &Attributes<'_>) -> Option<Self> {
        let time = |name| Timestamp::from_millis(attributes.number(name)?).ok();
        let deleted = match attributes.get("deletedDate") {
            Some(_) => Some(attributes.number::<i64>("deletedDate")?),
            None => None,
        };
        let state = match deleted {
            _ if holds_departures(&attributes.text("bucket")?) => RecordState::Departed,
            Some(_) => RecordState::Deleted,
            None => RecordState::Live,
        };
        Some(Self {
            id: TicketId::try_from(attributes.number::<u64>("id")?).ok()?,
            customer: CustomerId::try_from(attributes.number::<u64>("customerID")?).ok()?,
            created: time("createdDate")?,
            updated: time("updatedDate")?,
            state,
        })
    }

    fn from_item(item: Item) -> Result<Self> {
        item::record_key(item)
    }
}

impl FromItem for QueueKey {
    fn from_attributes(attributes: &Attributes<'_>) -> Option<Self> {
        let mut texts = Vec::with_capacity(INDEXED_FIELDS.len());
        let texts_of = INDEXED_FIELDS.into_iter().filter(|name| *name != "customerID");
        for name in texts_of.chain(["status"]) {
            if attributes.get(name).is_some() {
                texts.push((name, attributes.text(name)?));
            }
        }
        let texts = MapDeserializer::<_, serde::de::value::Error>::new(texts.into_iter());
        Some(Self {
            id: TicketId::try_from(attributes.number::<u64>("id")?).ok()?,
            customer: CustomerId::try_from(attributes.number::<u64>("customerID")?).ok()?,
            fields: QueueFields::deserialize(texts).ok()?,
        })
    }

    fn from_item(item: Item) -> Result<Self> {
        item::queue_key(item)
    }
}
