//! The guard in front of every handler. Each function checks the key itself, whatever a gateway says
//! it has checked.

use lambda_http::http::header::{AUTHORIZATION, HeaderMap};
use tickets_domain::id::CustomerId;
use tickets_domain::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use tickets_domain::key::{self, KeyId};
use tickets_domain::{BearerToken, Error, KeyStore, Result, Scope, Timestamp};

/// Who asks: only the guard makes one, so a handler that takes one runs behind the guard.
#[derive(Debug, Clone)]
pub struct Caller {
    key: KeyId,
    customer: Option<CustomerId>,
}

impl Caller {
    /// The key's public name.
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// The one customer whose tickets exist for this caller.
    pub fn customer(&self) -> Option<CustomerId> {
        self.customer
    }

    /// Whether this customer's tickets exist for this caller.
    pub fn sees(&self, customer: CustomerId) -> bool {
        self.customer.is_none_or(|own| own == customer)
    }

    /// Refuses to give a ticket to a customer the caller may not see.
    ///
    /// # Errors
    /// [`Error::OtherCustomer`].
    pub fn may_write(&self, customer: CustomerId) -> Result<()> {
        match self.customer {
            Some(own) if own != customer => Err(Error::OtherCustomer(own)),
            _ => Ok(()),
        }
    }

    /// The caller's request of this name.
    pub fn request(&self, key: IdempotencyKey, fingerprint: Fingerprint) -> Idempotency {
        Idempotency::new(self.key.clone(), key, fingerprint)
    }
}

/// Lets in who has a key with the right scope.
#[derive(Debug)]
pub struct Guard<'a, K> {
    keys: &'a K,
}

impl<'a, K: KeyStore> Guard<'a, K> {
    /// A guard that knows these keys.
    pub fn new(keys: &'a K) -> Self {
        Self { keys }
    }

    /// Who sent these headers, if they have `scope`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], whatever the reason; [`Error::MissingScope`]; the store's own.
    pub async fn admit(&self, headers: &HeaderMap, scope: Scope, now: Timestamp) -> Result<Caller> {
        let token = bearer(headers).ok_or(Error::Unauthenticated)?;
        let found = self.keys.find(&token.id).await?;
        let key = key::verify(found.as_ref(), &token, now).ok_or(Error::Unauthenticated)?;
        if !key.scopes.contains(&scope) {
            return Err(Error::MissingScope(scope));
        }
        Ok(Caller { key: key.id.clone(), customer: key.customer })
    }
}

/// The token of the one `Authorization` header there is (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<BearerToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().parse().ok()).flatten()
}
