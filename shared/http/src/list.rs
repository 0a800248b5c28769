//! A list: its parameters, and its response.

mod parameter;
mod query;
mod reply;

pub use parameter::{Parameter, Purpose, Spec, Value};
pub use query::ListQuery;
pub(crate) use query::work_queue;
pub use reply::ListReply;
