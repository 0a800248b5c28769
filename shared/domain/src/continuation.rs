//! What one page of a list of changes knows about the following pages. The `Link` header carries it, so that
//! the next page need not find it out again.
//!
//! A forged continuation is harmless. Every ticket that it names is read and checked against the filter, so
//! it shows nothing that the same list would not show. It can leave tickets out, but only for the forger.
//! A genuine one leaves out at most tickets that changed since the first page; the next pass returns them.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

use crate::id::TicketId;

/// The most ids in one continuation.
pub const MOST_IDS: usize = 1000;
/// The most bytes that the ids take: 2.7 KB of a URL. API Gateway allows 10 KB of headers, many proxies 8 KB.
const MOST_BYTES: usize = 2000;

/// A text that is not a continuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is no continuation")]
pub struct InvalidContinuation;

/// How to go on with a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Continuation {
    /// Nothing is known: the page has to find out itself.
    #[default]
    Unknown,
    /// So much has changed that reading the tickets in order is cheaper than reading an index.
    Walk,
    /// The ids of the tickets that come next, ascending.
    Ids {
        /// The ids, at most [`MOST_IDS`].
        ids: Vec<TicketId>,
        /// Whether these are the last ones.
        complete: bool,
    },
}

impl Continuation {
    /// A continuation with as many of these ids as fit into a `Link`, at most `most`.
    pub fn carrying(ids: &[TicketId], complete: bool, most: usize) -> Self {
        let (mut bytes, mut last, mut carried) = (Vec::new(), 0, 0);
        for id in ids.iter().take(most.min(MOST_IDS)) {
            write_distance(&mut bytes, id.get() - last);
            if bytes.len() > MOST_BYTES {
                break;
            }
            (last, carried) = (id.get(), carried + 1);
        }
        Self::Ids { ids: ids[..carried].to_vec(), complete: complete && carried == ids.len() }
    }
}

/// Writes the distance between two ids as LEB128, seven bits a byte. Most take one byte, few more than two.
fn write_distance(bytes: &mut Vec<u8>, mut distance: u64) {
    while distance > 0x7f {
        bytes.push(distance as u8 | 0x80);
        distance >>= 7;
    }
    bytes.push(distance as u8);
}

fn read_ids(bytes: &[u8]) -> Result<Vec<TicketId>, InvalidContinuation> {
    let (mut ids, mut last, mut distance, mut shift) = (Vec::new(), 0u64, 0u64, 0u32);
    for byte in bytes {
        // Ids have 53 bits, so that no valid distance is shifted further.
        if shift > 49 {
            return Err(InvalidContinuation);
        }
        distance |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            last += distance;
            if distance == 0 || ids.len() == MOST_IDS {
                return Err(InvalidContinuation);
            }
            ids.push(TicketId::try_from(last).map_err(|_| InvalidContinuation)?);
            (distance, shift) = (0, 0);
        }
    }
    if shift == 0 { Ok(ids) } else { Err(InvalidContinuation) }
}

impl fmt::Display for Continuation {
    /// [`Continuation::Unknown`] becomes the empty text, because it is not sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Walk => f.write_str("w"),
            Self::Ids { ids, complete } => {
                let (mut bytes, mut last) = (Vec::with_capacity(2 * ids.len()), 0);
                for id in ids {
                    write_distance(&mut bytes, id.get() - last);
                    last = id.get();
                }
                f.write_str(if *complete { "c" } else { "i" })?;
                f.write_str(&BASE64URL_NOPAD.encode(&bytes))
            }
        }
    }
}

impl FromStr for Continuation {
    type Err = InvalidContinuation;

    fn from_str(text: &str) -> Result<Self, InvalidContinuation> {
        let (kind, rest) = text.split_at_checked(1).ok_or(InvalidContinuation)?;
        let ids = || {
            let bytes = BASE64URL_NOPAD.decode(rest.as_bytes()).map_err(|_| InvalidContinuation)?;
            read_ids(&bytes)
        };
        match kind {
            "w" if rest.is_empty() => Ok(Self::Walk),
            "c" => Ok(Self::Ids { ids: ids()?, complete: true }),
            "i" => Ok(Self::Ids { ids: ids()?, complete: false }),
            _ => Err(InvalidContinuation),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::id::MAX_SAFE_INTEGER;

    #[test]
    fn a_walk_is_one_letter() {
        assert_eq!(Continuation::Walk.to_string(), "w");
        assert_eq!("w".parse(), Ok(Continuation::Walk));
    }

    #[test]
    fn a_thousand_neighbours_are_less_than_two_kilobytes() {
        let ids = (5_000_000..5_001_000).map(|id| TicketId::try_from(id).unwrap()).collect();
        let text = Continuation::Ids { ids, complete: false }.to_string();
        assert!(text.len() < 1400, "{}", text.len());
    }

    #[test]
    fn fewer_ids_are_carried_if_they_are_far_apart() {
        let ids: Vec<_> = (1..=1000).map(|id| TicketId::try_from(id * 10_000_000).unwrap()).collect();
        let carried = Continuation::carrying(&ids, true, MOST_IDS);
        assert!(carried.to_string().len() < 2700);
        assert!(matches!(&carried, Continuation::Ids { ids, complete: false } if ids.len() == 500));
        let all = Continuation::carrying(&ids[..3], true, 3);
        assert_eq!(all, Continuation::Ids { ids: ids[..3].to_vec(), complete: true });
        let some = Continuation::carrying(&ids[..3], true, 2);
        assert_eq!(some, Continuation::Ids { ids: ids[..2].to_vec(), complete: false });
    }

    #[test]
    fn a_text_that_no_link_carries_is_refused() {
        for text in ["", "x", "w1", "wAA", "i!", "iAA", "igA", "iAQA", "i____________________"] {
            assert_eq!(text.parse::<Continuation>(), Err(InvalidContinuation), "{text}");
        }
        let too_many = format!("i{}", BASE64URL_NOPAD.encode(&[1; MOST_IDS + 1]));
        assert_eq!(too_many.parse::<Continuation>(), Err(InvalidContinuation));
    }

    #[test]
    fn ids_up_to_127_apart_take_a_byte_each() {
        let bytes = |second: u64| {
            let ids = [1, second].map(|id| TicketId::try_from(id).unwrap()).to_vec();
            let text = Continuation::Ids { ids, complete: true }.to_string();
            BASE64URL_NOPAD.decode(&text.as_bytes()[1..]).unwrap().len()
        };
        assert_eq!((bytes(128), bytes(129)), (2, 3));
    }

    proptest! {
        #[test]
        fn ids_are_read_back_as_they_were_written(
            ids in proptest::collection::btree_set(1..=MAX_SAFE_INTEGER, 0..50),
            near in proptest::collection::btree_set(1u64..5000, 0..50),
            complete: bool,
        ) {
            let all: BTreeSet<u64> = ids.union(&near).copied().collect();
            let ids = all.into_iter().map(|id| TicketId::try_from(id).unwrap()).collect();
            let continuation = Continuation::Ids { ids, complete };
            prop_assert_eq!(continuation.to_string().parse(), Ok(continuation));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[ciw][A-Za-z0-9_-]{0,40}") {
            if let Ok(continuation) = text.parse::<Continuation>() {
                prop_assert_eq!(continuation.to_string().parse(), Ok(continuation));
            }
        }
    }
}
