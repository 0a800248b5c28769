//! What serves this machine: the API, its database, and what a deployment does beside it.
//!
//! - [`gateway`]: plays API Gateway and Lambda for the functions;
//! - [`docs`]: the page with the API's description;
//! - [`local`]: the data directory, with its lock, database, development key and exports;
//! - [`database`]: the embedded DynamoDB engine, served over loopback;
//! - [`access_key`]: the access key of a run, for the database;
//! - [`stream`]: passes writes on to the function that records the history;
//! - [`http`]: HTTP servers with timeouts, some of them for programs on this machine only.

pub mod access_key;
pub mod database;
pub mod docs;
pub mod gateway;
pub mod http;
pub mod local;
pub mod stream;
