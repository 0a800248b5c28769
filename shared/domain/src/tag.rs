//! The tag of a ticket's version, by which a caller says which version it has seen.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::id::Version;

/// A text that is not a tag. The message may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a version as the API gives it, like 7-0c5fe1a2")]
pub struct InvalidTag;

/// A version of a ticket, and a random part of the write that made it. After a restore, other writes make versions
/// with the same numbers, and only the random part tells them apart. Of two such writes one in four thousand million
/// has the random part of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    version: Version,
    random: u32,
}

impl Tag {
    pub fn new(version: Version, random: u32) -> Self {
        Self { version, random }
    }

    pub fn version(self) -> Version {
        self.version
    }

    /// The tag at the start of a text, and what comes after it: proxies add something to the tags that they pass on.
    pub fn at_start_of(text: &str) -> Option<(Self, &str)> {
        const DIGITS: usize = 8;
        let (version, rest) = text.split_once('-')?;
        let is_canonical = version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
        let version = version.parse().ok().filter(|_| is_canonical).map(Version::new)?;
        let (random, rest) = rest.split_at_checked(DIGITS)?;
        let is_canonical = random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let random = u32::from_str_radix(random, 16).ok().filter(|_| is_canonical)?;
        Some((Self { version, random }, rest))
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    /// Parses a tag in its one spelling, so that equal tags are equal texts.
    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        match Self::at_start_of(text) {
            Some((tag, "")) => Ok(tag),
            Some(_) | None => Err(InvalidTag),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.version.get(), self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_one_spelling() {
        for (text, version, random) in [
            ("7-0c5fe1a2", 7, 0x0c5f_e1a2),
            ("1-00000000", 1, 0),
            ("18446744073709551615-ffffffff", u64::MAX, u32::MAX),
        ] {
            let tag = Tag::new(Version::new(version), random);
            assert_eq!((text.parse(), tag.to_string().as_str()), (Ok(tag), text));
            assert_eq!(tag.version().get(), version);
        }
        for text in [
            "",
            "7",
            "7-",
            "-0c5fe1a2",
            "07-0c5fe1a2",
            "0-0c5fe1a2",
            "7-0c5fe1a",
            "7-0c5fe1a20",
            "7-0C5FE1A2",
            "+7-0c5fe1a2",
            "7-+c5fe1a2",
            "7-0c5fe1ü",
            "7 -0c5fe1a2",
            "18446744073709551616-ffffffff",
            "\"7-0c5fe1a2\"",
        ] {
            assert_eq!(text.parse::<Tag>(), Err(InvalidTag), "{text}");
        }
    }

    #[test]
    fn a_tag_is_found_before_what_a_proxy_has_added() {
        let tag = "7-0c5fe1a2".parse().unwrap();
        for added in ["", "-gzip", ";gzip", "--gzip", "/br", "0"] {
            assert_eq!(Tag::at_start_of(&format!("7-0c5fe1a2{added}")), Some((tag, added)));
        }
    }
}
