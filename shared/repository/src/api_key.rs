//! The keys' table.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::AttributeValue;
use tickets_domain::{ApiKey, Clock, Error, KeyId, KeyStore, Result, Timestamp};

use crate::connection::one_attempt;
use crate::failure::Failure;
use crate::item;

/// How long a process remembers what it found: so long may a revoked key still be let in.
pub const REMEMBERED: Duration = Duration::from_secs(60);
/// The most ids remembered: unknown ones are remembered too, and anyone can make those up.
const MOST_REMEMBERED: usize = 1000;

/// The keys' table, with a short memory.
#[derive(Debug)]
pub struct Keys {
    client: Client,
    table: String,
    clock: Clock,
    memory: Mutex<HashMap<KeyId, (Timestamp, Option<ApiKey>)>>,
}

impl Keys {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>, clock: Clock) -> Self {
        Self { client, table: table.into(), clock, memory: Mutex::default() }
    }

    /// Has the connection to the database open before the first caller waits for it: looks up a key that
    /// nobody has. It is one attempt and reports nothing; where it fails, the first request will.
    pub async fn warm_up(&self) {
        let lookup = self.client.get_item().table_name(&self.table);
        let lookup = lookup.key("keyId", AttributeValue::S("nobody".into()));
        let _ = lookup.customize().config_override(one_attempt()).send().await;
    }

    /// Stores a new key.
    ///
    /// # Errors
    /// Where its id is taken, or the database does not answer.
    pub async fn insert(&self, key: &ApiKey) -> Result<()> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::api_key_item(key)?))
            .condition_expression("attribute_not_exists(keyId)")
            .send()
            .await
            .map_err(Failure::of)?;
        self.forget(&key.id);
        Ok(())
    }

    /// Every key, by id.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn list(&self) -> Result<Vec<ApiKey>> {
        let mut keys = Vec::new();
        let mut start = None;
        loop {
            #[expect(
                clippy::disallowed_methods,
                reason = "a person's look at a small table; no request path comes here"
            )]
            let output = self
                .client
                .scan()
                .table_name(&self.table)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(Failure::of)?;
            for item in output.items.unwrap_or_default() {
                keys.push(item::api_key(item)?);
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                keys.sort_by(|a, b| a.id.cmp(&b.id));
                return Ok(keys);
            }
        }
    }

    /// Revokes a key: from [`REMEMBERED`] on at the latest, nobody lets it in.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none of this id.
    pub async fn revoke(&self, id: &KeyId) -> Result<()> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("keyId", AttributeValue::S(id.to_string()))
            // The first revocation is the one that counts.
            .update_expression("SET revoked = if_not_exists(revoked, :now)")
            .condition_expression("attribute_exists(keyId)")
            .expression_attribute_values(":now", AttributeValue::N(self.clock.now().millis().to_string()))
            .send()
            .await;
        match sent {
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Err(Error::NotFound)
            }
            Err(error) => Err(Failure::of(error).into()),
            Ok(_) => {
                self.forget(id);
                Ok(())
            }
        }
    }

    /// Forgets what this process remembers of a key it has just changed.
    fn forget(&self, id: &KeyId) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn remembered(&self, id: &KeyId, now: Timestamp) -> Option<Option<ApiKey>> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(id).filter(|(until, _)| now < *until).map(|(_, key)| key.clone())
    }

    fn remember(&self, id: &KeyId, now: Timestamp, key: &Option<ApiKey>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= MOST_REMEMBERED {
            memory.retain(|_, (until, _)| now < *until);
        }
        if memory.len() >= MOST_REMEMBERED {
            // Made-up ids push each other out, not the keys in use.
            memory.retain(|_, (_, key)| key.is_some());
        }
        if memory.len() < MOST_REMEMBERED {
            memory.insert(id.clone(), (now.plus(REMEMBERED), key.clone()));
        }
    }
}

impl KeyStore for Keys {
    async fn find(&self, id: &KeyId) -> Result<Option<ApiKey>> {
        let now = self.clock.now();
        if let Some(found) = self.remembered(id, now) {
            return Ok(found);
        }
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("keyId", AttributeValue::S(id.to_string()))
            // A key just made must work: what is not found is remembered as well.
            .consistent_read(true)
            .send()
            .await
            .map_err(Failure::of)?;
        let found = output.item.map(item::api_key).transpose()?;
        self.remember(id, now, &found);
        Ok(found)
    }
}
