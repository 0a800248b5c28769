//! Requests in, responses and problems out, and the guard in front of every handler.
//!
//! - [`route`]: the routes: the table that gateway, local server and 405s go by;
//! - [`serve`]: one request from event to response, the same locally and deployed;
//! - [`guard`]: who is asking; [`cors`]: whose pages may read the answer;
//! - [`event`], [`request`], [`query`], [`etag`]: what is asked;
//! - `limit`: how often a key may ask;
//! - [`reply`], [`list`], [`history`], [`configuration`], [`problem`], [`headers`]: what is answered;
//! - `openapi` (a feature): all of it described, for people and tools.
//!
//! A handler takes a [`Caller`], which only the guard makes, and a [`Request`], and writes `?`. The
//! crate knows nothing of DynamoDB.

mod array;
pub mod configuration;
pub mod cors;
pub mod etag;
pub mod event;
pub mod guard;
pub mod headers;
pub mod history;
mod limit;
pub mod list;
pub mod log;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod problem;
pub mod query;
pub mod reply;
pub mod request;
pub mod route;
pub mod serve;
#[cfg(test)]
mod tests;

pub use configuration::TicketConfiguration;
pub use guard::{Caller, Guard};
pub use history::HistoryReply;
pub use list::ListReply;
pub use problem::Problem;
pub use request::Request;
pub use route::Route;
pub use serve::{Service, run};

/// What a handler answers.
pub type Response = lambda_http::http::Response<lambda_http::Body>;
