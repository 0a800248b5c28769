//! The ticket, what is left of a deleted one, and what a list returns of either.

use serde::{Deserialize, Serialize};

use crate::id::{CustomerId, TicketId, Version};
use crate::preset::Choice;
use crate::text::{Content, Email, Note, Subject};
use crate::time::{DateOrTime, Timestamp};

/// The fields a caller sets. Their names and types are the contract's; one that was never set is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TicketFields {
    /// Whose ticket it is.
    #[serde(rename = "customerID")]
    pub customer: CustomerId,
    /// Preset.
    #[serde(rename = "ticketType", default, skip_serializing_if = "Option::is_none")]
    pub ticket_type: Option<Choice>,
    /// Preset.
    #[serde(rename = "status", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Choice>,
    /// Preset.
    #[serde(rename = "ticketPriority", default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Choice>,
    /// The customer's address.
    #[serde(rename = "customerEmail", default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// What it is about.
    #[serde(rename = "subject")]
    pub subject: Subject,
    /// The most recent content.
    #[serde(rename = "ticketContent", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Who works on it: preset when owners are configured.
    #[serde(rename = "owner", default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Choice>,
    /// Users it concerns.
    #[serde(rename = "users", default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Note>,
    /// Departments it concerns.
    #[serde(rename = "departments", default, skip_serializing_if = "Option::is_none")]
    pub departments: Option<Note>,
    /// Suppliers it concerns.
    #[serde(rename = "ticketSuppliers", default, skip_serializing_if = "Option::is_none")]
    pub suppliers: Option<Note>,
    /// When to follow up.
    #[serde(rename = "ticketFollowupDate", default, skip_serializing_if = "Option::is_none")]
    pub followup: Option<DateOrTime>,
    /// When action is required.
    #[serde(rename = "ticketActionRequired", default, skip_serializing_if = "Option::is_none")]
    pub action_required: Option<DateOrTime>,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ticket {
    /// Assigned when it is created.
    pub id: TicketId,
    /// What callers set.
    #[serde(flatten)]
    pub fields: TicketFields,
    /// Assigned when it is created; never changes.
    #[serde(rename = "createdDate")]
    pub created: Timestamp,
    /// Assigned at every change; rises with every change.
    #[serde(rename = "updatedDate")]
    pub updated: Timestamp,
    /// Rises by one with every change. Not part of the JSON: it goes out as the `ETag`.
    #[serde(skip)]
    pub version: Version,
}

impl Ticket {
    /// A ticket just created.
    pub fn new(id: TicketId, fields: TicketFields, now: Timestamp) -> Self {
        Self { id, fields, created: now, updated: now, version: Version::FIRST }
    }

    /// What is left of it when it is deleted now.
    pub fn delete(&self, now: Timestamp) -> Tombstone {
        let deleted = now.after(self.updated);
        Tombstone {
            id: self.id,
            customer: self.fields.customer,
            created: self.created,
            updated: deleted,
            deleted,
            version: self.version.next(),
        }
    }
}

/// What is left of a deleted ticket, for whoever keeps a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tombstone {
    /// The id it had.
    pub id: TicketId,
    /// Whose it was.
    #[serde(rename = "customerID")]
    pub customer: CustomerId,
    /// When it was created.
    #[serde(rename = "createdDate")]
    pub created: Timestamp,
    /// When it was deleted: a deletion is a change like others.
    #[serde(rename = "updatedDate")]
    pub updated: Timestamp,
    /// When it was deleted.
    #[serde(rename = "deletedDate")]
    pub deleted: Timestamp,
    /// One more than the ticket's last.
    #[serde(skip)]
    pub version: Version,
}

/// What the table holds under a ticket's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "nearly every record is a ticket: boxing it would only cost")]
pub enum Record {
    /// A ticket.
    Live(Ticket),
    /// What is left of one.
    Deleted(Tombstone),
}

/// What a filter asks of a record: also all that the indexes hold of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// The ticket's id.
    pub id: TicketId,
    /// Whose it is.
    pub customer: CustomerId,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Whether it is deleted.
    pub deleted: bool,
}

impl Record {
    /// What a filter asks.
    pub fn stamps(&self) -> Stamps {
        match self {
            Self::Live(ticket) => Stamps {
                id: ticket.id,
                customer: ticket.fields.customer,
                created: ticket.created,
                updated: ticket.updated,
                deleted: false,
            },
            Self::Deleted(tombstone) => Stamps {
                id: tombstone.id,
                customer: tombstone.customer,
                created: tombstone.created,
                updated: tombstone.updated,
                deleted: true,
            },
        }
    }

    /// The ticket, unless it is deleted.
    pub fn live(self) -> Option<Ticket> {
        match self {
            Self::Live(ticket) => Some(ticket),
            Self::Deleted(_) => None,
        }
    }
}
