//! Bearer keys: `tk_<keyId>_<secret>`, and what a key may do.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use crate::error::Result;
use crate::id::CustomerId;
use crate::limit::{Quota, RateLimit};
use crate::time::Timestamp;
use crate::usage::Meter;

/// A text that is not a key, key id, or scope. The error does not repeat the text, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    #[error("a key looks like tk_<keyId>_<secret>")]
    Token,
    #[error("a key id has 1 to 32 characters of a-z and 0-9")]
    Id,
    #[error("a scope is read, write or delete")]
    Scope,
}

/// The public name of a key: 1 to 32 characters of `a-z0-9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    /// A new id of 80 random bits.
    pub fn generate() -> Result<Self, getrandom::Error> {
        random::<10>().map(|bytes| Self(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

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

/// A secret of 256 random bits. It can be hashed into a [`SecretHash`], but never recovered from one.
pub struct Secret([u8; 32]);

impl Secret {
    /// The hash to store. One round of SHA-256 is enough, because 256 random bits cannot be guessed.
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
    /// A hash of no known secret, to compare with when a key is unknown.
    const NOBODY: Self = Self([0; 32]);

    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
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

/// The token that a caller sends: `tk_<keyId>_<secret>`, with the secret as 64 hexadecimal digits.
#[derive(Debug)]
pub struct BearerToken {
    pub id: KeyId,
    pub secret: Secret,
}

impl BearerToken {
    /// A token for a new key, with a random id and secret.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Self::renew(KeyId::generate()?)
    }

    /// A token with a new secret for an existing key.
    pub fn renew(id: KeyId) -> Result<Self, getrandom::Error> {
        Ok(Self { id, secret: Secret(random()?) })
    }

    /// The token as plain text, to be shown once. There is no `Display`, so that it cannot slip into a log.
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
    Read,
    /// Create and update tickets.
    Write,
    Delete,
}

impl Scope {
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

/// The secret that a key had before its rotation. It is still accepted until `ends`.
#[derive(Debug, Clone)]
pub struct FormerSecret {
    pub hash: SecretHash,
    pub ends: Timestamp,
}

/// A key as it is stored.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub id: KeyId,
    /// The hash of its secret.
    pub hash: SecretHash,
    pub scopes: BTreeSet<Scope>,
    /// The customer it is restricted to; `None`: it may see all customers.
    pub customer: Option<CustomerId>,
    pub former: Option<FormerSecret>,
    pub limit: Option<RateLimit>,
    /// A note for people: who holds the key.
    pub note: Option<String>,
    pub created: Timestamp,
    /// Who created it, as reported by that person's machine.
    pub created_by: Option<String>,
    /// When it was last used, accurate to the hour.
    pub last_used: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
}

impl ApiKey {
    /// The key to store for a new token: valid for all customers, without expiry.
    pub fn new(token: &BearerToken, scopes: impl IntoIterator<Item = Scope>, now: Timestamp) -> Self {
        Self {
            id: token.id.clone(),
            hash: token.secret.hash(),
            scopes: scopes.into_iter().collect(),
            customer: None,
            former: None,
            limit: None,
            note: None,
            created: now,
            created_by: None,
            last_used: None,
            expires: None,
            revoked: None,
        }
    }

    /// Whether it is neither revoked nor expired.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }
}

/// Returns `found`, the key looked up by the token's id, if it is active and the token has its secret or a
/// former one that is still accepted. An unknown key, a wrong secret and a former one cost the same work, so
/// that the time taken tells nothing.
pub fn verify<'a>(found: Option<&'a ApiKey>, token: &BearerToken, now: Timestamp) -> Option<&'a ApiKey> {
    let hash = token.secret.hash();
    let former = found.and_then(|key| key.former.as_ref()).filter(|former| now < former.ends);
    let current = found.map_or(&SecretHash::NOBODY, |key| &key.hash);
    let former = former.map_or(&SecretHash::NOBODY, |former| &former.hash);
    let matches = bool::from(hash.ct_eq(current) | hash.ct_eq(former));
    found.filter(|key| matches && key.is_active(now))
}

/// Stores keys. Each call adds its cost to the request's meter. The trait lives here because the guard, which
/// calls it, and the repository, which implements it, do not know each other.
pub trait KeyStore: Send + Sync {
    /// The key with this id, active or not. The store may answer from a cache.
    fn find(&self, id: &KeyId, meter: &Meter) -> impl Future<Output = Result<Option<ApiKey>>> + Send;

    /// The key as it is now, for when [`KeyStore::find`] may have returned a stale one with another secret.
    /// `None` if there is nothing newer than what `find` returned, or no such key.
    fn find_newer(&self, id: &KeyId, meter: &Meter) -> impl Future<Output = Result<Option<ApiKey>>> + Send;

    /// Counts a request with a verified key, and records that the key was used. Returns the rest of the key's
    /// limit, if it has one.
    ///
    /// # Errors
    /// [`Error::RateLimited`](crate::Error::RateLimited) if the limit is used up.
    fn count(&self, key: &ApiKey, meter: &Meter) -> impl Future<Output = Result<Option<Quota>>> + Send;
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
    fn no_two_keys_have_an_id_or_a_secret_in_common() {
        let tokens: Vec<_> = (0..20).map(|_| BearerToken::generate().unwrap()).collect();
        let ids: BTreeSet<_> = tokens.iter().map(|token| token.id.clone()).collect();
        let secrets: BTreeSet<_> = tokens.iter().map(|token| token.secret.0).collect();
        assert_eq!((ids.len(), secrets.len()), (20, 20));
        assert!(tokens.iter().all(|token| token.id.as_str().len() == 16), "80 bits of base 32");
        // About 128 of 256 random bits are set. Fewer than 64 or more than 192 occur once in 10^16 secrets.
        let ones = |secret: &[u8; 32]| secret.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert!(secrets.iter().all(|secret| (64..=192).contains(&ones(secret))));
    }

    #[test]
    fn a_key_id_has_1_to_32_small_letters_and_digits() {
        for good in ["a", "7", "dev", &"z9".repeat(16)] {
            assert_eq!(good.parse::<KeyId>().unwrap().to_string(), good);
            assert_eq!(String::from(good.parse::<KeyId>().unwrap()), good);
        }
        for bad in ["", &"a".repeat(33), "A", "a-b", "a_b", "\u{fc}", " a"] {
            assert_eq!(bad.parse::<KeyId>(), Err(InvalidKey::Id), "{bad}");
        }
    }

    #[test]
    fn what_is_stored_of_a_secret_is_its_sha_256() {
        let token: BearerToken = format!("tk_a_{}", "00".repeat(32)).parse().unwrap();
        let stored = serde_json::to_string(&token.secret.hash()).unwrap();
        // The SHA-256 of 32 zero bytes.
        assert_eq!(stored, "\"66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925\"");
        let read: SecretHash = serde_json::from_str(&stored).unwrap();
        let (now, other) = (Timestamp::MAX, BearerToken::generate().unwrap());
        let kept = ApiKey { hash: read, ..ApiKey::new(&token, [], now) };
        assert!(verify(Some(&kept), &token, now).is_some() && verify(Some(&kept), &other, now).is_none());
        for bad in ["\"00\"", "\"zz\"", "7"] {
            assert!(serde_json::from_str::<SecretHash>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for (scope, text) in [(Scope::Read, "read"), (Scope::Write, "write"), (Scope::Delete, "delete")] {
            assert_eq!((scope.to_string().as_str(), text.parse()), (text, Ok(scope)));
        }
        assert_eq!("Read".parse::<Scope>(), Err(InvalidKey::Scope));
        assert_eq!("admin".parse::<Scope>(), Err(InvalidKey::Scope));
    }

    #[test]
    fn debug_output_names_the_type_of_a_secret() {
        let token = BearerToken::generate().unwrap();
        assert_eq!(format!("{:?} {:?}", token.secret, token.secret.hash()), "Secret(…) SecretHash(…)");
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
        // The key after a rotation.
        key.former = Some(FormerSecret { hash: key.hash.clone(), ends: now });
        key.hash = other.secret.hash();
        assert!(verify(Some(&key), &other, now).is_some(), "the new secret");
        assert!(verify(Some(&key), &token, now).is_none(), "the former one, which has ended");
        let before = Timestamp::from_millis(998).unwrap();
        assert!(verify(Some(&key), &token, before).is_some(), "the former one, which has not");
        key.revoked = Some(now);
        assert!(verify(Some(&key), &other, now).is_none(), "revoked");
        assert!(verify(Some(&key), &token, before).is_none(), "revoked, with the former secret");
    }
}
