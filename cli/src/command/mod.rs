//! The commands. Each file holds one command's arguments and its code.

pub mod change;
pub mod completions;
pub mod db;
pub mod erase;
pub mod events;
pub mod export;
pub mod history;
pub mod import;
pub mod keys;
pub mod mcp;
pub mod restored;
pub mod seed;
pub mod serve;
pub mod show;
pub mod watch;
pub mod webhooks;
