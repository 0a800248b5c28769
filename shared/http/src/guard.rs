//! The guard in front of every handler. Each function checks the key itself, and does not rely on a
//! gateway's check.

use lambda_http::http::header::{AUTHORIZATION, HeaderMap};
use tickets_domain::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use tickets_domain::key::{self, KeyId};
use tickets_domain::{
    ApiKey, BearerToken, Error, KeyStore, Meter, Quota, Result, Scope, Timestamp, Visibility,
};

/// The caller of a request. Only the guard can make one, so a handler that takes one runs behind the guard.
#[derive(Debug, Clone)]
pub struct Caller {
    key: KeyId,
    visibility: Visibility,
}

impl Caller {
    /// The key's public name.
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// Which tickets the caller can see.
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// The caller's request with this idempotency key.
    pub fn request(&self, key: IdempotencyKey, fingerprint: Fingerprint) -> Idempotency {
        Idempotency::new(self.key.clone(), key, fingerprint)
    }

    /// A row of the caller's batch with this idempotency key.
    pub fn row(&self, key: IdempotencyKey, row: usize, fingerprint: Fingerprint) -> Idempotency {
        Idempotency::of_row(self.key.clone(), key, row, fingerprint)
    }
}

/// What is known of the caller, even if the request is refused: for the log, and for the limit's headers.
#[derive(Debug, Default)]
pub struct Admission {
    /// The id of the caller's key, if the key is valid.
    pub key: Option<KeyId>,
    /// What is left of the key's limit, if it has one.
    pub quota: Option<Quota>,
}

/// Admits callers whose key has the right scope and has not used up its limit.
#[derive(Debug)]
pub struct Guard<'a, K> {
    keys: &'a K,
}

impl<'a, K: KeyStore> Guard<'a, K> {
    pub fn new(keys: &'a K) -> Self {
        Self { keys }
    }

    /// The caller who sent these headers, if the key has `scope`. Fills in `admission` even if it fails.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], whatever is wrong with the key; [`Error::RateLimited`];
    /// [`Error::MissingScope`]; errors of the store.
    pub async fn admit(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        now: Timestamp,
        meter: &Meter,
        admission: &mut Admission,
    ) -> Result<Caller> {
        let token = bearer(headers).ok_or(Error::Unauthenticated)?;
        let key = self.verified(&token, now, meter).await?;
        admission.key = Some(key.id.clone());
        admission.quota = self.keys.count(&key, meter).await?;
        if !key.scopes.contains(&scope) {
            return Err(Error::MissingScope(scope));
        }
        Ok(Caller { key: key.id, visibility: Visibility::of(key.customer) })
    }

    /// Whether the key that these headers name is valid, as far as the store can tell. For a server that has to know
    /// before it reads a body; the caller is admitted as everybody is.
    pub async fn is_known(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let Some(token) = bearer(headers) else { return false };
        !matches!(self.verified(&token, now, &Meter::default()).await, Err(Error::Unauthenticated))
    }

    /// The token's key. If the store's remembered key does not match, asks for a newer one: it may have been
    /// rotated meanwhile.
    async fn verified(&self, token: &BearerToken, now: Timestamp, meter: &Meter) -> Result<ApiKey> {
        let found = self.keys.find(&token.id, meter).await?;
        if key::verify(found.as_ref(), token, now).is_some() {
            return found.ok_or(Error::Unauthenticated);
        }
        let found = self.keys.find_newer(&token.id, meter).await?;
        let good = key::verify(found.as_ref(), token, now).is_some();
        found.filter(|_| good).ok_or(Error::Unauthenticated)
    }
}

/// The token of the `Authorization` header, if there is exactly one (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<BearerToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().parse().ok()).flatten()
}
