//! Numbers that identify tickets, customers, and versions of a ticket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 8259, section 6).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A text or number that is not an identifier. The message may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a whole number from 1 to {MAX_SAFE_INTEGER}")]
pub struct InvalidId;

fn in_range(number: u64) -> Result<u64, InvalidId> {
    if (1..=MAX_SAFE_INTEGER).contains(&number) { Ok(number) } else { Err(InvalidId) }
}

/// Parses decimal digits without a sign or leading zeros, so that every id has one spelling.
fn canonical(text: &str) -> Result<u64, InvalidId> {
    if !text.bytes().all(|b| b.is_ascii_digit()) || text.starts_with('0') {
        return Err(InvalidId);
    }
    text.parse().map_err(|_| InvalidId).and_then(in_range)
}

/// A ticket's number. Ids ascend from 1, without gaps except where a create failed half-way. In JSON an id
/// is a string of decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(u64);

impl TicketId {
    pub const FIRST: Self = Self(1);

    pub fn get(self) -> u64 {
        self.0
    }

    /// The next id.
    ///
    /// # Errors
    /// After 2^53 - 1 there is none.
    pub fn next(self) -> Result<Self, InvalidId> {
        in_range(self.0 + 1).map(Self)
    }
}

impl TryFrom<u64> for TicketId {
    type Error = InvalidId;

    fn try_from(number: u64) -> Result<Self, InvalidId> {
        in_range(number).map(Self)
    }
}

impl FromStr for TicketId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        canonical(text).map(Self)
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for TicketId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A customer's number. In JSON it is a number too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct CustomerId(u64);

impl CustomerId {
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for CustomerId {
    type Error = InvalidId;

    fn try_from(number: u64) -> Result<Self, InvalidId> {
        in_range(number).map(Self)
    }
}

impl From<CustomerId> for u64 {
    fn from(id: CustomerId) -> u64 {
        id.0
    }
}

impl FromStr for CustomerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        canonical(text).map(Self)
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a ticket has been written: 1 when created, one more with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u64);

impl Version {
    /// The version of a new ticket.
    pub const FIRST: Self = Self(1);

    /// The version with this number, for one that was stored or sent.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    pub fn get(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!("43".parse(), Ok(TicketId(43)));
        assert_eq!("9007199254740991".parse(), Ok(TicketId(MAX_SAFE_INTEGER)));
        for text in
            ["", "0", "043", "+43", "-1", "4 3", "43.0", "9007199254740992", "99999999999999999999", "٤"]
        {
            assert_eq!(text.parse::<TicketId>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn a_ticket_id_is_text_in_json_and_a_customer_id_a_number() {
        assert_eq!(serde_json::to_string(&TicketId(43)).unwrap(), "\"43\"");
        assert_eq!(serde_json::to_string(&CustomerId(7)).unwrap(), "7");
    }

    #[test]
    fn an_id_is_at_most_the_largest_integer_that_json_keeps_exact() {
        assert_eq!(MAX_SAFE_INTEGER, 9_007_199_254_740_991);
        for (number, ok) in [(0, false), (1, true), (MAX_SAFE_INTEGER, true), (MAX_SAFE_INTEGER + 1, false)] {
            assert_eq!(
                TicketId::try_from(number).map(TicketId::get),
                if ok { Ok(number) } else { Err(InvalidId) }
            );
            let customer: Result<CustomerId, _> = serde_json::from_str(&number.to_string());
            assert_eq!(customer.ok().map(u64::from), ok.then_some(number));
        }
    }

    #[test]
    fn ids_are_consecutive_and_the_highest_has_no_next() {
        assert_eq!(TicketId::FIRST.next(), Ok(TicketId(2)));
        assert_eq!(TicketId(41).next(), Ok(TicketId(42)));
        assert_eq!(TicketId(MAX_SAFE_INTEGER).next(), Err(InvalidId));
    }

    #[test]
    fn an_id_is_written_as_it_is_read() {
        assert_eq!(TicketId(43).to_string(), "43");
        let customer: CustomerId = "42".parse().unwrap();
        assert_eq!((customer.get(), customer.to_string().as_str()), (42, "42"));
        assert_eq!("042".parse::<CustomerId>(), Err(InvalidId));
    }

    #[test]
    fn every_change_raises_the_version() {
        let (first, second) = (Version::FIRST, Version::FIRST.next());
        assert_eq!((first.get(), second, second.next()), (1, Version::new(2), Version::new(3)));
    }
}
