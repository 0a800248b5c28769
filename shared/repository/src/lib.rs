//! Tickets and keys in DynamoDB.
//!
//! - [`client`]: the client, its timeouts and retries: the one place for both;
//! - [`schema`]: the tables and their indexes;
//! - `primary_key`, `item`: how items are addressed, and how they look;
//! - [`ids`]: the counter, and which missing ids are open; `month`: the partitions of `byUpdated`;
//! - `write`: the one write loop, with `failure` (what an error of the SDK means) and `backoff`;
//! - `create`, `update`, `list`, [`seed`], [`moving`]: [`Tickets`]' calls, one file per subject;
//! - [`erase`]: a ticket's content gone from table and history;
//! - [`history`]: what happened to each ticket, made of the table's stream;
//! - [`api_key`]: the keys, with [`lease`] for those that have a limit; [`checkpoint`]: how far exports have come;
//! - `capacity`: what calls cost.
//!
//! It knows nothing of HTTP.

pub mod api_key;
mod backoff;
mod capacity;
pub mod checkpoint;
pub mod client;
mod create;
pub mod erase;
mod failure;
pub mod history;
pub mod ids;
mod item;
pub mod lease;
mod list;
mod month;
pub mod moving;
mod primary_key;
pub mod schema;
pub mod seed;
pub mod tickets;
mod transcode;
mod update;
mod write;

pub use api_key::Keys;
pub use client::Connection;
pub use create::Created;
pub use history::History;
pub use primary_key::{COUNTER, SHARDS};
pub use tickets::{Policy, Tickets};
pub use tickets_domain::Meter;
