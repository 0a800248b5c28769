//! A JSON object whose fields are taken out one by one. Every mistake is noted, and members that
//! nobody took are refused by name.
//!
//! A member's value stays JSON text until its field is taken, and no field takes an array or an object. So
//! nothing parses what is nested, however deep it is, and a value that cannot be read is a mistake of its field.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::error::{Error, MOST_VIOLATIONS, Result, Violation, Violations, shortened};
use crate::idempotency::Fingerprint;
use crate::ticket;

/// What an object says of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Patch<T> {
    /// The object lacks the field, so that a change leaves it as it is.
    Absent,
    /// `null`: a change clears the field.
    Null,
    Value(T),
}

impl<T> Patch<T> {
    /// The value, if there is one.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

/// The most tickets in one batch.
pub const MOST_ROWS: usize = 100;

/// The elements of a batch, each as its JSON text.
struct Rows<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Rows<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;

        impl<'de> Visitor<'de> for Array {
            type Value = Rows<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = elements.next_element()? {
                    if rows.len() == MOST_ROWS {
                        return Err(de::Error::custom("it has more; send them in parts"));
                    }
                    rows.push(row);
                }
                if rows.is_empty() { Err(de::Error::custom("it is empty")) } else { Ok(Rows(rows)) }
            }
        }

        deserializer.deserialize_seq(Array)
    }
}

/// The members of a JSON object, and the violations noted so far.
#[derive(Debug)]
pub struct JsonObject {
    members: BTreeMap<String, Box<RawValue>>,
    known: Vec<&'static str>,
    pub(crate) violations: Violations,
}

impl JsonObject {
    /// Parses a body.
    ///
    /// # Errors
    /// [`Error::MalformedBody`] for anything but one JSON object. A member that occurs twice is only
    /// noted as a violation.
    pub fn parse(body: &[u8]) -> Result<Self> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::MalformedBody("the body is empty; send a JSON object".into()));
        }
        let Members { members, twice, left_out } = serde_json::from_slice(body).map_err(|error| {
            // The parser's message may repeat a text of any length.
            let error = shortened(&error.to_string());
            Error::MalformedBody(format!("the body is not a JSON object: {error}"))
        })?;
        let mut violations = Violations::default();
        for name in &twice {
            violations.push_with(|| Violation::new(shortened(name), "is given twice"));
        }
        violations.add_unlisted(left_out);
        Ok(Self { members, known: Vec::new(), violations })
    }

    /// Parses the body of a batch: an array, each element of which is parsed on its own.
    ///
    /// # Errors
    /// [`Error::MalformedBody`] for anything but one JSON array of 1 to [`MOST_ROWS`] elements. An element
    /// that is not an object is an error in the returned list.
    pub fn parse_rows(body: &[u8]) -> Result<Vec<Result<Self>>> {
        let Rows(rows) = serde_json::from_slice(body).map_err(|error| {
            let error = shortened(&error.to_string());
            Error::MalformedBody(format!("the body is not an array of 1 to {MOST_ROWS} tickets: {error}"))
        })?;
        Ok(rows.into_iter().map(|row| Self::parse(row.get().as_bytes())).collect())
    }

    /// A hash of the body's content. The order of members, the spacing between them and the way that a text is
    /// escaped do not change it.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for (at, (name, value)) in self.members.iter().enumerate() {
            hash.update(if at == 0 { "{" } else { "," });
            hash.update(canonical(name));
            hash.update(":");
            match string(value) {
                Ok(text) => hash.update(canonical(&text)),
                Err(_) => hash.update(value.get()),
            }
        }
        hash.update("}");
        Fingerprint::new(hash.finalize().into())
    }

    /// Whether the body gives this field a value.
    pub fn has(&self, field: &str) -> bool {
        self.members.get(field).is_some_and(|value| Kind::of(value) != Kind::Null)
    }

    /// Whether the body has this field, and it is `null`.
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.members.get(field).is_some_and(|value| Kind::of(value) == Kind::Null)
    }

    /// Notes a violation if the field, which is not taken yet, has no value.
    pub(crate) fn require(&mut self, field: &str) {
        if !self.has(field) {
            self.refuse(field, "is required");
        }
    }

    /// Notes a violation.
    pub(crate) fn refuse(&mut self, field: &str, detail: impl ToString) {
        self.violations.push(Violation::new(field, detail));
    }

    /// Takes a field that is a string in JSON.
    pub(crate) fn text<T, E: ToString>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Patch<T> {
        self.take(field, |value| match Kind::of(value) {
            Kind::String => parse(&string(value)?).map_err(|error| error.to_string()),
            other => Err(format!("must be a string, not {other}")),
        })
    }

    /// Takes a field that is a whole number in JSON.
    pub(crate) fn number<T, E: ToString>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(u64) -> Result<T, E>,
    ) -> Patch<T> {
        self.take(field, |value| match Kind::of(value) {
            // Any other number becomes zero, which every parser refuses, naming the range.
            Kind::Number => parse(whole(value.get()).unwrap_or(0)).map_err(|error| error.to_string()),
            other => Err(format!("must be a number, not {other}")),
        })
    }

    /// Takes a string without checking it. A value that is not a string is a violation.
    pub(crate) fn raw_text(&mut self, field: &'static str) -> Patch<String> {
        self.text(field, |text| Ok::<_, String>(text.to_owned()))
    }

    /// Takes a field of any kind, and drops its value.
    pub(crate) fn ignore(&mut self, field: &'static str) {
        self.known.push(field);
        self.members.remove(field);
    }

    fn take<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Patch<T> {
        self.known.push(field);
        let Some(value) = self.members.remove(field) else { return Patch::Absent };
        if Kind::of(&value) == Kind::Null {
            return Patch::Null;
        }
        match parse(&value) {
            Ok(value) => Patch::Value(value),
            Err(detail) => {
                self.refuse(field, detail);
                Patch::Absent
            }
        }
    }

    /// The value parsed from the object, if it has no violation. `value` is `None` only if one was noted.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation, including one for each member that was not taken.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T> {
        let violations = self.into_violations();
        match value {
            Some(value) if violations.is_empty() => Ok(value),
            Some(_) | None => Err(Error::InvalidFields(violations)),
        }
    }

    /// Every violation, including one for each member that was not taken.
    pub(crate) fn into_violations(mut self) -> Violations {
        for name in self.members.keys() {
            self.violations.push_with(|| Violation::unknown("field", name, &self.known));
        }
        self.violations
    }
}

/// The whole number that a JSON number is, however it is written: 7.0 and 70e-1 are as whole as 7 (JSON Schema
/// Validation 2020-12, section 6.1.1). Decided on the text, because a floating-point number is rounded.
fn whole(number: &str) -> Option<u64> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [integer, fraction].concat();
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let zeros = exponent.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()?
        + i64::try_from(digits.len() - significant.len()).ok()?;
    // A `u64` has at most 20 digits.
    let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros <= 20)?;
    format!("{significant}{:0<zeros$}", "").parse().ok()
}

/// The text of a JSON string.
fn string(value: &RawValue) -> Result<String, String> {
    serde_json::from_str(value.get()).map_err(|error| match Kind::of(value) {
        Kind::String => {
            "has an escape like \\ud83d without its other half, which is not a character".to_owned()
        }
        _ => error.to_string(),
    })
}

/// A text as `serde_json` writes it.
fn canonical(text: &str) -> String {
    // A string always has a JSON text.
    serde_json::to_string(text).unwrap_or_default()
}

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// Decided by the first byte, which differs for each kind. The parser has checked the rest.
    fn of(value: &RawValue) -> Self {
        match value.get().as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'"') => Self::String,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            Some(_) | None => Self::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// From this number of members on, unknown ones are only counted. A body of two megabytes can hold 170,000,
/// and keeping them all would take seven times as long as parsing a valid body of that size.
const MOST_UNKNOWN: usize = 2 * MOST_VIOLATIONS;

/// An object's members, and the names that occur more than once, which `serde_json` alone would not report.
struct Members {
    members: BTreeMap<String, Box<RawValue>>,
    twice: BTreeSet<String>,
    left_out: usize,
}

/// A member's name, which is copied only if it is kept.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut found = Members { members: BTreeMap::new(), twice: BTreeSet::new(), left_out: 0 };
                while let Some(Name(name)) = map.next_key()? {
                    if name.len() > 1000 {
                        return Err(de::Error::custom("a member's name is longer than 1000 bytes"));
                    }
                    if found.members.len() >= MOST_UNKNOWN && !ticket::has_member(&name) {
                        map.next_value::<IgnoredAny>()?;
                        found.left_out += 1;
                        continue;
                    }
                    let name = name.into_owned();
                    if found.members.contains_key(&name) {
                        found.twice.insert(name.clone());
                    }
                    found.members.insert(name, map.next_value()?);
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
    use crate::id::CustomerId;

    #[test]
    fn a_body_is_one_json_object() {
        for body in ["", "  ", "[]", "1", "null", "{", "{\"a\":1}x", "{\"a\":}"] {
            assert!(matches!(JsonObject::parse(body.as_bytes()), Err(Error::MalformedBody(_))), "{body}");
        }
        assert!(matches!(JsonObject::parse(b"{\"a\":\"\xff\"}"), Err(Error::MalformedBody(_))));
    }

    /// The names that `serde_json` gives a meaning when it parses its own values.
    const MAGIC: [&str; 2] = ["$serde_json::private::RawValue", "$serde_json::private::Number"];

    #[test]
    fn a_name_that_serde_json_gives_a_meaning_is_a_name_like_others() {
        for name in MAGIC {
            let body =
                format!(r#"{{"subject":{{"{name}":"\"a\""}},"customerID":{{"{name}":"42"}},"{name}":"1"}}"#);
            let mut object = JsonObject::parse(body.as_bytes()).unwrap();
            assert_eq!(object.raw_text("subject"), Patch::Absent);
            assert_eq!(object.number("customerID", Ok::<_, String>), Patch::Absent);
            let violations: Vec<_> = object.into_violations().into_iter().collect();
            assert_eq!(violations[0], Violation::new("subject", "must be a string, not an object"));
            assert_eq!(violations[1], Violation::new("customerID", "must be a number, not an object"));
            assert_eq!(violations[2].field, name);
        }
    }

    #[test]
    fn however_deep_a_value_is_only_its_kind_is_looked_at() {
        for (open, close, kind) in [("{\"a\":", "}", "an object"), ("[", "]", "an array")] {
            let deep = format!(r#"{{"a":{}1{}}}"#, open.repeat(200_000), close.repeat(200_000));
            let mut object = JsonObject::parse(deep.as_bytes()).unwrap();
            object.fingerprint();
            assert_eq!(object.raw_text("a"), Patch::Absent);
            let violation = object.into_violations().into_iter().next().unwrap();
            assert_eq!(violation, Violation::new("a", format!("must be a string, not {kind}")));
        }
    }

    #[test]
    fn a_text_that_is_half_of_a_surrogate_pair_is_a_mistake_of_its_field() {
        let mut object = JsonObject::parse(br#"{"a":"x\ud83d","b":"\ud83d\ude00"}"#).unwrap();
        assert_eq!(object.raw_text("a"), Patch::Absent);
        assert_eq!(object.raw_text("b"), Patch::Value("\u{1f600}".to_owned()));
        assert_eq!(object.into_violations().into_iter().next().unwrap().field, "a");
    }

    #[test]
    fn a_batch_is_an_array_of_1_to_100_whose_rows_are_read_one_by_one() {
        let rows = JsonObject::parse_rows(br#" [ {"subject":"a"}, 1, {"subject":"b" } ] "#).unwrap();
        assert!(rows[0].is_ok() && rows[2].is_ok() && rows.len() == 3);
        assert!(matches!(&rows[1], Err(Error::MalformedBody(detail)) if detail.contains("object")));
        let of =
            |count: usize| JsonObject::parse_rows(format!("[{}]", vec!["{}"; count].join(",")).as_bytes());
        assert_eq!(of(100).unwrap().len(), 100);
        for refused in
            [of(0), of(101), of(100_000), JsonObject::parse_rows(b"[{},"), JsonObject::parse_rows(b"[{}]x")]
        {
            assert!(matches!(refused, Err(Error::MalformedBody(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_member_given_twice_and_an_unknown_one_are_named() {
        let mut object = JsonObject::parse(br#"{"subject":"a","subject":"b","stauts":"open"}"#).unwrap();
        let _ = object.raw_text("subject");
        let _ = object.raw_text("status");
        let violations: Vec<_> = object.into_violations().into_iter().collect();
        assert_eq!(violations[0], Violation::new("subject", "is given twice"));
        assert_eq!(violations[1], Violation::new("stauts", "unknown field; did you mean status?"));
    }

    #[test]
    fn a_fingerprint_sees_values_but_not_spacing_or_order() {
        let print = |body: &str| JsonObject::parse(body.as_bytes()).unwrap().fingerprint();
        assert_eq!(print(r#"{"a":1,"b":"x"}"#), print(r#" { "b" : "x", "a" : 1 } "#));
        assert_ne!(print(r#"{"a":1}"#), print(r#"{"a":2}"#));
        assert_ne!(print(r#"{"a":"1"}"#), print(r#"{"a":1}"#));
        assert_eq!(print(r#"{"a":"\u0062/"}"#), print(r#"{"a":"b\/"}"#));
        let hash = Sha256::digest(br#"{"a":1,"b":"x"}"#);
        assert_eq!(
            print(r#"{"b":"x","a":1}"#),
            Fingerprint::new(hash.into()),
            "stored for a day: it must not change"
        );
    }

    #[test]
    fn a_value_of_another_kind_is_refused_by_the_name_of_its_kind() {
        let details = |value: &str, number: bool| {
            let mut object = JsonObject::parse(format!(r#"{{"a":{value}}}"#).as_bytes()).unwrap();
            if number {
                assert_eq!(object.number("a", Ok::<_, String>), Patch::Absent);
            } else {
                assert_eq!(object.raw_text("a"), Patch::Absent);
            }
            object.into_violations().into_iter().map(|violation| violation.detail).collect::<String>()
        };
        for (value, kind) in [("true", "a boolean"), ("[1]", "an array"), ("{}", "an object")] {
            assert_eq!(details(value, false), format!("must be a string, not {kind}"));
            assert_eq!(details(value, true), format!("must be a number, not {kind}"));
        }
        assert_eq!(details("1", false), "must be a string, not a number");
        assert_eq!(details(r#""1""#, true), "must be a number, not a string");
    }

    #[test]
    fn a_body_of_another_kind_is_told_what_was_expected() {
        let message = |error: Error| error.to_string();
        assert!(message(JsonObject::parse(b"[]").unwrap_err()).contains("an object"));
        assert!(message(JsonObject::parse_rows(b"{}").unwrap_err()).contains("expected an array"));
    }

    #[test]
    fn a_name_has_at_most_1000_bytes() {
        let object =
            |length: usize| JsonObject::parse(format!(r#"{{"{}":1}}"#, "n".repeat(length)).as_bytes());
        assert!(object(1000).is_ok());
        assert!(matches!(object(1001), Err(Error::MalformedBody(detail)) if detail.contains("1000 bytes")));
    }

    #[test]
    fn many_unknown_members_are_only_counted_and_a_field_after_them_is_read() {
        for (unknown, more) in [(50, 0), (51, 1), (100, 50), (101, 51), (30_000, 29_950)] {
            let members: String = (0..unknown).map(|n| format!(r#""a{n}":1,"#)).collect();
            let body = format!(r#"{{{members}"subject":"s"}}"#);
            let mut object = JsonObject::parse(body.as_bytes()).unwrap();
            assert_eq!(object.raw_text("subject"), Patch::Value("s".to_owned()));
            let violations = object.into_violations();
            let unlisted =
                if more == 0 { String::new() } else { format!("50 are listed, {more} more are not") };
            assert!(violations.to_string().ends_with(&unlisted), "{violations}");
            assert_eq!(violations.into_iter().count(), 50);
        }
        assert!(
            JsonObject::parse(format!("{{{}", r#""a":1,"#.repeat(200)).as_bytes()).is_err(),
            "and all is read"
        );
    }

    #[test]
    fn absent_null_and_a_value_are_told_apart() {
        let mut object = JsonObject::parse(br#"{"a":null,"b":"x","c":[1]}"#).unwrap();
        assert!(!object.has("a") && object.has("b") && !object.has("z"));
        assert_eq!(object.raw_text("a"), Patch::Null);
        assert_eq!(object.raw_text("b"), Patch::Value("x".to_owned()));
        assert_eq!(object.raw_text("z"), Patch::Absent);
        object.ignore("c");
        assert!(object.into_violations().is_empty(), "and what was taken is known");
    }

    #[test]
    fn a_whole_number_is_taken_however_it_is_written_and_no_other_number_is() {
        for (text, number) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7e0", Some(7)),
            ("0.7E+1", Some(7)),
            ("700.00e-2", Some(7)),
            ("0", Some(0)),
            ("0.0e9", Some(0)),
            ("9007199254740991.0", Some(9_007_199_254_740_991)),
            ("90071992547409910e-1", Some(9_007_199_254_740_991)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("0.99999999999999999999", None),
            ("4503599627370496.5", None),
            ("-7", None),
            ("7.5", None),
            ("7e-1", None),
            ("1e400", None),
            ("1e-400", None),
            ("1e99999999999999999999", None),
        ] {
            assert_eq!(whole(text), number, "{text}");
        }
    }

    #[test]
    fn a_number_that_is_not_whole_names_its_field() {
        for text in ["1e400", "0.99999999999999999999", "-1"] {
            let mut object = JsonObject::parse(format!(r#"{{"a":{text}}}"#).as_bytes()).unwrap();
            assert_eq!(object.number("a", CustomerId::try_from), Patch::Absent, "{text}");
            assert_eq!(object.into_violations().into_iter().next().unwrap().field, "a");
        }
    }

    proptest! {
        #[test]
        fn a_whole_number_is_what_its_digits_say(number in any::<u64>(), zeros in 0usize..4, shift in 0usize..4) {
            let written = format!("{number}{:0<shift$}.{:0<zeros$}0e-{shift}", "", "");
            prop_assert_eq!(whole(&written), Some(number), "{}", written);
        }

        #[test]
        fn no_body_makes_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(object) = JsonObject::parse(&body) {
                let _ = object.into_violations();
            }
        }
    }
}
