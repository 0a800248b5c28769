//! The tickets' table: what its calls share, and the simplest of them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use tickets_domain::id::CustomerId;
use tickets_domain::{Clock, Error, Record, Result, Ticket, TicketId};
use tokio::sync::Mutex;

use crate::address::Address;
use crate::capacity::Meter;
use crate::failure::Failure;
use crate::item::{self, Item, SequenceItem};

/// What a deployment decides of how tickets are kept and listed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A write is visible in every index this long after it was stamped: the write deadline plus
    /// an allowance for index propagation and clock skew.
    pub settle: Duration,
    /// How long what is left of a deleted ticket is kept.
    pub keep_tombstones: Duration,
    /// The most index entries one list reads before it walks the buckets instead.
    pub most_keys: usize,
    /// The most buckets one list walks: where it has found something by then, the next page goes on
    /// from there; where it has not, the index says where there is something.
    pub most_buckets: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            keep_tombstones: Duration::from_secs(90 * 24 * 60 * 60),
            most_keys: 20_000,
            most_buckets: 64,
        }
    }
}

/// The tickets' table.
#[derive(Debug, Clone)]
pub struct Tickets {
    pub(crate) client: Client,
    pub(crate) table: String,
    pub(crate) clock: Clock,
    pub(crate) policy: Policy,
    pub(crate) meter: Meter,
    /// The highest id this process knows of. Held while creating: creators of one process would
    /// only get in each other's way.
    pub(crate) last: Arc<Mutex<Option<u64>>>,
}

impl Tickets {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>, clock: Clock, policy: Policy) -> Self {
        Self { client, table: table.into(), clock, policy, meter: Meter::default(), last: Arc::default() }
    }

    /// The same table, with what its calls consume counted.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        Self { meter, ..self.clone() }
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// What the deployment decided.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A ticket, where the caller may see it: `within` is the one customer it is restricted to.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it never was, is deleted, or belongs to another customer.
    pub async fn get(&self, id: TicketId, within: Option<CustomerId>) -> Result<Ticket> {
        let item = self.read(Address::ticket(id)).await?.ok_or(Error::NotFound)?;
        visible(item::record(item)?, within)
    }

    /// The sequence, as it is now: `None` before the first ticket.
    pub(crate) async fn sequence(&self) -> Result<Option<SequenceItem>> {
        self.read(Address::sequence()).await?.map(item::from_item).transpose()
    }

    /// An item, as it is now.
    pub(crate) async fn read(&self, address: Address) -> Result<Option<Item>> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(address.into_key()))
            .consistent_read(true)
            .set_return_consumed_capacity(self.meter.level())
            .send()
            .await
            .map_err(Failure::of)?;
        self.meter.add(output.consumed_capacity());
        Ok(output.item)
    }
}

/// The ticket of a record, where the caller may see it.
pub(crate) fn visible(record: Record, within: Option<CustomerId>) -> Result<Ticket> {
    record
        .live()
        .filter(|ticket| within.is_none_or(|customer| ticket.fields.customer == customer))
        .ok_or(Error::NotFound)
}
