//! Sync clients that follow the documented procedures (`docs/sync.md`), and the truth that their copies are compared
//! with.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::simulation::{Reply, Simulation};

/// A copy: the newest record of each ticket.
pub type Copy = BTreeMap<u64, Value>;

/// The id of a record.
pub fn id(record: &Value) -> u64 {
    record["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
}

/// The records of a list's reply.
pub fn records(reply: &Reply) -> &[Value] {
    reply.body.as_array().unwrap_or_else(|| panic!("a list, not {reply:?}"))
}

/// Applies the records that are newer than those in the copy, by `(id, updatedDate)`.
pub fn apply(copy: &mut Copy, records: &[Value]) {
    for record in records {
        let newer = copy
            .get(&id(record))
            .is_none_or(|old| old["updatedDate"].as_str() < record["updatedDate"].as_str());
        if newer {
            copy.insert(id(record), record.clone());
        }
    }
}

/// Every record in the table, read when nothing fails or lies any more.
pub async fn table(api: &Simulation) -> Copy {
    api.model.set(Default::default());
    api.model.lie(None);
    let mut table = Copy::new();
    let mut page = Some("/tickets/?includeDeleted=true".to_owned());
    while let Some(path) = page {
        let reply = api.get(&path).await;
        apply(&mut table, records(&reply));
        page = reply.next();
    }
    table
}

/// A client that polls and keeps `Sync-Until`. It follows `Link`, or loops on `idAfter` until `[]`. Now and
/// then it starts over with an empty copy.
pub struct Poller {
    path: &'static str,
    pub copy: Copy,
    since: Option<String>,
    follows_link: bool,
    restarts: bool,
}

impl Poller {
    pub fn new(path: &'static str, follows_link: bool, restarts: bool) -> Self {
        Self { path, copy: Copy::new(), since: None, follows_link, restarts }
    }

    pub async fn pass(&mut self, api: &Simulation, limit: usize) {
        if self.restarts && fastrand::u32(..4) == 0 {
            (self.copy, self.since) = (Copy::new(), None);
        }
        let since = self.since.as_ref().map(|since| format!("&updatedSince={since}")).unwrap_or_default();
        let query = format!("includeDeleted=true&limit={limit}{since}");
        let mut reply = api.get(&format!("{}?{query}", self.path)).await;
        let until = reply.header("sync-until").to_owned();
        loop {
            apply(&mut self.copy, records(&reply));
            let next = if self.follows_link {
                reply.next()
            } else {
                let last = records(&reply).last();
                last.map(|last| format!("{}?{query}&idAfter={}", self.path, id(last)))
            };
            let Some(next) = next else { break };
            reply = api.get(&next).await;
        }
        self.since = Some(until);
    }
}

/// A client that reads no header but `Link`, asks for settled records, and keeps the greatest `updatedDate`.
#[derive(Default)]
pub struct Connector {
    pub copy: Copy,
    greatest: Option<String>,
}

impl Connector {
    pub async fn pass(&mut self, api: &Simulation, limit: usize) {
        let mut page = Some(self.first_page(limit));
        while let Some(path) = page {
            page = self.load(api, &path).await;
            // A connector loads each page before it gets the next one. Others write meanwhile.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }

    /// Where the next pass begins.
    pub fn first_page(&self, limit: usize) -> String {
        let since = self.greatest.as_ref().map(|since| format!("&updatedSince={since}")).unwrap_or_default();
        format!("/tickets/?settled=true&includeDeleted=true&limit={limit}{since}")
    }

    /// Loads a page, and returns where the next one is.
    pub async fn load(&mut self, api: &Simulation, path: &str) -> Option<String> {
        let reply = api.get(path).await;
        apply(&mut self.copy, records(&reply));
        let dates = records(&reply).iter().filter_map(|record| record["updatedDate"].as_str());
        self.greatest = self.greatest.take().into_iter().chain(dates.map(str::to_owned)).max();
        reply.next()
    }
}

/// A reader of the feed of events, as docs/events.md describes it.
pub struct Follower {
    follows: Place,
    /// The events read, in their order.
    pub seen: Vec<Value>,
    /// Where the next pass begins, as a part of a query.
    place: String,
}

/// What a reader of events keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The id of the last event: it gets each event once.
    Cursor,
    /// The first page's `Sync-Until`: it gets each event at least once.
    Since,
    /// The id of the last event, and the last page's `Sync-Until`: it gets each event once, and reads no others twice.
    Both,
}

impl Follower {
    pub fn new(follows: Place) -> Self {
        Self { follows, seen: Vec::new(), place: String::new() }
    }

    pub async fn pass(&mut self, api: &Simulation, limit: usize) {
        let mut reply = api.get(&format!("/events/?limit={limit}{}", self.place)).await;
        let since = |reply: &Reply| format!("&since={}", reply.header("sync-until"));
        let first = since(&reply);
        loop {
            self.seen.extend(records(&reply).iter().cloned());
            let Some(next) = reply.next() else { break };
            reply = api.get(&next).await;
        }
        let last = self.seen.last().and_then(|event| event["id"].as_str());
        let after = last.map(|last| format!("&after={last}")).unwrap_or_default();
        self.place = match self.follows {
            Place::Cursor => after,
            Place::Since => first,
            Place::Both => after + &since(&reply),
        };
    }
}

/// A client that follows new tickets by id alone: once it has seen 43, it has seen 42 or never will.
#[derive(Default)]
pub struct Tail {
    pub seen: Vec<u64>,
}

impl Tail {
    pub async fn pass(&mut self, api: &Simulation) {
        loop {
            let after = self.seen.last().copied().unwrap_or(0);
            let reply = api.get(&format!("/tickets/?includeDeleted=true&idAfter={after}")).await;
            let page = records(&reply);
            if page.is_empty() {
                return;
            }
            self.seen.extend(page.iter().map(id));
        }
    }
}
