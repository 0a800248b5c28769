//! The Tickets API on your own machine: the parts of the command `tickets`, which tests use too.
//!
//! - [`server`]: HTTP servers with timeouts, some of them for programs on this machine only;
//! - [`access_key`]: the access key of a run, for the database;
//! - [`private`]: files that only this user can read;
//! - [`gateway`]: plays API Gateway and Lambda for the functions;
//! - [`database`]: the embedded DynamoDB engine, served over loopback;
//! - [`stream`]: passes writes on to the function that records the history;
//! - [`client`]: the API's client, for commands that call the API;
//! - [`connect`]: how commands reach the API, tables and local data;
//! - [`error`]: why a command failed;
//! - [`mcp`]: an MCP server, for agents;
//! - [`output`]: prints what commands print, with tables and progress;
//! - [`source`]: what exports read: the API or the table;
//! - [`docs`]: the page with the API's description;
//! - [`local`]: the data directory, with its lock, database, development key and exports;
//! - [`command`]: one file per command.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access_key;
pub mod client;
pub mod command;
pub mod connect;
pub mod database;
pub mod docs;
pub mod error;
pub mod gateway;
pub mod local;
pub mod mcp;
pub mod output;
pub mod private;
pub mod server;
pub mod source;
pub mod stream;
