//! Bearer keys: `tk_<keyId>_<secret>`, and what a key may do.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::error::Result;
use crate::id::CustomerId;
use crate::time::Timestamp;

/// Why a text is no key, key id, or scope. It says nothing of the text, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// It is no `tk_<keyId>_<secret>`.
    #[error("a key looks like tk_<keyId>_<secret>")]
    Token,
    /// It is no key id.
    #[error("a key id has 1 to 32 characters of a-z and 0-9")]
    Id,
    /// It is no scope.
    #[error("a scope is read, write or delete")]
    Scope,
}

/// The public name of a key: 1 to 32 characters of `a-z0-9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    /// A new id of 80 random bits.
    ///
    /// # Errors
    /// Where the system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        random::<10>().map(|bytes| Self(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        let valid = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if valid { Ok(Self(text)) } else { Err(InvalidKey::Id) }
    }
}

impl FromStr for KeyId {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        text.to_owned().try_into()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map(|()| bytes)
}

/// 256 secret bits. They can become a [`SecretHash`], and never come back from one.
pub struct Secret([u8; 32]);

impl Secret {
    /// What is stored of the secret. One round suffices: there is no guessing 256 random bits.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret, compared in constant time.
#[derive(Clone)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// A hash that no known secret has: what an unknown key is compared with.
    const NOBODY: Self = Self([0; 32]);

    fn matches(&self, secret: &Secret) -> bool {
        self.0.ct_eq(&secret.hash().0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom("not 32 bytes"))
    }
}

/// What a caller presents: `tk_<keyId>_<secret>`, the secret as 64 hexadecimal digits.
#[derive(Debug)]
pub struct BearerToken {
    /// The public part.
    pub id: KeyId,
    /// The secret part.
    pub secret: Secret,
}

impl BearerToken {
    /// A new token.
    ///
    /// # Errors
    /// Where the system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self { id: KeyId::generate()?, secret: Secret(random()?) })
    }

    /// The token in clear, to be shown once. There is no `Display`, so that it cannot slip into a log.
    pub fn reveal(&self) -> String {
        format!("tk_{}_{}", self.id, HEXLOWER.encode(&self.secret.0))
    }
}

impl FromStr for BearerToken {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let (id, secret) =
            text.strip_prefix("tk_").and_then(|rest| rest.split_once('_')).ok_or(InvalidKey::Token)?;
        let id = id.parse().map_err(|_| InvalidKey::Token)?;
        let bytes = HEXLOWER.decode(secret.as_bytes()).map_err(|_| InvalidKey::Token)?;
        let secret = bytes.try_into().map(Secret).map_err(|_| InvalidKey::Token)?;
        Ok(Self { id, secret })
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read tickets.
    Read,
    /// Create and update tickets.
    Write,
    /// Delete tickets.
    Delete,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Delete];
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        })
    }
}

impl FromStr for Scope {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::ALL.into_iter().find(|scope| scope.to_string() == text).ok_or(InvalidKey::Scope)
    }
}

/// A key as it is stored.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// What is stored of its secret.
    pub hash: SecretHash,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The one customer it is restricted to.
    pub customer: Option<CustomerId>,
    /// Who has it, for people.
    pub note: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl ApiKey {
    /// What is stored of a new token with these scopes: for every customer, without an end.
    pub fn new(token: &BearerToken, scopes: impl IntoIterator<Item = Scope>, now: Timestamp) -> Self {
        Self {
            id: token.id.clone(),
            hash: token.secret.hash(),
            scopes: scopes.into_iter().collect(),
            customer: None,
            note: None,
            created: now,
            expires: None,
            revoked: None,
        }
    }

    /// Whether it is in force.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }
}

/// Whether `found`, looked up by the token's id, is in force and has the token's secret. An unknown
/// key costs the same work as a wrong secret.
pub fn verify<'a>(found: Option<&'a ApiKey>, token: &BearerToken, now: Timestamp) -> Option<&'a ApiKey> {
    let matches = found.map_or(SecretHash::NOBODY, |key| key.hash.clone()).matches(&token.secret);
    found.filter(|key| matches && key.is_active(now))
}

/// Where keys are kept. It stands here because the guard, which asks, and the repository, which
/// answers, do not know each other.
pub trait KeyStore: Send + Sync {
    /// The key of this id, whether in force or not.
    ///
    /// # Errors
    /// Where the store does not answer.
    fn find(&self, id: &KeyId) -> impl Future<Output = Result<Option<ApiKey>>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(token: &BearerToken) -> ApiKey {
        let stamp = |millis| Timestamp::from_millis(millis).unwrap();
        ApiKey { expires: Some(stamp(1000)), ..ApiKey::new(token, Scope::ALL, stamp(0)) }
    }

    #[test]
    fn a_token_is_read_back_from_what_was_shown() {
        let token = BearerToken::generate().unwrap();
        let again: BearerToken = token.reveal().parse().unwrap();
        assert_eq!(again.id, token.id);
        assert_eq!(again.reveal(), token.reveal());
        assert!(token.reveal().starts_with("tk_"));
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let good = BearerToken::generate().unwrap().reveal();
        for bad in [
            "",
            "tk_",
            "tk__",
            "tk_a_b",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}0"),
            &good.to_uppercase(),
        ] {
            assert!(bad.parse::<BearerToken>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let token = BearerToken::generate().unwrap();
        let secret = token.reveal().rsplit('_').next().unwrap().to_owned();
        let shown = format!("{token:?} {:?}", key(&token));
        assert!(!shown.contains(&secret[..8]), "{shown}");
    }

    #[test]
    fn a_key_is_verified_by_secret_expiry_and_revocation() {
        let (now, later) = (Timestamp::from_millis(999).unwrap(), Timestamp::from_millis(1000).unwrap());
        let (token, other) = (BearerToken::generate().unwrap(), BearerToken::generate().unwrap());
        let mut key = key(&token);
        assert!(verify(Some(&key), &token, now).is_some());
        assert!(verify(Some(&key), &token, later).is_none(), "expired");
        assert!(verify(Some(&key), &other, now).is_none(), "wrong secret");
        assert!(verify(None, &token, now).is_none(), "unknown");
        key.revoked = Some(now);
        assert!(verify(Some(&key), &token, now).is_none(), "revoked");
    }
}
