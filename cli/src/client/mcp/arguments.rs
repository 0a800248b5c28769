//! The arguments of a tool call, taken one by one. Those left over are refused by name, or passed on.

use std::str::FromStr;

use serde_json::{Map, Value};
use tickets_domain::Violation;

use super::ToolError;

/// The arguments not taken yet, and what is wrong with those taken.
pub(super) struct Arguments {
    given: Map<String, Value>,
    violations: Vec<Violation>,
}

impl Arguments {
    pub(super) fn new(given: Map<String, Value>) -> Self {
        Self { given, violations: Vec::new() }
    }

    /// Takes an optional argument. Numbers may come as text and text as numbers: agents mix them up.
    pub(super) fn optional<T: FromStr<Err: ToString>>(&mut self, name: &str) -> Option<T> {
        match scalar(self.given.remove(name)?)?
            .and_then(|text| text.parse().map_err(|error: T::Err| error.to_string()))
        {
            Ok(value) => Some(value),
            Err(detail) => {
                self.refuse(name, detail);
                None
            }
        }
    }

    /// Takes an optional whole number.
    pub(super) fn whole(&mut self, name: &str) -> Option<u64> {
        let text = self.optional::<String>(name)?;
        let number = text.strip_suffix(".0").unwrap_or(&text).parse().ok();
        if number.is_none() {
            self.refuse(name, "must be a whole number");
        }
        number
    }

    /// Takes an optional list of names. One name may come without the list around it.
    pub(super) fn names(&mut self, name: &str) -> Vec<String> {
        let given = match self.given.remove(name) {
            Some(Value::Array(given)) => given,
            given => given.into_iter().collect(),
        };
        match given.into_iter().filter_map(scalar).collect() {
            Ok(names) => names,
            Err(detail) => {
                self.refuse(name, detail);
                Vec::new()
            }
        }
    }

    /// Takes an argument that the call cannot do without.
    pub(super) fn required<T: FromStr<Err: ToString>>(&mut self, name: &str) -> Result<T, ToolError> {
        let refused = |detail: String| ToolError::Arguments(vec![Violation::new(name, detail)]);
        let text = self.given.remove(name).and_then(scalar).ok_or_else(|| refused("is required".into()))?;
        text.and_then(|text| text.parse().map_err(|error: T::Err| error.to_string())).map_err(refused)
    }

    pub(super) fn refuse(&mut self, name: &str, detail: impl ToString) {
        self.violations.push(Violation::new(name, detail));
    }

    pub(super) fn take_all(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.given)
    }

    /// The arguments that are left, or what is wrong with those taken.
    pub(super) fn rest(self) -> Result<Map<String, Value>, ToolError> {
        if self.violations.is_empty() { Ok(self.given) } else { Err(ToolError::Arguments(self.violations)) }
    }

    /// Refuses arguments that are left. `known` are those that the tool has.
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), ToolError> {
        let unknown = self.given.keys().map(|name| match known {
            [] => Violation::new(name, "unknown argument; this tool takes none"),
            known => Violation::unknown("argument", name, known),
        });
        self.violations.extend(unknown.collect::<Vec<_>>());
        self.rest().map(drop)
    }
}

/// A value as text; `None` for null, which counts as absent.
pub(super) fn scalar(value: Value) -> Option<Result<String, String>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Ok(text)),
        Value::Number(number) => Some(Ok(number.to_string())),
        Value::Bool(flag) => Some(Ok(flag.to_string())),
        Value::Array(_) | Value::Object(_) => Some(Err("must be a text, a number or a flag".into())),
    }
}
