//! Nothing lost, nothing doubled, nothing missed: random writers against an API on a bad day, while
//! sync clients follow the documented procedures; in the end each copy is what the table is. And each
//! part of the procedure, broken on purpose, is noticed.
//!
//! `EXACTNESS_SEEDS` sets how many seeds are run, `EXACTNESS_FIRST` where they begin; a failure names
//! its seed, which repeats it exactly.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use support::faults::Faults;
use support::simulation::{Reply, Simulation, simulate};
use tickets_repository::Policy;
use tokio::task::LocalSet;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    Nothing,
    /// The settle window covers nothing.
    NoSettling,
    /// Tickets found by an index are fetched as an inconsistent read may find them.
    StaleFetch,
    /// A settled walk's horizon moves from page to page.
    MovingHorizon,
    /// The sequence is advanced outside the transaction.
    SplitCreate,
    /// A client keeps the `Sync-Until` of its last page instead of its first.
    LastSyncUntil,
}

/// A copy: the newest record of each ticket.
type Copy = BTreeMap<u64, Value>;

fn id(record: &Value) -> u64 {
    record["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
}

/// Applies what is newer, by `(id, updatedDate)`.
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

/// Polls, and keeps `Sync-Until`; follows `Link`, or loops on `idAfter` until `[]`.
struct Poller {
    path: &'static str,
    copy: Copy,
    since: Option<String>,
    follows_link: bool,
}

impl Poller {
    async fn pass(&mut self, api: &Simulation, limit: usize, sabotage: Sabotage) {
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
                    .map(|last| format!("{query}&idAfter={}", id(last)))
            };
            let Some(next) = next else { break };
            reply = api.get(&format!("{}?{next}", self.path)).await;
            if sabotage == Sabotage::LastSyncUntil {
                until = reply.header("sync-until").to_owned();
            }
        }
        self.since = Some(until);
    }
}

/// Reads no header but `Link`, asks for what is settled, and keeps the greatest `updatedDate`.
#[derive(Default)]
struct Connector {
    copy: Copy,
    greatest: Option<String>,
}

impl Connector {
    async fn pass(&mut self, api: &Simulation, limit: usize, sabotage: Sabotage) {
        let since = self.greatest.as_ref().map(|since| format!("&updatedSince={since}")).unwrap_or_default();
        let mut query = Some(format!("settled=true&includeDeleted=true&limit={limit}{since}"));
        while let Some(asked) = query {
            let reply = api.get(&format!("/tickets/?{asked}")).await;
            apply(&mut self.copy, &reply);
            let dates = reply
                .body
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|record| record["updatedDate"].as_str());
            self.greatest = self.greatest.take().into_iter().chain(dates.map(str::to_owned)).max();
            query = reply.next().map(|next| match sabotage {
                Sabotage::MovingHorizon => {
                    let kept = next.split('&').filter(|pair| !pair.starts_with("updatedUntil="));
                    format!("{}&updatedUntil=9999-12-31", kept.collect::<Vec<_>>().join("&"))
                }
                _ => next,
            });
            // Between pages a connector loads what it has; meanwhile others write.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
}

/// Follows new tickets by id alone: whoever sees 43 can see 42.
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

/// What writers were told.
#[derive(Default)]
struct Acknowledged {
    /// The id each named request was answered with.
    created: BTreeMap<String, u64>,
    /// The version each ticket had at least.
    versions: BTreeMap<u64, u64>,
    deleted: Vec<u64>,
    /// The highest id a writer may work on.
    highest: u64,
}

fn version(reply: &Reply) -> u64 {
    reply.header("etag").trim_matches('"').parse().unwrap_or(0)
}

async fn writer(api: Simulation, number: u64, base: u64, mut rng: Rng, told: Rc<RefCell<Acknowledged>>) {
    for round in 0..10 {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..2500))).await;
        let highest = told.borrow().highest;
        let target = rng.u64(base + 1..=highest);
        match rng.u32(0..10) {
            0..=3 => {
                let subject = format!("{number}-{round}");
                let body = json!({"customerID": rng.u64(1..4), "subject": subject});
                let named = rng.bool();
                let headers = [("idempotency-key", subject.as_str())];
                loop {
                    let reply =
                        api.call("POST", "/tickets/", if named { &headers } else { &[] }, Some(&body)).await;
                    match reply.status {
                        201 => {
                            let id = id(&reply.body);
                            let mut told = told.borrow_mut();
                            told.highest = told.highest.max(id);
                            assert_eq!(told.created.insert(subject, id), None);
                            break;
                        }
                        // Without a key nobody knows whether a repeat would make a second one.
                        409 | 503 if !named => break,
                        409 | 503 => tokio::time::sleep(Duration::from_millis(rng.u64(1..800))).await,
                        other => panic!("create: {other} {}", reply.body),
                    }
                }
            }
            4..=8 => {
                let mut body = json!({"users": format!("{number}-{round}")});
                if rng.u32(0..4) == 0 {
                    body["customerID"] = json!(rng.u64(1..4));
                }
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
                    404 | 412 | 503 => {}
                    other => panic!("update: {other} {}", reply.body),
                }
            }
            _ => match api.call("DELETE", &format!("/tickets/{target}"), &[], None).await.status {
                204 => told.borrow_mut().deleted.push(target),
                404 | 503 => {}
                other => panic!("delete: {other}"),
            },
        }
    }
}

const SETTLE: Duration = Duration::from_secs(10);

/// One run. `Err` tells what is not exact.
fn run(seed: u64, sabotage: Sabotage) -> Result<(), String> {
    simulate(
        seed,
        LocalSet::new().run_until(async move {
            let mut rng = Rng::with_seed(seed);
            let settle = if sabotage == Sabotage::NoSettling { Duration::ZERO } else { SETTLE };
            // Some runs answer from the index, some give up on it and walk, and some of these leave empty
            // buckets for where the index says.
            let indexed = rng.bool() || sabotage == Sabotage::StaleFetch;
            let most_keys = if indexed { 20_000 } else { 5 };
            let most_buckets = if rng.bool() { 64 } else { 1 };
            let api =
                Simulation::start(seed, Policy { settle, most_keys, most_buckets, ..Policy::default() })
                    .await;
            // Tickets in two buckets, and empty ones before.
            let base = 1000 * rng.u64(1..4) - rng.u64(1..20);
            api.engine.skip_to(base);
            let faults = Faults {
                // Longer than the settle window: nobody promises that such a read is ever current.
                stale_fetch: if sabotage == Sabotage::StaleFetch { 2 * SETTLE } else { Duration::ZERO },
                split_create: sabotage == Sabotage::SplitCreate,
                ..Faults::everything()
            };
            api.engine.set(faults);

            let told = Rc::new(RefCell::new(Acknowledged { highest: base + 1, ..Acknowledged::default() }));
            let writers: Vec<_> = (0..5)
                .map(|n| tokio::task::spawn_local(writer(api.clone(), n, base, rng.fork(), Rc::clone(&told))))
                .collect();
            let lists = [("/tickets/", true), ("/tickets/", false), ("/customers/1/tickets/", true)];
            let mut pollers = lists.map(|(path, follows_link)| Poller {
                path,
                copy: Copy::new(),
                since: None,
                follows_link,
            });
            let (mut connector, mut tail) = (Connector::default(), Tail::default());
            while writers.iter().any(|writer| !writer.is_finished()) {
                for poller in &mut pollers {
                    poller.pass(&api, rng.usize(1..6), sabotage).await;
                }
                connector.pass(&api, rng.usize(1..6), sabotage).await;
                tail.pass(&api).await;
                tokio::time::sleep(Duration::from_millis(rng.u64(100..4000))).await;
            }
            for writer in writers {
                writer.await.map_err(|panic| panic.to_string())?;
            }
            // All is written and settled: one more pass, and everybody has everything.
            tokio::time::sleep(3 * SETTLE).await;
            for poller in &mut pollers {
                poller.pass(&api, 3, sabotage).await;
            }
            connector.pass(&api, 3, sabotage).await;
            tail.pass(&api).await;

            api.engine.set(Faults::default());
            let mut table = Copy::new();
            let mut query = Some("includeDeleted=true".to_owned());
            while let Some(asked) = query {
                let reply = api.get(&format!("/tickets/?{asked}")).await;
                apply(&mut table, &reply);
                query = reply.next();
            }
            let copies =
                [("Link", &pollers[0].copy), ("idAfter", &pollers[1].copy), ("settled", &connector.copy)];
            for (procedure, copy) in copies {
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
            // A customer's list does not tell which tickets have left it; those it has are exact.
            for (id, record) in table.iter().filter(|(_, record)| record["customerID"] == 1) {
                if pollers[2].copy.get(id) != Some(record) {
                    return Err(format!(
                        "customer: ticket {id} is {:?}, not {record}",
                        pollers[2].copy.get(id)
                    ));
                }
            }
            let dense: Vec<u64> = (base + 1..).take(table.len()).collect();
            if !table.keys().eq(&dense) {
                return Err(format!("ids have gaps: {:?}", table.keys()));
            }
            if tail.seen != dense {
                return Err(format!("by id: {:?}, not {dense:?}", tail.seen));
            }
            exact(&api, &table, &told.take()).await
        }),
    )
}

/// Whether the table holds what writers were told.
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
        if table[id].get("deletedDate").is_none() {
            return Err(format!("ticket {id} was deleted, and is {}", table[id]));
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

fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the tests' own configuration")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

/// Runs seeds on every core, and returns the first that is not exact, if one is.
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
fn every_copy_is_what_the_table_is() {
    let first = number("EXACTNESS_FIRST", 1);
    let seeds = first..first + number("EXACTNESS_SEEDS", 200);
    if let Some((seed, what)) = first_inexact(seeds, Sabotage::Nothing) {
        panic!("seed {seed}: {what}");
    }
}

#[test]
fn a_run_can_be_repeated() {
    let injected = |seed| {
        simulate(seed, async {
            let api = Simulation::start(seed, Policy { settle: SETTLE, ..Policy::default() }).await;
            api.engine.set(Faults::everything());
            for n in 0..30 {
                let body = json!({"customerID": 1, "subject": n.to_string()});
                api.call("POST", "/tickets/", &[], Some(&body)).await;
                api.call("GET", "/tickets/?updatedSince=2026-01-01", &[], None).await;
            }
            (api.engine.injected(), api.clock.now())
        })
    };
    let (faults, end) = injected(7);
    assert!(faults.len() >= 8, "every kind of fault happens: {faults:?}");
    assert_eq!(injected(7), (faults, end));
}

/// With this part broken, some copy is not what the table is.
fn is_noticed(sabotage: Sabotage) {
    let noticed = first_inexact(1..201, sabotage);
    let (seed, what) = noticed.unwrap_or_else(|| panic!("{sabotage:?} is not noticed in 200 runs"));
    eprintln!("{sabotage:?} is noticed at seed {seed}: {}", what.chars().take(160).collect::<String>());
}

#[test]
fn a_settle_window_of_nothing_is_noticed() {
    is_noticed(Sabotage::NoSettling);
}

#[test]
fn a_fetch_that_is_not_consistent_is_noticed() {
    is_noticed(Sabotage::StaleFetch);
}

#[test]
fn a_settled_horizon_that_moves_is_noticed() {
    is_noticed(Sabotage::MovingHorizon);
}

#[test]
fn a_sequence_advanced_outside_the_transaction_is_noticed() {
    is_noticed(Sabotage::SplitCreate);
}

#[test]
fn the_sync_until_of_a_later_page_is_noticed() {
    is_noticed(Sabotage::LastSyncUntil);
}
