//! A scanner of JSON as DynamoDB writes it.

use std::borrow::Cow;

use memchr::memchr2;
use serde_json::value::RawValue;

/// Reads JSON as DynamoDB writes it: without spaces. Returns `None` at anything else, which may be valid.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// `None` if there is a control character, which no string may have.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        // Without an early end, the compiler checks many bytes at a time.
        let has_control = text.bytes().fold(false, |found, byte| found | (byte < b' '));
        (!has_control).then_some(Self { text, at: 0 })
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Reads what stands between the brackets of an object or an array.
    fn list(&mut self, [open, close]: [u8; 2], mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(open)?;
        if self.text.as_bytes().get(self.at) == Some(&close) {
            self.at += 1;
            return Some(());
        }
        loop {
            each(self)?;
            match self.next()? {
                b',' => {}
                end => return (end == close).then_some(()),
            }
        }
    }

    pub(super) fn members(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.list(*b"{}", |json| {
            let name = json.plain()?;
            json.expect(b':')?;
            each(json, name)
        })
    }

    pub(super) fn elements(&mut self, each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.list(*b"[]", each)
    }

    /// A string's JSON.
    pub(super) fn string(&mut self) -> Option<JsonString<'a>> {
        let (bytes, begin) = (self.text.as_bytes(), self.at);
        self.expect(b'"')?;
        let (mut escapes, mut has_code) = (Escapes::None, false);
        loop {
            self.at += memchr2(b'"', b'\\', bytes.get(self.at..)?)?;
            if self.next()? == b'"' {
                break;
            }
            match self.next()? {
                b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => escapes = escapes.max(Escapes::Usual),
                b'/' => escapes = Escapes::Unusual,
                b'u' => (escapes, has_code) = (Escapes::Unusual, true),
                _ => return None,
            }
        }
        let string = JsonString { json: &self.text[begin..self.at], escapes };
        // A code may be no code, or half of a surrogate pair.
        (!has_code || string.decode().is_some()).then_some(string)
    }

    /// A string without an escape.
    pub(super) fn plain(&mut self) -> Option<&'a str> {
        match self.string()? {
            string @ JsonString { escapes: Escapes::None, .. } => Some(string.inside()),
            _ => None,
        }
    }

    /// Reads this if it comes next.
    pub(super) fn skip(&mut self, expected: &str) -> bool {
        let is_next = self.text.as_bytes()[self.at..].starts_with(expected.as_bytes());
        if is_next {
            self.at += expected.len();
        }
        is_next
    }

    /// The JSON of any value.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let mut values =
            serde_json::Deserializer::from_str(self.text.get(self.at..)?).into_iter::<&RawValue>();
        let value = values.next()?.ok()?.get();
        self.at += values.byte_offset();
        Some(value)
    }
}

/// A string's JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonString<'a> {
    /// With its quotes.
    pub(super) json: &'a str,
    escapes: Escapes,
}

/// Which escapes a string's JSON has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Escapes {
    None,
    /// Those of lines and quotes, which `serde_json` writes too.
    Usual,
    /// Others, which `serde_json` writes differently or not at all.
    Unusual,
}

impl<'a> JsonString<'a> {
    /// What stands between the quotes.
    fn inside(self) -> &'a str {
        &self.json[1..self.json.len() - 1]
    }

    /// The text. `None` if it is none.
    pub(crate) fn decode(self) -> Option<Cow<'a, str>> {
        match self.escapes {
            Escapes::None => Some(Cow::Borrowed(self.inside())),
            Escapes::Usual | Escapes::Unusual => serde_json::from_str(self.json).ok().map(Cow::Owned),
        }
    }
}

/// A text, and its JSON as `serde_json` writes it.
pub(crate) struct JsonText<'a> {
    pub(crate) decoded: Cow<'a, str>,
    pub(crate) json: Cow<'a, str>,
}

impl<'a> JsonText<'a> {
    pub(super) fn of(string: JsonString<'a>) -> Option<Self> {
        let decoded = string.decode()?;
        let json = match string.escapes {
            Escapes::None | Escapes::Usual => Cow::Borrowed(string.json),
            Escapes::Unusual => Cow::Owned(serde_json::to_string(&decoded).ok()?),
        };
        Some(Self { decoded, json })
    }
}
