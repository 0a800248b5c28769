//! The tests of what the API promises, over HTTP, on the real engine and on the model of DynamoDB. They are
//! one program: linking one for each file would take minutes. To run one file:
//! `cargo test -p tickets-tests sync::`.

mod access;
mod bounds;
mod contract;
mod damage;
mod documented;
mod drift;
mod events;
mod exactness;
mod export;
mod faults;
mod feed;
mod generated;
mod history;
mod import;
mod limits;
mod log;
mod monitoring;
mod openapi;
mod released;
mod sabotages;
mod sync;
mod template;
mod webhooks;
