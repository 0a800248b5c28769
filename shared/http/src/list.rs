//! A list: its parameters, and its response.

pub mod query;
mod reply;

pub use query::ListQuery;
pub use reply::ListReply;
