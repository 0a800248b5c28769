//! What a ticket is, and what may be done with it.
//!
//! Every type here is made valid when it is parsed, so that nothing behind it checks again:
//! - [`id`], [`time`], [`text`], [`preset`]: the values of a ticket's fields;
//! - [`ticket`]: the ticket, what is left of a deleted one, and what a list returns of either;
//! - [`form`], [`draft`], [`change`]: from a JSON object to a new ticket or a change, all mistakes at once;
//! - [`filter`]: which tickets a list holds;
//! - [`export`]: how far a copy of the changes has come;
//! - [`key`], [`idempotency`]: who asks, and whether they asked before;
//! - [`error`]: everything that can go wrong, in the matter's own terms.
//!
//! It knows neither HTTP nor DynamoDB, does no I/O, and reads no clock but the one it is given.

pub mod change;
pub mod draft;
pub mod error;
pub mod export;
pub mod filter;
pub mod form;
pub mod id;
pub mod idempotency;
pub mod key;
pub mod preset;
#[cfg(feature = "schema")]
mod schema;
pub mod text;
pub mod ticket;
pub mod time;

pub use change::TicketChange;
pub use error::{Error, Result, Violation};
pub use filter::Filter;
pub use form::Form;
pub use id::{CustomerId, TicketId, Version};
pub use key::{ApiKey, BearerToken, KeyId, KeyStore, Scope};
pub use preset::Presets;
pub use ticket::{Record, Ticket, TicketFields, Tombstone};
pub use time::{Clock, Timestamp};
