//! The parameters of a query, taken one by one. Every mistake is noted, and parameters that nobody took are
//! refused by name.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use tickets_domain::Violation;
use tickets_domain::error::Violations;
use tickets_domain::filter::MAX_LIMIT;
use tickets_domain::time::InvalidTime;

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

    /// Takes a parameter that may be given several times, also as an array ([`array_name`]). `parse` makes one
    /// or more values of each text.
    pub(crate) fn take_any<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<Vec<T>, E>,
    ) -> Option<Vec<T>> {
        let given = self.given.extract_if(.., |(known, _)| array_name(known) == name);
        let texts: Vec<_> = given.map(|(_, text)| text).collect();
        if texts.is_empty() {
            return None;
        }
        let parsed: Result<Vec<_>, _> = texts.into_iter().map(parse).collect();
        parsed
            .map_err(|error| self.violations.push(Violation::new(name, error)))
            .ok()
            .map(|all| all.into_iter().flatten().collect())
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

/// The parameter of which this is an element. Clients write the elements of an array as `status[]` (axios,
/// jQuery) or `status[0]` (PHP, qs).
pub(crate) fn array_name(name: &str) -> &str {
    match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((array, index)) if index.bytes().all(|byte| byte.is_ascii_digit()) => array,
        _ => name,
    }
}

pub(crate) fn flag(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        // A form that is sent with nothing chosen does not mean `true`.
        "" => Err("must be true or false, and is empty"),
        _ => Err("must be true or false"),
    }
}

/// Parses a date or time. The `+` of an offset may be a space, as it is where a query was not percent-encoded. (In
/// a body a space is no `+`.)
pub(crate) fn time<T: FromStr<Err = InvalidTime>>(text: &str) -> Result<T, InvalidTime> {
    let is_offset = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let meant: Cow<'_, str> = match text.rsplit_once(' ') {
        Some((time, offset)) if time.contains(':') && is_offset(offset) => {
            format!("{}+{offset}", time.trim_end()).into()
        }
        Some(_) | None => text.into(),
    };
    meant.parse()
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

#[cfg(test)]
mod tests {
    use tickets_domain::Timestamp;

    use super::*;

    #[test]
    fn a_plus_that_arrives_as_a_space_is_understood() {
        let read = |text: &str| time::<Timestamp>(text).map(|time| time.to_string());
        for text in [
            "2026-11-23T17:45:00 02:00",
            "2026-11-23T17:45:00 0200",
            "2026-11-23 17:45:00 02:00",
            "2026-11-23 17:45:00 02",
            "2026-11-23 17:45:00  0200", // "17:45:00 +0200", as Ruby writes it
            "2026-11-23 17:45:00 +0200",
            "2026-11-23T17:45 02:00",
        ] {
            assert_eq!(read(text).unwrap(), "2026-11-23T15:45:00.000Z", "{text}");
        }
        for text in ["2026-11-23 17:45", "2026-11-23 17:45:00 UTC", "2026-11-23T17:45Z"] {
            assert_eq!(read(text).unwrap(), "2026-11-23T17:45:00.000Z", "{text}");
        }
        for text in ["2026-11-23 02:00 ", "2026-11-23  17:45", "17:45:00 02:00", "2026-11-23T17:45:00 2"] {
            assert_eq!(read(text), Err(InvalidTime::Form), "{text}");
        }
    }

    #[test]
    fn an_element_of_an_array_names_its_parameter() {
        for name in ["status", "status[]", "status[0]", "status[12]"] {
            assert_eq!(array_name(name), "status", "{name}");
        }
        for name in
            ["status[a]", "status[", "status]", "status[0", "status[0][1]", "status[-1]", "[]status", ""]
        {
            assert_eq!(array_name(name), name);
        }
        assert_eq!(array_name("[]"), "");
    }
}
