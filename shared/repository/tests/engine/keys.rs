//! Keys are found, listed, rotated, revoked, counted, and remembered for a minute.

use crate::support::Table;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tickets_domain::key::verify;
use tickets_domain::{ApiKey, BearerToken, Error, KeyStore, Meter, Scope};
use tickets_repository::Keys;

fn key(table: &Table) -> ApiKey {
    let token = BearerToken::generate().unwrap();
    ApiKey {
        customer: Some(7.try_into().unwrap()),
        limit: Some("3/m".parse().unwrap()),
        note: Some("portal".into()),
        created_by: Some("ada".into()),
        expires: Some(table.clock.now().plus(std::time::Duration::from_secs(3600))),
        ..ApiKey::new(&token, [Scope::Read, Scope::Delete], table.clock.now())
    }
}

fn keys(table: &Table) -> Keys {
    Keys::new(table.dynamodb.clone(), &table.api_keys, table.clock.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_as_it_was_stored() {
    let table = Table::new("2026-11-23").await;
    let (keys, key) = (keys(&table), key(&table));
    keys.insert(&key).await.unwrap();
    let found = keys.find(&key.id, &Meter::default()).await.unwrap().unwrap();
    assert_eq!((found.id, found.scopes, found.customer), (key.id.clone(), key.scopes.clone(), key.customer));
    assert_eq!((found.note, found.created, found.expires), (key.note.clone(), key.created, key.expires));
    assert_eq!((found.limit, found.created_by, found.last_used), (key.limit, key.created_by.clone(), None));
    assert!(keys.insert(&key).await.is_err(), "an id is given once");
    assert_eq!(keys.list().await.unwrap().keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_forgotten_within_a_minute_and_not_before_it_is_read_again() {
    let table = Table::new("2026-11-23").await;
    let (instance, admin, key) = (keys(&table), keys(&table), key(&table));
    admin.insert(&key).await.unwrap();
    instance.find(&key.id, &Meter::default()).await.unwrap().unwrap();
    admin.revoke(&key.id).await.unwrap();
    table.advance(59_999);
    assert_eq!(instance.find(&key.id, &Meter::default()).await.unwrap().unwrap().revoked, None, "remembered");
    table.advance(1);
    assert!(
        instance.find(&key.id, &Meter::default()).await.unwrap().unwrap().revoked.is_some(),
        "read again"
    );
    assert!(matches!(admin.revoke(&"nobody".parse().unwrap()).await, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_ids_do_not_push_out_keys_in_use() {
    let table = Table::new("2026-11-23").await;
    let (instance, admin, key) = (keys(&table), keys(&table), key(&table));
    admin.insert(&key).await.unwrap();
    instance.find(&key.id, &Meter::default()).await.unwrap().unwrap();
    for n in 0..1200 {
        assert!(
            instance.find(&format!("madeup{n}").parse().unwrap(), &Meter::default()).await.unwrap().is_none()
        );
    }
    // This instance still remembers the key: the revocation by another one does not show yet.
    admin.revoke(&key.id).await.unwrap();
    assert_eq!(instance.find(&key.id, &Meter::default()).await.unwrap().unwrap().revoked, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_shared_by_instances_and_begins_anew_with_the_window() {
    let table = Table::new("2026-11-23").await;
    let (one, two, key) = (keys(&table), keys(&table), key(&table));
    one.insert(&key).await.unwrap();
    for _ in 0..2 {
        assert!(
            one.count(&key, &Meter::default()).await.unwrap().is_some_and(|quota| quota.uncounted.is_none())
        );
    }
    assert_eq!(two.count(&key, &Meter::default()).await.unwrap().unwrap().remaining, 0, "the third of three");
    for instance in [&one, &two, &keys(&table)] {
        let refused = instance.count(&key, &Meter::default()).await;
        assert!(matches!(refused, Err(Error::RateLimited(quota)) if quota.resets == Duration::from_secs(60)));
    }
    table.advance(60_000);
    assert_eq!(two.count(&key, &Meter::default()).await.unwrap().unwrap().remaining, 2);
    let used = one.find(&key.id, &Meter::default()).await.unwrap().unwrap().last_used;
    assert_eq!(used, Some(table.clock.now()), "a lease notes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_more_than_one_ahead_counts_as_none() {
    let table = Table::new("2026-11-23").await;
    let key = key(&table);
    keys(&table).insert(&key).await.unwrap();
    let begin = async |ahead: u64| {
        let window = table.clock.now().plus(Duration::from_secs(60 * ahead)).millis();
        let update = table.client.update_item().table_name(&table.api_keys);
        let update = update.key("keyId", AttributeValue::S(key.id.to_string()));
        let update = update.update_expression("SET limitWindow = :window, limitLeased = :leased");
        let update = update.expression_attribute_values(":window", AttributeValue::N(window.to_string()));
        update.expression_attribute_values(":leased", AttributeValue::N("3".into())).send().await.unwrap();
    };
    begin(1).await;
    let refused = keys(&table).count(&key, &Meter::default()).await;
    assert!(matches!(refused, Err(Error::RateLimited(_))), "an instance whose clock is a little ahead");
    begin(2).await;
    let instance = keys(&table);
    for left in [2, 1, 0] {
        let quota = instance.count(&key, &Meter::default()).await.unwrap().unwrap();
        assert_eq!((quota.remaining, quota.uncounted.is_none()), (left, true));
    }
    assert!(matches!(instance.count(&key, &Meter::default()).await, Err(Error::RateLimited(_))));

    // An instance whose own clock was a month ahead, and is right again.
    table.advance(30 * 24 * 3_600_000);
    assert_eq!(instance.count(&key, &Meter::default()).await.unwrap().unwrap().remaining, 2);
    table.advance(-30 * 24 * 3_600_000);
    assert_eq!(instance.count(&key, &Meter::default()).await.unwrap().unwrap().remaining, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_noted_once_an_hour_and_never_makes_a_key() {
    let table = Table::new("2026-11-23").await;
    let (instance, admin) = (keys(&table), keys(&table));
    let key = ApiKey { limit: None, ..key(&table) };
    admin.insert(&key).await.unwrap();
    let used = async || admin.list().await.unwrap().keys[0].last_used;
    let count = async || {
        instance
            .count(&instance.find(&key.id, &Meter::default()).await.unwrap().unwrap(), &Meter::default())
            .await
            .unwrap()
    };
    assert!(used().await.is_none() && count().await.is_none());
    let first = table.clock.now();
    assert_eq!(used().await, Some(first));
    table.advance(3_600_000);
    count().await;
    assert_eq!(used().await, Some(first), "an hour is not over");
    table.advance(1);
    count().await;
    assert_eq!(used().await, Some(table.clock.now()));

    // An instance remembers this key, but it is gone from the table.
    let limited = ApiKey {
        limit: Some("3/m".parse().unwrap()),
        ..ApiKey::new(&BearerToken::generate().unwrap(), [], first)
    };
    let unlimited = ApiKey { limit: None, ..ApiKey::new(&BearerToken::generate().unwrap(), [], first) };
    assert!(matches!(instance.count(&limited, &Meter::default()).await, Err(Error::RateLimited(_))));
    assert!(instance.count(&unlimited, &Meter::default()).await.unwrap().is_none());
    assert_eq!(admin.list().await.unwrap().keys.len(), 1, "no item of nothing but a use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_has_a_new_secret_and_the_old_one_until_its_end() {
    let table = Table::new("2026-11-23").await;
    let keys = keys(&table);
    let first = BearerToken::generate().unwrap();
    let token = |_| BearerToken { id: first.id.clone(), ..BearerToken::generate().unwrap() };
    let [second, third, fourth] = [(); 3].map(token);
    keys.insert(&ApiKey::new(&first, [Scope::Read], table.clock.now())).await.unwrap();
    let now = async || keys.find(&first.id, &Meter::default()).await.unwrap().unwrap();
    // Which of the four secrets the key has at this time.
    let valid = async |at| {
        let key = now().await;
        [&first, &second, &third, &fourth].map(|token| verify(Some(&key), token, at).is_some())
    };
    let (began, ends) = (table.clock.now(), table.clock.now().plus(Duration::from_secs(60)));

    keys.rotate(&second, ends).await.unwrap();
    assert_eq!(valid(began).await, [true, true, false, false]);
    assert_eq!(valid(ends).await, [false, true, false, false]);
    keys.rotate(&third, ends).await.unwrap();
    assert_eq!(valid(began).await, [false, true, true, false], "an older secret ends");
    keys.rotate(&fourth, began).await.unwrap();
    assert_eq!(valid(began).await, [false, false, false, true], "at once, if it is to end now");
    assert!(now().await.former.is_none());
    assert_eq!(now().await.scopes, [Scope::Read].into());

    let nobody = BearerToken::generate().unwrap();
    assert!(matches!(keys.rotate(&nobody, ends).await, Err(Error::NotFound)));
    keys.revoke(&first.id).await.unwrap();
    let revoked = now().await.revoked;
    assert_eq!(revoked, Some(table.clock.now()));
    assert!(matches!(keys.rotate(&second, ends).await, Err(Error::NotFound)), "it is revoked");
    table.advance(1000);
    keys.revoke(&first.id).await.unwrap();
    assert_eq!(now().await.revoked, revoked, "the first time counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_listed_in_the_order_of_ids() {
    let table = Table::new("2026-11-23").await;
    let keys = keys(&table);
    for note in ["a", "b", "c", "d", "e", "f"] {
        keys.insert(&ApiKey { note: Some(note.into()), ..key(&table) }).await.unwrap();
    }
    let listed = keys.list().await.unwrap().keys;
    assert!(listed.len() == 6 && listed.is_sorted_by(|a, b| a.id < b.id));
    let mut notes: Vec<_> = listed.into_iter().filter_map(|key| key.note).collect();
    notes.sort_unstable();
    assert_eq!(notes, ["a", "b", "c", "d", "e", "f"]);
}
