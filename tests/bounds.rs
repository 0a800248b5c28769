//! Tests that the answer to bad input is short, however bad the input is. Its speed is not tested but
//! measured: `cargo run --release -p tickets-bench --bin bad_input`.

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use support::{Answer, Api, answer};

/// The largest answer to a refused request, in bytes.
const MOST_ANSWERED: usize = 64 * 1024;

/// Member names that make answers long: long names, names close to known ones, and characters that take six
/// bytes in JSON.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z]{1,12}",
        "\\PC{90,110}",
        "\u{1}{90,110}",
        "subjec[a-z]",
        "[\"\\\\🎉]{100}",
        "x{1000}"
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([[[[1]]]])),
        any::<i64>().prop_map(Value::from),
        "\u{1}{0,5000}".prop_map(Value::from),
        "\\PC{0,2000}".prop_map(Value::from),
    ]
}

fn known() -> impl Strategy<Value = String> {
    let names: [&str; 7] =
        ["subject", "customerID", "status", "owner", "ticketFollowupDate", "id", "customerEmail"];
    proptest::sample::select(names.to_vec()).prop_map(str::to_owned)
}

/// An object with up to many wrong members.
fn object(most: usize) -> impl Strategy<Value = Value> {
    let member = (prop_oneof![3 => name(), 1 => known()], value());
    (proptest::collection::vec(member, 1..most), 1usize..200).prop_map(|(members, times)| {
        // Each member several times, under different names: generating is slow, and copies are good enough.
        let of = |(name, value): &(String, Value), n| (format!("{name}{n}"), value.clone());
        let numbered = members.iter().flat_map(|member| (0..times).map(move |n| of(member, n)));
        Value::Object(members.iter().cloned().chain(numbered).collect::<Map<_, _>>())
    })
}

fn body() -> impl Strategy<Value = Value> {
    let batch = (proptest::collection::vec(object(4), 1..4), 1usize..=100);
    let batch = batch.prop_map(|(rows, times)| rows.into_iter().cycle().take(times).collect::<Value>());
    prop_oneof![object(12), batch]
}

fn query() -> impl Strategy<Value = String> {
    let parameter = ("[a-z|{}^%]{1,20}", "[a-z0-9|,{}%]{0,60}", 1usize..500);
    proptest::collection::vec(parameter, 1..8).prop_map(|parameters| {
        let pairs = parameters.iter().flat_map(|(name, value, times)| {
            (0..*times).map(move |n| format!("{}{n}={}", name.replace('%', "%25"), value.replace('%', "%FF")))
        });
        let mut query = pairs.collect::<Vec<_>>().join("&");
        query.truncate(60_000);
        query
    })
}

fn assert_brief(answer: &Answer) -> Result<(), TestCaseError> {
    let start: String = answer.text.chars().take(200).collect();
    prop_assert!((400..500).contains(&answer.status) || answer.status == 207, "{}: {start}", answer.status);
    prop_assert!(answer.text.len() <= MOST_ANSWERED, "{} bytes: {start}", answer.text.len());
    if answer.status == 207 {
        let rows = answer.json();
        // 422, or 400 if a name in the row is too long to be read.
        let refused = |row: &Value| row["status"] == 422 || row["status"] == 400;
        prop_assert!(rows.as_array().unwrap().iter().all(refused), "{start}");
    }
    Ok(())
}

#[test]
fn no_answer_to_a_refused_request_is_larger_than_64_kib() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let apis = runtime.block_on(Api::each());
    let mut cases = TestRunner::new(Cases { cases: 12, failure_persistence: None, ..Cases::default() });
    let brief = cases.run(&(body(), query()), |(body, query)| {
        let mut body = body.to_string().into_bytes();
        // A larger body never reaches a function, and the connection is closed meanwhile.
        body.truncate(5 * 1024 * 1024);
        runtime.block_on(async {
            for api in &apis {
                for (method, path) in [(Method::POST, "/tickets/"), (Method::PATCH, "/tickets/1")] {
                    let request = api.request(method, path).header(CONTENT_TYPE, "application/json");
                    assert_brief(&answer(request.body(body.clone())).await)?;
                }
                for path in ["/tickets/", "/customers/1/tickets/", "/tickets/1/history/", "/events/"] {
                    assert_brief(&api.get(&format!("{path}?{query}")).await)?;
                }
            }
            Ok(())
        })
    });
    brief.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_too_long_for_a_url_is_refused_by_name() {
    for api in Api::each().await {
        // Each of these characters takes three bytes in the URL that is made from the event.
        for query in
            [format!("owner={}", "|".repeat(50_000)), format!("open=true&status={}", "a,".repeat(25_000))]
        {
            let refused = api.get(&format!("/tickets/?{query}")).await;
            assert_eq!(refused.status, 400, "{}", refused.text.len());
            assert!(refused.text.len() <= MOST_ANSWERED);
        }
        let short = api.get("/tickets/?owner=a%7Cb&open=true").await;
        assert_eq!(short.status, 200, "{short:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_lists_its_first_mistakes_and_each_row_counts_the_rest() {
    for api in Api::each().await {
        let wrong: Map<_, _> = (0..30).map(|n| (format!("unknown{n}"), Value::Null)).collect();
        let rows: Value = (0..100).map(|_| Value::Object(wrong.clone())).collect();
        let refused = answer(api.request(Method::POST, "/tickets/").json(&rows)).await;
        assert_eq!(refused.status, 207);
        assert!(refused.text.len() <= MOST_ANSWERED, "{}", refused.text.len());
        let rows = refused.json();
        // Thirty unknown names, and two missing fields.
        assert_eq!(rows[0]["problem"]["errors"].as_array().unwrap().len(), 32);
        assert_eq!(rows[99]["problem"]["errors"].as_array().unwrap().len(), 0);
        let detail = rows[99]["problem"]["detail"].as_str().unwrap();
        assert!(detail.ends_with("; 32 of those listed do not fit here"), "{detail}");
        // The answer to a batch of ordinary mistakes lists all of them.
        let usual: Value =
            (0..100).map(|_| json!({"customerID": 0, "subject": "s", "status": "opne"})).collect();
        let refused = answer(api.request(Method::POST, "/tickets/").json(&usual)).await.json();
        assert!(
            refused
                .as_array()
                .unwrap()
                .iter()
                .all(|row| row["problem"]["errors"].as_array().unwrap().len() == 2)
        );
    }
}

/// A value that is as deep as a body can be: each string is JSON again, under a name by which `serde_json` reads
/// it with a new limit of depth.
fn deep(most: usize) -> String {
    let mut value = "1".to_owned();
    for escaped in std::iter::repeat(["\\u005c", "\\u0022"]) {
        let text = value.replace('\\', escaped[0]).replace('"', escaped[1]);
        let (open, close) = ("[".repeat(120), "]".repeat(120));
        let deeper = format!(r#"{open}{{"$serde_json::private::RawValue":"{text}"}}{close}"#);
        if deeper.len() > most {
            break;
        }
        value = deeper;
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn however_deep_a_body_is_its_field_is_named_and_the_server_goes_on() {
    for api in Api::each().await {
        let id = api.create(&json!({"customerID": 1, "subject": "s"})).await;
        let deep =
            [deep(60_000), deep(1_000_000), format!("{}1{}", "[".repeat(900_000), "]".repeat(900_000))];
        for value in deep {
            let body = format!(r#"{{"customerID":1,"subject":{value}}}"#);
            for (method, path, body) in [
                (Method::POST, "/tickets/", body.clone()),
                (Method::PATCH, &*format!("/tickets/{id}"), body.clone()),
                (Method::POST, "/tickets/", format!("[{body}]")),
            ] {
                let request = api.request(method, path).header(CONTENT_TYPE, "application/json").body(body);
                let refused = answer(request).await;
                let errors = match refused.status {
                    207 => refused.json()[0]["problem"]["errors"].clone(),
                    _ => refused.json()["errors"].clone(),
                };
                let right = json!([{"field": "subject", "detail": "must be a string, not an array"}]);
                assert_eq!(errors, right, "{}", refused.text);
            }
        }
        let magic = json!({"customerID": {"$serde_json::private::RawValue": "42"}, "subject": "s"});
        let refused = answer(api.request(Method::POST, "/tickets/").json(&magic)).await;
        assert_eq!(refused.json()["errors"][0]["detail"], "must be a number, not an object");
        assert_eq!(api.get(&format!("/tickets/{id}")).await.status, 200);
    }
}
