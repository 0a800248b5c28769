//! Requests in, responses and problems out, and the guard in front of every handler.
//!
//! - [`route`]: the seven routes: the table that gateway, local server and 405s go by;
//! - [`serve`]: one request from event to response, the same locally and deployed;
//! - [`guard`]: who is asking; [`cors`]: whose pages may read the answer;
//! - [`event`], [`request`], [`query`], [`etag`]: what is asked;
//! - [`reply`], [`list`], [`problem`]: what is answered;
//! - `openapi` (a feature): all of it described, for people and tools.
//!
//! A handler takes a [`Caller`], which only the guard makes, and a [`Request`], and writes `?`. The
//! crate knows nothing of DynamoDB.

pub mod cors;
pub mod etag;
pub mod event;
pub mod guard;
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

pub use guard::{Caller, Guard};
pub use list::ListReply;
pub use problem::Problem;
pub use request::Request;
pub use route::Route;
pub use serve::{Service, run};

/// What a handler answers.
pub type Response = lambda_http::http::Response<lambda_http::Body>;
