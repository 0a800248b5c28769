//! Tests that nothing is lost, doubled or missing. Random writers use the API while the database fails at
//! random, and sync clients follow the documented procedures. At the end every copy equals the table, and
//! each ticket's history has every version once. Other tests break each part of the procedure on purpose:
//! that must be noticed.
//!
//! `EXACTNESS_SEEDS` is the number of seeds, `EXACTNESS_FIRST` the first one. A failure names its seed, which
//! repeats it exactly.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use support::model::{Faults, Lie};
use support::simulation::{Reply, Simulation, simulate};
use support::stream::{Delivery, Stream};
use tickets_repository::{Policy, schema};
use tokio::task::JoinHandle;

/// The part that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    Nothing,
    /// The settle window is empty.
    NoSettling,
    /// A settled walk's horizon moves from page to page.
    MovingHorizon,
    /// A client keeps the `Sync-Until` of its last page instead of its first.
    LastSyncUntil,
    /// The database hides a part of the design.
    Lie(Lie),
    /// A version that could not be recorded in the history is not delivered again.
    FailuresIgnored,
}

/// A copy: the newest record of each ticket.
type Copy = BTreeMap<u64, Value>;

fn id(record: &Value) -> u64 {
    record["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
}

/// Applies the records that are newer than those in the copy, by `(id, updatedDate)`.
fn apply(copy: &mut Copy, reply: &Reply) {
    for record in reply.body.as_array().unwrap_or_else(|| panic!("a list, not {reply:?}")) {
        let newer = copy
            .get(&id(record))
            .is_none_or(|old| old["updatedDate"].as_str() < record["updatedDate"].as_str());
        if newer {
            copy.insert(id(record), record.clone());
        }
    }
}

/// A client that polls and keeps `Sync-Until`. It follows `Link`, or loops on `idAfter` until `[]`. Now and
/// then it starts over with an empty copy.
struct Poller {
    path: &'static str,
    copy: Copy,
    since: Option<String>,
    follows_link: bool,
    restarts: bool,
}

impl Poller {
    fn new(path: &'static str, follows_link: bool, restarts: bool) -> Self {
        Self { path, copy: Copy::new(), since: None, follows_link, restarts }
    }

    async fn pass(&mut self, api: &Simulation, limit: usize, sabotage: Sabotage) {
        if self.restarts && fastrand::u32(..4) == 0 {
            (self.copy, self.since) = (Copy::new(), None);
        }
        let since = self.since.as_ref().map(|since| format!("&updatedSince={since}")).unwrap_or_default();
        let query = format!("includeDeleted=true&limit={limit}{since}");
        let mut reply = api.get(&format!("{}?{query}", self.path)).await;
        let mut until = reply.header("sync-until").to_owned();
        loop {
            apply(&mut self.copy, &reply);
            let next = if self.follows_link {
                reply.next()
            } else {
                reply
                    .body
                    .as_array()
                    .and_then(|page| page.last())
                    .map(|last| format!("{}?{query}&idAfter={}", self.path, id(last)))
            };
            let Some(next) = next else { break };
            reply = api.get(&next).await;
            if sabotage == Sabotage::LastSyncUntil {
                until = reply.header("sync-until").to_owned();
            }
        }
        self.since = Some(until);
    }
}

/// A client that reads no header but `Link`, asks for settled records, and keeps the greatest `updatedDate`.
#[derive(Default)]
struct Connector {
    copy: Copy,
    greatest: Option<String>,
}

impl Connector {
    async fn pass(&mut self, api: &Simulation, limit: usize, sabotage: Sabotage) {
        let since = self.greatest.as_ref().map(|since| format!("&updatedSince={since}")).unwrap_or_default();
        let mut page = Some(format!("/tickets/?settled=true&includeDeleted=true&limit={limit}{since}"));
        while let Some(asked) = page {
            let reply = api.get(&asked).await;
            apply(&mut self.copy, &reply);
            let dates = reply
                .body
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|record| record["updatedDate"].as_str());
            self.greatest = self.greatest.take().into_iter().chain(dates.map(str::to_owned)).max();
            page = reply.next().map(|next| match sabotage {
                Sabotage::MovingHorizon => {
                    let (path, query) = next.split_once('?').unwrap();
                    let kept = query.split('&').filter(|pair| !pair.starts_with("updatedUntil="));
                    format!("{path}?{}&updatedUntil=9999-12-31", kept.collect::<Vec<_>>().join("&"))
                }
                _ => next,
            });
            // A connector loads each page before it gets the next one. Others write meanwhile.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
}

/// A client that follows new tickets by id alone: once it has seen 43, it has seen 42 or never will.
#[derive(Default)]
struct Tail {
    seen: Vec<u64>,
}

impl Tail {
    async fn pass(&mut self, api: &Simulation) {
        loop {
            let after = self.seen.last().copied().unwrap_or(0);
            let reply = api.get(&format!("/tickets/?includeDeleted=true&idAfter={after}")).await;
            let page = reply.body.as_array().expect("a list");
            if page.is_empty() {
                return;
            }
            self.seen.extend(page.iter().map(id));
        }
    }
}

/// A work queue: a filtered list, and the condition that its tickets meet.
struct Queue {
    list: &'static str,
    holds: fn(&Value) -> bool,
}

fn is_open(ticket: &Value) -> bool {
    ticket["deletedDate"].is_null() && !is_closed(ticket)
}

fn is_closed(ticket: &Value) -> bool {
    ticket["status"] == "resolved" || ticket["status"] == "closed"
}

/// One queue for each way in which filters find tickets.
const QUEUES: [Queue; 7] = [
    Queue { list: "/tickets/?open=true", holds: is_open },
    Queue { list: "/tickets/?open=false&limit=2", holds: is_closed },
    Queue {
        list: "/tickets/?open=true&owner=GRACE&limit=3",
        holds: |ticket| is_open(ticket) && ticket["owner"] == "grace",
    },
    Queue {
        list: "/tickets/?status=assigned,closed&createdSince=2026-11-01",
        holds: |ticket| ticket["status"] == "assigned" || ticket["status"] == "closed",
    },
    Queue {
        list: "/tickets/?owner=ada&updatedSince=2026-11-01&limit=2",
        holds: |ticket| ticket["owner"] == "ada",
    },
    Queue {
        list: "/customers/1/tickets/?open=true&limit=2",
        holds: |ticket| is_open(ticket) && ticket["customerID"] == 1,
    },
    Queue {
        list: "/customers/1/tickets/?owner=ada,grace",
        holds: |ticket| ticket["customerID"] == 1 && ticket["owner"].is_string(),
    },
];

impl Queue {
    /// Reads the queue. Each ticket meets the condition, whatever the indexes say.
    async fn read(&self, api: &Simulation) -> Result<Vec<Value>, String> {
        let (mut tickets, mut asked) = (Vec::new(), Some(self.list.to_owned()));
        while let Some(path) = asked {
            let reply = api.get(&path).await;
            let page = reply.body.as_array().unwrap_or_else(|| panic!("a list, not {reply:?}"));
            if let Some(other) = page.iter().find(|ticket| !(self.holds)(ticket)) {
                return Err(format!("{}: holds {other}", self.list));
            }
            tickets.extend(page.iter().cloned());
            asked = reply.next();
        }
        Ok(tickets)
    }
}

/// Changes a ticket's place in the work queues. It draws no random number, so the runs of seeds stay the
/// same.
fn requeue(body: &mut Value, number: u64, round: u64) {
    let nth = (3 * number + round) as usize;
    match nth % 3 {
        0 => body["status"] = json!(["open", "assigned", "resolved", "closed"][nth / 3 % 4]),
        1 => body["owner"] = json!(["ada", "grace"][nth / 3 % 2]),
        _ => {}
    }
}

/// What the API acknowledged to the writers.
#[derive(Default)]
struct Acknowledged {
    /// The id that each create with an idempotency key was answered with.
    created: BTreeMap<String, u64>,
    /// The lowest version that each ticket must have.
    versions: BTreeMap<u64, u64>,
    deleted: Vec<u64>,
    /// Creates with an idempotency key whose answers nobody awaited.
    unheard: Vec<(String, JoinHandle<Reply>)>,
    /// The highest id that writers may work on.
    highest: u64,
}

impl Acknowledged {
    /// Notes the results of a batch. True if every row has been created by now.
    fn of_batch(&mut self, subjects: &[String], results: &[Value]) -> bool {
        for (subject, result) in subjects.iter().zip(results) {
            match result["status"].as_u64() {
                Some(201) => {
                    let id = id(&result["ticket"]);
                    self.highest = self.highest.max(id);
                    let before = self.created.insert(subject.clone(), id);
                    assert!(before.is_none_or(|before| before == id), "{subject} is {before:?} and {id}");
                }
                Some(409 | 503) => {}
                _ => panic!("batch: {result}"),
            }
        }
        subjects.iter().all(|subject| self.created.contains_key(subject))
    }
}

fn version(reply: &Reply) -> u64 {
    reply.header("etag").trim_matches('"').parse().unwrap_or(0)
}

/// Creates a ticket. With an `Idempotency-Key` the writer does not always wait for the answer; a late answer
/// must be the same ticket.
async fn create(
    api: &Simulation,
    key: Option<String>,
    body: Value,
    rng: &mut Rng,
    told: &Rc<RefCell<Acknowledged>>,
) -> Reply {
    let (api, named) = (api.clone(), key.clone());
    let mut sent = tokio::task::spawn_local(async move {
        let headers = named.as_ref().map(|key| ("idempotency-key", key.as_str()));
        api.call("POST", "/tickets/", headers.as_slice(), Some(&body)).await
    });
    let Some(key) = key else { return sent.await.expect("a reply") };
    let patience = Duration::from_millis(rng.u64(50..4000));
    if let Ok(reply) = tokio::time::timeout(patience, &mut sent).await {
        return reply.expect("a reply");
    }
    told.borrow_mut().unheard.push((key, sent));
    Reply { status: 0, headers: Default::default(), body: Value::Null }
}

/// Creates a batch, repeating it until every row is created. Every later answer for a row must be the same
/// ticket.
async fn create_batch(api: &Simulation, name: &str, rng: &mut Rng, told: &Rc<RefCell<Acknowledged>>) {
    let subjects: Vec<_> = (0..4).map(|row| format!("{name}-{row}")).collect();
    let row = |subject| json!({"customerID": rng.u64(1..4), "subject": subject});
    let rows: Value = subjects.iter().map(row).collect();
    loop {
        let reply = api.call("POST", "/tickets/", &[("idempotency-key", name)], Some(&rows)).await;
        let results = reply.body.as_array().map_or(&[][..], Vec::as_slice);
        assert!([0, 207, 503].contains(&reply.status), "batch: {} {}", reply.status, reply.body);
        if told.borrow_mut().of_batch(&subjects, results) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(1..800))).await;
    }
}

async fn writer(api: Simulation, number: u64, base: u64, mut rng: Rng, told: Rc<RefCell<Acknowledged>>) {
    for round in 0..10 {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..2500))).await;
        let highest = told.borrow().highest;
        let target = rng.u64(base + 1..=highest);
        match rng.u32(0..10) {
            0 => create_batch(&api, &format!("{number}-{round}"), &mut rng, &told).await,
            1..=3 => {
                let subject = format!("{number}-{round}");
                let body = json!({"customerID": rng.u64(1..4), "subject": subject});
                let named = rng.bool();
                loop {
                    let reply =
                        create(&api, named.then(|| subject.clone()), body.clone(), &mut rng, &told).await;
                    match reply.status {
                        201 => {
                            let id = id(&reply.body);
                            let mut told = told.borrow_mut();
                            told.highest = told.highest.max(id);
                            assert_eq!(told.created.insert(subject, id), None);
                            break;
                        }
                        // Without a key a repeat could make a second ticket.
                        0 | 409 | 503 if !named => break,
                        0 | 409 | 503 => tokio::time::sleep(Duration::from_millis(rng.u64(1..800))).await,
                        other => panic!("create: {other} {}", reply.body),
                    }
                }
            }
            4..=8 => {
                let mut body = json!({"users": format!("{number}-{round}")});
                if rng.u32(0..4) == 0 {
                    body["customerID"] = json!(rng.u64(1..4));
                }
                requeue(&mut body, number, round);
                let path = format!("/tickets/{target}");
                let tag =
                    if rng.bool() { api.get(&path).await.header("etag").to_owned() } else { String::new() };
                let headers = [("if-match", tag.as_str())];
                let reply =
                    api.call("PATCH", &path, if tag.is_empty() { &[] } else { &headers }, Some(&body)).await;
                match reply.status {
                    200 => {
                        let mut told = told.borrow_mut();
                        let known = told.versions.entry(target).or_default();
                        *known = version(&reply).max(*known);
                        if !tag.is_empty() {
                            let before: u64 = tag.trim_matches('"').parse().expect("a version");
                            assert_eq!(version(&reply), before + 1, "written over another's change");
                        }
                    }
                    0 | 404 | 412 | 503 => {}
                    other => panic!("update: {other} {}", reply.body),
                }
            }
            _ => match api.call("DELETE", &format!("/tickets/{target}"), &[], None).await.status {
                204 => told.borrow_mut().deleted.push(target),
                0 | 404 | 503 => {}
                other => panic!("delete: {other}"),
            },
        }
    }
}

const SETTLE: Duration = Duration::from_secs(10);

/// Runs one seed. `Err` says what is not exact.
fn run(seed: u64, sabotage: Sabotage) -> Result<(), String> {
    simulate(seed, async move {
        let mut rng = Rng::with_seed(seed);
        let settle = if sabotage == Sabotage::NoSettling { Duration::ZERO } else { SETTLE };
        // Some runs answer from the index. Others give up on the index and walk the buckets, and some of
        // these return to the index.
        let by_key = matches!(sabotage, Sabotage::Lie(Lie::StaleFetch(_) | Lie::BelievedDepartures));
        let most_keys = if rng.bool() || by_key { 12_000 } else { 5 };
        let most_ids = if rng.bool() { 1000 } else { 3 };
        let policy = Policy { settle, most_keys, most_ids, ..Policy::default() };
        let api = Simulation::start(seed, policy).await;
        // Tickets lie in two buckets, after some empty ones.
        let base = 1000 * rng.u64(1..4) - rng.u64(1..20);
        api.model.skip_to(base);
        api.model.set(Faults::everything());
        if let Sabotage::Lie(lie) = sabotage {
            api.model.lie(Some(lie));
        }

        let delivery = match sabotage {
            Sabotage::FailuresIgnored => Delivery::FailuresIgnored,
            _ => Delivery::Sound,
        };
        let mut stream = Stream::start(&api.model, Rng::with_seed(!seed), delivery);
        let told = Rc::new(RefCell::new(Acknowledged { highest: base + 1, ..Acknowledged::default() }));
        let writers: Vec<_> = (0..5)
            .map(|n| tokio::task::spawn_local(writer(api.clone(), n, base, rng.fork(), Rc::clone(&told))))
            .collect();
        let lists = [("/tickets/", true), ("/tickets/", false), ("/customers/1/tickets/", true)];
        let mut pollers = lists.map(|(path, follows_link)| Poller::new(path, follows_link, true));
        // Jobs that begin at random times. Each starts with a first pass, which ends before an open id.
        let starters: Vec<_> = (0..6)
            .map(|_| {
                let (api, wait) = (api.clone(), rng.u64(..30_000));
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    let mut starter = Poller::new("/tickets/", true, false);
                    starter.pass(&api, 100, sabotage).await;
                    starter
                })
            })
            .collect();
        let (mut connector, mut tail) = (Connector::default(), Tail::default());
        while writers.iter().any(|writer| !writer.is_finished()) {
            for poller in &mut pollers {
                poller.pass(&api, rng.usize(1..6), sabotage).await;
            }
            connector.pass(&api, rng.usize(1..6), sabotage).await;
            tail.pass(&api).await;
            QUEUES[rng.usize(..QUEUES.len())].read(&api).await?;
            stream.pass().await;
            tokio::time::sleep(Duration::from_millis(rng.u64(100..4000))).await;
        }
        for writer in writers {
            writer.await.map_err(|panic| panic.to_string())?;
        }
        // Everything is written and settled. After one more pass every copy is complete.
        tokio::time::sleep(3 * SETTLE).await;
        for poller in &mut pollers {
            poller.pass(&api, 3, sabotage).await;
        }
        connector.pass(&api, 3, sabotage).await;
        tail.pass(&api).await;
        let mut started = Vec::new();
        for starter in starters {
            let mut starter = starter.await.map_err(|panic| panic.to_string())?;
            starter.pass(&api, 100, sabotage).await;
            started.push(starter);
        }

        let mut queues = Vec::new();
        for queue in &QUEUES {
            queues.push((queue, queue.read(&api).await?));
        }

        stream.replay().await;
        api.model.set(Faults::default());
        api.model.lie(None);
        let mut table = Copy::new();
        let mut page = Some("/tickets/?includeDeleted=true".to_owned());
        while let Some(asked) = page {
            let reply = api.get(&asked).await;
            apply(&mut table, &reply);
            page = reply.next();
        }
        let copies =
            [("Link", &pollers[0].copy), ("idAfter", &pollers[1].copy), ("settled", &connector.copy)];
        let started = started.iter().map(|starter| ("begun meanwhile", &starter.copy));
        for (procedure, copy) in copies.into_iter().chain(started) {
            for id in table.keys() {
                if copy.get(id) != table.get(id) {
                    return Err(format!(
                        "{procedure}: ticket {id} is {:?}, not {:?}",
                        copy.get(id),
                        table.get(id)
                    ));
                }
            }
            if copy.len() != table.len() {
                return Err(format!("{procedure}: {} tickets, not {}", copy.len(), table.len()));
            }
        }
        // The customer's copy has that customer's tickets, and knows that all others have left.
        let customers = &pollers[2].copy;
        for (id, record) in table.iter().filter(|(_, record)| record["customerID"] == 1) {
            if customers.get(id) != Some(record) {
                return Err(format!("customer: ticket {id} is {:?}, not {record}", customers.get(id)));
            }
        }
        let elsewhere = |id| table.get(id).is_none_or(|record: &Value| record["customerID"] != 1);
        for (id, record) in customers.iter().filter(|(id, _)| elsewhere(*id)) {
            if record["movedDate"].is_null() {
                return Err(format!("customer: ticket {id} has left, and still is {record}"));
            }
        }
        for (queue, tickets) in queues {
            let expected: Vec<_> = table.values().filter(|ticket| (queue.holds)(ticket)).collect();
            if !tickets.iter().eq(expected.iter().copied()) {
                return Err(format!("{}: {tickets:?}, not {expected:?}", queue.list));
            }
        }
        if !table.keys().eq(&tail.seen) {
            return Err(format!("by id: {:?}, not {:?}", tail.seen, table.keys()));
        }
        let told = told.take();
        exact(&api, &table, &told).await?;
        recorded(&api, &table).await?;
        for (subject, sent) in told.unheard {
            let reply = sent.await.map_err(|panic| panic.to_string())?;
            if reply.status == 201 && told.created.get(&subject) != Some(&id(&reply.body)) {
                return Err(format!("{subject} was answered with {} and another", reply.body));
            }
        }
        Ok(())
    })
}

/// Checks that the table holds what was acknowledged.
async fn exact(api: &Simulation, table: &Copy, told: &Acknowledged) -> Result<(), String> {
    let mut subjects = BTreeMap::new();
    for (id, record) in table {
        if let Some(subject) = record["subject"].as_str()
            && let Some(other) = subjects.insert(subject, id)
        {
            return Err(format!("{subject} was created twice: {other} and {id}"));
        }
    }
    for (subject, id) in &told.created {
        let record = table.get(id).ok_or(format!("acknowledged ticket {id} is not there"))?;
        if record.get("deletedDate").is_none() && record["subject"] != **subject {
            return Err(format!("ticket {id} is {record}, not {subject}"));
        }
    }
    for id in &told.deleted {
        if table.get(id).is_none_or(|record| record["deletedDate"].is_null()) {
            return Err(format!("ticket {id} was deleted, and is {:?}", table.get(id)));
        }
    }
    for (id, least) in &told.versions {
        let reply = api.get(&format!("/tickets/{id}")).await;
        if reply.status == 200 && version(&reply) < *least {
            return Err(format!("ticket {id} is at version {}, and was at {least}", version(&reply)));
        }
    }
    Ok(())
}

/// Checks that every ticket's history has its versions from 1 on, once each and in order, and ends with the
/// ticket's state. Of deleted tickets it may keep only who changed which fields, and when.
async fn recorded(api: &Simulation, table: &Copy) -> Result<(), String> {
    let client = aws_sdk_dynamodb::Client::new(&api.model.sdk_config());
    for (id, record) in table {
        let (mut entries, mut more) = (Vec::new(), Some(String::new()));
        while let Some(query) = more {
            let reply = api.get(&format!("/tickets/{id}/history/?limit=3{query}")).await;
            entries.extend(reply.body.as_array().ok_or(format!("ticket {id}: {reply:?}"))?.iter().cloned());
            let last = entries.last().map(|entry: &Value| entry["version"].clone());
            more =
                last.filter(|_| !reply.header("link").is_empty()).map(|last| format!("&versionAfter={last}"));
        }
        let versions: Vec<_> = entries.iter().filter_map(|entry| entry["version"].as_u64()).collect();
        let last = entries.last().ok_or(format!("ticket {id} has no history"))?;
        if !versions.iter().copied().eq(1..=entries.len() as u64) || last["date"] != record["updatedDate"] {
            return Err(format!(
                "ticket {id} has the versions {versions:?}, the last {last}, and is {record}"
            ));
        }
        let mut fields = serde_json::Map::new();
        for (at, entry) in entries.iter().enumerate() {
            let is_last = at + 1 == entries.len();
            let change = match at {
                0 => "created",
                _ if is_last && !record["deletedDate"].is_null() => "deleted",
                _ => "updated",
            };
            if entry["change"] != change {
                return Err(format!("ticket {id}: {entry} is not {change}"));
            }
            for (name, value) in entry["fields"].as_object().ok_or("no fields")? {
                fields.insert(name.clone(), value.clone());
            }
        }
        if record["deletedDate"].is_null() {
            let now = api.get(&format!("/tickets/{id}")).await;
            if version(&now) != entries.len() as u64 {
                return Err(format!("ticket {id} is at version {}, not {}", version(&now), entries.len()));
            }
            let mut expected = record.clone();
            expected.as_object_mut().into_iter().for_each(|record| {
                record.retain(|name, _| !["id", "createdDate", "updatedDate"].contains(&name.as_str()));
            });
            fields.retain(|_, value| !value.is_null());
            if Value::Object(fields.clone()) != expected {
                return Err(format!("ticket {id}: its history comes to {fields:?}, not {expected}"));
            }
            continue;
        }
        // The API hides all values of a deleted ticket, so look at what is stored.
        let kept = client.query().table_name(schema::HISTORY).key_condition_expression("ticket = :ticket");
        let ticket = aws_sdk_dynamodb::types::AttributeValue::N(id.to_string());
        let kept = kept.expression_attribute_values(":ticket", ticket).send().await;
        for item in kept.map_err(|error| error.to_string())?.items() {
            let version = item["version"].as_n().cloned().unwrap_or_default();
            if item.contains_key("values") && version != entries.len().to_string() {
                return Err(format!("ticket {id} is deleted, and its history has {item:?}"));
            }
        }
    }
    Ok(())
}

fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "configuration of the tests")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

/// Runs the seeds on every core, and returns the first failure, if any.
fn first_inexact(seeds: std::ops::Range<u64>, sabotage: Sabotage) -> Option<(u64, String)> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let found = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end || found.lock().expect("a lock").is_some() {
                        return;
                    }
                    if let Err(what) = run(seed, sabotage) {
                        *found.lock().expect("a lock") = Some((seed, what));
                        return;
                    }
                }
            });
        }
    });
    found.into_inner().expect("a lock")
}

#[test]
fn every_copy_equals_the_table() {
    let first = number("EXACTNESS_FIRST", 1);
    let seeds = first..first + number("EXACTNESS_SEEDS", 60);
    if let Some((seed, what)) = first_inexact(seeds, Sabotage::Nothing) {
        panic!("seed {seed}: {what}");
    }
}

#[test]
fn a_run_can_be_repeated() {
    let injected = |seed| {
        simulate(seed, async {
            let api = Simulation::start(seed, Policy { settle: SETTLE, ..Policy::default() }).await;
            api.model.set(Faults::everything());
            for n in 0..30 {
                let body = json!({"customerID": 1, "subject": n.to_string()});
                api.call("POST", "/tickets/", &[], Some(&body)).await;
                api.call("GET", "/tickets/?updatedSince=2026-01-01", &[], None).await;
            }
            (api.model.injected(), api.clock.now())
        })
    };
    let (faults, end) = injected(7);
    assert!(faults.len() >= 10, "every kind of fault happens: {faults:?}");
    assert_eq!(injected(7), (faults, end));
}

/// Checks that some copy differs from the table when this part is broken. The search begins at `first`, a seed
/// that showed it when this was written, because each seed takes seconds.
fn is_noticed(sabotage: Sabotage, first: u64) {
    let noticed = first_inexact(first..first + 200, sabotage);
    let (seed, what) = noticed.unwrap_or_else(|| panic!("{sabotage:?} is not noticed in 200 runs"));
    eprintln!("{sabotage:?} is noticed at seed {seed}: {}", what.chars().take(160).collect::<String>());
}

#[test]
fn a_settle_window_of_zero_is_noticed() {
    is_noticed(Sabotage::NoSettling, 2);
}

#[test]
fn a_settled_horizon_that_moves_is_noticed() {
    is_noticed(Sabotage::MovingHorizon, 18);
}

#[test]
fn the_sync_until_of_a_later_page_is_noticed() {
    is_noticed(Sabotage::LastSyncUntil, 46);
}

#[test]
fn a_fetch_that_is_not_consistent_is_noticed() {
    // Longer than the settle window: DynamoDB sets no limit to how old such a read may be.
    is_noticed(Sabotage::Lie(Lie::StaleFetch(2 * SETTLE)), 10);
}

#[test]
fn a_list_that_passes_an_open_id_is_noticed() {
    is_noticed(Sabotage::Lie(Lie::ClosedIds), 4);
}

#[test]
fn a_claim_taken_over_without_the_void_is_noticed() {
    is_noticed(Sabotage::Lie(Lie::NoVoids), 15);
}

/// A create begins and waits for its id. Meanwhile another writer reserves the id before it and dies, so a
/// list ends before that id and leaves out the new ticket. The ticket must then be younger than that list's
/// `Sync-Until`. Returns whether it is found; `None` if this seed's writer dies only after its put.
fn a_first_pass_behind_a_dead_writer_loses_nothing(seed: u64, lie: Option<Lie>) -> Option<bool> {
    simulate(seed, async move {
        let api = Simulation::start(seed, Policy { settle: SETTLE, ..Policy::default() }).await;
        // Let both instances learn the key.
        tokio::join!(api.get("/tickets/"), api.get("/tickets/"));
        let started = tokio::time::Instant::now();
        let at = |millis| tokio::time::sleep_until(started + Duration::from_millis(millis));
        api.model.lie(lie);
        let create = |subject: &'static str| {
            let api = api.clone();
            tokio::task::spawn_local(async move {
                let body = json!({"customerID": 1, "subject": subject});
                api.call("POST", "/tickets/", &[], Some(&body)).await
            })
        };
        api.model.set(Faults { throttle: 1.0, mentions: Some("firstMonth"), ..Faults::default() });
        let slow = create("slow");
        at(2200).await;
        api.model.set(Faults { death: 1.0, mentions: Some("dead"), ..Faults::default() });
        assert_eq!(create("dead").await.expect("a reply").status, 0);
        let slow = slow.await.expect("a reply");
        assert_eq!((slow.status, id(&slow.body)), (201, 2), "the dead writer reserved first");

        at(10_600).await;
        let mut job = Poller::new("/tickets/", true, false);
        job.pass(&api, 100, Sabotage::Nothing).await;
        if job.copy.contains_key(&1) {
            return None;
        }
        assert!(job.copy.is_empty(), "it ends before the open id");
        tokio::time::sleep(3 * SETTLE).await;
        job.pass(&api, 100, Sabotage::Nothing).await;
        Some(job.copy.contains_key(&2))
    })
}

#[test]
fn a_stamp_taken_before_the_reservation_is_noticed() {
    // Too rare for random runs: it shows only if a slow create follows a dead one and a job begins at that
    // moment.
    let behind = |lie| {
        let mut seeds = (1..50).filter_map(|seed| a_first_pass_behind_a_dead_writer_loses_nothing(seed, lie));
        seeds.next().expect("a writer that dies before its put")
    };
    assert!(behind(None) && !behind(Some(Lie::EarlyStamp)));
}

#[test]
fn departures_that_are_not_written_are_noticed() {
    is_noticed(Sabotage::Lie(Lie::NoDepartures), 3);
}

#[test]
fn a_departure_believed_without_a_look_at_the_ticket_is_noticed() {
    is_noticed(Sabotage::Lie(Lie::BelievedDepartures), 32);
}

#[test]
fn a_shard_left_out_of_a_merge_is_noticed() {
    is_noticed(Sabotage::Lie(Lie::MissingShard), 2);
}

#[test]
fn a_history_entry_that_overwrites_another_is_noticed() {
    is_noticed(Sabotage::Lie(Lie::RepeatedEntries), 2);
}

#[test]
fn a_deletion_that_does_not_erase_what_is_still_to_come_is_noticed() {
    is_noticed(Sabotage::Lie(Lie::NoErasures), 1);
}

#[test]
fn a_failed_record_that_is_not_delivered_again_is_noticed() {
    is_noticed(Sabotage::FailuresIgnored, 3);
}
