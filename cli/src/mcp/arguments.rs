//! A call's arguments, taken one by one; what is left over is refused by name or passed on.

use std::str::FromStr;

use serde_json::{Map, Value};
use tickets_domain::Violation;

use super::ToolError;

/// The arguments not yet taken, and what was wrong with those that were.
pub(super) struct Arguments {
    given: Map<String, Value>,
    violations: Vec<Violation>,
}

impl Arguments {
    pub(super) fn new(given: Map<String, Value>) -> Self {
        Self { given, violations: Vec::new() }
    }

    /// An argument that may be absent. A number may come as text, and text as a number: agents mix them up.
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

    /// A whole number that may be absent.
    pub(super) fn whole(&mut self, name: &str) -> Option<u64> {
        let text = self.optional::<String>(name)?;
        let number = text.strip_suffix(".0").unwrap_or(&text).parse().ok();
        if number.is_none() {
            self.refuse(name, "must be a whole number");
        }
        number
    }

    /// The argument without which a call is about nothing.
    pub(super) fn required<T: FromStr<Err: ToString>>(&mut self, name: &str) -> Result<T, ToolError> {
        let refused = |detail: String| ToolError::Arguments(vec![Violation::new(name, detail)]);
        let text = self.given.remove(name).and_then(scalar).ok_or_else(|| refused("is required".into()))?;
        text.and_then(|text| text.parse().map_err(|error: T::Err| error.to_string())).map_err(refused)
    }

    pub(super) fn refuse(&mut self, name: &str, detail: impl ToString) {
        self.violations.push(Violation::new(name, detail));
    }

    /// Those not yet taken.
    pub(super) fn take_all(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.given)
    }

    /// What was not taken, if all that was taken is right.
    pub(super) fn rest(self) -> Result<Map<String, Value>, ToolError> {
        if self.violations.is_empty() { Ok(self.given) } else { Err(ToolError::Arguments(self.violations)) }
    }

    /// Nothing may be left, of a tool that has these arguments.
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), ToolError> {
        let unknown = self.given.keys().map(|name| match known {
            [] => Violation::new(name, "unknown argument; this tool takes none"),
            known => Violation::unknown("argument", name, known),
        });
        self.violations.extend(unknown.collect::<Vec<_>>());
        self.rest().map(drop)
    }
}

/// The text of a value; `None` where it is null, which is as good as absent.
pub(super) fn scalar(value: Value) -> Option<Result<String, String>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Ok(text)),
        Value::Number(number) => Some(Ok(number.to_string())),
        Value::Bool(flag) => Some(Ok(flag.to_string())),
        Value::Array(_) | Value::Object(_) => Some(Err("must be a text, a number or a flag".into())),
    }
}
