//! Tickets and keys in DynamoDB.
//!
//! - [`dynamodb`]: the SDK's client, its timeouts and retries, and what calls consume; [`http_client`]: the
//!   HTTP clients below; `transcode`: how lists read items from responses;
//! - [`schema`]: the tables and their indexes;
//! - `primary_key`, `item`: the keys of items, and their attributes;
//! - [`ids`]: the counter, and which missing ids are open; `ranges`: the ids that it was moved past; `month`: the partitions of `byUpdated`;
//! - `write`: the one write loop, with `failure` (the SDK's errors by effect) and `backoff`;
//! - `create`, `update`, `list`: [`Tickets`]' calls, one file per subject;
//! - [`operator`]: what only operators do: import, restore, seed, erase;
//! - [`history`]: what happened to each ticket, made from the table's stream; `events`: the feed of all of it;
//! - [`api_key`]: the keys, with [`key_cache`] for how long they are remembered, [`limit`] for those with a limit, and
//!   `lease` for an instance's part of it;
//! - [`checkpoint`]: how far exports have come; [`deployment`]: the configuration that functions run with;
//! - [`webhooks`]: who is told of events, and how far each has come.
//!
//! This crate knows nothing of the API's requests and responses.

pub mod api_key;
mod backoff;
pub mod checkpoint;
mod create;
pub mod deployment;
#[cfg(test)]
mod documented;
pub mod dynamodb;
mod events;
mod failure;
pub mod history;
pub mod http_client;
pub mod ids;
mod item;
pub mod key_cache;
mod lease;
pub mod limit;
mod list;
mod month;
pub mod operator;
mod primary_key;
mod ranges;
pub mod schema;
#[cfg(test)]
mod scripted;
pub mod tickets;
mod transcode;
mod update;
pub mod webhooks;
mod write;

pub use api_key::Keys;
pub use create::Created;
pub use dynamodb::DynamoDb;
pub use history::History;
pub use primary_key::{COUNTER, RANGES, SETTINGS, SHARDS};
pub use tickets::Tickets;
pub use tickets_domain::Meter;
pub use webhooks::Webhooks;
