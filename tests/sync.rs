//! Cases that break the sync of other systems, one test each. The procedures are those of `docs/sync.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::clients::{self, Copy, apply};
use support::model::{Faults, Point};
use support::simulation::{Simulation, simulate};
use support::{Answer, Api, Options, answer, time};
use tickets_domain::Settings;
use tickets_domain::{Clock, JsonObject, PresetLists, Presets, TicketInput, Timestamp};
use tickets_repository::operator::seed::{MAX_CHUNK, SeedTicket};
use tickets_repository::{DynamoDb, Tickets, schema};

const SETTLE: Duration = Duration::from_secs(10);

async fn api(most_keys: usize) -> Simulation {
    Simulation::start(1, Settings { settle: SETTLE, most_keys, ..Settings::default() }).await
}

/// Appends `count` tickets of three customers with this content, all created at `at`.
async fn fill(api: &Simulation, count: u64, at: Timestamp, content: &str) {
    let dynamodb = DynamoDb::new(&api.model.sdk_config());
    let tickets = Tickets::new(dynamodb, schema::TICKETS, api.clock.clone(), Settings::default());
    let presets = Presets::parse(&PresetLists::default()).unwrap();
    let samples: Vec<_> = (0..count)
        .map(|n| {
            let body = json!({"customerID": 1 + n % 3, "subject": n.to_string(), "ticketContent": content});
            let body = body.to_string();
            let fields = TicketInput::create(JsonObject::parse(body.as_bytes()).unwrap(), &presets).unwrap();
            SeedTicket { fields, created: at, updated: at }
        })
        .collect();
    for chunk in samples.chunks(MAX_CHUNK) {
        tickets.append(&"seed".parse().unwrap(), chunk).await.unwrap();
    }
}

/// Runs one pass: its records, and the `Sync-Until` of its first page.
async fn pass(api: &Simulation, path: &str, query: &str) -> (Vec<Value>, String) {
    pages(api, &format!("{path}?{query}")).await
}

/// Reads a page and those after it.
async fn pages(api: &Simulation, first: &str) -> (Vec<Value>, String) {
    let mut reply = api.get(first).await;
    let until = reply.header("sync-until").to_owned();
    let mut records = Vec::new();
    loop {
        assert_eq!(reply.status, 200, "{reply:?}");
        records.extend(reply.body.as_array().unwrap().clone());
        match reply.next() {
            Some(next) => reply = api.get(&next).await,
            None => return (records, until),
        }
    }
}

fn ids(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["id"].as_str().unwrap().parse().unwrap()).collect()
}

async fn post(api: &Simulation, subject: &str) -> Value {
    let created =
        api.call("POST", "/tickets/", &[], Some(&json!({"customerID": 1, "subject": subject}))).await;
    assert_eq!(created.status, 201);
    created.body
}

async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[test]
fn as_many_changes_in_one_millisecond_as_a_list_reads_keys_all_arrive_and_so_does_one_more() {
    simulate(1, async {
        let api = api(2000).await;
        let stamp = api.clock.now();
        fill(&api, 2000, stamp, "").await;
        wait(2 * SETTLE).await;
        for query in [format!("updatedSince={stamp}"), format!("updatedSince={stamp}&settled=true&limit=100")]
        {
            let (records, _) = pass(&api, "/tickets/", &query).await;
            assert_eq!(ids(&records), (1..=2000).collect::<Vec<_>>(), "{query}");
        }
        // One more than a list reads from the index, so the buckets are walked instead.
        post(&api, "one more").await;
        let (records, _) = pass(&api, "/tickets/", &format!("updatedSince={stamp}")).await;
        assert_eq!(records.len(), 2001);
        let customer = pass(&api, "/customers/2/tickets/", &format!("updatedSince={stamp}")).await.0;
        assert_eq!(ids(&customer), (1..=2000).filter(|id| id % 3 == 2).collect::<Vec<_>>());
    });
}

#[test]
fn a_walk_past_more_buckets_and_bytes_than_a_reply_holds_ends_with_the_last() {
    simulate(1, async {
        // Eight buckets of less than a megabyte, so that four are read at the same time.
        const LAST: u64 = 7600;
        let api = api(20_000).await;
        fill(&api, LAST, api.clock.now(), &"x".repeat(650)).await;
        let (records, _) = pass(&api, "/tickets/", "limit=1000").await;
        assert_eq!(ids(&records), (1..=LAST).collect::<Vec<_>>());
        let (mut after, mut pages) = (0, Vec::new());
        loop {
            let page = ids(clients::records(&api.get(&format!("/tickets/?idAfter={after}")).await));
            let Some(last) = page.last() else { break };
            after = *last;
            pages.push(page);
        }
        assert!(pages.len() > 1, "they are too large for one reply");
        assert_eq!(pages.concat(), (1..=LAST).collect::<Vec<_>>(), "a reader that loops until []");
    });
}

#[test]
fn a_write_during_a_walk_is_in_it_or_in_the_next() {
    simulate(1, async {
        let api = api(20_000).await;
        fill(&api, 30, api.clock.now(), "").await;
        wait(2 * SETTLE).await;
        let first = api.get("/tickets/?limit=10&includeDeleted=true").await;
        let until = first.header("sync-until").to_owned();
        let mut copy = Copy::new();
        apply(&mut copy, first.body.as_array().unwrap());
        // Changes behind the reader's position and before it, and a new ticket.
        for id in [3, 25] {
            api.call("PATCH", &format!("/tickets/{id}"), &[], Some(&json!({"users": "during"}))).await;
        }
        api.call("DELETE", "/tickets/5", &[], None).await;
        post(&api, "during").await;
        apply(&mut copy, &pages(&api, &first.next().unwrap()).await.0);
        assert_eq!((copy[&25]["users"].as_str(), copy.len()), (Some("during"), 31));
        assert_eq!(copy[&3].get("users"), None, "changed after it was read");
        let (records, _) =
            pass(&api, "/tickets/", &format!("includeDeleted=true&updatedSince={until}")).await;
        apply(&mut copy, &records);
        let (table, _) = pass(&api, "/tickets/", "includeDeleted=true").await;
        assert_eq!(copy.into_values().collect::<Vec<_>>(), table);
    });
}

#[test]
fn a_delete_between_polls_arrives_as_a_tombstone() {
    simulate(1, async {
        let api = api(20_000).await;
        let id = post(&api, "short-lived").await["id"].as_str().unwrap().to_owned();
        wait(2 * SETTLE).await;
        let (_, until) = pass(&api, "/tickets/", "updatedSince=2026-01-01&includeDeleted=true").await;
        wait(2 * SETTLE).await;
        api.call("DELETE", &format!("/tickets/{id}"), &[], None).await;
        let (records, _) =
            pass(&api, "/tickets/", &format!("includeDeleted=true&updatedSince={until}")).await;
        assert_eq!(records.len(), 1);
        assert!(records[0]["deletedDate"].is_string() && records[0].get("subject").is_none());
    });
}

#[test]
fn a_create_stamped_before_a_poll_that_commits_after_it_is_in_the_next() {
    simulate(1, async {
        let api = api(20_000).await;
        post(&api, "first").await;
        wait(2 * SETTLE).await;
        // A job polls while the write is on its way.
        let creating = {
            let api = api.clone();
            async move { post(&api, "late").await }
        };
        let (put, creating) = api.stop(Point::Effect, "PutItem", "late", creating).await;
        // Longer than clocks differ.
        wait(Duration::from_millis(500)).await;
        let (records, until) = pass(&api, "/tickets/", "updatedSince=2026-01-01").await;
        assert_eq!(records.len(), 1, "not there yet");
        let polled = api.clock.now().to_string();
        put.release();
        let late = creating.await.unwrap();
        assert!(late["createdDate"].as_str().unwrap() < polled.as_str(), "stamped before the poll");
        let (records, _) = pass(&api, "/tickets/", &format!("updatedSince={until}")).await;
        assert_eq!(records, [late]);
    });
}

#[test]
fn a_reader_of_the_greatest_date_alone_sees_every_settled_change() {
    simulate(1, async {
        let api = api(20_000).await;
        let (mut copy, mut greatest) = (Copy::new(), "1970-01-01".to_owned());
        for round in 0..12 {
            post(&api, &format!("round {round}")).await;
            api.call("PATCH", "/tickets/1", &[], Some(&json!({"users": round.to_string()}))).await;
            wait(Duration::from_secs(3)).await;
            let query = format!("settled=true&limit=2&includeDeleted=true&updatedSince={greatest}");
            let (records, _) = pass(&api, "/tickets/", &query).await;
            let now = api.clock.now().minus(SETTLE).to_string();
            for record in &records {
                let updated = record["updatedDate"].as_str().unwrap();
                assert!(updated <= now.as_str(), "{updated} is fresher than {now}");
                greatest = greatest.max(updated.to_owned());
            }
            apply(&mut copy, &records);
        }
        wait(2 * SETTLE).await;
        apply(&mut copy, &pass(&api, "/tickets/", &format!("settled=true&updatedSince={greatest}")).await.0);
        assert_eq!(copy.into_values().collect::<Vec<_>>(), pass(&api, "/tickets/", "").await.0);
    });
}

#[test]
fn a_full_walk_equals_the_sum_of_increments() {
    simulate(1, async {
        for most_keys in [20_000, 3] {
            let api = api(most_keys).await;
            let (mut copy, mut since) = (Copy::new(), None);
            for round in 0..8u64 {
                for n in 0..6 {
                    post(&api, &format!("{round} {n}")).await;
                }
                let (changed, gone) = (1 + round * 3, 2 + round * 5);
                api.call(
                    "PATCH",
                    &format!("/tickets/{changed}"),
                    &[],
                    Some(&json!({"users": round.to_string()})),
                )
                .await;
                api.call("DELETE", &format!("/tickets/{gone}"), &[], None).await;
                let query = since.map(|since| format!("&updatedSince={since}")).unwrap_or_default();
                let (records, until) =
                    pass(&api, "/tickets/", &format!("includeDeleted=true&limit=4{query}")).await;
                apply(&mut copy, &records);
                since = Some(until);
                wait(Duration::from_secs(4)).await;
            }
            let (table, _) = pass(&api, "/tickets/", "includeDeleted=true").await;
            assert_eq!(copy.into_values().collect::<Vec<_>>(), table);
        }
    });
}

#[test]
fn one_millisecond_s_changes_arrive_over_pages_whether_by_index_or_by_bucket() {
    // First as many as one list reads from an index, then a limit far lower: then the buckets are walked, and
    // a customer's pages end early.
    for most_keys in [1100, 100] {
        simulate(1, async {
            let api = api(most_keys).await;
            let stamp = api.clock.now();
            fill(&api, 1100, stamp, "").await;
            wait(2 * SETTLE).await;
            let all: Vec<u64> = (1..=1100).collect();
            let own: Vec<u64> = (2..=1100).step_by(3).collect();
            for (path, expected) in [("/tickets/", all), ("/customers/2/tickets/", own)] {
                if most_keys == 100 && path != "/tickets/" {
                    // A customer's keys come in many short pages. After a number of them the list ends its
                    // page, and continues by `Link`.
                    let short = Faults { short_page: 1.0, only: Some("Query"), ..Faults::default() };
                    api.model.set(short);
                    let first = api.get(path).await;
                    assert!(first.next().is_some() && first.body.as_array().unwrap().len() < expected.len());
                }
                for query in [
                    format!("updatedSince={stamp}&limit=170"),
                    format!("createdSince={stamp}&updatedUntil={stamp}&limit=550"),
                    format!("updatedSince={stamp}&settled=true&includeDeleted=true&limit=380"),
                ] {
                    let (records, _) = pass(&api, path, &query).await;
                    assert_eq!(ids(&records), expected, "{path}?{query} of {most_keys}");
                }
                let (mut after, mut walked) = (0, Vec::new());
                loop {
                    let query = format!("updatedSince={stamp}&limit=500&idAfter={after}");
                    let page = ids(api.get(&format!("{path}?{query}")).await.body.as_array().unwrap());
                    let Some(last) = page.last() else { break };
                    after = *last;
                    walked.extend(page);
                }
                assert_eq!(walked, expected, "{path} looping until [] with {most_keys}");
            }
            let next = Timestamp::from_millis(stamp.millis() + 1).unwrap();
            assert!(pass(&api, "/tickets/", &format!("updatedSince={next}")).await.0.is_empty());
        });
    }
}

/// A copy of one customer's tickets, by one of the documented procedures.
struct Follower {
    what: &'static str,
    path: &'static str,
    key: String,
    settled: bool,
    copy: Copy,
    since: Option<String>,
}

impl Follower {
    /// Runs one pass over every page.
    async fn poll(&mut self, api: &Api) {
        let since = self.since.as_ref().map(|since| format!("&updatedSince={since}")).unwrap_or_default();
        let settled = if self.settled { "&settled=true" } else { "" };
        let mut page_path = format!("{}?includeDeleted=true&limit=2{settled}{since}", self.path);
        let mut until = None;
        loop {
            let page = answer(api.anonymous(Method::GET, &page_path).bearer_auth(&self.key)).await;
            assert_eq!(page.status, 200, "{page:?}");
            until.get_or_insert_with(|| page.header("sync-until").to_owned());
            let records = page.json().as_array().unwrap().clone();
            for record in &records {
                assert_eq!(record["customerID"], 1, "{}: another customer's: {record}", self.what);
                if self.settled {
                    let updated = record["updatedDate"].as_str().unwrap().to_owned();
                    self.since = self.since.take().max(Some(updated));
                }
            }
            apply(&mut self.copy, &records);
            match page.next() {
                Some(next) => page_path = next,
                None => break,
            }
        }
        if !self.settled {
            self.since = until;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_s_copy_is_its_list_and_so_is_that_of_a_key_restricted_to_it() {
    for most_keys in [None, Some(3)] {
        // The test crosses the end of a month.
        let millis = Arc::new(AtomicI64::new(time("2026-02-28T23:59:30Z").millis()));
        let shown = Arc::clone(&millis);
        let clock = Clock::new(move || Timestamp::from_millis(shown.load(Ordering::SeqCst)).unwrap());
        let api = Api::start_with(Options { clock: Some(clock), most_keys, ..Options::default() }).await;
        let restricted = api.make_key(|key| key.customer = Some(1.try_into().unwrap())).await;
        let mut followers: Vec<Follower> = Vec::new();
        for settled in [false, true] {
            for (what, path, key) in [
                ("the customer's list", "/customers/1/tickets/", &api.key),
                ("the customer's list, restricted", "/customers/1/tickets", &restricted),
                ("all that a restricted key sees", "/tickets/", &restricted),
            ] {
                let (key, copy) = (key.clone(), Copy::new());
                followers.push(Follower { what, path, key, settled, copy, since: None });
            }
        }
        for round in 0..14u64 {
            for customer in [1, 2] {
                api.create(&json!({"customerID": customer, "subject": format!("{round} {customer}")})).await;
                millis.fetch_add(1, Ordering::SeqCst);
            }
            let (own, others) = (1 + 2 * (round / 2), 2 + 2 * (round / 2));
            api.patch(&format!("/tickets/{own}"), &json!({"users": round.to_string()})).await;
            api.patch(&format!("/tickets/{others}"), &json!({"users": round.to_string()})).await;
            if round % 4 == 3 {
                api.delete(&format!("/tickets/{own}")).await;
                // The ticket comes to the customer, so it is a change, however old it is.
                api.patch(&format!("/tickets/{others}"), &json!({"customerID": 1})).await;
            }
            millis.fetch_add(4000, Ordering::SeqCst);
            for follower in &mut followers {
                follower.poll(&api).await;
            }
        }
        millis.fetch_add(60_000, Ordering::SeqCst);
        let list: Vec<Answer> = api.pages("/customers/1/tickets/?includeDeleted=true").await;
        let list: Vec<Value> = list.iter().flat_map(|page| page.json().as_array().unwrap().clone()).collect();
        assert!(list.iter().any(|record| record["deletedDate"].is_string()));
        assert!(list.iter().any(|record| record["id"].as_str().unwrap().ends_with(['2', '4', '6', '8'])));
        for mut follower in followers {
            follower.poll(&api).await;
            let copy: Vec<Value> = follower.copy.into_values().collect();
            assert_eq!(copy, list, "{}, settled {}", follower.what, follower.settled);
        }
    }
}
