//! What a ticket is, and what may be done with it.
//!
//! Every type here is checked when it is parsed, so that no later code has to check it again:
//! - [`id`], [`time`], [`text`], [`preset`], [`status`]: the values of a ticket's fields;
//! - [`ticket`]: the ticket, its tombstone once it is deleted, and the records that lists return;
//! - [`json_object`], [`input`]: parse a JSON object into a new ticket or a change; report all mistakes;
//! - [`json`]: JSON that others wrote, as values in which no name has a meaning;
//! - [`import`]: parses a JSON object into a record that keeps its id and dates from elsewhere;
//! - [`tag`], [`precondition`]: which version a caller has seen, and which a request may change or need not send;
//! - [`filter`], [`work_queue`]: which tickets a list holds;
//! - [`settings`]: what a deployment configures, and up to when changes are settled;
//! - [`list`], [`continuation`]: how a page of a list ends, and what the next page needs to know;
//! - [`visibility`]: which tickets a key can see;
//! - [`history`]: who made which version of a ticket, and what it changed; [`event`]: the feed of all of these;
//! - [`export`]: the progress of an export of changes;
//! - [`webhook`], [`delivery`]: who is told of events, how messages are signed, and which one is sent next; [`address`]:
//!   where to;
//! - [`key`], [`limit`], [`idempotency`]: who sends a request, how often they may, and if it is a repeat;
//! - [`usage`]: what a request consumed of the database;
//! - [`error`]: everything that can go wrong, without status codes or DynamoDB; `suggestion`: "did you mean".
//!
//! This crate knows neither HTTP nor DynamoDB, and does no I/O. Callers pass in the current time.

pub mod address;
pub mod continuation;
pub mod delivery;
pub mod error;
pub mod event;
pub mod export;
pub mod filter;
pub mod history;
pub mod id;
pub mod idempotency;
pub mod import;
pub mod input;
pub mod json;
pub mod json_object;
pub mod key;
pub mod limit;
pub mod list;
pub mod precondition;
pub mod preset;
#[cfg(feature = "schema")]
mod schema;
pub mod settings;
pub mod status;
mod suggestion;
pub mod tag;
pub mod text;
pub mod ticket;
pub mod time;
pub mod usage;
pub mod visibility;
pub mod webhook;
pub mod work_queue;

pub use continuation::Continuation;
pub use error::{Error, Result, Violation};
pub use event::{Event, EventFilter, EventId, EventType, EventsEnd};
pub use filter::Filter;
pub use history::{ChangeKind, HistoryEntry};
pub use id::{CustomerId, TicketId, Version};
pub use input::{NewTicket, TicketInput};
pub use json_object::JsonObject;
pub use key::{ApiKey, BearerToken, KeyId, KeyStore, Scope};
pub use limit::{Quota, RateLimit};
pub use list::{Epoch, Fit, ListEnd, Listed, Row};
pub use preset::{PresetLists, Presets};
pub use settings::Settings;
pub use tag::Tag;
pub use ticket::{Departure, Record, RecordKey, RecordState, TaggedTicket, Ticket, TicketFields, Tombstone};
pub use time::{Clock, Timestamp};
pub use usage::{Meter, Usage};
pub use visibility::Visibility;
pub use webhook::{Webhook, WebhookId};
pub use work_queue::WorkQueue;
