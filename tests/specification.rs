//! What the API promises, tested through its front door on the real engine, and on the model of DynamoDB. One program
//! for all of it: to link one for each file would take minutes. A file by itself: `cargo test -p tickets-tests sync::`.

mod access;
mod agreement;
mod bounds;
mod contract;
mod events;
mod exactness;
mod export;
mod faults;
mod history;
mod limits;
mod log;
mod moving;
mod openapi;
mod sync;
mod template;
