//! JSON Schemas (2020-12) of the value types, for the API's description. They share the parsers' limits.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::event::{EventId, EventType};
use crate::history::ChangeKind;
use crate::id::{CustomerId, MAX_SAFE_INTEGER, TicketId, Version};
use crate::key::KeyId;
use crate::preset::Choice;
use crate::text::{
    CONTENT_BYTES, Content, EMAIL_BYTES, Email, NOTE_BYTES, Note, SUBJECT_CHARACTERS, Subject,
};
use crate::time::{DateOrTime, Timestamp};

macro_rules! schema {
    ($($type:ident = $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

/// The accepted forms of a date or time: an ECMA-262 regular expression that other dialects know too.
/// It does not know how many days a month has, and leaves out the leap second, which few minutes can have.
const DATE_OR_TIME: &str = "^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
    ([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]+)?)?\
    ( ?([Zz]|UTC|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?))?)?$";

/// What every address has. There is no `format`: `email` has no characters beyond ASCII, and few validators know
/// `idn-email`.
const ADDRESS: &str = "^.+@.+\\..+$";

// Lengths in a schema count characters. A limit in bytes can be used as one, because a text never has more
// characters than bytes. `DateOrTime` has no `format`, because no generator has a type for "date or time".
schema! {
    TicketId = {"type": "string", "pattern": "^[1-9][0-9]{0,15}$", "examples": ["43"]};
    CustomerId = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_SAFE_INTEGER, "examples": [42]};
    Version = {"type": "integer", "format": "int64", "minimum": 1, "examples": [3]};
    ChangeKind = {"type": "string", "enum": ["created", "updated", "deleted"]};
    EventId = {"type": "string", "pattern": "^[0-9a-f]{36}$", "examples": ["019ab697e8000000000000002b0000000002"]};
    EventType = {"type": "string", "enum": ["ticket.created", "ticket.updated", "ticket.deleted"]};
    KeyId = {"type": "string", "pattern": "^[a-z0-9]{1,32}$", "examples": ["7f3kq2"]};
    Subject = {
        "type": "string",
        "minLength": 1,
        "maxLength": SUBJECT_CHARACTERS,
        "examples": ["Invoice 2026-118 is wrong"]
    };
    Content = {"type": "string", "maxLength": CONTENT_BYTES, "examples": ["We were charged twice in October."]};
    Note = {"type": "string", "maxLength": NOTE_BYTES};
    Choice = {"type": "string", "maxLength": NOTE_BYTES};
    Email = {
        "type": "string",
        "pattern": ADDRESS,
        "maxLength": EMAIL_BYTES,
        "examples": ["ada@example.com"]
    };
    Timestamp = {"type": "string", "format": "date-time", "examples": ["2026-11-23T17:45:00.123Z"]};
    DateOrTime = {
        "type": "string",
        "pattern": DATE_OR_TIME,
        "examples": ["2026-11-23", "2026-11-23T17:45:00Z", "2026-11-23T18:45:00+0100"]
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;
    use regex_lite::Regex;

    use super::*;

    proptest! {
        #[test]
        fn a_date_or_time_that_the_schema_allows_is_read(
            text in string_regex(DATE_OR_TIME.trim_matches(['^', '$'])).unwrap()
        ) {
            // The pattern knows no lengths of months, and an offset can lead out of the years 1000 to 9999.
            let last_days = ("29".."32").contains(&&text[8..10]);
            let first_or_last_year = text.starts_with("1000") || text.starts_with("9999");
            prop_assert!(text.parse::<DateOrTime>().is_ok() || last_days || first_or_last_year, "{}", text);
        }

        #[test]
        fn a_date_or_time_that_is_read_the_schema_allows(
            text in "[12][0-9]{3}-[01][0-9]-[0-3][0-9][T ]?[0-9:.]{0,14}[UTCZ:+ -]{0,3}[0-9:]{0,6}"
        ) {
            let is_read = text.parse::<DateOrTime>().is_ok();
            prop_assert!(!is_read || Regex::new(DATE_OR_TIME).unwrap().is_match(&text), "{}", text);
        }
    }

    #[test]
    fn the_schema_allows_every_address_that_is_stored() {
        for address in ["ada@example.com", "müller@münchen.de", "\"a,b\"@example.com", "\"a@b\"@example.com"]
        {
            assert!(address.parse::<Email>().is_ok() && Regex::new(ADDRESS).unwrap().is_match(address));
        }
        for refused in ["ada", "ada@localhost", "@example.com"] {
            assert!(refused.parse::<Email>().is_err() && !Regex::new(ADDRESS).unwrap().is_match(refused));
        }
    }
}
