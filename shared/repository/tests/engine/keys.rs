//! Keys are found, listed, rotated, revoked, counted, and remembered for a minute.

use crate::support::Table;
use std::time::Duration;

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
    Keys::new(table.client.clone(), &table.api_keys, table.clock.clone())
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
    assert_eq!(keys.list().await.unwrap().len(), 1);
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
async fn the_last_use_is_noted_once_an_hour_and_never_makes_a_key() {
    let table = Table::new("2026-11-23").await;
    let (instance, admin) = (keys(&table), keys(&table));
    let key = ApiKey { limit: None, ..key(&table) };
    admin.insert(&key).await.unwrap();
    let used = async || admin.list().await.unwrap()[0].last_used;
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
    assert_eq!(admin.list().await.unwrap().len(), 1, "no item of nothing but a use");
}
