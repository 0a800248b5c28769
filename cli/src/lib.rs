//! The API on your own machine: what the command `tickets` is made of, and what tests start.
//!
//! - [`gateway`]: plays API Gateway and Lambda for the functions;
//! - [`database`]: the embedded DynamoDB engine, reached over loopback like the real one;
//! - [`local`]: the data directory, its lock, and its development key;
//! - [`command`]: one file per command.

pub mod command;
pub mod database;
pub mod gateway;
pub mod local;
