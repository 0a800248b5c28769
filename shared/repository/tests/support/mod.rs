//! A table of its own for every test, on the real engine.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its share of this")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::Client;
use tickets_domain::{Clock, Filter, Form, Presets, Record, TicketFields, Timestamp};
use tickets_repository::{Connection, Policy, Tickets, schema};

/// A database with its tables and a clock that stands still until it is moved.
pub struct Table {
    pub client: Client,
    pub clock: Clock,
    millis: Arc<AtomicI64>,
    url: String,
}

impl Table {
    pub async fn new(now: &str) -> Self {
        let database = dynoxide::Database::memory().unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        let client = Connection::to(&url).open();
        schema::create_tables(&client, schema::TICKETS, schema::API_KEYS).await.unwrap();
        let millis = Arc::new(AtomicI64::new(time(now).millis()));
        let read = Arc::clone(&millis);
        let clock = Clock::new(move || Timestamp::from_millis(read.load(Ordering::Relaxed)).unwrap());
        Self { client, clock, millis, url }
    }

    /// The tickets, as an instance of their own has them.
    pub fn tickets(&self, policy: Policy) -> Tickets {
        Tickets::new(self.client.clone(), schema::TICKETS, self.clock.clone(), policy)
    }

    /// An instance with a client, and so a connection, of its own.
    pub async fn instance(&self) -> Tickets {
        let client = Connection::to(&self.url).open();
        Tickets::new(client, schema::TICKETS, self.clock.clone(), Policy::default())
    }

    pub fn set(&self, now: Timestamp) {
        self.millis.store(now.millis(), Ordering::Relaxed);
    }

    pub fn advance(&self, millis: i64) {
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }
}

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn presets() -> Presets {
    Presets::parse(Presets::TYPES, Presets::STATUSES, Presets::PRIORITIES, "").unwrap()
}

/// A ticket's fields, from JSON.
pub fn fields(body: serde_json::Value) -> TicketFields {
    TicketFields::draft(Form::parse(body.to_string().as_bytes()).unwrap(), &presets()).unwrap()
}

/// One page of a list, and whether there are more.
pub async fn page(tickets: &Tickets, filter: &Filter) -> (Vec<Record>, bool) {
    let mut records = Vec::new();
    let flow = tickets
        .list(filter, |record| {
            records.push(record.clone());
            std::ops::ControlFlow::Continue(())
        })
        .await
        .unwrap();
    (records, flow.is_break())
}

/// Every page of a list, by the last id of each.
pub async fn pages(tickets: &Tickets, filter: &Filter) -> Vec<Record> {
    let (mut all, mut filter) = (Vec::new(), filter.clone());
    loop {
        let (records, more) = page(tickets, &filter).await;
        if !more {
            all.extend(records);
            return all;
        }
        let last = records.last().expect("a page that is not the last holds something");
        assert!(last.stamps().id.get() > filter.id_after, "pages go on");
        filter.id_after = last.stamps().id.get();
        all.extend(records);
    }
}
