//! Tests of the command `tickets`, started as a person or a script would: one file for each subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

mod change;
mod client;
mod command_line;
mod export;
mod follow;
mod history;
mod import;
mod import_files;
mod keys;
mod mcp;
mod output;
mod queue;
mod seed;
mod serve;
mod show;
mod support;
mod table;
