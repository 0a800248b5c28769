//! Lists: order, bounds, pages and filters, and what a copy needs to stay in sync.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use support::{Answer, Api, Options, fresh_customer, time};
use tickets_cli::server::gateway::Payload;
use tickets_domain::{JsonObject, PresetLists, Presets, TicketInput, Timestamp};
use tickets_http::reply::MAX_REPLY;
use tickets_repository::operator::seed::{MAX_CHUNK, SeedTicket};

use super::{assert_problem, id, on_a_clock, three};

#[tokio::test(flavor = "multi_thread")]
async fn lists_ascend_by_id_and_every_bound_is_as_documented() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        let path = format!("/customers/{customer}/tickets/");
        let list = async |query: &str| {
            let answer = api.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/json");
            answer.ids()
        };
        assert_eq!(api.get(&path).await.json(), json!(tickets));
        assert_eq!(list(&format!("idAfter={}", ids[0])).await, ids[1..]);
        assert_eq!(list(&format!("idAfter={}", ids[2])).await, [0; 0]);
        assert_eq!(list("idAfter=-1").await, ids);
        let date = |n: usize| tickets[n]["createdDate"].as_str().unwrap();
        // Bounds are inclusive: the ticket with exactly this time is listed.
        assert!(list(&format!("createdSince={}", date(1))).await.contains(&ids[1]));
        assert!(list(&format!("updatedSince={}", date(2))).await.contains(&ids[2]));
        assert!(list(&format!("updatedUntil={}", date(0))).await.contains(&ids[0]));
        assert_eq!(list("updatedSince=2100-01-01").await, [0; 0]);
        assert_eq!(list("updatedUntil=2000-01-01").await, [0; 0]);

        let changed = api.patch(&format!("/tickets/{}", ids[0]), &json!({"status": "closed"})).await.json();
        let since = changed["updatedDate"].as_str().unwrap();
        assert!(list(&format!("updatedSince={since}")).await.contains(&ids[0]));
        assert!(
            !list(&format!("createdSince={since}&limit=1000")).await.contains(&ids[0]),
            "created earlier"
        );

        for spelled in [
            "2026-01-01",
            "2026-01-01T00:00",
            "2026-01-01%2000:00:00",
            "2026-01-01T02:00:00%2B02:00",
            "2026-01-01T02:00:00+02:00",
            "2026-01-01T02:00:00.000000%2B0200",
            "2026-01-01T00:00:00.000Z",
        ] {
            assert_eq!(list(&format!("updatedSince={spelled}")).await, ids, "{spelled}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_to_the_end_and_no_further() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        for extra in ["", "&updatedSince=2026-01-01T00:00:00%2B01:00", "&includeDeleted=true&settled=false"] {
            for limit in 1..=4 {
                let pages = api.pages(&format!("/customers/{customer}/tickets/?limit={limit}{extra}")).await;
                let walked: Vec<u64> = pages.iter().flat_map(Answer::ids).collect();
                assert_eq!(walked, ids);
                // A response that holds everything has no Link, so no page is superfluous.
                assert_eq!(pages.len(), 3usize.div_ceil(limit), "limit {limit}");
            }
        }
        let mut after = 0;
        let mut walked = Vec::new();
        loop {
            let page = api.get(&format!("/customers/{customer}/tickets?limit=2&idAfter={after}")).await.ids();
            let Some(last) = page.last() else { break };
            after = *last;
            walked.extend(page);
        }
        assert_eq!(walked, ids, "without reading Link");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_holds_what_is_asked_for_and_says_what_it_cannot_answer() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let mut ids = Vec::new();
        for (status, owner, due) in [
            ("open", json!("Grace"), json!("2026-11-24")),
            ("assigned", json!("grace"), json!("2026-11-24T15:00:00Z")),
            ("assigned", json!("ada"), json!("2026-11-25")),
            ("resolved", json!("grace"), json!(null)),
            ("closed", json!("ada"), json!("2026-11-01")),
        ] {
            let mut body = json!({"customerID": customer, "subject": "s", "status": status, "owner": owner});
            if !due.is_null() {
                body["ticketFollowupDate"] = due;
            }
            let created = api.post(&body).await;
            ids.push(created.json()["id"].as_str().unwrap().to_owned());
        }
        let list = format!("/customers/{customer}/tickets/");
        let found = async |query: &str| -> Vec<usize> {
            let records = api.get(&format!("{list}?{query}")).await.json();
            let records = records.as_array().unwrap_or_else(|| panic!("{query}: {records}")).clone();
            records.iter().map(|record| 1 + ids.iter().position(|id| record["id"] == **id).unwrap()).collect()
        };
        for (query, expected) in [
            ("open=true", vec![1, 2, 3]),
            ("open=false", vec![4, 5]),
            ("status=ASSIGNED,closed", vec![2, 3, 5]),
            ("status=ASSIGNED&status=closed", vec![2, 3, 5]),
            ("open=true&status=closed", vec![]),
            ("owner=GRACE", vec![1, 2, 4]),
            ("owner=grace&open=true&limit=1", vec![1]),
            ("followupUntil=2026-11-24", vec![1, 2, 5]),
            ("followupUntil=2026-11-24T14:59:59Z", vec![1, 5]),
            ("open=true&followupUntil=2026-11-24&owner=grace&owner=ada&idAfter=0", vec![1, 2]),
            ("owner=nobody", vec![]),
            ("actionUntil=2030-01-01", vec![]),
            ("open=true&includeDeleted=true&createdSince=2020-01-01", vec![1, 2, 3]),
        ] {
            assert_eq!(found(query).await, expected, "{query}");
        }
        api.delete(&format!("/tickets/{}", ids[0])).await;
        assert_eq!(found("open=true&includeDeleted=true").await, [2, 3], "a deleted ticket has no status");

        // The list of all tickets also contains those of other tests. Filters that no index can answer are
        // refused.
        let all = api.get("/tickets/?open=true&owner=grace").await.json();
        assert!(all.as_array().unwrap().iter().any(|record| record["id"] == *ids[1]));
        let refused = api.get("/tickets/?owner=grace").await;
        assert_eq!(refused.status, 400);
        let error = &refused.json()["errors"][0];
        assert_eq!(error["field"], "owner");
        assert!(error["detail"].as_str().unwrap().starts_with("needs open=true beside it"), "{error}");
        let refused = api.get(&format!("{list}?status=done")).await;
        assert_eq!(refused.status, 400);
        let detail = "must be one of open, assigned, resolved, closed";
        assert_eq!(refused.json()["errors"], json!([{"field": "status", "detail": detail}]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_all_tickets_has_those_of_every_customer() {
    for api in Api::each().await {
        let (_, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        let since = tickets[0]["createdDate"].as_str().unwrap();
        for query in [String::new(), format!("&updatedSince={since}"), format!("&createdSince={since}")] {
            let listed = api.get(&format!("/tickets/?idAfter={}{query}", ids[0] - 1)).await;
            assert!(listed.ids().is_sorted() && ids.iter().all(|id| listed.ids().contains(id)), "{query}");
            assert!(listed.json().as_array().unwrap().contains(&tickets[1]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn include_deleted_shows_tombstones() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        api.delete(&format!("/tickets/{}", ids[1])).await;
        let path = format!("/customers/{customer}/tickets/");
        assert_eq!(api.get(&path).await.ids(), [ids[0], ids[2]]);
        assert_eq!(api.get(&format!("{path}?includeDeleted=false")).await.ids(), [ids[0], ids[2]]);
        for query in ["includeDeleted=true", "includeDeleted=1&updatedSince=2026-01-01"] {
            let list = api.get(&format!("{path}?{query}")).await;
            assert_eq!(list.ids(), ids, "{query}");
            let tombstone = &list.json()[1];
            let names: Vec<&String> = tombstone.as_object().unwrap().keys().collect();
            assert_eq!(names, ["createdDate", "customerID", "deletedDate", "id", "updatedDate"]);
            assert_eq!(tombstone["updatedDate"], tombstone["deletedDate"]);
            assert_eq!(tombstone["createdDate"], tickets[1]["createdDate"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_refused_and_not_ignored() {
    for api in Api::each().await {
        for path in ["/tickets/", "/customers/1/tickets/"] {
            let refused =
                api.get(&format!("{path}?updateSince=2026-01-01&limit=0&idAfter=x&settled=maybe")).await;
            assert_problem(&refused, 400, &["idAfter", "limit", "settled", "updateSince"]);
            assert!(refused.text.contains("did you mean updatedSince?"), "{}", refused.text);
            assert_problem(&api.get(&format!("{path}?limit=1001")).await, 400, &["limit"]);
            assert_eq!(api.get(&format!("{path}?limit=1000&idAfter=9007199254740991")).await.status, 200);
            assert_problem(&api.get(&format!("{path}?limit=1&limit=2")).await, 400, &["limit"]);
            assert_problem(&api.get(&format!("{path}?updatedSince=yesterday")).await, 400, &["updatedSince"]);
            let moving = api.get(&format!("{path}?settled=true&idAfter=5")).await;
            assert_problem(&moving, 400, &["settled"]);
            assert!(moving.text.contains("updatedUntil"), "{}", moving.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_until_is_the_settle_window_ago_and_settled_holds_back_what_is_fresher() {
    for api in Api::each().await {
        let before = tickets_domain::Clock::system().now();
        let (customer, _) = three(&api).await;
        let path = format!("/customers/{customer}/tickets/");
        for list in [&path, "/tickets/?limit=1&updatedSince=2026-01-01"] {
            let answer = api.get(list).await;
            let until = support::time(answer.header("sync-until"));
            let now = tickets_domain::Clock::system().now();
            let window = std::time::Duration::from_secs(10);
            assert!(before.minus(window) <= until && until <= now.minus(window), "{until}");
        }
        assert_eq!(api.get(&format!("{path}?settled=true")).await.ids(), [0; 0], "created just now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_time_means_the_same_in_a_query_and_in_a_body() {
    let forms = [
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("2026-01-31T10:20", "2026-01-31T10:20:00.000Z"),
        ("2026-01-31 10:20", "2026-01-31T10:20:00.000Z"),
        ("2026-01-31T10:20:30", "2026-01-31T10:20:30.000Z"),
        ("2026-01-31 10:20:30.4", "2026-01-31T10:20:30.400Z"),
        ("2026-01-31T10:20:30.456Z", "2026-01-31T10:20:30.456Z"),
        ("2026-01-31t10:20:30.456999z", "2026-01-31T10:20:30.456Z"),
        ("2026-01-31T10:20:30+02:00", "2026-01-31T08:20:30.000Z"),
        ("2026-01-31T00:20:30.5+02:00", "2026-01-30T22:20:30.500Z"),
        ("2026-01-31 20:20:30-05:30", "2026-02-01T01:50:30.000Z"),
        ("2026-01-31T10:20:30.456789+0200", "2026-01-31T08:20:30.456Z"),
    ];
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        for slash in ["", "/"] {
            let path = format!("/customers/{customer}/tickets{slash}");
            for (form, means) in forms {
                // Encoded correctly, and as people write it: a space as `+`, and the `+` of an offset
                // unencoded.
                let careful = form.replace('+', "%2B").replace(' ', "%20");
                for written in [careful, form.replace(' ', "+")] {
                    let until = written.replace("2026", "2096");
                    let query =
                        format!("limit=1&createdSince={written}&updatedSince={written}&updatedUntil={until}");
                    let link = api.get(&format!("{path}?{query}")).await.next().expect("two more tickets");
                    let expected = [
                        ("limit", "1"),
                        ("createdSince", means),
                        ("updatedSince", means),
                        ("updatedUntil", &means.replace("2026", "2096")),
                        ("idAfter", tickets[0]["id"].as_str().unwrap()),
                    ];
                    assert_eq!(pairs(&link), owned(expected), "{written}");
                }
            }
            for bad in
                ["", "now", "1700000000", "2026-02-30", "2026-1-2", "2026-01-31T25:00", "2026-01-31T10"]
            {
                let query = format!("createdSince={bad}&updatedSince={bad}&updatedUntil={bad}");
                let refused = api.get(&format!("{path}?{query}")).await;
                assert_problem(&refused, 400, &["createdSince", "updatedSince", "updatedUntil"]);
            }
        }
        let path = format!("/tickets/{}", tickets[0]["id"].as_str().unwrap());
        for (form, means) in forms {
            let changed =
                api.patch(&path, &json!({"ticketFollowupDate": form, "ticketActionRequired": form})).await;
            // A date stays a date: it is the same day in every reader's time zone.
            let means = if form.len() == 10 { form } else { means };
            for field in ["ticketFollowupDate", "ticketActionRequired"] {
                assert_eq!(changed.json()[field], means, "{form}: {changed:?}");
            }
        }
        for bad in [json!(""), json!("now"), json!("2026-02-30"), json!(1_700_000_000), json!(["2026-01-01"])]
        {
            let refused =
                api.patch(&path, &json!({"ticketFollowupDate": bad, "ticketActionRequired": bad})).await;
            assert_problem(&refused, 422, &["ticketActionRequired", "ticketFollowupDate"]);
        }
    }
}

/// The names and values of a URL's query.
fn pairs(reference: &str) -> BTreeSet<(String, String)> {
    let (_, query) = reference.split_once('?').expect("a query");
    let decode = |text: &str| text.replace("%3A", ":");
    let pairs: Vec<_> = query.split('&').map(|pair| pair.split_once('=').expect("a pair")).collect();
    let set = pairs.iter().map(|(name, value)| (decode(name), decode(value))).collect::<BTreeSet<_>>();
    assert_eq!(set.len(), pairs.len(), "{query} says nothing twice");
    set
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> BTreeSet<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_the_same_path_and_query_after_the_last_id() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        for slash in ["", "/"] {
            let path = format!("/customers/{customer}/tickets{slash}");
            let bare = api.get(&format!("{path}?limit=2")).await;
            let second = tickets[1]["id"].as_str().unwrap();
            let next = bare.next().unwrap();
            assert!(next.starts_with(&format!("{path}?")), "{next}");
            assert_eq!(pairs(&next), owned([("limit", "2"), ("idAfter", second)]));

            let asked = owned([
                ("limit", "1"),
                ("includeDeleted", "true"),
                ("createdSince", "2020-01-01T00:00:00.000Z"),
                ("updatedSince", "2020-01-02T00:00:00.000Z"),
                ("updatedUntil", "2099-01-03T00:00:00.000Z"),
            ]);
            let query: Vec<_> = asked.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (mut asked_for, mut walked) = (format!("{path}?{}&idAfter=0", query.join("&")), Vec::new());
            loop {
                let page = api.get(&asked_for).await;
                assert_eq!(page.ids().len(), 1);
                walked.extend(page.ids());
                let Some(next) = page.next() else { break };
                let mut expected = asked.clone();
                expected.insert(("idAfter".into(), walked.last().unwrap().to_string()));
                assert_eq!(pairs(&next), expected);
                asked_for = next;
            }
            assert_eq!(walked, tickets.iter().map(id).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_a_change_like_others() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let path = format!("/customers/{customer}/tickets/?includeDeleted=true");
        let changed =
            api.patch(&format!("/tickets/{}", id(&tickets[1])), &json!({"owner": "ada"})).await.json();
        assert_eq!(api.delete(&format!("/tickets/{}", id(&tickets[1]))).await.status, 204);
        let tombstone = api.get(&path).await.json()[1].clone();
        assert!(tombstone["updatedDate"].as_str() > changed["updatedDate"].as_str(), "{tombstone}");
        let since = tombstone["updatedDate"].as_str().unwrap();
        assert!(api.get(&format!("{path}&updatedSince={since}")).await.ids().contains(&id(&tickets[1])));
        // Deleted tickets do not use up places on pages that leave them out.
        let listed = api.get(&format!("/customers/{customer}/tickets/?limit=2")).await;
        assert_eq!((listed.ids(), listed.next()), (vec![id(&tickets[0]), id(&tickets[2])], None));
        let until = changed["updatedDate"].as_str().unwrap();
        assert!(!api.get(&format!("{path}&updatedUntil={until}")).await.ids().contains(&id(&tickets[1])));
    }
}

/// Appends tickets with these bodies, all created at `at`.
pub(super) async fn append(api: &Api, bodies: impl IntoIterator<Item = Value>, at: Timestamp) {
    let presets = Presets::parse(&PresetLists::default()).unwrap();
    let sample = |body: Value| {
        let object = JsonObject::parse(body.to_string().as_bytes()).unwrap();
        SeedTicket { fields: TicketInput::create(object, &presets).unwrap(), created: at, updated: at }
    };
    let (tickets, mut chunk, mut bytes) = (api.tickets().await, Vec::new(), 0);
    for body in bodies {
        let size = body.to_string().len();
        // An attempt has a second, and a debug build beside other tests takes long for a large ticket.
        if chunk.len() == MAX_CHUNK || bytes + size > 500_000 {
            tickets.append(&"seed".parse().unwrap(), &std::mem::take(&mut chunk)).await.unwrap();
            bytes = 0;
        }
        bytes += size;
        chunk.push(sample(body));
    }
    tickets.append(&"seed".parse().unwrap(), &chunk).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_compared_as_numbers() {
    let api = Api::start_with(Options::default()).await;
    let bodies = (1..=1001).map(|n| json!({"customerID": 7, "subject": n.to_string()}));
    append(&api, bodies, time("2026-01-05")).await;
    for path in ["/tickets", "/customers/7/tickets"] {
        for filter in ["", "&updatedSince=2026-01-05", "&createdSince=2026-01-05&includeDeleted=true"] {
            for slash in ["", "/"] {
                for after in [8, 9, 98, 99, 997, 998] {
                    let page = api.get(&format!("{path}{slash}?limit=3&idAfter={after}{filter}")).await;
                    assert_eq!(page.ids(), [after + 1, after + 2, after + 3], "{path} {filter}");
                    assert_eq!(page.next().is_some(), after < 998, "{path} {filter} after {after}");
                }
                assert_eq!(api.get(&format!("{path}{slash}?idAfter=999{filter}")).await.ids(), [1000, 1001]);
                assert_eq!(api.get(&format!("{path}{slash}?idAfter=1001{filter}")).await.text, "[]");
            }
            // The largest page, and one more ticket.
            let pages = api.pages(&format!("{path}?limit=1000{filter}")).await;
            let walked: Vec<_> = pages.iter().map(Answer::ids).collect();
            assert_eq!(walked, [(1..=1000).collect::<Vec<_>>(), vec![1001]], "{path} {filter}");
        }
        let everything = api.get(path).await;
        assert_eq!((everything.ids().len(), everything.next()), (1001, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_tickets_ends_before_it_is_too_large() {
    // Not under `cargo lambda watch`: it answers the function before it has read the reply, and sometimes
    // never reads the rest of a reply of several megabytes.
    for payload in [Payload::Rest, Payload::Http] {
        let options = Options { payload, without_history: true, ..Options::default() };
        let api = Api::start_with(options).await;
        let customer = fresh_customer().get();
        // Quotes double in JSON, and again in a Lambda's reply: only control characters grow more.
        let body =
            json!({"customerID": customer, "subject": "large", "ticketContent": "\"".repeat(256 * 1024)});
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(api.create(&body).await);
        }
        for query in ["", "?updatedSince=2026-01-01"] {
            let pages = api.pages(&format!("/customers/{customer}/tickets/{query}")).await;
            assert!(pages.len() > 1, "they do not fit one page");
            assert!(pages.iter().all(|page| page.status == 200 && page.text.len() < 6_291_556));
            assert_eq!(pages.iter().flat_map(Answer::ids).collect::<Vec<_>>(), ids);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_what_fits_a_reply_and_not_a_ticket_more() {
    let api = Api::start_with(Options::default()).await;
    // In a reply, quotes take four bytes and control characters seven: the most that a ticket's text can
    // take.
    let contents = ["\"".repeat(256 * 1024), "\u{1}".repeat(256 * 1024), "ü".repeat(128 * 1024)];
    let bodies = contents.iter().cycle().take(18).enumerate().map(
        |(n, content)| json!({"customerID": 7, "subject": format!("large {n}"), "ticketContent": content}),
    );
    append(&api, bodies, time("2026-01-05")).await;
    let escaped = |text: &str| serde_json::to_string(text).unwrap().len();
    for (path, first) in [
        ("/tickets/", 1),
        ("/tickets/?updatedSince=2026-01-05&idAfter=8", 9),
        ("/customers/7/tickets?idAfter=8", 9),
    ] {
        let pages = api.pages(path).await;
        let lists: Vec<Vec<Value>> =
            pages.iter().map(|page| serde_json::from_str(&page.text).unwrap()).collect();
        assert_eq!(lists.iter().flatten().map(id).collect::<Vec<_>>(), (first..=18).collect::<Vec<_>>());
        for record in lists.iter().flatten() {
            let content = &contents[(id(record) as usize - 1) % contents.len()];
            assert!(record["ticketContent"] == **content, "ticket {} is whole", record["id"]);
        }
        for (at, page) in pages.iter().enumerate() {
            let size = escaped(&page.text);
            assert!(size < MAX_REPLY, "{path}: {size}");
            if let Some(next) = lists.get(at + 1) {
                let more = escaped(&next[0].to_string());
                // Headers take some space in the reply, so a little may stay unused.
                assert!(size + more > MAX_REPLY - 32 * 1024, "{path}: page {at} had room for another ticket");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_until_is_exactly_the_configured_window_before_the_request() {
    for (payload, seconds) in [(Payload::Rest, 10), (Payload::Http, 10), (Payload::Rest, 30)] {
        let environment = vec![("SETTLE_SECONDS", seconds.to_string())];
        let (api, clock) = on_a_clock(payload, "2026-03-01T00:00:00.005Z", environment).await;
        let created = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
        let stamp = time(created["updatedDate"].as_str().unwrap());
        assert_eq!(stamp, time("2026-03-01T00:00:00.005Z"));
        // One millisecond before the change settles, and just when it has.
        for (since, settled) in [(seconds * 1000 - 1, vec![]), (seconds * 1000, vec![1u64])] {
            clock.store(stamp.millis() + since, Ordering::SeqCst);
            let until = Timestamp::from_millis(stamp.millis() + since - seconds * 1000).unwrap();
            for path in ["/tickets", "/tickets/", "/customers/7/tickets", "/customers/7/tickets/"] {
                for query in ["", "updatedSince=2026-03-01", "createdSince=2026-03-01"] {
                    let fresh = api.get(&format!("{path}?{query}")).await;
                    assert_eq!((fresh.header("sync-until"), fresh.ids()), (&*until.to_string(), vec![1]));
                    let held_back = api.get(&format!("{path}?settled=true&{query}")).await;
                    assert_eq!(held_back.ids(), settled, "{path}?{query} {since} ms later");
                    assert_eq!(held_back.header("sync-until"), until.to_string());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_settled_list_share_the_horizon_of_the_first() {
    for payload in [Payload::Rest, Payload::Http] {
        for (path, filter) in [
            ("/tickets/", "&updatedSince=2026-01-31"),
            ("/tickets", ""),
            ("/customers/7/tickets", "&createdSince=2026-01-31"),
        ] {
            // The test crosses the end of a month.
            let (api, clock) = on_a_clock(payload, "2026-01-31T23:59:50Z", Vec::new()).await;
            for n in 0..4 {
                api.create(&json!({"customerID": 7, "subject": n.to_string()})).await;
                clock.fetch_add(1, Ordering::SeqCst);
            }
            clock.fetch_add(15_000, Ordering::SeqCst);
            let first = api.get(&format!("{path}?settled=true&limit=1{filter}")).await;
            let horizon = first.header("sync-until").to_owned();
            assert_eq!((first.ids(), horizon.as_str()), (vec![1], "2026-01-31T23:59:55.004Z"));

            // Between two pages, one ticket changes, one is created, and time passes. Both have settled by
            // the clock, but not by the horizon of the first page.
            api.patch("/tickets/3", &json!({"owner": "ada"})).await;
            api.create(&json!({"customerID": 7, "subject": "new"})).await;
            clock.fetch_add(60_000, Ordering::SeqCst);
            let (mut page, mut walked) = (first, Vec::new());
            loop {
                walked.extend(page.ids());
                let Some(next) = page.next() else { break };
                let asked = pairs(&next);
                assert!(asked.contains(&("settled".into(), "true".into())), "{next}");
                assert!(asked.contains(&("updatedUntil".into(), horizon.clone())), "{next}");
                page = api.get(&next).await;
            }
            assert_eq!(walked, [1, 2, 4], "{path}");
            let next = api.get(&format!("{path}?settled=true&updatedSince={horizon}")).await;
            assert_eq!(next.ids(), [3, 5], "what was held back is in the next pass");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updated_until_cannot_move_a_settled_list_past_the_horizon() {
    let (api, clock) = on_a_clock(Payload::Rest, "2026-03-01", Vec::new()).await;
    api.create(&json!({"customerID": 7, "subject": "settled"})).await;
    clock.fetch_add(20_000, Ordering::SeqCst);
    api.create(&json!({"customerID": 7, "subject": "fresh"})).await;
    let ahead = "updatedUntil=2030-01-01";
    for path in ["/tickets", "/customers/7/tickets"] {
        assert_eq!(api.get(&format!("{path}?settled=true&{ahead}")).await.ids(), [1]);
        assert_eq!(api.get(&format!("{path}?settled=true&idAfter=0&{ahead}")).await.ids(), [1]);
        assert_eq!(api.get(&format!("{path}?{ahead}")).await.ids(), [1, 2]);
        // Without a first page there is no horizon. The refusal says so, and what to do.
        let refused = api.get(&format!("{path}?settled=true&idAfter=0")).await;
        assert_problem(&refused, 400, &["settled"]);
        assert!(refused.text.contains("updatedUntil") && refused.text.contains("Link"), "{}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_ticket_leaves_a_departure_only_in_its_former_customer_s_list() {
    for api in Api::each().await {
        let (old, new) = (fresh_customer(), fresh_customer());
        let id = api.create(&json!({"customerID": old.get(), "subject": "moves"})).await;
        let moved = api.patch(&format!("/tickets/{id}"), &json!({"customerID": new.get()})).await.json();
        let left = api.get(&format!("/customers/{old}/tickets/?includeDeleted=true")).await.json();
        let departure = json!([{
            "id": id.to_string(), "customerID": old.get(), "createdDate": moved["createdDate"],
            "updatedDate": moved["updatedDate"], "movedDate": moved["updatedDate"],
        }]);
        assert_eq!(left, departure);
        assert_eq!(api.get(&format!("/customers/{old}/tickets/")).await.json(), json!([]));
        let of_new = format!("/customers/{new}/tickets/?includeDeleted=true");
        assert_eq!(api.get(&of_new).await.json(), json!([moved]));
        let since = moved["updatedDate"].as_str().unwrap();
        let all = format!("/tickets/?includeDeleted=true&idAfter={}&updatedSince={since}&limit=1", id - 1);
        assert_eq!(api.get(&all).await.json(), json!([moved]), "in the list of all it is still there");

        // The ticket comes back, so the list no longer says that it left.
        let back = api.patch(&format!("/tickets/{id}"), &json!({"customerID": old.get()})).await.json();
        let list = api.get(&format!("/customers/{old}/tickets/?includeDeleted=true")).await.json();
        assert_eq!(list, json!([back]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_has_the_epoch_of_its_table() {
    for api in Api::each().await {
        let id = api.create(&json!({"customerID": 7, "subject": "s"})).await;
        let epoch = api.get(&format!("/tickets/?idAfter={}", id - 1)).await.header("sync-epoch").to_owned();
        assert!(epoch.len() == 16 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit()), "{epoch}");
        for list in [
            "/tickets/?updatedSince=2999-01-01",
            "/customers/7/tickets/?limit=1",
            "/customers/7/tickets/?updatedSince=2999-01-01",
            "/customers/8/tickets/?limit=1",
        ] {
            assert_eq!(api.get(list).await.header("sync-epoch"), epoch, "{list}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_that_is_not_understood_is_ignored() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(api.create(&json!({"customerID": customer.get(), "subject": n.to_string()})).await);
        }
        let after = ids[0] - 1;
        for continuation in ["w", "x", "", "i", "iAA", "iAQEB", "%C3%A9"] {
            let list = format!("updatedSince=2020-01-01&idAfter={after}&limit=3&continuation={continuation}");
            assert_eq!(api.get(&format!("/tickets/?{list}")).await.ids()[0], ids[0], "{continuation}");
            let own = api.get(&format!("/customers/{customer}/tickets/?{list}")).await;
            assert_eq!(own.ids(), ids, "{continuation}");
        }
    }
}
