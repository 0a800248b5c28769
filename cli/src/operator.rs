//! What works on tables directly, with an operator's AWS credentials or on local data.
//!
//! - [`connect`]: the tables to work on;
//! - [`source`]: what exports read, the API or the table.

pub mod connect;
pub mod source;
