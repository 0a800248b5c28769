//! Idempotency keys, which show whether a caller has sent a request before.

use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::key::KeyId;

/// How long a used key is remembered.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest key, in characters.
pub const KEY_CHARACTERS: usize = 255;

/// A text that is not an idempotency key. The message may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be text of 1 to {KEY_CHARACTERS} characters")]
pub struct InvalidIdempotencyKey;

/// A client's name for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let count = text.chars().take(KEY_CHARACTERS + 1).count();
        // A gateway replaces bytes that are not UTF-8 by U+FFFD, so that different keys could become equal.
        let is_text = !text
            .contains(|character: char| character.is_control() || character == char::REPLACEMENT_CHARACTER);
        if is_text && (1..=KEY_CHARACTERS).contains(&count) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

/// A hash of a request's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint made of this SHA-256.
    pub fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub fn to_hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom("not 32 bytes"))
    }
}

/// A request that must not take effect twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    caller: KeyId,
    key: IdempotencyKey,
    /// The index of a row in its batch; `None` for a whole request.
    row: Option<usize>,
    pub fingerprint: Fingerprint,
}

impl Idempotency {
    /// The request that `caller` named `key`.
    pub fn new(caller: KeyId, key: IdempotencyKey, fingerprint: Fingerprint) -> Self {
        Self { caller, key, row: None, fingerprint }
    }

    /// A row of the batch that `caller` named `key`. Rows are identified by their index.
    pub fn of_row(caller: KeyId, key: IdempotencyKey, row: usize, fingerprint: Fingerprint) -> Self {
        Self { caller, key, row: Some(row), fingerprint }
    }

    pub fn caller(&self) -> &KeyId {
        &self.caller
    }

    /// A name that no other caller's request has. Its length is bounded, whatever the client sent.
    pub fn scoped_name(&self) -> String {
        let name = format!("{}#{}", self.caller, HEXLOWER.encode(&Sha256::digest(self.key.0.as_bytes())));
        match self.row {
            Some(row) => format!("{name}#{row}"),
            None => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_text() {
        assert!("clé 1".parse::<IdempotencyKey>().is_ok());
        for bad in ["a\tb", "a\u{FFFD}", "\0"] {
            assert_eq!(bad.parse::<IdempotencyKey>(), Err(InvalidIdempotencyKey), "{bad:?}");
        }
    }

    #[test]
    fn a_key_has_1_to_255_characters() {
        assert!("k".repeat(255).parse::<IdempotencyKey>().is_ok());
        assert!("k".repeat(256).parse::<IdempotencyKey>().is_err());
        assert!("".parse::<IdempotencyKey>().is_err());
    }

    #[test]
    fn a_used_key_is_remembered_for_a_day() {
        assert_eq!(KEPT, Duration::from_secs(86_400));
    }

    #[test]
    fn a_fingerprint_is_kept_as_64_hexadecimal_digits() {
        let print = Fingerprint::new([0xab; 32]);
        assert_eq!(print.to_hex(), "ab".repeat(32));
        let json = serde_json::to_string(&print).unwrap();
        assert_eq!(json, format!("\"{}\"", "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), print);
        for bad in ["\"ab\"", "\"xy\"", "7"] {
            assert!(serde_json::from_str::<Fingerprint>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_is_named_by_its_caller_its_key_and_its_row() {
        let request = |caller: &str, key: &str| {
            let (caller, key) = (caller.parse().unwrap(), key.parse().unwrap());
            Idempotency::new(caller, key, Fingerprint::new([0; 32]))
        };
        let row = |row: usize| {
            let (caller, key) = ("ada".parse().unwrap(), "k".parse().unwrap());
            Idempotency::of_row(caller, key, row, Fingerprint::new([1; 32]))
        };
        assert_eq!(request("ada", "k").caller().as_str(), "ada");
        let names = [request("ada", "k"), request("eve", "k"), request("ada", "K"), row(0), row(1)];
        let names: std::collections::BTreeSet<_> = names.iter().map(Idempotency::scoped_name).collect();
        assert_eq!(names.len(), 5, "each is another request");
        let again = Idempotency::new("ada".parse().unwrap(), "k".parse().unwrap(), Fingerprint::new([9; 32]));
        assert_eq!(again.scoped_name(), request("ada", "k").scoped_name(), "whatever it says");
        let long = request(&"a".repeat(32), &"\u{1F980}".repeat(255)).scoped_name();
        assert!(long.len() <= 100 && long.is_ascii(), "fit for a key of the database: {long}");
    }
}
