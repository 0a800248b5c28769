//! What a ticket is, and what may be done with it.
//!
//! Every type here is made valid when it is parsed, so that nothing behind it checks again:
//! - [`id`], [`time`], [`text`], [`preset`]: the values of a ticket's fields;
//! - [`ticket`]: the ticket, what is left of a deleted one, and what a list returns of either;
//! - [`form`], [`draft`], [`change`]: from a JSON object to a new ticket or a change, all mistakes at once;
//! - [`moved`]: from a JSON object to a record that comes from elsewhere, with its id and dates;
//! - [`filter`], [`work_queue`]: which tickets a list holds;
//! - [`list`], [`continuation`]: how a list ends, and how it goes on;
//! - [`visibility`]: which tickets exist for a key;
//! - [`history`]: who made which version of a ticket, and what it changed;
//! - [`export`]: how far a copy of the changes has come;
//! - [`key`], [`limit`], [`idempotency`]: who asks, how often they may, and whether they asked before;
//! - [`usage`]: what a request asked of the database;
//! - [`error`]: everything that can go wrong, in the matter's own terms.
//!
//! It knows neither HTTP nor DynamoDB, does no I/O, and reads no clock but the one it is given.

pub mod change;
pub mod continuation;
pub mod draft;
pub mod error;
pub mod export;
pub mod filter;
pub mod form;
pub mod history;
pub mod id;
pub mod idempotency;
pub mod key;
pub mod limit;
pub mod list;
pub mod moved;
pub mod preset;
#[cfg(feature = "schema")]
mod schema;
pub mod text;
pub mod ticket;
pub mod time;
pub mod usage;
pub mod visibility;
pub mod work_queue;

pub use change::TicketChange;
pub use continuation::Continuation;
pub use error::{Error, Result, Violation};
pub use filter::Filter;
pub use form::Form;
pub use history::{ChangeKind, HistoryEntry};
pub use id::{CustomerId, TicketId, Version};
pub use key::{ApiKey, BearerToken, KeyId, KeyStore, Scope};
pub use limit::{Quota, RateLimit};
pub use list::{Epoch, ListEnd, Listed, Row, Taken};
pub use preset::{PresetLists, Presets};
pub use ticket::{Departure, Record, RecordKey, RecordState, Ticket, TicketFields, Tombstone};
pub use time::{Clock, Timestamp};
pub use usage::{Meter, Usage};
pub use visibility::Visibility;
pub use work_queue::WorkQueue;
