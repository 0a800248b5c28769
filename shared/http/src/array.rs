//! A JSON array in a response. Values are added as they arrive, until no more fit.

use serde::Serialize;
use tickets_domain::{Error, Fit};

use crate::reply::{MAX_ESCAPED, escaped_len};

/// An array being written.
#[derive(Debug)]
pub(crate) struct JsonArray {
    body: String,
    /// The body's size once it is a JSON string in Lambda's reply.
    escaped: usize,
    failed: Option<serde_json::Error>,
}

impl Default for JsonArray {
    fn default() -> Self {
        // The two brackets. A comma is counted with its value.
        Self { body: "[".into(), escaped: 2, failed: None }
    }
}

impl JsonArray {
    /// Adds a value if it still fits.
    pub(crate) fn push(&mut self, value: &impl Serialize) -> Fit {
        match serde_json::to_string(value) {
            Ok(json) => self.push_json(&json),
            Err(error) => {
                self.failed = Some(error);
                Fit::Full
            }
        }
    }

    /// Adds a value that is already JSON, if it still fits. The first always fits: a ticket with 256 KiB of
    /// content takes 1.8 MB at worst.
    pub(crate) fn push_json(&mut self, json: &str) -> Fit {
        let is_first = self.body.len() == 1;
        let escaped = escaped_len(json) + usize::from(!is_first);
        if !is_first && self.escaped + escaped > MAX_ESCAPED {
            return Fit::Full;
        }
        if !is_first {
            self.body.push(',');
        }
        self.body.push_str(json);
        self.escaped += escaped;
        Fit::Added
    }

    /// The array as text.
    ///
    /// # Errors
    /// If a value could not be written as JSON. `push` returned `Full` for it.
    pub(crate) fn into_text(mut self) -> Result<String, Error> {
        if let Some(error) = self.failed {
            return Err(Error::internal(error));
        }
        self.body.push(']');
        Ok(self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::MAX_REPLY;

    /// A text whose JSON takes this many bytes inside a JSON string, four of them for its quotes.
    fn text(escaped: usize) -> String {
        "x".repeat(escaped - 4)
    }

    #[test]
    fn values_are_written_with_commas_between() {
        let mut array = JsonArray::default();
        assert_eq!([array.push(&1), array.push(&"a"), array.push(&[2])], [Fit::Added; 3]);
        assert_eq!(array.into_text().unwrap(), r#"[1,"a",[2]]"#);
        assert_eq!(JsonArray::default().into_text().unwrap(), "[]");
    }

    #[test]
    fn an_array_fills_a_reply_to_its_last_byte_and_no_further() {
        // Lambda's maximum, less 16 KiB for status and headers.
        let most = 6_291_556 - 16_384;
        let fill = |size: usize| {
            let mut array = JsonArray::default();
            assert_eq!([array.push(&text(500)), array.push(&text(500))], [Fit::Added; 2]);
            // The brackets and the commas take four.
            let fit = array.push(&text(size - 1000 - 4));
            (fit, array)
        };
        assert_eq!(fill(most).0, Fit::Added);
        let (fit, mut array) = fill(most + 1);
        assert_eq!(fit, Fit::Full);
        assert_eq!(array.push(&7), Fit::Added, "what did not fit has left no trace");
        assert_eq!(array.into_text().unwrap(), format!("[\"{0}\",\"{0}\",7]", text(500)));
    }

    #[test]
    fn earlier_values_count_towards_the_limit() {
        let mut array = JsonArray::default();
        let fit = (0..100).take_while(|_| array.push(&text(1_000_000)) == Fit::Added).count();
        assert_eq!(fit, 6);
    }

    #[test]
    fn one_value_fits_whatever_its_size() {
        let mut array = JsonArray::default();
        assert_eq!(array.push(&text(MAX_REPLY)), Fit::Added);
        assert_eq!(array.push(&1), Fit::Full);
    }

    #[test]
    fn a_value_that_cannot_be_written_fails_the_array() {
        let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
        let mut array = JsonArray::default();
        assert_eq!(array.push(&no_json), Fit::Full);
        assert!(matches!(array.into_text(), Err(Error::Internal(_))));
    }
}
