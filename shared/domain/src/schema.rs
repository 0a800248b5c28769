//! The values' types as JSON Schemas (2020-12), for the API's description. Limits are those the parsers go by.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::id::{CustomerId, MAX_SAFE_INTEGER, TicketId};
use crate::preset::Choice;
use crate::text::{
    CONTENT_BYTES, Content, EMAIL_CHARACTERS, Email, NOTE_BYTES, Note, SUBJECT_CHARACTERS, Subject,
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

// Lengths in a schema count characters: a text of so many bytes has at most as many.
schema! {
    TicketId = {"type": "string", "pattern": "^[1-9][0-9]{0,15}$", "examples": ["43"]};
    CustomerId = {"type": "integer", "minimum": 1, "maximum": MAX_SAFE_INTEGER, "examples": [42]};
    Subject = {"type": "string", "minLength": 1, "maxLength": SUBJECT_CHARACTERS};
    Content = {"type": "string", "maxLength": CONTENT_BYTES};
    Note = {"type": "string", "maxLength": NOTE_BYTES};
    Choice = {"type": "string", "maxLength": NOTE_BYTES};
    Email = {
        "type": "string",
        "format": "email",
        "maxLength": EMAIL_CHARACTERS,
        "examples": ["ada@example.com"]
    };
    Timestamp = {"type": "string", "format": "date-time", "examples": ["2026-11-23T17:45:00.123Z"]};
    DateOrTime = {
        "type": "string",
        "anyOf": [{"format": "date"}, {"format": "date-time"}],
        "examples": ["2026-11-23", "2026-11-23T17:45:00Z"]
    };
}
