//! Reads JSON that others wrote into [`Value`]s.
//!
//! `serde_json::Value` cannot be used for that: if any crate of the program enables `raw_value`, and
//! `lambda_http` does, its parser takes an object whose first member is called
//! `$serde_json::private::RawValue` for JSON inside a string. The string is parsed with a new limit of depth, so
//! that nested strings overflow the stack. Here no name of a member has a meaning, and 128 levels are the limit.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Error, Map, Value};

use crate::error::shortened;

/// The value of a JSON text.
///
/// # Errors
/// If it is not JSON, or deeper than `serde_json` reads (128 levels).
pub fn value(text: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(text).map(|Json(value)| value)
}

/// The members of a JSON object.
///
/// # Errors
/// If the text is not a JSON object, has a member twice, or is deeper than `serde_json` reads (128 levels).
pub fn object(text: &[u8]) -> Result<Map<String, Value>, Error> {
    let members: Members = serde_json::from_slice(text)?;
    Ok(members.0)
}

/// The first name in a value that `serde_json` gives a meaning. Such a value must not be parsed into others by
/// `serde_json::from_value`.
pub fn reserved_name(value: &Value) -> Option<&str> {
    match value {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            if name.starts_with("$serde_json::private::") {
                Some(name.as_str())
            } else {
                reserved_name(value)
            }
        }),
        Value::Array(values) => values.iter().find_map(reserved_name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A value that others wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub Value);

/// The members of an object that others wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Map<String, Value>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Map::new();
                while let Some((name, Json(value))) = map.next_entry::<String, _>()? {
                    // One of the two values would be lost.
                    if members.contains_key(&name) {
                        let name = shortened(&name);
                        return Err(A::Error::custom(format_args!("{name:?} is given twice")));
                    }
                    members.insert(name, value);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Json(value)) = elements.next_element()? {
            array.push(value);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        members(map).map(Value::from)
    }
}

fn members<'de, A: MapAccess<'de>>(mut map: A) -> Result<Map<String, Value>, A::Error> {
    let mut members = Map::new();
    while let Some((name, Json(value))) = map.next_entry::<String, _>()? {
        members.insert(name, value);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Names that `serde_json` gives a meaning, if the feature is enabled.
    const MAGIC: [&str; 2] = ["$serde_json::private::RawValue", "$serde_json::private::Number"];

    #[test]
    fn no_name_of_a_member_has_a_meaning() {
        assert_eq!(reserved_name(&json!({"a": [{}, "$serde_json::private::RawValue"]})), None);
        for name in MAGIC {
            let text = format!(r#"{{"{name}":"42"}}"#);
            assert_eq!(value(text.as_bytes()).unwrap(), json!({name: "42"}));
            assert_eq!(object(text.as_bytes()).unwrap()[name], "42");
            assert_eq!(reserved_name(&json!([1, {"a": {name: null}}])), Some(name));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| format!(r#"{}{}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(value(deep(127).as_bytes()).is_ok());
        assert!(value(deep(128).as_bytes()).is_err());
        assert!(object(format!(r#"{{"a":{}}}"#, deep(127)).as_bytes()).is_err());
    }

    #[test]
    fn an_object_is_no_other_value() {
        assert!(object(b"[]").is_err() && object(b"{}").is_ok() && object(b"{}x").is_err());
    }

    #[test]
    fn an_object_has_no_member_twice() {
        let twice = object(br#"{"a":1,"b":2,"a":1}"#).unwrap_err().to_string();
        assert!(twice.starts_with("\"a\" is given twice"), "{twice}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            // Without `float_roundtrip` the last digit of others may differ.
            any::<i16>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
            ".{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(".{0,5}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_read_as_it_was_written(written in any_value()) {
            prop_assert_eq!(value(written.to_string().as_bytes()).unwrap(), written);
        }
    }
}
