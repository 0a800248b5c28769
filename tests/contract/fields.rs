//! A ticket's fields, their limits and presets, and the configuration that lists them.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use support::{Api, Options, answer, fresh_customer};
use tickets_cli::server::gateway::Payload;
use tickets_domain::input::ASSIGNED;
use tickets_domain::text::TextLimit;
use tickets_domain::ticket::{FieldKind, TEXT_FIELDS, field_names};

use super::{assert_problem, presets, redeployed, ticket};

#[tokio::test(flavor = "multi_thread")]
async fn every_field_comes_back_as_it_was_given() {
    for api in Api::each().await {
        let body = json!({
            "customerID": fresh_customer().get(), "ticketType": "BILLING", "status": "Assigned", "ticketPriority": "high",
            "customerEmail": "ada@example.com", "subject": "Ünï ✓ \"quoted\" \\ <b>", "ticketContent": " line\r\nline\u{1}\u{200b}e\u{301}\u{1f600} ",
            "owner": "grace", "users": "u", "departments": "d", "ticketSuppliers": "",
            "ticketFollowupDate": "2026-12-01", "ticketActionRequired": "2026-12-01T10:00:00.5+02:00",
        });
        for name in field_names().filter(|name| !ASSIGNED.contains(name)) {
            assert!(body.get(name).is_some(), "{name} is new: give it here");
        }
        let id = api.create(&body).await;
        let ticket = api.get(&format!("/tickets/{id}")).await.json();
        for (name, given) in body.as_object().unwrap() {
            let expected = match name.as_str() {
                "ticketType" => json!("billing"),
                "status" => json!("assigned"),
                "ticketActionRequired" => json!("2026-12-01T08:00:00.500Z"),
                _ => given.clone(),
            };
            assert_eq!(ticket[name], expected, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_can_be_sent_back() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        let path = format!("/tickets/{id}");
        let mut fetched = api.get(&path).await.json();
        let same = answer(api.request(Method::PUT, &path).json(&fetched)).await;
        assert_eq!((same.status, same.version(), same.json()), (200, 1, fetched.clone()));
        fetched["owner"] = json!("ada");
        let changed = answer(api.request(Method::PUT, &path).json(&fetched)).await;
        assert_eq!((changed.status, changed.json()["owner"].as_str()), (200, Some("ada")));
        // Sent a second time, as client libraries do when an answer is lost, it changes nothing: its dates are those
        // of the version before, and are ignored.
        let again = answer(api.request(Method::PUT, &path).json(&fetched)).await;
        assert_eq!((again.status, again.text.as_str()), (200, changed.text.as_str()));
        assert_eq!(again.header("etag"), changed.header("etag"));
        // As clients in PHP, Ruby and others write what they have fetched.
        for date in [
            json!("2026-11-28T12:00:00+00:00"),
            json!("2026-11-28 12:00:00 UTC"),
            json!({"date": "2026-11-28 12:00:00.000000", "timezone_type": 2, "timezone": "Z"}),
            json!(1_764_331_200_000_i64),
            json!(null),
            json!([2026, 11, 28]),
        ] {
            for method in [Method::PUT, Method::PATCH] {
                let mut ticket = fetched.clone();
                (ticket["createdDate"], ticket["updatedDate"]) = (date.clone(), date.clone());
                let same = answer(api.request(method, &path).json(&ticket)).await;
                assert_eq!((same.status, same.text.as_str()), (200, changed.text.as_str()), "{date}");
            }
            let new = json!({"customerID": 7, "subject": "s", "updatedDate": date});
            let created = api.post(&new).await;
            if date.is_null() {
                assert_eq!(created.status, 201, "{created:?}");
            } else {
                assert_problem(&created, 422, &["updatedDate"]);
            }
        }
        for other in [json!((id + 1).to_string()), json!(id), json!(null)] {
            let mut ticket = fetched.clone();
            ticket["id"] = other;
            assert_problem(&answer(api.request(Method::PUT, &path).json(&ticket)).await, 422, &["id"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_clears_a_field_and_required_ones_stay() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        let path = format!("/tickets/{id}");
        api.patch(&path, &json!({"owner": "ada", "ticketFollowupDate": "2026-12-01"})).await;
        let cleared =
            api.patch(&path, &json!({"owner": null, "ticketFollowupDate": null, "users": null})).await;
        assert_eq!(cleared.status, 200);
        assert!(cleared.json().get("owner").is_none() && cleared.json().get("ticketFollowupDate").is_none());
        let refused = api.patch(&path, &json!({"customerID": null, "subject": null})).await;
        assert_problem(&refused, 422, &["customerID", "subject"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invalid_field_is_named_at_once() {
    for api in Api::each().await {
        let body = json!({"subject": "", "status": "done", "customerEmail": "x", "users": 5, "stauts": "open", "id": "1"});
        let refused = api.post(&body).await;
        assert_problem(
            &refused,
            422,
            &["customerEmail", "customerID", "id", "status", "stauts", "subject", "users"],
        );
        assert!(refused.text.contains("did you mean status?"), "{}", refused.text);
        assert!(refused.text.contains("open, assigned, resolved, closed"), "{}", refused.text);
        let (id, _) = ticket(&api).await;
        let body = json!({"customerID": 0, "status": "done", "colour": "red"});
        assert_problem(
            &api.patch(&format!("/tickets/{id}"), &body).await,
            422,
            &["colour", "customerID", "status"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_comes_back_without_the_white_space_around_it() {
    for api in Api::each().await {
        let longest = "x".repeat(500);
        let body = json!({
            "customerID": fresh_customer().get(), "subject": format!("\u{a0}{longest}\r\n"), "owner": "\tGrace\u{2003}Hopper ",
            "customerEmail": " ada@example.com", "status": " Assigned ", "users": " u\n",
        });
        let created = api.post(&body).await;
        let ticket = created.json();
        assert_eq!(
            ["subject", "owner", "customerEmail", "status", "users"].map(|field| &ticket[field]),
            [
                &json!(longest),
                &json!("Grace\u{2003}Hopper"),
                &json!("ada@example.com"),
                &json!("assigned"),
                &json!(" u\n")
            ]
        );
        let path = format!("/tickets/{}", ticket["id"].as_str().unwrap());
        let same = api.patch(&path, &json!({"owner": " Grace\u{2003}Hopper", "subject": longest})).await;
        assert_eq!((same.status, same.header("etag")), (200, created.header("etag")), "it is the same text");
        assert_problem(
            &api.patch(&path, &json!({"subject": format!(" {longest}x ")})).await,
            422,
            &["subject"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_others_could_not_store_or_show_is_refused() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        let refused = async |field: &str, text: &str, reason: &str| {
            let mut body = json!({"customerID": fresh_customer().get(), "subject": "s"});
            body[field] = json!(text);
            let change = json!({field: text});
            for refused in [api.post(&body).await, api.patch(&format!("/tickets/{id}"), &change).await] {
                assert_problem(&refused, 422, &[field]);
                assert!(refused.text.contains(reason), "{field} {text:?}: {}", refused.text);
            }
        };
        // PostgreSQL, for one, has no U+0000 in its texts.
        for (field, kind) in TEXT_FIELDS {
            let reason = match kind {
                FieldKind::Choice => "must be one of",
                FieldKind::DateOrTime => "must be a date or time",
                FieldKind::Email
                | FieldKind::Subject
                | FieldKind::Content
                | FieldKind::ChoiceOrNote
                | FieldKind::Note => "U+0000",
            };
            refused(field, "a\0b@example.com", reason).await;
        }
        // In a mail's header, a line break would begin another header.
        for field in ["subject", "owner", "customerEmail"] {
            for (text, character) in
                [("x\r\nBcc: y", "U+000D"), ("x\u{1b}[31my", "U+001B"), ("x\u{2028}y", "U+2028")]
            {
                refused(field, text, character).await;
            }
        }
        for nothing in ["", "   ", "\u{200b}", "\u{3164}\u{fe0f}", "\u{2800}"] {
            refused("subject", nothing, "must not be empty").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_read_as_databases_and_programs_write_it() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        let path = format!("/tickets/{id}");
        let set = async |text: &str| api.patch(&path, &json!({"ticketFollowupDate": text})).await;
        for (text, utc) in [
            ("2026-11-28 12:00:00+00", "2026-11-28T12:00:00.000Z"),
            ("2026-11-28 12:00:00.5-05", "2026-11-28T17:00:00.500Z"),
            ("2026-11-28 12:00:00 +0200", "2026-11-28T10:00:00.000Z"),
            ("2026-11-28 12:00:00 UTC", "2026-11-28T12:00:00.000Z"),
            ("2026-11-28T12:00:00.1234567890Z", "2026-11-28T12:00:00.123Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
            ("1000-01-01", "1000-01-01"),
        ] {
            assert_eq!(set(text).await.json()["ticketFollowupDate"], utc, "{text}");
            let since = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
            assert_eq!(
                api.get(&format!("/tickets/?updatedSince={since}&limit=1")).await.status,
                200,
                "{text}"
            );
        }
        for (text, reason) in [
            ("2026-11-28T12:34:60Z", "second 60"),
            ("0999-12-31", "two-digit year"),
            ("0024-11-03T14:20:00Z", "two-digit year"),
            ("2026-11-28T10:00:00 02:00", "must be a date or time"),
        ] {
            let refused = set(text).await;
            assert_problem(&refused, 422, &["ticketFollowupDate"]);
            assert!(refused.text.contains(reason), "{}", refused.text);
        }
        // Only in a query a `+` arrives as a space.
        for (query, status) in
            [("2026-11-28T10:00:00 02:00", 200), ("2026-11-28T10:00:00+02:00", 200), ("0024-11-03", 400)]
        {
            let answered =
                api.get(&format!("/tickets/?updatedSince={}&limit=1", query.replace(' ', "%20"))).await;
            assert_eq!(answered.status, status, "{query}");
        }
    }
}

/// The longest text of each field that takes any text. (Addresses have a test of their own.)
fn texts_of_full_length() -> Vec<(&'static str, String)> {
    let limited = TEXT_FIELDS.into_iter().filter(|(_, kind)| *kind != FieldKind::Email);
    let longest = limited.filter_map(|(field, kind)| {
        Some((
            field,
            match kind.limit()? {
                // Four bytes each.
                TextLimit::Characters(most) => "\u{1F600}".repeat(most),
                TextLimit::Bytes(most) => "x".repeat(most),
            },
        ))
    });
    longest.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_on_both_sides() {
    let api = &Api::each().await[0];
    let at = |field: &str, value: Value| {
        let mut body = json!({"customerID": fresh_customer().get(), "subject": "s"});
        body[field] = value;
        body
    };
    let max = (1u64 << 53) - 1;
    let texts = texts_of_full_length();
    let limits = texts.iter().map(|(field, text)| (*field, json!(text), json!(format!("{text}x"))));
    let limits = limits.chain([
        ("subject", json!("s"), json!("")),
        ("customerID", json!(max), json!(max + 1)),
        ("customerID", json!(1), json!(0)),
        ("ticketFollowupDate", json!("9999-12-31"), json!("10000-01-01")),
    ]);
    for (field, within, beyond) in limits {
        let accepted = api.post(&at(field, within)).await;
        assert_eq!(accepted.status, 201, "{field}: {accepted:?}");
        assert_problem(&api.post(&at(field, beyond)).await, 422, &[field]);
    }
    let mut everything = json!({"customerID": max});
    for (field, text) in texts {
        everything[field] = json!(text);
    }
    everything["ticketContent"] = json!("\u{1}".repeat(256 * 1024));
    assert_eq!(api.post(&everything).await.status, 201, "every field at its limit at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_read_like_a_create() {
    for api in Api::each().await {
        let (id, _) = ticket(&api).await;
        for slash in ["", "/"] {
            let path = format!("/tickets/{id}{slash}");
            for method in [Method::PUT, Method::PATCH] {
                let send = async |kind: &str, body: &str| {
                    let request = api.request(method.clone(), &path).header(CONTENT_TYPE, kind);
                    answer(request.body(body.to_owned())).await
                };
                assert_problem(&send("text/plain", "{}").await, 415, &[]);
                for malformed in ["", "[]", "{", "null"] {
                    assert_problem(&send("application/json", malformed).await, 400, &[]);
                }
                let twice = r#"{"owner": "a", "owner": "b", "ownr": "c", "status": "done"}"#;
                let refused = send("application/json", twice).await;
                assert_problem(&refused, 422, &["owner", "ownr", "status"]);
                assert!(refused.text.contains("did you mean owner?"), "{}", refused.text);
                assert_eq!(send("application/json", "{}").await.version(), 1, "nothing to change");
            }
        }
        assert_eq!(api.get(&format!("/tickets/{id}")).await.version(), 1, "nothing was changed");
        assert_problem(&api.patch("/tickets/01", &json!({"owner": "a"})).await, 400, &["id"]);
        assert_problem(&api.delete("/tickets/x").await, 400, &["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_at_most_254_bytes_and_looks_like_one() {
    let api = &Api::each().await[0];
    let with =
        |email: &str| json!({"customerID": fresh_customer().get(), "subject": "s", "customerEmail": email});
    let long = |last: usize| {
        let label = |length| "d".repeat(length);
        format!("{}@{}.{}.{}.com", "l".repeat(64), label(63), label(63), label(last))
    };
    assert_eq!((long(57).len(), long(58).len()), (254, 255));
    assert_eq!(api.post(&with(&long(57))).await.status, 201);
    let umlauts = format!("ada@{0}.{0}.{0}.{0}.de", "ü".repeat(31));
    for too_long in [long(58), umlauts] {
        let refused = api.post(&with(&too_long)).await;
        assert_problem(&refused, 422, &["customerEmail"]);
        assert!(refused.text.contains("at most 254 bytes"), "{}", refused.text);
    }
    for good in ["müller@münchen.de", "\"a,b\"@example.com", " ada@example.com\n"] {
        assert_eq!(api.post(&with(good)).await.json()["customerEmail"], good.trim());
    }
    for bad in ["", "ada", "ada@localhost", "Ada <ada@example.com>", "a@b@example.com", "a\r\nb@example.com"]
    {
        assert_problem(&api.post(&with(bad)).await, 422, &["customerEmail"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_has_the_presets_in_order_the_defaults_and_the_limits() {
    for api in Api::each().await {
        for slash in ["", "/"] {
            let configuration = api.get(&format!("/ticket-configuration{slash}")).await;
            assert_eq!(
                (configuration.status, configuration.header("content-type")),
                (200, "application/json")
            );
            let expected = json!({
                "presets": {
                    "ticketType": ["sales", "billing", "support"],
                    "status": ["open", "assigned", "resolved", "closed"],
                    "ticketPriority": ["low", "normal", "high", "urgent"],
                    "owner": [],
                },
                "closedStatuses": ["resolved", "closed"],
                "defaults": {"status": "open", "ticketPriority": "normal"},
                "limits": {
                    "bodyBytes": 2_097_152,
                    "replyBytes": 6_291_556,
                    "listTickets": 1000,
                    "listIds": 100,
                    "batchTickets": 100,
                    "problemErrors": 50,
                    "highestId": 9_007_199_254_740_991_u64,
                    "subjectCharacters": 500,
                    "ticketContentBytes": 262_144,
                    "customerEmailBytes": 254,
                    "usersBytes": 4096,
                    "departmentsBytes": 4096,
                    "ticketSuppliersBytes": 4096,
                    "ownerBytes": 4096,
                    "idempotencyKeyCharacters": 255,
                    "idempotencyHours": 24,
                    "settleSeconds": 10,
                    "tombstoneDays": 90,
                },
            });
            assert_eq!(configuration.json(), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_the_deployment_s_and_what_it_says_holds() {
    let environment = vec![
        ("TICKET_TYPES", "Störung, Frage".to_owned()),
        ("TICKET_STATUSES", "Neu, In Arbeit, Fertig".to_owned()),
        ("CLOSED_STATUSES", "Fertig, Archiviert".to_owned()),
        ("TICKET_PRIORITIES", "p2, p1".to_owned()),
        ("TICKET_OWNERS", "ada, grace".to_owned()),
        ("SETTLE_SECONDS", "30".to_owned()),
        ("TOMBSTONE_DAYS", "7".to_owned()),
    ];
    let api = Api::start_with(Options { environment, ..Options::default() }).await;
    let configuration = api.get("/ticket-configuration/").await.json();
    assert_eq!(
        configuration["presets"],
        json!({
            "ticketType": ["Störung", "Frage"],
            "status": ["Neu", "In Arbeit", "Fertig"],
            "ticketPriority": ["p2", "p1"],
            "owner": ["ada", "grace"],
        })
    );
    assert_eq!(configuration["closedStatuses"], json!(["Fertig", "Archiviert"]));
    let limits = &configuration["limits"];
    assert_eq!((&limits["settleSeconds"], &limits["tombstoneDays"]), (&json!(30), &json!(7)));
    // A new ticket has the defaults that the configuration names.
    let created = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
    for (field, value) in configuration["defaults"].as_object().unwrap() {
        assert_eq!(&created[field], value, "{field}");
    }
    // A text at its limit is accepted; one past it is refused.
    for (field, text) in texts_of_full_length() {
        let named = ["Characters", "Bytes"].map(|unit| limits[format!("{field}{unit}")].as_u64());
        let limit = usize::try_from(named.into_iter().flatten().next().unwrap()).unwrap();
        assert!(limit == text.len() || limit == text.chars().count(), "{field}: {limit}");
        // With owners configured, no text is one.
        for (length, status) in [(limit, 201), (limit + 1, 422)].into_iter().filter(|_| field != "owner") {
            let mut body = json!({"customerID": 7, "subject": "s"});
            body[field] = json!("x".repeat(length));
            assert_eq!(api.post(&body).await.status, status, "{field} of {length}");
        }
    }
    let most = limits["listTickets"].as_u64().unwrap();
    assert_eq!(api.get(&format!("/tickets/?limit={most}")).await.status, 200);
    assert_problem(&api.get(&format!("/tickets/?limit={}", most + 1)).await, 400, &["limit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_removed_from_the_configuration_stays_on_the_tickets_that_have_it() {
    for payload in [Payload::Rest, Payload::Http] {
        let first = presets("Bug, Wish", "New, In Progress, Done", "P1, P2", "Ada, Grace");
        let mut api = Api::start_with(Options { payload, environment: first, ..Options::default() }).await;
        let created = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
        assert_eq!((&created["status"], &created["ticketPriority"]), (&json!("New"), &json!("P1")));
        let body = json!({
            "customerID": 7, "subject": "s",
            "ticketType": "BUG", "status": "in progress", "ticketPriority": "p2", "owner": "ADA",
        });
        let created = api.post(&body).await;
        let preset = json!(["Bug", "In Progress", "P2", "Ada"]);
        let fields = ["ticketType", "status", "ticketPriority", "owner"];
        let shown = |ticket: &Value| json!(fields.map(|field| ticket[field].clone()));
        assert_eq!(shown(&created.json()), preset, "in their configured spelling");
        let wrong =
            json!({"ticketType": "sales", "status": "open", "ticketPriority": "normal", "owner": "linus"});
        for refused in [api.patch("/tickets/2", &wrong).await, {
            let mut body = body.clone();
            body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            api.post(&body).await
        }] {
            assert_problem(&refused, 422, &["owner", "status", "ticketPriority", "ticketType"]);
            for allowed in ["Bug, Wish", "New, In Progress, Done", "P1, P2", "Ada, Grace"] {
                assert!(refused.text.contains(allowed), "{}", refused.text);
            }
        }

        api.base = redeployed(&api, payload, presets("task", "todo, done", "low, Normal", "linus")).await;
        let read = api.get("/tickets/2").await;
        assert_eq!((read.status, read.text), (200, created.text), "it stays readable");
        let changed = api.patch("/tickets/2", &json!({"subject": "changed"})).await;
        assert_eq!((changed.status, shown(&changed.json())), (200, preset.clone()), "and can be updated");
        let back = answer(api.request(Method::PUT, "/tickets/2/").json(&changed.json())).await;
        assert_eq!((back.status, back.version()), (200, 2), "and sent back as it was fetched");
        // The old value cannot be set again, nor given to another ticket.
        assert_problem(&api.patch("/tickets/2", &json!({"status": "New"})).await, 422, &["status"]);
        assert_problem(&api.patch("/tickets/1", &json!({"status": "In Progress"})).await, 422, &["status"]);
        let moved = api.patch("/tickets/2", &json!({"status": "DONE", "owner": null})).await.json();
        assert_eq!((&moved["status"], moved.get("owner")), (&json!("done"), None));
        let new = api.post(&json!({"customerID": 7, "subject": "s"})).await.json();
        assert_eq!((&new["status"], &new["ticketPriority"]), (&json!("todo"), &json!("Normal")));
    }
}
