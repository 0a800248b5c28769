//! The parameters of a query, taken one by one. Every mistake is noted, and parameters that nobody took are
//! refused by name.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use tickets_domain::Violation;
use tickets_domain::error::Violations;
use tickets_domain::filter::MAX_LIMIT;

/// The characters to encode in a query: all except the unreserved ones of RFC 3986 and the colons of times,
/// which a query may hold.
pub(crate) const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

pub(crate) struct Parameters<'a> {
    given: Vec<(&'a str, &'a str)>,
    violations: Violations,
}

impl<'a> Parameters<'a> {
    pub(crate) fn new(given: Vec<(&'a str, &'a str)>) -> Self {
        Self { given, violations: Violations::default() }
    }

    /// Takes a parameter that may be given once.
    pub(crate) fn take<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.values(name).as_slice() {
            [] => None,
            [value] => parse(value).map_err(|error| self.violations.push(Violation::new(name, error))).ok(),
            _ => {
                self.violations.push(Violation::new(name, "is given twice"));
                None
            }
        }
    }

    /// Takes a parameter with several values, separated by commas or given one by one: clients write lists
    /// in both ways.
    pub(crate) fn take_any<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let values = self.values(name);
        let parsed = (!values.is_empty()).then(|| parse(&values.join(",")))?;
        parsed.map_err(|error| self.violations.push(Violation::new(name, error))).ok()
    }

    /// Takes out every value given for a parameter.
    fn values(&mut self, name: &str) -> Vec<&'a str> {
        self.given.extract_if(.., |(known, _)| *known == name).map(|(_, value)| value).collect()
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        self.take(name, flag).unwrap_or(false)
    }

    /// Every violation, including one for each parameter that was not taken.
    pub(crate) fn finish(mut self, known: &[&str]) -> Violations {
        for (name, _) in &self.given {
            self.violations.push_with(|| Violation::unknown("parameter", name, known));
        }
        self.violations
    }
}

pub(crate) fn flag(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        // `?settled` alone means true.
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("must be true or false"),
    }
}

/// Parses any integer, because some clients begin at -1 or end past the last id.
pub(crate) fn integer(text: &str) -> Result<u64, &'static str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("must be an integer");
    }
    // Numbers too large for this type are higher than every id and version, as its maximum is.
    Ok(if text.starts_with('-') { 0 } else { digits.parse().unwrap_or(u64::MAX) })
}

pub(crate) fn limit(text: &str) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| digits && (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))
}
