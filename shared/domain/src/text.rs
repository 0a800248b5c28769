//! The text types of a ticket's fields. Each limit is defined once, for the parser and its message.

use std::fmt;
use std::str::FromStr;

use email_address::{EmailAddress, Options};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is refused. The message may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidText {
    #[error("must not be empty")]
    Empty,
    /// The text has more characters than this.
    #[error("must have at most {0} characters")]
    TooManyCharacters(usize),
    /// The text has more bytes of UTF-8 than this.
    #[error("must have at most {0} bytes of UTF-8")]
    TooManyBytes(usize),
    #[error("must be an email address like ada@example.com")]
    NotAnAddress,
}

/// Defines a text type whose values always pass the check, also when they come from JSON.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks a text without copying it.
            pub fn check(text: &str) -> Result<(), InvalidText> {
                let check: fn(&str) -> Result<(), InvalidText> = $check;
                check(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::check(&text).map(|()| Self(text))
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The most characters a subject may have.
pub const SUBJECT_CHARACTERS: usize = 500;
/// The most bytes of UTF-8 a ticket's content may have. With every field at its limit, an item stays below
/// DynamoDB's 400 KB.
pub const CONTENT_BYTES: usize = 256 * 1024;
/// The most bytes of UTF-8 a note (users, departments, suppliers, a free owner) may have.
pub const NOTE_BYTES: usize = 4 * 1024;
/// The most characters an address may have (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub const EMAIL_CHARACTERS: usize = 254;

/// The length of the longest text that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextLimit {
    Characters(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
}

fn at_most_bytes(text: &str, limit: usize) -> Result<(), InvalidText> {
    if text.len() > limit { Err(InvalidText::TooManyBytes(limit)) } else { Ok(()) }
}

text!(
    /// What the ticket is about: not empty, at most [`SUBJECT_CHARACTERS`].
    Subject,
    |text| {
        if text.is_empty() {
            Err(InvalidText::Empty)
        } else if text.chars().nth(SUBJECT_CHARACTERS).is_some() {
            Err(InvalidText::TooManyCharacters(SUBJECT_CHARACTERS))
        } else {
            Ok(())
        }
    }
);
text!(
    /// The most recent content, of at most [`CONTENT_BYTES`].
    Content,
    |text| at_most_bytes(text, CONTENT_BYTES)
);
text!(
    /// Free text of at most [`NOTE_BYTES`].
    Note,
    |text| at_most_bytes(text, NOTE_BYTES)
);
text!(
    /// An email address as in RFC 5321, with a dot in its domain and without a display name.
    Email,
    |text| {
        if text.len() > EMAIL_CHARACTERS {
            return Err(InvalidText::TooManyCharacters(EMAIL_CHARACTERS));
        }
        if is_plain_address(text) {
            return Ok(());
        }
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        EmailAddress::parse_with_options(text, options).map(drop).map_err(|_| InvalidText::NotAnAddress)
    }
);

/// Whether a text is an address of the plainest form: letters, digits and hyphens, in parts that single dots
/// separate. Most addresses are. A list checks a thousand, and parsing them would take a tenth of its time.
fn is_plain_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_part = |part: &str| {
        part.len() <= 63
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    local.len() <= 64
        && local.split('.').all(is_part)
        && domain.contains('.')
        && domain.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_a_plain_address_the_parser_accepts(text in "[a-c0.-]{0,6}@[a-c0.-]{0,9}") {
            let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
            prop_assert!(!is_plain_address(&text) || EmailAddress::parse_with_options(&text, options).is_ok());
        }
    }

    #[test]
    fn plain_addresses_are_told_from_those_that_have_to_be_parsed() {
        let (part, longest) = ("d".repeat(63), "a".repeat(64));
        let domain = format!("{part}.example");
        for plain in ["ada@example.com", "a.b-c@sub.example.co.uk", &format!("a.{}@{domain}", "a".repeat(62))]
        {
            assert!(is_plain_address(plain), "{plain}");
        }
        for other in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "ada@.com",
            "ada@com.",
            "a..b@example.com",
            "a+b@example.com",
            "-a@example.com",
            "a-@example.com",
            "ada@ex_ample.com",
            "ada@-a.com",
            "ä@example.com",
            "a@b@example.com",
            &format!("{longest}@{domain}"),
            &format!("a.{part}@{domain}"),
            &format!("a@d{domain}"),
        ] {
            assert!(!is_plain_address(other), "{other}");
        }
    }

    #[test]
    fn a_subject_of_500_characters_is_accepted_whatever_its_bytes() {
        assert!("ü".repeat(SUBJECT_CHARACTERS).parse::<Subject>().is_ok());
    }

    #[test]
    fn a_subject_of_501_characters_is_refused() {
        assert_eq!(
            "x".repeat(SUBJECT_CHARACTERS + 1).parse::<Subject>(),
            Err(InvalidText::TooManyCharacters(SUBJECT_CHARACTERS))
        );
    }

    #[test]
    fn an_empty_subject_is_refused() {
        assert_eq!("".parse::<Subject>(), Err(InvalidText::Empty));
    }

    #[test]
    fn content_is_limited_in_bytes_on_both_sides_of_the_limit() {
        assert!("ü".repeat(CONTENT_BYTES / 2).parse::<Content>().is_ok());
        assert!(("ü".repeat(CONTENT_BYTES / 2) + "x").parse::<Content>().is_err());
    }

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in ["ada@example.com", "a.b+c@sub.example.co.uk", "o'hara@example.org"] {
            assert!(good.parse::<Email>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "Ada <ada@example.com>",
            "a b@example.com",
            "a@b@c.de",
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_those_of_the_contract() {
        for (limit, refused) in
            [(262_144, InvalidText::TooManyBytes(262_144)), (4096, InvalidText::TooManyBytes(4096))]
        {
            let parse = |length: usize| match limit {
                4096 => "x".repeat(length).parse::<Note>().map(drop),
                _ => "x".repeat(length).parse::<Content>().map(drop),
            };
            assert_eq!(parse(limit), Ok(()));
            assert_eq!(parse(limit + 1), Err(refused));
        }
        assert!("".parse::<Note>().is_ok() && "".parse::<Content>().is_ok());
    }

    #[test]
    fn an_address_has_at_most_254_characters() {
        let domain = format!("{0}.{0}.{0}.example", "d".repeat(60));
        let address = |length: usize| format!("{}@{domain}", "a".repeat(length - domain.len() - 1));
        assert!(address(254).parse::<Email>().is_ok());
        assert_eq!(address(255).parse::<Email>(), Err(InvalidText::TooManyCharacters(254)));
    }
}
