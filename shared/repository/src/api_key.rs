//! The table of API keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use tickets_domain::id::CustomerId;
use tickets_domain::key::{FormerSecret, SecretHash};
use tickets_domain::{
    ApiKey, BearerToken, Clock, Error, KeyId, KeyStore, Meter, Quota, RateLimit, Result, Scope, Timestamp,
};

use crate::dynamodb::DynamoDb;
use crate::failure::{Failure, WriteError};
use crate::item::{self, Item, millis};
use crate::key_cache::{KeyCache, RECENT, REMEMBERED};
use crate::lease::Lease;

/// The table of API keys, with a short memory of lookups.
#[derive(Debug)]
pub struct Keys {
    pub(crate) dynamodb: DynamoDb,
    pub(crate) table: String,
    pub(crate) clock: Clock,
    cache: Mutex<KeyCache>,
    leases: Mutex<HashMap<KeyId, Lease>>,
}

/// The keys of a table.
#[derive(Debug, Default)]
pub struct KeyList {
    /// Sorted by id.
    pub keys: Vec<ApiKey>,
    /// The ids of items that are no keys, because attributes are missing or wrong. Nobody gets in with them.
    pub broken: Vec<String>,
}

impl Keys {
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>, clock: Clock) -> Self {
        Self { dynamodb, table: table.into(), clock, cache: Mutex::default(), leases: Mutex::default() }
    }

    /// Opens the connection to the database before the first caller waits for it: looks up a key that does
    /// not exist. Sends one attempt and reports no error: if it fails, the first request reports it.
    pub async fn warm_up(&self) {
        let lookup = self.dynamodb.once().get_item().table_name(&self.table);
        let _ = lookup.key("keyId", AttributeValue::S("nobody".into())).send().await;
    }

    /// Stores a new key. It is an error if its id is taken.
    pub async fn insert(&self, key: &ApiKey) -> Result<()> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(api_key_item(key)?))
            .condition_expression("attribute_not_exists(keyId)");
        self.dynamodb.wrote(put.send().await)?;
        self.cache().remove(&key.id);
        Ok(())
    }

    /// Returns every key. A broken one does not hide the others.
    pub async fn list(&self) -> Result<KeyList> {
        let mut list = KeyList::default();
        let mut start = None;
        loop {
            #[expect(clippy::disallowed_methods, reason = "a person lists a small table; no request does")]
            let scan = self.dynamodb.client().scan().table_name(&self.table).set_exclusive_start_key(start);
            let output = scan.send().await.map_err(Failure::of)?;
            for item in output.items.unwrap_or_default() {
                let id = item.get("keyId").and_then(|id| id.as_s().ok()).cloned();
                match api_key(item) {
                    Ok(key) => list.keys.push(key),
                    Err(_) => list.broken.push(id.unwrap_or_default()),
                }
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                list.keys.sort_by(|a, b| a.id.cmp(&b.id));
                list.broken.sort_unstable();
                return Ok(list);
            }
        }
    }

    /// Revokes a key. Every process refuses it within [`REMEMBERED`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if no key has this id.
    pub async fn revoke(&self, id: &KeyId) -> Result<()> {
        let update = self
            .update_item(&self.dynamodb, id)
            // Keep the time of the first revocation.
            .update_expression("SET revoked = if_not_exists(revoked, :now)")
            .condition_expression("attribute_exists(keyId)")
            .expression_attribute_values(":now", AttributeValue::N(self.clock.now().millis().to_string()));
        match self.dynamodb.wrote(update.send().await) {
            Err(WriteError::ConditionFailed(_)) => Err(Error::NotFound),
            Err(error) => Err(error.into()),
            Ok(_) => {
                self.cache().remove(id);
                Ok(())
            }
        }
    }

    /// Gives a key the secret of `token`. The current secret stays valid until `former_ends`; an older one
    /// ends now.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such key, or it is revoked; [`Error::Contended`] if somebody else
    /// has just rotated it.
    pub async fn rotate(&self, token: &BearerToken, former_ends: Timestamp) -> Result<()> {
        let found = self
            .look_up(&token.id, &Meter::default())
            .await?
            .filter(|key| key.revoked.is_none())
            .ok_or(Error::NotFound)?;
        let former = FormerSecretItem { hash: found.hash.clone(), ends: former_ends };
        let update = self
            .update_item(&self.dynamodb, &token.id)
            .condition_expression("#hash = :hash AND attribute_not_exists(revoked)")
            .expression_attribute_names("#hash", "hash")
            .expression_attribute_names("#former", "former")
            .expression_attribute_values(":hash", item::to_attribute(&found.hash)?)
            .expression_attribute_values(":new", item::to_attribute(token.secret.hash())?);
        let update = if self.clock.now() < former_ends {
            update
                .update_expression("SET #hash = :new, #former = :former")
                .expression_attribute_values(":former", item::to_attribute(former)?)
        } else {
            update.update_expression("SET #hash = :new REMOVE #former")
        };
        match self.dynamodb.wrote(update.send().await) {
            Err(WriteError::ConditionFailed(_)) => Err(Error::Contended),
            Err(error) => Err(error.into()),
            Ok(_) => {
                self.cache().remove(&token.id);
                Ok(())
            }
        }
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, KeyCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, HashMap<KeyId, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An update of a key's item.
    pub(crate) fn update_item(&self, dynamodb: &DynamoDb, id: &KeyId) -> UpdateItemFluentBuilder {
        dynamodb.update_item().table_name(&self.table).key("keyId", AttributeValue::S(id.to_string()))
    }

    /// Reads a key's item consistently: a key just made must work, and a miss would be remembered.
    pub(crate) async fn read(&self, id: &KeyId, meter: &Meter) -> Result<Option<Item>, Failure> {
        let dynamodb = self.dynamodb.metered(meter.clone());
        let get = dynamodb.get_item().table_name(&self.table);
        let get = get.key("keyId", AttributeValue::S(id.to_string())).consistent_read(true);
        Ok(dynamodb.read(get.send().await)?.item)
    }

    fn cached(&self, id: &KeyId, long: Duration) -> Option<Option<ApiKey>> {
        self.cache().get(id, self.clock.now(), long)
    }

    async fn look_up(&self, id: &KeyId, meter: &Meter) -> Result<Option<ApiKey>> {
        let now = self.clock.now();
        let found = self.read(id, meter).await?.map(api_key).transpose()?;
        self.cache().insert(id, now, &found);
        Ok(found)
    }
}

impl KeyStore for Keys {
    async fn find(&self, id: &KeyId, meter: &Meter) -> Result<Option<ApiKey>> {
        match self.cached(id, REMEMBERED) {
            Some(found) => Ok(found),
            None => self.look_up(id, meter).await,
        }
    }

    // Known and unknown ids take the same path, so that the response time does not tell which they are.
    async fn find_newer(&self, id: &KeyId, meter: &Meter) -> Result<Option<ApiKey>> {
        match self.cached(id, RECENT) {
            Some(_) => Ok(None),
            None => self.look_up(id, meter).await,
        }
    }

    async fn count(&self, key: &ApiKey, meter: &Meter) -> Result<Option<Quota>> {
        match key.limit {
            // A lease also notes the use.
            Some(limit) => self.count_limited(key, limit, meter).await.map(Some),
            None => {
                self.note_use(key, meter).await;
                Ok(None)
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct ApiKeyItem {
    #[serde(rename = "keyId")]
    id: KeyId,
    hash: SecretHash,
    scopes: BTreeSet<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer: Option<CustomerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<FormerSecretItem>,
    #[serde(default, rename = "rateLimit", skip_serializing_if = "Option::is_none")]
    limit: Option<RateLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(with = "millis")]
    created: Timestamp,
    #[serde(default, rename = "createdBy", skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(
        default,
        rename = "lastUsed",
        skip_serializing_if = "Option::is_none",
        with = "millis::optional"
    )]
    last_used: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::optional")]
    expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::optional")]
    revoked: Option<Timestamp>,
}

/// The secret that a key had before.
#[derive(Serialize, Deserialize)]
struct FormerSecretItem {
    hash: SecretHash,
    #[serde(with = "millis")]
    ends: Timestamp,
}

fn api_key_item(key: &ApiKey) -> Result<Item> {
    item::to_item(ApiKeyItem {
        id: key.id.clone(),
        hash: key.hash.clone(),
        scopes: key.scopes.clone(),
        customer: key.customer,
        former: key.former.clone().map(|FormerSecret { hash, ends }| FormerSecretItem { hash, ends }),
        limit: key.limit,
        note: key.note.clone(),
        created: key.created,
        created_by: key.created_by.clone(),
        last_used: key.last_used,
        expires: key.expires,
        revoked: key.revoked,
    })
}

fn api_key(item: Item) -> Result<ApiKey> {
    let item: ApiKeyItem = item::from_item(item)?;
    Ok(ApiKey {
        id: item.id,
        hash: item.hash,
        scopes: item.scopes,
        customer: item.customer,
        former: item.former.map(|FormerSecretItem { hash, ends }| FormerSecret { hash, ends }),
        limit: item.limit,
        note: item.note,
        created: item.created,
        created_by: item.created_by,
        last_used: item.last_used,
        expires: item.expires,
        revoked: item.revoked,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scripted::{self, Answer, NOW, condition_failed, lost, ok, refused};

    fn keys(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (Keys, scripted::Calls) {
        let (tickets, calls) = scripted::tickets(move |operation, _| answer(operation));
        (Keys::new(tickets.dynamodb, "ApiKeys", tickets.clock), calls)
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(NOW).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_is_remembered_for_a_minute_and_not_repeated_within_five_seconds() {
        let (keys, calls) = keys(|_| ok(json!({})));
        let (id, meter) = ("nobody".parse().unwrap(), Meter::default());
        assert!(keys.find(&id, &meter).await.unwrap().is_none());
        assert!(keys.find(&id, &meter).await.unwrap().is_none());
        assert!(keys.find_newer(&id, &meter).await.unwrap().is_none());
        assert_eq!(calls.of("GetItem").len(), 1);
        assert_eq!(calls.of("GetItem")[0]["ConsistentRead"], true);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_is_not_recent_is_repeated() {
        let item = api_key_item(&ApiKey::new(&BearerToken::generate().unwrap(), [], now())).unwrap();
        let item = serde_json::to_value(serde_dynamo::Item::from(item)).unwrap();
        let (keys, calls) = keys(move |_| ok(json!({"Item": item})));
        let (id, meter) = ("portal".parse().unwrap(), Meter::default());
        assert!(keys.find_newer(&id, &meter).await.unwrap().is_some());
        assert!(keys.find_newer(&id, &meter).await.unwrap().is_none(), "there is nothing newer");
        assert!(keys.find(&id, &meter).await.unwrap().is_some());
        assert_eq!(calls.of("GetItem").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_not_there_cannot_be_revoked_and_other_errors_are_told() {
        let revoke =
            async |answer: fn() -> Answer| keys(move |_| answer()).0.revoke(&"portal".parse().unwrap()).await;
        assert!(revoke(|| ok(json!({}))).await.is_ok());
        assert!(matches!(revoke(|| condition_failed(json!(null))).await, Err(Error::NotFound)));
        assert!(matches!(revoke(lost).await, Err(Error::Unavailable(_))));
        assert!(matches!(revoke(|| refused("ValidationException")).await, Err(Error::Internal(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn two_cannot_rotate_a_key_at_once() {
        let token = BearerToken::generate().unwrap();
        let item = api_key_item(&ApiKey::new(&token, [Scope::Read], now())).unwrap();
        let item = serde_json::to_value(serde_dynamo::Item::from(item)).unwrap();
        let rotate = async |update: fn() -> Answer| {
            let item = item.clone();
            let (keys, _) = keys(move |operation| match operation {
                "GetItem" => ok(json!({"Item": item})),
                _ => update(),
            });
            keys.rotate(&token, now()).await
        };
        assert!(rotate(|| ok(json!({}))).await.is_ok());
        assert!(matches!(rotate(|| condition_failed(json!(null))).await, Err(Error::Contended)));
        assert!(matches!(rotate(|| refused("ValidationException")).await, Err(Error::Internal(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_key_is_listed_as_one_beside_the_others() {
        let key = ApiKey::new(&BearerToken::generate().unwrap(), [Scope::Read], now());
        let item = api_key_item(&key).unwrap();
        let item = serde_json::to_value(serde_dynamo::Item::from(item)).unwrap();
        let broken = |id: &str, attribute: &str, value: serde_json::Value| {
            let mut item = item.clone();
            (item["keyId"], item[attribute]) = (json!({"S": id}), value);
            item
        };
        let no_hash = json!({"keyId": {"S": "b"}, "limitWindow": {"N": "1"}});
        let items = json!([no_hash, item, broken("a", "scopes", json!({"S": "read"}))]);
        let (keys, _) = keys(move |_| ok(json!({"Items": items})));
        let list = keys.list().await.unwrap();
        assert_eq!(list.keys.iter().map(|key| &key.id).collect::<Vec<_>>(), [&key.id]);
        assert_eq!(list.broken, ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_warm_up_asks_once_and_reports_nothing() {
        let (keys, calls) = keys(|_| lost());
        keys.warm_up().await;
        assert_eq!(calls.of("GetItem").len(), 1);
    }
}
