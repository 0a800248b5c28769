//! The tests of what the API promises, over HTTP, on the real engine and on the model of DynamoDB. They are
//! one program: linking one for each file would take minutes. To run one file:
//! `cargo test -p tickets-tests sync::`.

mod access;
mod bounds;
mod contract;
mod drift;
mod events;
mod exactness;
mod export;
mod faults;
mod history;
mod limits;
mod log;
mod moving;
mod openapi;
mod sabotages;
mod sync;
mod template;
