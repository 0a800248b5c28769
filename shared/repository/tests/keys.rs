//! Keys: found, listed, revoked, and remembered for a minute.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is how a test fails")]

mod support;

use support::Table;
use tickets_domain::{ApiKey, BearerToken, Error, KeyStore, Scope};
use tickets_repository::{Keys, schema};

fn key(table: &Table) -> ApiKey {
    let token = BearerToken::generate().unwrap();
    ApiKey {
        customer: Some(7.try_into().unwrap()),
        note: Some("portal".into()),
        expires: Some(table.clock.now().plus(std::time::Duration::from_secs(3600))),
        ..ApiKey::new(&token, [Scope::Read, Scope::Delete], table.clock.now())
    }
}

fn keys(table: &Table) -> Keys {
    Keys::new(table.client.clone(), schema::API_KEYS, table.clock.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_as_it_was_stored() {
    let table = Table::new("2026-11-23").await;
    let (keys, key) = (keys(&table), key(&table));
    keys.insert(&key).await.unwrap();
    let found = keys.find(&key.id).await.unwrap().unwrap();
    assert_eq!((found.id, found.scopes, found.customer), (key.id.clone(), key.scopes.clone(), key.customer));
    assert_eq!((found.note, found.created, found.expires), (key.note.clone(), key.created, key.expires));
    assert!(keys.insert(&key).await.is_err(), "an id is given once");
    assert_eq!(keys.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_forgotten_within_a_minute_and_not_before_it_is_read_again() {
    let table = Table::new("2026-11-23").await;
    let (instance, admin, key) = (keys(&table), keys(&table), key(&table));
    admin.insert(&key).await.unwrap();
    instance.find(&key.id).await.unwrap().unwrap();
    admin.revoke(&key.id).await.unwrap();
    table.advance(59_999);
    assert_eq!(instance.find(&key.id).await.unwrap().unwrap().revoked, None, "remembered");
    table.advance(1);
    assert!(instance.find(&key.id).await.unwrap().unwrap().revoked.is_some(), "read again");
    assert!(matches!(admin.revoke(&"nobody".parse().unwrap()).await, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_ids_do_not_push_out_keys_in_use() {
    let table = Table::new("2026-11-23").await;
    let (instance, admin, key) = (keys(&table), keys(&table), key(&table));
    admin.insert(&key).await.unwrap();
    instance.find(&key.id).await.unwrap().unwrap();
    for n in 0..1200 {
        assert!(instance.find(&format!("madeup{n}").parse().unwrap()).await.unwrap().is_none());
    }
    // Still remembered: the revocation by another instance does not show yet.
    admin.revoke(&key.id).await.unwrap();
    assert_eq!(instance.find(&key.id).await.unwrap().unwrap().revoked, None);
}
