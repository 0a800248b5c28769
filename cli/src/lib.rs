//! The API on your own machine: what the command `tickets` is made of, and what tests start.
//!
//! - [`gateway`]: plays API Gateway and Lambda for the functions;
//! - [`database`]: the embedded DynamoDB engine, reached over loopback like the real one;
//! - [`storage`]: an S3-compatible store of objects, for exports;
//! - [`client`]: the API's client, for the commands that talk to it;
//! - [`source`]: where exports read: the API, or the table;
//! - [`docs`]: the API's description as a page;
//! - [`local`]: the data directory, its lock, and its development key;
//! - [`command`]: one file per command.

pub mod client;
pub mod command;
pub mod database;
pub mod docs;
pub mod gateway;
pub mod local;
pub mod source;
pub mod storage;
