//! Tests that nothing is lost, doubled or missing. Random writers use the API while the database fails at
//! random, and sync clients follow the documented procedures. At the end every copy equals the table,
//! each ticket's history has every version once, and readers of the feed have got an event of each.
//!
//! `EXACTNESS_SEEDS` is the number of seeds, `EXACTNESS_FIRST` the first one. A failure names its seed, which
//! repeats it exactly.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use support::clients::{Connector, Copy, Follower, Place, Poller, Tail, id, records, table};
use support::events;
use support::model::Faults;
use support::simulation::{Reply, Simulation, simulate};
use support::stream::{Histories, Stream, recorded};
use support::version;
use tickets_domain::{PresetLists, Settings};
use tokio::task::JoinHandle;

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
        list: "/customers/1/tickets/?owner=ada&owner=grace",
        holds: |ticket| ticket["customerID"] == 1 && ticket["owner"].is_string(),
    },
];

impl Queue {
    /// Reads the queue. Each ticket meets the condition, whatever the indexes say.
    async fn read(&self, api: &Simulation) -> Result<Vec<Value>, String> {
        let (mut tickets, mut asked) = (Vec::new(), Some(self.list.to_owned()));
        while let Some(path) = asked {
            let reply = api.get(&path).await;
            let page = records(&reply);
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
    /// The ticket that each create was answered with.
    created: BTreeMap<String, Value>,
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
                    let ticket = &result["ticket"];
                    self.highest = self.highest.max(id(ticket));
                    let before = self.created.insert(subject.clone(), ticket.clone());
                    assert!(
                        before.as_ref().is_none_or(|b| b == ticket),
                        "{subject} is {before:?} and {ticket}"
                    );
                }
                Some(409 | 503) => {}
                _ => panic!("batch: {result}"),
            }
        }
        subjects.iter().all(|subject| self.created.contains_key(subject))
    }
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
                            let mut told = told.borrow_mut();
                            told.highest = told.highest.max(id(&reply.body));
                            assert_eq!(told.created.insert(subject, reply.body), None);
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
                        *known = reply.version().max(*known);
                        if !tag.is_empty() {
                            assert_eq!(reply.version(), version(&tag) + 1, "written over another's change");
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
fn run(seed: u64) -> Result<(), String> {
    simulate(seed, async move {
        let mut rng = Rng::with_seed(seed);
        // Some runs answer from the index. Others give up on the index and walk the buckets, and some of
        // these return to the index.
        let most_keys = if rng.bool() { 12_000 } else { 5 };
        let most_ids = if rng.bool() { 1000 } else { 3 };
        let settings = Settings { settle: SETTLE, most_keys, most_ids, ..Settings::default() };
        let api = Simulation::start(seed, settings).await;
        // Tickets lie in two buckets, after some empty ones.
        let base = 1000 * rng.u64(1..4) - rng.u64(1..20);
        api.model.skip_to(base);
        let customer = api.caller_of(1).await;
        api.model.set(Faults::everything());
        let mut stream = Stream::start(&api, Rng::with_seed(!seed));
        let told = Rc::new(RefCell::new(Acknowledged { highest: base + 1, ..Acknowledged::default() }));
        // A deployment is under way: some instances give new tickets another status and priority than others.
        let lists = PresetLists {
            statuses: "assigned, open, resolved, closed",
            priorities: "high, low",
            ..PresetLists::default()
        };
        let deployed = [api.clone(), api.with_presets(&lists)];
        let writers: Vec<_> = (0..5)
            .map(|n| {
                let api = deployed[n as usize % 2].clone();
                tokio::task::spawn_local(writer(api, n, base, rng.fork(), Rc::clone(&told)))
            })
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
                    starter.pass(&api, 100).await;
                    starter
                })
            })
            .collect();
        let (mut connector, mut tail) = (Connector::default(), Tail::default());
        let mut followers = [Place::Cursor, Place::Since].map(Follower::new);
        let mut of_customer = Follower::new(Place::Both);
        while writers.iter().any(|writer| !writer.is_finished()) {
            for poller in &mut pollers {
                poller.pass(&api, rng.usize(1..6)).await;
            }
            connector.pass(&api, rng.usize(1..6)).await;
            tail.pass(&api).await;
            QUEUES[rng.usize(..QUEUES.len())].read(&api).await?;
            for follower in &mut followers {
                follower.pass(&api, rng.usize(1..6)).await;
            }
            of_customer.pass(&customer, rng.usize(1..6)).await;
            stream.pass().await;
            tokio::time::sleep(Duration::from_millis(rng.u64(100..4000))).await;
        }
        for writer in writers {
            writer.await.map_err(|panic| panic.to_string())?;
        }
        // Everything is written and settled. After one more pass every copy is complete.
        tokio::time::sleep(3 * SETTLE).await;
        for poller in &mut pollers {
            poller.pass(&api, 3).await;
        }
        connector.pass(&api, 3).await;
        tail.pass(&api).await;
        let mut started = Vec::new();
        for starter in starters {
            let mut starter = starter.await.map_err(|panic| panic.to_string())?;
            starter.pass(&api, 100).await;
            started.push(starter);
        }

        let mut queues = Vec::new();
        for queue in &QUEUES {
            queues.push((queue, queue.read(&api).await?));
        }

        stream.replay().await;
        tokio::time::sleep(SETTLE + Duration::from_secs(1)).await;
        for follower in &mut followers {
            follower.pass(&api, 3).await;
        }
        of_customer.pass(&customer, 3).await;
        let table = table(&api).await;
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
        let histories = recorded(&api, &table).await?;
        let mut late = Follower::new(Place::Cursor);
        late.pass(&api, 1000).await;
        read_all(&followers, &late, &of_customer, &histories, &stream.given_up)?;
        kept(&late.seen, &table)?;
        for (subject, sent) in told.unheard {
            let reply = sent.await.map_err(|panic| panic.to_string())?;
            if reply.status == 201 && told.created.get(&subject) != Some(&reply.body) {
                return Err(format!("{subject} was answered with {} and another", reply.body));
            }
        }
        Ok(())
    })
}

/// Checks that the readers of the feed have read an event of every version, and none else.
fn read_all(
    followers: &[Follower; 2],
    late: &Follower,
    of_customer: &Follower,
    histories: &Histories,
    given_up: &BTreeSet<(u64, u64)>,
) -> Result<(), String> {
    let [by_cursor, by_since] = followers;
    for (reader, follower) in [("by cursor", by_cursor), ("from the start", late)] {
        events::exact(&follower.seen, histories, given_up)
            .map_err(|what| format!("events {reader}: {what}"))?;
    }
    let since: BTreeSet<_> = by_since.seen.iter().map(|event| event["id"].as_str()).collect();
    let all: BTreeSet<_> = late.seen.iter().map(|event| event["id"].as_str()).collect();
    if since != all {
        return Err(format!("events by since: {since:?}, not {all:?}"));
    }
    let seen: Vec<_> = of_customer.seen.iter().map(events::version).collect();
    let should = events::of_customer(&late.seen, 1);
    if seen.len() != should.len() || seen.iter().copied().collect::<BTreeSet<_>>() != should {
        return Err(format!("events of a customer: {seen:?}, not {should:?}"));
    }
    let foreign = |event: &&Value| !event["customerID"].is_null() && event["customerID"] != 1;
    match of_customer.seen.iter().find(foreign) {
        Some(event) => Err(format!("events of a customer: {event}")),
        None => Ok(()),
    }
}

/// Checks that the last event of a ticket shows it as it is, and that none of a deleted one shows what it was.
fn kept(events: &[Value], table: &Copy) -> Result<(), String> {
    let shown = ["status", "ticketType", "ticketPriority", "owner"];
    for (id, record) in table {
        let is_of = |event: &&Value| events::version(event).0 == *id;
        let is_deleted = !record["deletedDate"].is_null();
        let versions = events.iter().filter(is_of);
        let last = versions.clone().map(events::version).max();
        for event in versions.filter(|event| is_deleted || Some(events::version(event)) == last) {
            if shown.iter().any(|name| event[name] != record[name]) {
                return Err(format!("{event} is of {record}"));
            }
        }
    }
    Ok(())
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
    for (subject, ticket) in &told.created {
        let id = &id(ticket);
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
        if reply.status == 200 && reply.version() < *least {
            return Err(format!("ticket {id} is at version {}, and was at {least}", reply.version()));
        }
    }
    Ok(())
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "configuration of the tests")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

/// Runs the seeds on every core, and returns the first failure, if any.
pub(crate) fn first_inexact(
    seeds: std::ops::Range<u64>,
    run: fn(u64) -> Result<(), String>,
) -> Option<(u64, String)> {
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
                    let exact = std::panic::catch_unwind(|| run(seed));
                    if let Err(what) = exact.unwrap_or_else(|_| Err("panicked, as said above".into())) {
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
    let seeds = first..first + number("EXACTNESS_SEEDS", 8);
    if let Some((seed, what)) = first_inexact(seeds, run) {
        panic!("seed {seed}: {what}");
    }
}

#[test]
fn a_run_can_be_repeated() {
    let injected = |seed| {
        simulate(seed, async {
            let api = Simulation::start(seed, Settings { settle: SETTLE, ..Settings::default() }).await;
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
