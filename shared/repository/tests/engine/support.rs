//! Gives every test its own table, on the embedded engine or on the one that `TEST_DYNAMODB` names.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_types::SdkConfig;
use serde_json::json;
use tickets_domain::Settings;
use tickets_domain::{
    Clock, Continuation, Filter, Fit, JsonObject, KeyId, ListEnd, NewTicket, PresetLists, Presets, Row,
    TicketFields, Timestamp, Visibility,
};
use tickets_engine::Database;
use tickets_repository::http_client::local_config;
use tickets_repository::operator::seed::{MAX_CHUNK, SeedTicket};
use tickets_repository::{DynamoDb, Tickets, schema};

/// Tables of a test, and a clock that stands still until it is moved.
pub(crate) struct Table {
    /// The SDK's own client, for what tests read and write directly.
    pub(crate) client: Client,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) clock: Clock,
    pub(crate) name: String,
    pub(crate) api_keys: String,
    millis: Arc<AtomicI64>,
    engine: Engine,
}

enum Engine {
    Embedded(Database),
    /// At this URL.
    Other(String),
}

impl Engine {
    /// A configuration with connections of its own.
    fn sdk_config(&self) -> SdkConfig {
        match self {
            Self::Embedded(database) => {
                let http_client = tickets_engine::http_client(database);
                local_config("http://localhost").into_builder().http_client(http_client).build()
            }
            Self::Other(url) => local_config(url),
        }
    }
}

/// The other engine that the tests are to run on, if one is named. Known differences from AWS' documentation:
/// - dynalite has no TTL (*UpdateTimeToLive*): it is not enabled on any engine;
/// - moto counts half a unit for a consistent read (*Read consistency*: one), so units are checked only on
///   the embedded engine ([`counts_units`]), and `cost.rs` runs only there;
/// - moto's server works on requests in parallel without a lock, so that an `ADD` gets lost (*UpdateItem*:
///   atomic counters): `.ci/engines` lets it answer one request at a time. Then queries of four shards at once
///   take longer than the deadline of a read, so it leaves out the three tests that read a thousand tickets so.
fn other_engine() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the tests' own configuration")]
    std::env::var("TEST_DYNAMODB").ok()
}

/// Whether the engine counts units as DynamoDB does.
pub(crate) fn counts_units() -> bool {
    other_engine().is_none()
}

impl Table {
    pub(crate) async fn new(now: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let engine = match other_engine() {
            Some(url) => Engine::Other(url),
            None => Engine::Embedded(Database::memory().unwrap()),
        };
        let sdk_config = engine.sdk_config();
        let (client, dynamodb) = (Client::new(&sdk_config), DynamoDb::new(&sdk_config));
        // Processes and tests share the other engine.
        let suffix = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (name, api_keys) = (format!("Tickets-{suffix}"), format!("ApiKeys-{suffix}"));
        schema::create_tables(&dynamodb, &name, &api_keys).await.unwrap();
        let millis = Arc::new(AtomicI64::new(time(now).millis()));
        let read = Arc::clone(&millis);
        let clock = Clock::new(move || Timestamp::from_millis(read.load(Ordering::Relaxed)).unwrap());
        Self { client, dynamodb, clock, name, api_keys, millis, engine }
    }

    /// The tickets, as an instance with this settings sees them.
    pub(crate) fn tickets(&self, settings: Settings) -> Tickets {
        let tickets = Tickets::new(self.dynamodb.clone(), &self.name, self.clock.clone(), settings);
        assert_eq!(tickets.table(), self.name);
        tickets
    }

    /// An instance with its own connections.
    pub(crate) fn instance(&self) -> Tickets {
        let dynamodb = DynamoDb::new(&self.engine.sdk_config());
        Tickets::new(dynamodb, &self.name, self.clock.clone(), Settings::default())
    }

    pub(crate) fn set(&self, now: Timestamp) {
        self.millis.store(now.millis(), Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, millis: i64) {
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The key that writes everything here.
pub(crate) fn writer() -> KeyId {
    "writer".parse().unwrap()
}

pub(crate) fn presets() -> Presets {
    Presets::parse(&PresetLists::default()).unwrap()
}

/// A ticket's fields, from JSON.
pub(crate) fn fields(body: serde_json::Value) -> TicketFields {
    new_ticket(body).fields().unwrap().clone()
}

/// A new ticket, from JSON.
pub(crate) fn new_ticket(body: serde_json::Value) -> NewTicket {
    NewTicket::parse(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets()).unwrap()
}

/// Adds so many tickets at once, created a second apart.
pub(crate) async fn fill(tickets: &Tickets, count: u64, customers: u64, first: Timestamp) {
    let samples: Vec<_> = (0..count)
        .map(|at| {
            let stamp = Timestamp::from_millis(first.millis() + 1000 * at as i64).unwrap();
            let fields = fields(json!({"customerID": 1 + at % customers, "subject": format!("s{at}")}));
            SeedTicket { fields, created: stamp, updated: stamp }
        })
        .collect();
    for chunk in samples.chunks(MAX_CHUNK) {
        tickets.append(&writer(), chunk).await.unwrap();
    }
}

/// A page of a list, and how it ended.
pub(crate) async fn read(tickets: &Tickets, filter: &Filter, found: &Continuation) -> (Vec<Row>, ListEnd) {
    let mut rows = Vec::new();
    let take = |row: &Row| {
        rows.push(row.clone());
        Fit::Added
    };
    let listed = tickets.list(filter, found, Visibility::All, take).await.unwrap();
    (rows, listed.end)
}

/// The first page of a list, and whether there are more.
pub(crate) async fn page(tickets: &Tickets, filter: &Filter) -> (Vec<Row>, bool) {
    let (rows, end) = read(tickets, filter, &Continuation::default()).await;
    (rows, end != ListEnd::Complete)
}

/// The pages of a list: by the last id of each and, with `follow`, by the continuation of each.
async fn walk(tickets: &Tickets, filter: &Filter, follow: bool) -> Vec<Vec<Row>> {
    let (mut pages, mut filter, mut found) = (Vec::new(), filter.clone(), Continuation::default());
    loop {
        let (rows, end) = read(tickets, &filter, &found).await;
        let last = rows.last().map(|row| row.key.id.get());
        pages.push(rows);
        let ListEnd::More { after, found: next } = end else { return pages };
        let is_queue = !filter.queue.is_empty();
        assert!(last.is_some() || is_queue, "a page that is not the last holds something");
        assert!(after > filter.id_after && after >= last.unwrap_or(0), "pages go on");
        // A continuation travels in a URL.
        (filter.id_after, found) = match follow {
            true => (after, next.to_string().parse().unwrap_or_default()),
            false => (last.expect("going by ids needs one"), Continuation::default()),
        };
    }
}

/// The pages of a list, as a client that follows `Link` reads them.
pub(crate) async fn linked_pages(tickets: &Tickets, filter: &Filter) -> Vec<Vec<Row>> {
    walk(tickets, filter, true).await
}

/// The pages of a list, as a client that follows `Link` reads them. Going by ids alone must read the same.
pub(crate) async fn each_page(tickets: &Tickets, filter: &Filter) -> Vec<Vec<Row>> {
    let followed = walk(tickets, filter, true).await;
    // A list of one page is read the same way by both.
    if followed.len() > 1 {
        assert_eq!(walk(tickets, filter, false).await.concat(), followed.concat(), "{filter:?}");
    }
    followed
}

/// The rows of every page of a list.
pub(crate) async fn pages(tickets: &Tickets, filter: &Filter) -> Vec<Row> {
    each_page(tickets, filter).await.concat()
}

/// The ids of rows, as numbers.
pub(crate) fn ids(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.key.id.get()).collect()
}
