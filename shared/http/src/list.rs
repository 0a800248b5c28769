//! A list: its parameters, and its response.

mod parameter;
mod query;
mod reply;

pub use parameter::{Parameter, Purpose, Spec, Value};
pub use query::ListQuery;
pub use reply::ListReply;
