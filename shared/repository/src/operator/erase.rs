//! Erasure: removes a ticket's content from the table and the history for good.

use tickets_domain::precondition::Preconditions;
use tickets_domain::{Error, KeyId, Record, Result, TicketId, Timestamp, Visibility};

use crate::history::History;
use crate::item;
use crate::primary_key::PrimaryKey;
use crate::schema::EXPIRES;
use crate::tickets::Tickets;

/// What an erasure found in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The ticket; it is now deleted.
    Ticket,
    /// The tombstone of a deleted ticket.
    Tombstone,
    /// Nothing: the ticket was deleted long ago, or never existed.
    Nothing,
}

/// The result of an erasure in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedRecord {
    pub found: Found,
    /// When the ticket was created, if a tombstone tells.
    pub created: Option<Timestamp>,
}

impl Tickets {
    /// Removes all content of a ticket from the table and the history. Deletes the ticket if it is not
    /// deleted, and removes the values from its history entries, including those that the stream has not
    /// delivered yet. After an error, call it again: what is done stays done.
    pub async fn erase(&self, id: TicketId, by: &KeyId, history: &History) -> Result<ErasedRecord> {
        let deleted = match self.delete(id, by, Visibility::All, &Preconditions::default()).await {
            Ok(()) => true,
            Err(Error::NotFound) => false,
            Err(error) => return Err(error),
        };
        let left = self.read(PrimaryKey::ticket(id)).await?;
        let expires = left.as_ref().and_then(|item| item.get(EXPIRES)).cloned();
        let expires = expires.map(item::from_attribute).transpose()?;
        let tombstone = match left.map(item::stored).transpose()?.and_then(|stored| stored.record) {
            Some(Record::Deleted(tombstone)) => Some(tombstone),
            Some(Record::Live(_) | Record::Departed(_)) => return Err(Error::Contended),
            None => None,
        };
        if let (Some(tombstone), Some(expires)) = (&tombstone, expires) {
            history.erase_before(id, tombstone.version, expires).await?;
        }
        history.erase_values(id).await?;
        let found = match (deleted, &tombstone) {
            (true, _) => Found::Ticket,
            (false, Some(_)) => Found::Tombstone,
            (false, None) => Found::Nothing,
        };
        Ok(ErasedRecord { found, created: tombstone.map(|tombstone| tombstone.created) })
    }
}
