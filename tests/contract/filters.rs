//! Filters of lists: what is compared with what, how clients write them, and what a page costs in which little
//! matches.

use serde_json::json;
use support::{Answer, Api, Options, counts_units, fresh_customer, time};

use super::lists::append;
use super::{assert_problem, id, three};

#[tokio::test(flavor = "multi_thread")]
async fn names_are_compared_as_people_read_them() {
    for api in Api::each().await {
        let customer = fresh_customer();
        let owned = async |owner: &str| {
            api.create(&json!({"customerID": customer.get(), "subject": "s", "owner": owner})).await
        };
        let smith = owned("Smith, John").await;
        // `é` as one character, and as two.
        let (one, two) = (owned("Jos\u{e9}").await, owned("JOSE\u{301}").await);
        let grace = owned("grace ").await;
        for (query, expected) in [
            ("owner=Smith%2C%20John", vec![smith]),
            ("owner=smith,+john", vec![smith]),
            ("owner=%20SMITH,%20JOHN%20", vec![smith]),
            ("owner=Smith", vec![]),
            ("owner=Jos%C3%A9", vec![one, two]),
            ("owner=jose%CC%81", vec![one, two]),
            ("owner=Jose", vec![]),
            ("owner=Grace", vec![grace]),
            ("owner=grace%20", vec![grace]),
            ("owner=grace&owner=Smith,%20John", vec![smith, grace]),
            ("owner=grace,Jos%C3%A9", vec![]),
        ] {
            // Answered by the customer's index, by that of statuses, by both, and by that of changes.
            for path in [
                format!("/customers/{customer}/tickets/?{query}"),
                format!("/tickets/?open=true&{query}&idAfter={}", smith - 1),
                format!("/customers/{customer}/tickets/?open=true&{query}"),
                format!("/tickets/?updatedSince=2026-01-01&{query}&idAfter={}", smith - 1),
            ] {
                let listed = api.get(&path).await;
                assert_eq!(listed.status, 200, "{path}: {listed:?}");
                let mut ids = listed.ids();
                // Other tests may use the same names.
                ids.retain(|id| [smith, one, two, grace].contains(id));
                assert_eq!(ids, expected, "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preset_is_matched_in_any_unicode_form_and_kept_as_it_is_configured() {
    let (composed, decomposed) = ("Ge\u{e4}ndert", "gea\u{308}NDERT");
    for (configured, given) in [(composed, decomposed), (decomposed, composed)] {
        let environment = vec![
            ("TICKET_STATUSES", format!("open, {configured}")),
            ("TICKET_OWNERS", "Ada, Jos\u{e9}".into()),
        ];
        let api = Api::start_with(Options { environment, ..Options::default() }).await;
        let body = json!({"customerID": 7, "subject": "s", "status": given, "owner": " JOSE\u{301}"});
        let created = api.post(&body).await.json();
        assert_eq!((&created["status"], &created["owner"]), (&json!(configured), &json!("Jos\u{e9}")));
        for spelled in [composed, decomposed] {
            let query = format!("status={spelled}&owner=ada,jos\u{e9}");
            assert_eq!(api.get(&format!("/tickets/?{query}")).await.ids(), [1], "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_values_are_understood_in_each_form_that_clients_write() {
    for api in Api::each().await {
        let customer = fresh_customer().get();
        let mut ids = Vec::new();
        for status in ["open", "assigned", "closed"] {
            ids.push(api.create(&json!({"customerID": customer, "subject": "s", "status": status})).await);
        }
        for query in [
            "status=open,assigned",
            "status=open&status=assigned",
            "status[]=open&status[]=assigned",
            "status%5B%5D=open&status%5B%5D=assigned",
            "status[0]=open&status[1]=assigned",
            "status%5B0%5D=assigned&status=open",
        ] {
            let pages = api.pages(&format!("/customers/{customer}/tickets/?limit=1&{query}")).await;
            assert_eq!(pages.iter().flat_map(Answer::ids).collect::<Vec<_>>(), ids[..2], "{query}");
            let next = pages[0].next().unwrap();
            assert!(next.contains("&status=") && !next.contains("%5B") && !next.contains('['), "{next}");
        }
        // Filters that take one value take no array.
        let refused = api.get("/tickets/?limit[]=5&open[0]=true&statuses[]=open").await;
        assert_problem(&refused, 400, &["limit[]", "open[0]", "statuses[]"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_with_nothing_behind_it_is_refused() {
    for api in Api::each().await {
        for path in ["/tickets/", "/customers/1/tickets/"] {
            for query in ["open=&includeDeleted=&settled=", "open&includeDeleted&settled"] {
                let refused = api.get(&format!("{path}?{query}")).await;
                assert_problem(&refused, 400, &["includeDeleted", "open", "settled"]);
                let errors = refused.json()["errors"].clone();
                let detail = "must be true or false, and is empty";
                assert!(errors.as_array().unwrap().iter().all(|error| error["detail"] == detail), "{errors}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_can_be_asked_for_by_their_ids() {
    for api in Api::each().await {
        let (customer, tickets) = three(&api).await;
        let ids: Vec<u64> = tickets.iter().map(id).collect();
        let other = api.create(&json!({"customerID": fresh_customer().get(), "subject": "another's"})).await;
        let [a, b, c] = [ids[0], ids[1], ids[2]];
        let own = format!("/customers/{customer}/tickets/");
        for (query, expected) in [
            (format!("id={c},{a}"), vec![a, c]),
            (format!("id={c}&id={a}&id={c}"), vec![a, c]),
            (format!("id[]={c}&id[]={a}"), vec![a, c]),
            (format!("id={a},9007199254740991"), vec![a]),
            ("id=9007199254740991".into(), vec![]),
            // Other filters are conditions.
            (format!("id={a},{b}&idAfter={a}"), vec![b]),
            (format!("id={a},{b}&updatedSince=2100-01-01"), vec![]),
            (format!("id={a},{b}&status=closed"), vec![]),
            (format!("id={a},{b}&open=true&createdSince=2020-01-01"), vec![a, b]),
            (format!("id={a}&owner=nobody"), vec![]),
        ] {
            for path in [&own, "/tickets/"] {
                let listed = api.get(&format!("{path}?{query}")).await;
                assert_eq!((listed.ids(), listed.next()), (expected.clone(), None), "{path}?{query}");
                assert!(!listed.header("sync-until").is_empty() && !listed.header("sync-epoch").is_empty());
            }
        }
        assert_eq!(api.get(&format!("/tickets/?id={b}")).await.json(), json!([tickets[1]]));
        assert_eq!(api.get(&format!("/tickets/?id={b},{other}")).await.ids(), [b, other]);
        assert_eq!(
            api.get(&format!("{own}?id={b},{other}")).await.ids(),
            [b],
            "another customer's is absent"
        );
        let pages = api.pages(&format!("{own}?id={a},{b},{c}&limit=1")).await;
        assert_eq!(pages.iter().map(Answer::ids).collect::<Vec<_>>(), [[a], [b], [c]]);

        // What is deleted or has moved is shown as in other lists.
        api.delete(&format!("/tickets/{a}")).await;
        api.patch(&format!("/tickets/{b}"), &json!({"customerID": fresh_customer().get()})).await;
        let query = format!("id={a},{b},{c}");
        assert_eq!(api.get(&format!("{own}?{query}")).await.ids(), [c]);
        let gone = api.get(&format!("{own}?{query}&includeDeleted=true")).await.json();
        assert!(gone[0].get("deletedDate").is_some() && gone[1].get("movedDate").is_some(), "{gone}");
        assert_eq!(gone, api.get(&format!("{own}?includeDeleted=true")).await.json());
        let all = api.get(&format!("/tickets/?{query}&includeDeleted=true")).await.json();
        assert!(all[0].get("deletedDate").is_some() && all[1].get("movedDate").is_none(), "{all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_ids_are_answered_and_one_more_or_none_is_refused() {
    for api in Api::each().await {
        let list = |most: u64| (1..=most).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(api.get(&format!("/tickets/?id={}", list(100))).await.status, 200);
        let no_ids = "must be a whole number from 1 to 9007199254740991, or several with commas between";
        for (query, detail) in [
            (format!("id={}", list(101)), "must be at most 100 ids"),
            ("id=".into(), no_ids),
            ("id=1,x".into(), no_ids),
        ] {
            for path in ["/tickets", "/customers/7/tickets/"] {
                let refused = api.get(&format!("{path}?{query}")).await;
                assert_problem(&refused, 400, &["id"]);
                assert_eq!(refused.json()["errors"][0]["detail"], detail);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_work_queue_may_be_empty_and_its_link_goes_on() {
    let options = Options { most_vain_units: Some(5.0), without_history: true, ..Options::default() };
    let api = Api::start_with(options).await;
    let owned = |n| json!({"customerID": 7, "subject": "s", "owner": if n == 200 { "grace" } else { "ada" }});
    append(&api, (1..=200).map(owned), time("2026-01-05")).await;
    for path in [
        "/tickets/?open=true&owner=grace",
        "/tickets/?open=true&owner=grace&limit=10",
        "/customers/7/tickets/?owner=grace",
        "/customers/7/tickets/?owner=grace&open=true&limit=1",
        "/tickets/?owner=grace&updatedSince=2026-01-05",
        "/customers/7/tickets/?owner=grace&updatedSince=2026-01-05",
    ] {
        let pages = api.pages(path).await;
        if counts_units() {
            assert!(pages.len() > 2 && pages[0].ids().is_empty(), "{path}: {}", pages.len());
        }
        assert_eq!(pages.iter().flat_map(Answer::ids).collect::<Vec<_>>(), [200], "{path}");
        let mut after = 0;
        for next in pages.iter().filter_map(Answer::next) {
            let reached = next.rsplit_once("idAfter=").unwrap().1.parse::<u64>().unwrap();
            assert!(reached > after && next.contains("owner=grace"), "{next}");
            after = reached;
        }
    }
    // A list that is no work queue has no empty page before its last.
    for path in ["/tickets/?limit=70", "/customers/7/tickets/?limit=70"] {
        for since in ["", "&updatedSince=2026-01-05"] {
            let pages = api.pages(&format!("{path}{since}")).await;
            let lengths: Vec<_> = pages.iter().map(|page| page.ids().len()).collect();
            assert_eq!(lengths, [70, 70, 60], "{path}{since}");
        }
    }
}
