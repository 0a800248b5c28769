//! The text types of a ticket's fields. Each limit is defined once, for the parser and its message.
//!
//! Parsing is for what callers send. Deserializing is for what is stored: it takes every text, so that a ticket
//! from before a rule stays readable.

use std::fmt;
use std::str::FromStr;

use email_address::{EmailAddress, Options};
use icu_properties::props::{BinaryProperty, DefaultIgnorableCodePoint};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is refused. The message may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidText {
    #[error("must not be empty")]
    Empty,
    #[error("must not be empty: it has only characters that cannot be seen")]
    Invisible,
    #[error("must not contain U+0000, which many databases cannot store")]
    Null,
    /// The text has this character, though it has to be one line.
    #[error("must be one line without control characters, but contains U+{:04X}", u32::from(*.0))]
    NotOneLine(char),
    /// The text has more characters than this.
    #[error("must have at most {0} characters")]
    TooManyCharacters(usize),
    /// The text has more bytes of UTF-8 than this.
    #[error("must have at most {0} bytes of UTF-8")]
    TooManyBytes(usize),
    #[error("must be an email address like ada@example.com")]
    NotAnAddress,
}

/// Defines a text type. `$parse` returns the part of a text that is kept.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                let parse: fn(&str) -> Result<&str, InvalidText> = $parse;
                parse(text).map(|kept| Self(kept.to_owned()))
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
/// The most bytes of UTF-8 an address may have (RFC 5321, section 4.5.3.1.3, less the angle brackets; RFC 6531,
/// section 3.4).
pub const EMAIL_BYTES: usize = 254;

/// The length of the longest text that a field takes. Of a text of one line, what is kept is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextLimit {
    Characters(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
}

/// A text of any lines.
fn lines(text: &str, limit: usize) -> Result<&str, InvalidText> {
    if text.contains('\0') { Err(InvalidText::Null) } else { at_most_bytes(text, limit) }
}

/// Whether a text with this character is not one line.
pub fn breaks_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The one line that a text is, without the white space around it. People's mailers write such a text into a
/// header, where a line break would begin another header.
pub(crate) fn line(text: &str) -> Result<&str, InvalidText> {
    let line = text.trim();
    match line.chars().find(|c| breaks_line(*c)) {
        Some('\0') => Err(InvalidText::Null),
        Some(other) => Err(InvalidText::NotOneLine(other)),
        None => Ok(line),
    }
}

pub(crate) fn at_most_bytes(text: &str, limit: usize) -> Result<&str, InvalidText> {
    if text.len() > limit { Err(InvalidText::TooManyBytes(limit)) } else { Ok(text) }
}

/// Whether a character shows nothing, whatever font it is shown in.
fn is_invisible(c: char) -> bool {
    // The Braille pattern without dots is a symbol for Unicode, but looks like a blank.
    c.is_whitespace() || c == '\u{2800}' || DefaultIgnorableCodePoint::for_char(c)
}

text!(
    /// What the ticket is about: one line that can be seen, of at most [`SUBJECT_CHARACTERS`].
    Subject,
    |text| match line(text)? {
        "" => Err(InvalidText::Empty),
        line if line.chars().all(is_invisible) => Err(InvalidText::Invisible),
        line if line.chars().nth(SUBJECT_CHARACTERS).is_some() => {
            Err(InvalidText::TooManyCharacters(SUBJECT_CHARACTERS))
        }
        line => Ok(line),
    }
);
text!(
    /// The most recent content, of at most [`CONTENT_BYTES`].
    Content,
    |text| lines(text, CONTENT_BYTES)
);
text!(
    /// Free text of at most [`NOTE_BYTES`].
    Note,
    |text| lines(text, NOTE_BYTES)
);
text!(
    /// An email address as in RFC 5321, with a dot in its domain and without a display name. It may have characters
    /// beyond ASCII (RFC 6531).
    Email,
    |text| {
        let address = at_most_bytes(line(text)?, EMAIL_BYTES)?;
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        match EmailAddress::parse_with_options(address, options) {
            Ok(_) => Ok(address),
            Err(_) => Err(InvalidText::NotAnAddress),
        }
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_contains_the_null_character() {
        for text in ["\0", "a\0b"] {
            assert_eq!(text.parse::<Subject>(), Err(InvalidText::Null));
            assert_eq!(text.parse::<Content>(), Err(InvalidText::Null));
            assert_eq!(text.parse::<Note>(), Err(InvalidText::Null));
            assert_eq!(text.parse::<Email>(), Err(InvalidText::Null));
        }
    }

    #[test]
    fn a_text_of_several_lines_is_kept_byte_for_byte() {
        let text = " \r\n\ta\u{1}\u{200b}\u{feff}e\u{301}\u{2028}b \n";
        assert_eq!(text.parse::<Content>().unwrap().as_str(), text);
        assert_eq!(text.parse::<Note>().unwrap().as_str(), text);
    }

    #[test]
    fn white_space_around_a_line_is_removed_and_what_is_within_is_kept() {
        for space in [" ", "\t", "\r\n", "\u{85}", "\u{a0}", "\u{1680}", "\u{2003}", "\u{2028}", "\u{3000}"] {
            let subject: Subject = format!("{space}{space}a  b{space}").parse().unwrap();
            assert_eq!(subject.as_str(), "a  b", "{space:?}");
            let email: Email = format!("{space}ada@example.com{space}").parse().unwrap();
            assert_eq!(email.as_str(), "ada@example.com", "{space:?}");
        }
        // A text of another direction needs marks and isolates, and decomposed letters are other bytes.
        for kept in
            ["\u{202b}א\u{202c} a", "\u{2067}א\u{2069}", "\u{feff}a\u{200b}", "e\u{301}", "a\u{a0}b\u{3000}c"]
        {
            assert_eq!(kept.parse::<Subject>().unwrap().as_str(), kept);
        }
    }

    #[test]
    fn a_control_character_or_a_line_break_within_a_line_is_named() {
        for c in [
            '\u{1}', '\t', '\n', '\u{b}', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{2028}',
            '\u{2029}',
        ] {
            assert_eq!(format!("x{c}y").parse::<Subject>(), Err(InvalidText::NotOneLine(c)), "{c:?}");
            assert_eq!(format!("a{c}@example.com").parse::<Email>(), Err(InvalidText::NotOneLine(c)));
        }
        assert_eq!(
            "x\r\nBcc: y".parse::<Subject>().unwrap_err().to_string(),
            "must be one line without control characters, but contains U+000D"
        );
    }

    #[test]
    fn a_subject_of_nothing_visible_is_as_good_as_none() {
        for empty in ["", "   ", "\t\r\n", "\u{a0}\u{3000}"] {
            assert_eq!(empty.parse::<Subject>(), Err(InvalidText::Empty), "{empty:?}");
        }
        for invisible in [
            "\u{200b}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{115f}\u{1160}",
            "\u{17b4}",
            "\u{180e}",
            "\u{200d} \u{200e}",
            "\u{202e}",
            "\u{2060}",
            "\u{2066}",
            "\u{2800}",
            "\u{3164}",
            "\u{fe0f}",
            "\u{feff}",
            "\u{ffa0}",
            "\u{e0020}",
            "\u{e0100}",
        ] {
            assert_eq!(invisible.parse::<Subject>(), Err(InvalidText::Invisible), "{invisible:?}");
            assert!(format!("{invisible}.").parse::<Subject>().is_ok(), "{invisible:?} beside another");
        }
        for visible in ["?", "\u{2801}", "\u{1f600}", "\u{301}", "\u{e000}", "\u{fffd}"] {
            assert!(visible.parse::<Subject>().is_ok(), "{visible:?}");
        }
    }

    #[test]
    fn what_is_kept_of_a_line_is_measured() {
        let longest = "x".repeat(SUBJECT_CHARACTERS);
        assert_eq!(format!("\n {longest} \r\n").parse::<Subject>().unwrap().as_str(), longest);
        assert!(format!(" {longest}x ").parse::<Subject>().is_err());
    }

    #[test]
    fn a_text_that_is_stored_is_read_whatever_today_s_rules_are() {
        for stored in ["", " a", "a\r\nb", "\0", "\u{200b}"] {
            let subject: Subject = serde_json::from_value(stored.into()).unwrap();
            let email: Email = serde_json::from_value(stored.into()).unwrap();
            assert_eq!((subject.as_str(), email.as_str()), (stored, stored));
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
    fn content_is_limited_in_bytes_on_both_sides_of_the_limit() {
        assert!("ü".repeat(CONTENT_BYTES / 2).parse::<Content>().is_ok());
        assert!(("ü".repeat(CONTENT_BYTES / 2) + "x").parse::<Content>().is_err());
    }

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in [
            "ada@example.com",
            "a.b+c@sub.example.co.uk",
            "o'hara@example.org",
            "müller@münchen.de",
            "\"a,b\"@example.com",
        ] {
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
    fn an_address_has_at_most_254_bytes() {
        let domain = format!("{0}.{0}.{0}.example", "d".repeat(60));
        let address = |length: usize| format!("{}@{domain}", "a".repeat(length - domain.len() - 1));
        assert!(address(254).parse::<Email>().is_ok());
        assert!(format!(" {} ", address(254)).parse::<Email>().is_ok(), "what is kept is measured");
        let refused = address(255).parse::<Email>().unwrap_err();
        assert_eq!(refused.to_string(), "must have at most 254 bytes of UTF-8");
        let umlauts = format!("ada@{0}.{0}.{0}.{0}.de", "ü".repeat(31));
        assert_eq!((umlauts.chars().count(), umlauts.len()), (134, 258));
        assert_eq!(umlauts.parse::<Email>(), Err(InvalidText::TooManyBytes(254)));
    }
}
