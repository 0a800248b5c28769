//! The tickets' table: what its calls share, and the simplest calls.

use std::sync::{Arc, Mutex};

use tickets_domain::{Clock, Error, Meter, Result, Settings, TaggedTicket, TicketId, Visibility};

use crate::dynamodb::DynamoDb;
use crate::item::{self, Item, Stored};
use crate::primary_key::PrimaryKey;
use crate::ranges::NamedRanges;

/// The tickets' table.
#[derive(Debug, Clone)]
pub struct Tickets {
    pub(crate) dynamodb: DynamoDb,
    pub(crate) table: String,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    /// The list of ranges that was read last: a list never changes.
    pub(crate) known_ranges: Arc<Mutex<Option<NamedRanges>>>,
}

impl Tickets {
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>, clock: Clock, settings: Settings) -> Self {
        Self { dynamodb, table: table.into(), clock, settings, known_ranges: Arc::default() }
    }

    /// The same table, with a meter that counts what its calls consume.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        Self { dynamodb: self.dynamodb.metered(meter), ..self.clone() }
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns a ticket.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or the caller may not see it.
    pub async fn get(&self, id: TicketId, visibility: Visibility) -> Result<TaggedTicket> {
        let found = self.read(PrimaryKey::ticket(id)).await?.ok_or(Error::NotFound)?;
        visible(item::stored(found)?, visibility)
    }

    /// Reads an item consistently.
    pub(crate) async fn read(&self, key: PrimaryKey) -> Result<Option<Item>> {
        self.get_item(key, true).await
    }

    /// Reads an item eventually consistently: half the cost, but it may be a moment old.
    pub(crate) async fn read_eventually(&self, key: PrimaryKey) -> Result<Option<Item>> {
        self.get_item(key, false).await
    }

    async fn get_item(&self, key: PrimaryKey, consistent: bool) -> Result<Option<Item>> {
        let get = self.dynamodb.get_item().table_name(&self.table).set_key(Some(key.into_key()));
        let output = self.dynamodb.read(get.consistent_read(consistent).send().await)?;
        Ok(output.item)
    }
}

/// The ticket, if there is one and the caller may see it.
pub(crate) fn visible(stored: Stored, visibility: Visibility) -> Result<TaggedTicket> {
    let ticket = stored.record.and_then(|record| record.live());
    let ticket =
        ticket.filter(|ticket| visibility.includes(ticket.fields.customer)).ok_or(Error::NotFound)?;
    let writer = stored.writer.ok_or_else(|| Error::internal("a ticket without its writer"))?;
    Ok(TaggedTicket { tag: writer.tag(ticket.version)?, ticket })
}
