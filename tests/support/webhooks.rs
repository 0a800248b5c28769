//! Receivers of webhooks on a simulated network, and the function that sends to them, as Lambda runs it on a bad day:
//! several runs at the same time, and some that die.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deliver_webhooks::send::Request;
use deliver_webhooks::{Deliverer, Report, Sender, Wake};
use fastrand::Rng;
use serde_json::Value;
use tickets_app::Config;
use tickets_domain::delivery::Delivery;
use tickets_domain::webhook::{Answer, Secret, Secrets, State};
use tickets_domain::{Timestamp, Webhook, WebhookId};
use tickets_repository::{DynamoDb, Webhooks, schema};
use tokio::time::Instant;

use crate::events;
use crate::simulation::Simulation;
use crate::stream::{deliver, history};

/// The time that Lambda gives a run, as in the template.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How a receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It accepts everything, within a moment.
    Well,
    /// It does not answer.
    Down,
    /// It refuses, fails, is slow, or breaks the connection after it has taken an event.
    Bad,
    /// It accepts everything but the events of this ticket.
    Refuses(u64),
    /// Fails with the events of this ticket: 500.
    Breaks(u64),
}

/// A message that a receiver has taken.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    /// The id in its header.
    pub id: String,
    /// The event in its body.
    pub event: Value,
    pub signature: String,
}

#[derive(Debug)]
struct Receiver {
    mood: Mood,
    received: Vec<Received>,
    /// Requests that reached it, whatever came of them.
    requests: u64,
}

/// The receivers, by their URLs.
#[derive(Debug, Clone)]
pub struct Network {
    receivers: Arc<Mutex<BTreeMap<String, Receiver>>>,
    rng: Arc<Mutex<Rng>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    pub fn new(seed: u64) -> Self {
        Self { receivers: Arc::default(), rng: Arc::new(Mutex::new(Rng::with_seed(seed))) }
    }

    pub fn set(&self, url: &str, mood: Mood) {
        let receiver = Receiver { mood, received: Vec::new(), requests: 0 };
        lock(&self.receivers).entry(url.to_owned()).or_insert(receiver).mood = mood;
    }

    pub fn received(&self, url: &str) -> Vec<Received> {
        lock(&self.receivers)[url].received.clone()
    }

    pub fn requests(&self, url: &str) -> u64 {
        lock(&self.receivers)[url].requests
    }

    /// What a receiver in a bad mood does: whether it takes the event, after which time it answers, and what.
    fn bad(&self, ticket: u64) -> (bool, u64, Answer) {
        let mut rng = lock(&self.rng);
        let soon = rng.u64(10..300);
        match rng.u32(..20) {
            0 => (false, soon, Answer::Status(500, None)),
            1 => (false, soon, Answer::Status(503, Some(Duration::from_secs(rng.u64(1..100))))),
            2 => (false, soon, Answer::Status(429, Some(Duration::from_secs(20)))),
            3 => (true, soon, Answer::NoConnection),
            4 => (true, 10_000, Answer::TimedOut),
            5 => (false, 10_000, Answer::TimedOut),
            6 => (false, soon, Answer::Status(302, None)),
            7 | 8 => (false, soon, Answer::Status(400 + rng.u16(..8), None)),
            9..=12 if ticket.is_multiple_of(3) => (false, soon, Answer::Status(422, None)),
            14 => (true, rng.u64(1000..9000), Answer::Status(200, None)),
            _ => (true, soon, Answer::Status(200, None)),
        }
    }
}

impl Sender for Network {
    async fn send(&self, request: Request) -> Answer {
        let url = request.url.as_str().to_owned();
        let message: Value = serde_json::from_str(&request.body).expect("JSON");
        let (ticket, _) = events::version(&message["data"]);
        let mood = {
            let mut receivers = lock(&self.receivers);
            let receiver = receivers.get_mut(&url).expect("a receiver");
            receiver.requests += 1;
            receiver.mood
        };
        let soon = lock(&self.rng).u64(20..120);
        let (takes, millis, answer) = match mood {
            Mood::Well => (true, soon, Answer::Status(204, None)),
            Mood::Down => (false, 10_000, Answer::TimedOut),
            Mood::Bad => self.bad(ticket),
            Mood::Refuses(other) if other == ticket => (false, soon, Answer::Status(422, None)),
            Mood::Breaks(other) if other == ticket => (false, soon, Answer::Status(500, None)),
            Mood::Refuses(_) | Mood::Breaks(_) => (true, soon, Answer::Status(204, None)),
        };
        let before = Duration::from_millis(millis / 2);
        tokio::time::sleep(before).await;
        if takes {
            let Request { id, signature, .. } = request;
            let received = Received { at: Instant::now(), id, event: message["data"].clone(), signature };
            let mut receivers = lock(&self.receivers);
            receivers.get_mut(&url).expect("a receiver").received.push(received);
        }
        tokio::time::sleep(Duration::from_millis(millis) - before).await;
        answer
    }
}

/// The webhooks of a simulated API, and the function that sends their events.
#[derive(Clone)]
pub struct Deliveries {
    api: Simulation,
    pub network: Network,
    pub store: Webhooks,
}

impl Deliveries {
    pub fn new(api: &Simulation, seed: u64) -> Self {
        let dynamodb = DynamoDb::new(&api.model.sdk_config());
        let store = Webhooks::new(dynamodb, schema::WEBHOOKS, api.clock.clone());
        Self { api: api.clone(), network: Network::new(seed), store }
    }

    /// Makes a webhook whose receiver is in this mood. Returns its id; its URL is `https://NAME.example/`.
    pub async fn create(&self, name: &str, mood: Mood, edit: impl FnOnce(&mut Webhook)) -> WebhookId {
        let mut webhook = webhook(name, self.api.clock.now());
        edit(&mut webhook);
        self.network.set(&url(name), mood);
        while self.store.insert(&webhook).await.is_err() {}
        webhook.id
    }

    /// A run of an instance with a clock of its own, until it ends or dies.
    pub async fn run(&self, wake: Wake) -> Option<Vec<Report>> {
        let (mortal, clock) = (self.api.model.mortal(), self.api.skewed_clock());
        let deadline = clock.now().plus(TIMEOUT);
        let deliverer = self.deliverer(DynamoDb::new(&mortal.sdk_config()), clock);
        tokio::select! {
            biased;
            run = deliverer.run(wake, deadline) => run.ok(),
            () = mortal.death() => None,
            () = tokio::time::sleep(TIMEOUT) => None,
        }
    }

    /// A run that is killed after this time, wherever it is.
    pub async fn run_killed(&self, wake: Wake, after: Duration) {
        let _ = tokio::time::timeout(after, self.run(wake)).await;
    }

    pub fn deliverer(&self, dynamodb: DynamoDb, clock: tickets_domain::Clock) -> Deliverer<Network> {
        let mut config = Config::from_lookup(|_| None).expect("a configuration");
        config.settings = self.api.settings.clone();
        deliver_webhooks::deliverer(&config, dynamodb, clock, self.network.clone())
    }

    /// Starts a run at regular intervals, as the schedule does every minute.
    pub fn schedule(&self, every: Duration) -> tokio::task::JoinHandle<()> {
        let deliveries = self.clone();
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(every).await;
                let run = deliveries.clone();
                tokio::task::spawn_local(async move { run.run(Wake::Scheduled).await });
            }
        })
    }

    /// Runs until every receiver has everything. `Err` if that takes longer than this.
    pub async fn until_done(&self, limit: Duration) -> Result<(), String> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let reports = self.run(Wake::Scheduled).await.unwrap_or_default();
            if !reports.is_empty()
                && reports.iter().all(|report| report.behind.is_zero() && report.error.is_none())
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        Err(format!("after {limit:?} some receiver lacks events"))
    }
}

/// A webhook with the receiver of this name, for all events since this time.
pub fn webhook(name: &str, since: Timestamp) -> Webhook {
    // From the seed, so that a run can be repeated: the list of webhooks is in the order of their ids.
    let id: String = (0..16).map(|_| fastrand::lowercase()).collect();
    Webhook {
        id: format!("wh_{id}").parse().expect("an id"),
        url: url(name).parse().expect("a URL"),
        types: Vec::new(),
        customer: None,
        secrets: Secrets::new(Secret::generate().expect("randomness")),
        note: None,
        created: since,
        created_by: None,
        state: State::Active,
        delivery: Delivery::since(since),
        last_answer: None,
    }
}

/// Records everything that was written since the last call, at once and in order.
pub async fn record(api: &Simulation) {
    api.model.keep_stream();
    let history = history(api, api.clock.clone());
    for batch in api.model.take_stream().chunks(100) {
        assert_eq!(deliver(&history, batch).await, None);
    }
}

/// The URL of a receiver.
pub fn url(name: &str) -> String {
    format!("https://{name}.example/")
}

/// Checks that a receiver has got every one of these events, and no others; each at least once, as the feed has it.
pub fn complete(received: &[Received], events: &[Value]) -> Result<(), String> {
    let ids = |events: &mut dyn Iterator<Item = &Value>| -> BTreeSet<String> {
        events.map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
    };
    let (found, should) =
        (ids(&mut received.iter().map(|received| &received.event)), ids(&mut events.iter()));
    if let Some(lost) = should.difference(&found).next() {
        return Err(format!("the event {lost} was not received"));
    }
    if let Some(foreign) = found.difference(&should).next() {
        return Err(format!("the event {foreign} is not the receiver's"));
    }
    match received.iter().find(|received| received.event["id"] != *received.id) {
        Some(other) => Err(format!("{other:?} has another id in its header")),
        None => Ok(()),
    }
}

/// The age of each event when it was received for the first time, since it was recorded.
pub fn latencies(api: &Simulation, received: &[Received], since: Timestamp) -> Vec<Duration> {
    let (now, clock) = (Instant::now(), api.clock.now());
    let mut first: BTreeMap<&str, (Instant, Timestamp)> = BTreeMap::new();
    for received in received {
        let id: tickets_domain::EventId = received.id.parse().expect("an id");
        first.entry(&received.id).or_insert((received.at, id.recorded()));
    }
    let age = |(at, recorded): (Instant, Timestamp)| {
        let at = clock.minus(now.duration_since(at));
        Duration::from_millis(u64::try_from(at.millis() - recorded.millis()).unwrap_or(0))
    };
    let mut ages: Vec<_> = first.into_values().filter(|(_, recorded)| *recorded >= since).map(age).collect();
    ages.sort_unstable();
    ages
}

/// The age that this share of events did not exceed.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
