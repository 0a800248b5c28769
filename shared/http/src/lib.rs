//! Reads requests, writes responses and problems, and guards every handler.
//!
//! - [`route`]: the table of routes, which the gateway, the local server and 405 responses follow;
//! - [`serve`]: turns the event of a request into a response, the same locally and deployed;
//! - [`guard`]: finds out who is asking; [`cors`]: which web pages may read the response;
//! - [`event`], [`request`], `parameters`, [`etag`]: read the request;
//! - [`list`], [`history`], [`events`]: their parameters, and their responses;
//! - [`reply`], [`configuration`], [`problem`], [`headers`]: write the other responses;
//! - `rate_limit`: the headers about a key's rate limit; [`log`]: one line for each request;
//! - `openapi` (a feature): describes the API, for people and tools.
//!
//! A handler takes a [`Caller`], which only the guard can make, and a [`Request`]; it returns errors
//! with `?`. This crate knows nothing of DynamoDB.

mod array;
pub mod configuration;
pub mod cors;
pub mod counts;
pub mod etag;
pub mod event;
pub mod events;
pub mod guard;
pub mod headers;
pub mod history;
pub mod list;
pub mod log;
#[cfg(feature = "openapi")]
pub mod openapi;
mod parameters;
pub mod problem;
mod rate_limit;
pub mod reply;
pub mod request;
pub mod route;
pub mod serve;
#[cfg(test)]
mod tests;

pub use configuration::TicketConfiguration;
pub use events::EventsReply;
pub use guard::{Caller, Guard};
pub use history::HistoryReply;
pub use list::{ListQuery, ListReply};
pub use problem::Problem;
pub use request::Request;
pub use route::Route;
pub use serve::{Service, run};

/// The response of a handler.
pub type Response = lambda_http::http::Response<lambda_http::Body>;
