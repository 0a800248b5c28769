//! The API on your own machine: what the command `tickets` is made of, and what tests start.
//!
//! - [`server`]: HTTP on this machine, with timeouts, and for its own programs only;
//! - [`access_key`]: the secret of a run, which the database and the store of objects ask for;
//! - [`private`]: files for this user alone;
//! - [`gateway`]: plays API Gateway and Lambda for the functions;
//! - [`database`]: the embedded DynamoDB engine, reached over loopback like the real one;
//! - [`stream`]: what is written, fed to the function that records it;
//! - [`storage`]: an S3-compatible store of objects, for exports;
//! - [`client`]: the API's client, for the commands that talk to it;
//! - [`mcp`]: the tickets for an agent;
//! - [`output`]: what commands print;
//! - [`source`]: where exports read: the API, or the table;
//! - [`docs`]: the API's description as a page;
//! - [`local`]: the data directory, its lock, and its development key;
//! - [`command`]: one file per command.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access_key;
pub mod client;
pub mod command;
pub mod database;
pub mod docs;
pub mod gateway;
pub mod local;
pub mod mcp;
pub mod output;
pub mod private;
pub mod server;
pub mod source;
pub mod storage;
pub mod stream;
