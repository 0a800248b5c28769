//! What calls the API.
//!
//! - [`api`]: the API's client;
//! - [`batch`]: its requests for up to a hundred tickets;
//! - [`connect`]: the API to call, and the key for it;
//! - [`patience`]: how long it waits before it repeats a request;
//! - [`error`]: why a request failed;
//! - [`mcp`]: an MCP server, which lets agents call the API.

pub mod api;
pub mod batch;
pub mod connect;
pub mod error;
pub mod mcp;
pub mod patience;

pub use api::{Answered, Client, Creation, EventPage, Page, Row, http_client};
pub use connect::{Api, BaseUrl};
pub use error::ClientError;
pub use patience::Patience;
