//! What calls the API.
//!
//! - [`api`]: the API's client;
//! - [`connect`]: the API to call, and the key for it;
//! - [`mcp`]: an MCP server, which lets agents call the API.

pub mod api;
pub mod connect;
pub mod mcp;

pub use api::{Answered, Client, ClientError, Creation, EventPage, Page, Row, http_client};
pub use connect::Api;
