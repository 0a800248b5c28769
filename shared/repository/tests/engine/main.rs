//! Tests the repository on the embedded engine, or on another one: `support.rs` says how.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

mod cost;
mod events;
mod history;
mod import;
mod keys;
mod lists;
mod support;
mod writes;
