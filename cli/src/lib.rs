//! The command `tickets`, whose parts tests use too.
//!
//! - [`command`]: one file per command; each uses the three rooms below, which do not know the commands;
//! - [`server`]: what serves this machine: the API, its database, the history and the exports;
//! - [`client`]: what calls the API, for people and for agents;
//! - [`operator`]: what works on tables directly;
//! - [`data`]: the names in a data directory;
//! - [`private`]: files that only this user can read;
//! - [`output`]: prints what commands print, with tables and progress;
//! - [`error`]: why a command failed.
//!
//! `server` and `client` do not know each other; `operator` knows both.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod client;
pub mod command;
pub mod data;
pub mod error;
pub mod operator;
pub mod output;
pub mod private;
pub mod server;
