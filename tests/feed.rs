//! Tests of the feed of events over HTTP.

use reqwest::Method;
use serde_json::{Value, json};
use support::{Answer, Api, Options, answer, fresh_customer, time};
use tickets_cli::server::gateway::Payload;
use tickets_domain::id::CustomerId;
use tickets_domain::{Clock, TicketFields};
use tickets_repository::operator::seed::SeedTicket;

/// APIs, one for each event format, whose functions are a minute ahead of what records changes: so nobody has to wait
/// for the settle window.
async fn ahead() -> Vec<Api> {
    let mut apis = Vec::new();
    for payload in [Payload::Rest, Payload::Http] {
        let clock = Some(Clock::new(|| Clock::system().now().plus(std::time::Duration::from_secs(60))));
        apis.push(Api::start_with(Options { payload, clock, ..Options::default() }).await);
    }
    apis.retain(Api::records_changes);
    apis
}

/// A page, as soon as it has this many events.
async fn events(api: &Api, key: &str, path: &str, count: usize) -> (Answer, Vec<Value>) {
    for _ in 0..200 {
        let page = answer(api.anonymous(Method::GET, path).bearer_auth(key)).await;
        assert_eq!(page.status, 200, "{page:?}");
        let events = page.json().as_array().expect("a list").clone();
        if events.len() >= count {
            assert_eq!(events.len(), count, "{events:?}");
            return (page, events);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{path} does not come to {count} events");
}

fn versions(events: &[Value]) -> Vec<(String, u64)> {
    let of =
        |event: &Value| (event["ticket"].as_str().unwrap().to_owned(), event["version"].as_u64().unwrap());
    events.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_tells_what_changed_over_all_tickets_without_what_it_says() {
    for api in ahead().await {
        let customer = fresh_customer().get();
        let body =
            json!({"customerID": customer, "subject": "secret", "owner": "ada", "ticketType": "billing"});
        let id = api.create(&body).await;
        let updated =
            api.patch(&format!("/tickets/{id}"), &json!({"status": "assigned", "owner": null})).await;
        let (page, both) = events(&api, &api.key, "/events/", 2).await;
        let by = api.key.split('_').nth(1).unwrap();
        assert_eq!(
            both[1],
            json!({
                "id": both[1]["id"], "type": "ticket.updated", "ticket": id.to_string(), "customerID": customer,
                "version": 2, "date": updated.json()["updatedDate"], "by": by, "fields": ["owner", "status"],
                "status": "assigned", "ticketType": "billing", "ticketPriority": "normal",
            })
        );
        assert_eq!((&both[0]["type"], &both[0]["owner"]), (&json!("ticket.created"), &json!("ada")));
        assert!(!page.text.contains("secret") && page.header("link").is_empty());
        assert!(time(page.header("sync-until")) > Clock::system().now(), "the functions are ahead");
        let list = api.get("/tickets/").await;
        assert_eq!(page.header("sync-epoch"), list.header("sync-epoch"));

        assert_eq!(api.delete(&format!("/tickets/{id}")).await.status, 204);
        let (_, all) = events(&api, &api.key, "/events", 3).await;
        for (event, before) in all.iter().zip(&both) {
            assert_eq!((&event["id"], &event["fields"]), (&before["id"], &before["fields"]));
        }
        assert_eq!((&all[2]["type"], &all[2]["fields"]), (&json!("ticket.deleted"), &json!([])));
        for event in &all {
            assert_eq!(event["customerID"], customer);
            for name in ["status", "ticketType", "ticketPriority", "owner"] {
                assert!(event.get(name).is_none(), "{event}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_feed_follow_each_other_and_the_last_id_is_the_cursor() {
    for api in ahead().await {
        let ids: Vec<_> = {
            let mut ids = Vec::new();
            for _ in 0..5 {
                ids.push(api.create(&json!({"customerID": 7, "subject": "s"})).await);
            }
            ids
        };
        let (_, all) = events(&api, &api.key, "/events/", 5).await;
        let sorted: Vec<_> = all.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert!(sorted.is_sorted(), "{sorted:?}");
        let mut found: Vec<u64> = versions(&all).iter().map(|(ticket, _)| ticket.parse().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, ids);
        let pages = api.pages("/events/?limit=2&type=ticket.created,ticket.deleted").await;
        let sizes: Vec<_> = pages.iter().map(|page| page.json().as_array().unwrap().len()).collect();
        assert_eq!(sizes, [2, 2, 1]);
        let link = pages[0].header("link");
        let place = format!(
            "/events/?type=ticket.created%2Cticket.deleted&limit=2&after={}>; rel=\"next\"",
            sorted[1]
        );
        assert!(link.ends_with(&place), "{link}");
        let paged: Vec<Value> =
            pages.iter().flat_map(|page| page.json().as_array().unwrap().clone()).collect();
        assert_eq!(paged, all);
        let last = api.get(&format!("/events/?after={}", sorted[4])).await;
        assert_eq!((last.json(), last.header("link")), (json!([]), ""));
        // A page that is just full has no next one.
        let (page, _) = events(&api, &api.key, "/events/?limit=5", 5).await;
        assert_eq!(page.header("link"), "");
        assert_eq!(api.get("/events/?type=ticket.updated&type=ticket.deleted").await.json(), json!([]));
        let (page, _) =
            events(&api, &api.key, &format!("/events/?since={}", page.header("sync-until")), 0).await;
        assert_eq!(page.header("link"), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_younger_than_the_settle_window_is_in_the_feed() {
    let api = Api::start_with(Options::default()).await;
    if !api.records_changes() {
        return;
    }
    let id = api.create(&json!({"customerID": 7, "subject": "s"})).await;
    api.history(id, 1).await;
    let before = Clock::system().now();
    let page = api.get("/events/").await;
    assert_eq!(page.json(), json!([]));
    let ten_seconds = std::time::Duration::from_secs(10);
    let until = time(page.header("sync-until"));
    assert!(before.minus(ten_seconds) <= until && until <= Clock::system().now().minus(ten_seconds));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_a_query_of_the_feed_is_named() {
    for api in Api::each().await {
        let id = "019ab697e8000000000000002b0000000002";
        for (query, field) in [
            ("after=x".to_owned(), "after"),
            (format!("after={}", &id[1..]), "after"),
            (format!("after={}", id.to_uppercase()), "after"),
            (format!("after={id}&after={id}"), "after"),
            ("since=yesterday".into(), "since"),
            ("type=created".into(), "type"),
            ("type=ticket.created,".into(), "type"),
            ("limit=0".into(), "limit"),
            ("limit=1001".into(), "limit"),
            ("idAfter=1".into(), "idAfter"),
        ] {
            let refused = api.get(&format!("/events/?{query}")).await;
            assert_eq!((refused.status, refused.fields()), (400, vec![field.to_owned()]), "{query}");
        }
        for query in [
            format!("after={id}"),
            format!("since=2026-11-01&after={id}&limit=1000"),
            "since=2026-11-01T00:00:00 02:00".into(), // A plus that was not encoded
            "type[]=ticket.created&type[]=ticket.deleted".into(),
        ] {
            assert_eq!(api.get(&format!("/events/?{query}")).await.status, 200, "{query}");
        }
        let other = answer(api.request(Method::POST, "/events/")).await;
        assert_eq!((other.status, other.header("allow")), (405, "GET, HEAD, OPTIONS"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_sees_the_events_of_its_customer_and_that_a_ticket_has_left() {
    for api in ahead().await {
        let [first, second] = [fresh_customer(), fresh_customer()];
        let key = async |customer: CustomerId| api.make_key(|key| key.customer = Some(customer)).await;
        let (theirs, ours) = (key(first).await, key(second).await);
        let id = api.create(&json!({"customerID": first.get(), "subject": "s", "owner": "ada"})).await;
        let path = format!("/tickets/{id}");
        api.patch(&path, &json!({"customerID": second.get(), "owner": "grace"})).await;
        api.patch(&path, &json!({"users": "u"})).await;
        let (_, all) = events(&api, &api.key, "/events/", 3).await;
        let (_, left) = events(&api, &theirs, "/events/", 2).await;
        assert_eq!(left[0], all[0]);
        let mut gone = all[1].clone();
        for hidden in ["customerID", "status", "ticketPriority", "owner"] {
            assert!(gone.as_object_mut().unwrap().remove(hidden).is_some());
        }
        assert_eq!(left[1], gone, "not to whom it went, nor how it is now");
        let (page, came) = events(&api, &ours, "/events/", 2).await;
        assert_eq!(came, all[1..]);
        assert!(!page.text.contains(&first.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_which_little_is_seen_goes_on_at_a_time_and_names_no_event_that_is_hidden() {
    let clock = Some(Clock::new(|| Clock::system().now().plus(std::time::Duration::from_secs(60))));
    let api = Api::start_with(Options { clock, most_keys: Some(4), ..Options::default() }).await;
    if !api.records_changes() {
        return;
    }
    let mut last = 0;
    for _ in 0..20 {
        last = api.create(&json!({"customerID": 7, "subject": "s"})).await;
    }
    let own = fresh_customer();
    api.patch(&format!("/tickets/{last}"), &json!({"customerID": own.get()})).await;
    let key = api.make_key(|key| key.customer = Some(own)).await;
    api.history(last, 2).await;
    let (mut path, mut found, mut empty) = ("/events/?limit=1".to_owned(), Vec::new(), 0);
    loop {
        let page = answer(api.anonymous(Method::GET, &path).bearer_auth(&key)).await;
        let events = page.json().as_array().unwrap().clone();
        let Some(next) = page.next() else {
            found.extend(events);
            break;
        };
        assert!(events.len() == 1 || next.contains("&since=2"), "{next}");
        empty += usize::from(events.is_empty());
        found.extend(events);
        path = next;
    }
    assert_eq!(versions(&found), [(last.to_string(), 2)]);
    assert!(empty > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seeded_is_no_event_until_it_changes() {
    for api in ahead().await {
        let at = time("2026-01-02");
        let fields: TicketFields = serde_json::from_value(json!({"customerID": 7, "subject": "s"})).unwrap();
        let seed = SeedTicket { fields, created: at, updated: at };
        api.tickets().await.append(&"seed".parse().unwrap(), &[seed]).await.unwrap();
        api.history(1, 1).await;
        api.patch("/tickets/1", &json!({"users": "u"})).await;
        let (_, changed) = events(&api, &api.key, "/events/", 1).await;
        assert_eq!(versions(&changed), [("1".to_owned(), 2)]);
    }
}
