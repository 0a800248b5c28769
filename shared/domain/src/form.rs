//! A JSON object on its way to a ticket: fields are taken out one by one, every mistake is noted,
//! and what nobody asked for is refused by name.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result, Violation};
use crate::id::MAX_SAFE_INTEGER;
use crate::idempotency::Fingerprint;

/// What a body says of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given<T> {
    /// Nothing: the field is absent.
    Nothing,
    /// `null`: clear the field.
    Clear,
    /// This value.
    Value(T),
}

impl<T> Given<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Clear => None,
        }
    }
}

/// The members of a JSON object, and what was found wrong with them so far.
#[derive(Debug)]
pub struct Form {
    members: BTreeMap<String, Value>,
    known: Vec<&'static str>,
    violations: Vec<Violation>,
}

impl Form {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MalformedBody`] for anything but one JSON object. A member that occurs twice is a
    /// violation like others, noted for [`Form::finish`].
    pub fn parse(body: &[u8]) -> Result<Self> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::MalformedBody("the body is empty; send a JSON object".into()));
        }
        let Members { members, twice } = serde_json::from_slice(body)
            .map_err(|error| Error::MalformedBody(format!("the body is not a JSON object: {error}")))?;
        let violations = twice.into_iter().map(|name| Violation::new(name, "is given twice")).collect();
        Ok(Self { members, known: Vec::new(), violations })
    }

    /// A hash of what the body says, whatever its spacing and the order of its members.
    pub fn fingerprint(&self) -> Fingerprint {
        // A map of strings to JSON values always has a JSON text.
        let text = serde_json::to_vec(&self.members).unwrap_or_default();
        Fingerprint::new(Sha256::digest(&text).into())
    }

    /// Whether the body gives this field a value.
    pub fn has(&self, field: &str) -> bool {
        self.members.get(field).is_some_and(|value| !value.is_null())
    }

    /// Notes a violation.
    pub fn refuse(&mut self, field: &str, detail: impl ToString) {
        self.violations.push(Violation::new(field, detail));
    }

    /// Takes a field that is a string in JSON.
    pub fn text<T, E: ToString>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Given<T> {
        self.take(field, |value| match value {
            Value::String(text) => parse(&text).map_err(|error| error.to_string()),
            other => Err(format!("must be a string, not {}", kind(&other))),
        })
    }

    /// Takes a field that is a whole number in JSON.
    pub fn number<T, E: ToString>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(u64) -> Result<T, E>,
    ) -> Given<T> {
        self.take(field, |value| match value {
            // Zero is refused by every parser with a message that names the range.
            Value::Number(number) => parse(whole(&number).unwrap_or(0)).map_err(|error| error.to_string()),
            other => Err(format!("must be a number, not {}", kind(&other))),
        })
    }

    /// Takes a text as it is, valid or not; a value of another kind is noted.
    pub fn raw_text(&mut self, field: &'static str) -> Given<String> {
        self.text(field, |text| Ok::<_, String>(text.to_owned()))
    }

    fn take<T>(&mut self, field: &'static str, parse: impl FnOnce(Value) -> Result<T, String>) -> Given<T> {
        self.known.push(field);
        match self.members.remove(field) {
            None => Given::Nothing,
            Some(Value::Null) => Given::Clear,
            Some(value) => match parse(value) {
                Ok(value) => Given::Value(value),
                Err(detail) => {
                    self.refuse(field, detail);
                    Given::Nothing
                }
            },
        }
    }

    /// Ends the reading: every violation, those of unknown members included.
    pub fn finish(mut self) -> Vec<Violation> {
        for name in self.members.keys() {
            self.violations.push(Violation::unknown("field", name, &self.known));
        }
        self.violations
    }
}

/// A whole number, however it is written: 7.0 is as whole as 7 (JSON Schema 2020-12, section 6.1.1 of
/// its validation).
fn whole(number: &Number) -> Option<u64> {
    const EXACT: f64 = MAX_SAFE_INTEGER as f64;
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..=EXACT).contains(float));
    number.as_u64().or_else(|| float().map(|float| float as u64))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// An object's members, with the names that occur more than once: `serde_json` would keep the last.
struct Members {
    members: BTreeMap<String, Value>,
    twice: Vec<String>,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut found = Members { members: BTreeMap::new(), twice: Vec::new() };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if name.len() > 1000 {
                        return Err(de::Error::custom("a member's name is longer than 1000 bytes"));
                    }
                    if found.members.contains_key(&name) && !found.twice.contains(&name) {
                        found.twice.push(name.clone());
                    }
                    found.members.insert(name, value);
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_json_object_is_a_form() {
        for body in ["", "  ", "[]", "1", "null", "{", "{\"a\":1}x", "{\"a\":}"] {
            assert!(matches!(Form::parse(body.as_bytes()), Err(Error::MalformedBody(_))), "{body}");
        }
        assert!(matches!(Form::parse(b"{\"a\":\"\xff\"}"), Err(Error::MalformedBody(_))));
        let deep = format!("{}{}", "{\"a\":".repeat(200), "}".repeat(200));
        assert!(matches!(Form::parse(deep.as_bytes()), Err(Error::MalformedBody(_))));
    }

    #[test]
    fn a_member_given_twice_and_an_unknown_one_are_named() {
        let mut form = Form::parse(br#"{"subject":"a","subject":"b","stauts":"open"}"#).unwrap();
        let _ = form.raw_text("subject");
        let _ = form.raw_text("status");
        let violations = form.finish();
        assert_eq!(violations[0], Violation::new("subject", "is given twice"));
        assert_eq!(violations[1], Violation::new("stauts", "unknown field; did you mean status?"));
    }

    #[test]
    fn a_fingerprint_sees_values_but_not_spacing_or_order() {
        let print = |body: &str| Form::parse(body.as_bytes()).unwrap().fingerprint();
        assert_eq!(print(r#"{"a":1,"b":"x"}"#), print(r#" { "b" : "x", "a" : 1 } "#));
        assert_ne!(print(r#"{"a":1}"#), print(r#"{"a":2}"#));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(form) = Form::parse(&body) {
                let _ = form.finish();
            }
        }
    }
}
