//! The tickets' table: what its calls share, and the simplest calls.

use std::time::Duration;

use tickets_domain::{Clock, Error, Meter, Result, Ticket, TicketId, Timestamp, Visibility};

use crate::dynamodb::DynamoDb;
use crate::item::{self, Item, Stored};
use crate::primary_key::PrimaryKey;

/// What a deployment configures about keeping and listing tickets.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A write is visible in every index this long after it was stamped: the write deadline plus
    /// an allowance for index propagation and clock skew.
    pub settle: Duration,
    /// How long tombstones and departures are kept.
    pub keep_tombstones: Duration,
    /// The most index entries that a page of changes reads before it walks the buckets instead: 200 read
    /// units, twice the cost of 100 tickets.
    pub most_keys: usize,
    /// The most ids a `Link` carries.
    pub most_ids: usize,
}

impl Policy {
    /// The instant up to which every change is visible.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        now.minus(self.settle)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            keep_tombstones: Duration::from_secs(90 * 24 * 60 * 60),
            most_keys: 12_000,
            most_ids: tickets_domain::continuation::MOST_IDS,
        }
    }
}

/// The tickets' table.
#[derive(Debug, Clone)]
pub struct Tickets {
    pub(crate) dynamodb: DynamoDb,
    pub(crate) table: String,
    pub(crate) clock: Clock,
    pub(crate) policy: Policy,
}

impl Tickets {
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>, clock: Clock, policy: Policy) -> Self {
        Self { dynamodb, table: table.into(), clock, policy }
    }

    /// The same table, with a meter that counts what its calls consume.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        Self { dynamodb: self.dynamodb.metered(meter), ..self.clone() }
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns a ticket.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or the caller may not see it.
    pub async fn get(&self, id: TicketId, visibility: Visibility) -> Result<Ticket> {
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
pub(crate) fn visible(stored: Stored, visibility: Visibility) -> Result<Ticket> {
    let ticket = stored.record.and_then(|record| record.live());
    ticket.filter(|ticket| visibility.includes(ticket.fields.customer)).ok_or(Error::NotFound)
}
