//! Tickets and keys in DynamoDB.
//!
//! - [`connection`]: the client, its timeouts and retries: the one place for both;
//! - [`schema`]: the two tables and their indexes;
//! - [`item`], `address`: how a ticket looks as an item, and how items are addressed;
//! - `create`, `rewrite`, `list`, [`bulk`]: [`Tickets`]' calls, one file per subject;
//! - [`api_key`]: the keys; [`checkpoint`]: where exports stand;
//! - [`capacity`]: what calls cost;
//! - `failure`, `backoff`: what an error of the SDK means, and how long to wait before trying again.
//!
//! It knows nothing of HTTP.

mod address;
pub mod api_key;
mod backoff;
pub mod bulk;
pub mod capacity;
pub mod checkpoint;
pub mod connection;
mod create;
mod failure;
mod item;
mod list;
mod rewrite;
pub mod schema;
pub mod tickets;

pub use api_key::Keys;
pub use capacity::Meter;
pub use connection::Connection;
pub use create::Created;
pub use tickets::{Policy, Tickets};
