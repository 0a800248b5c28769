//! What only operators do, from the command line: never a function.

pub mod erase;
pub mod import;
pub mod restore;
pub mod seed;
