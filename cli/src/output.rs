//! What commands print, all of it: nothing else writes to standard output and error (clippy holds it so), but for
//! files and protocols that go to a program. Whoever may create a ticket chooses its texts, and others what a note, a
//! name or an error says: none of them may move the cursor, colour or hide what is printed around them, or turn the
//! order of what people read.

use std::borrow::Cow;
use std::io::{self, Write};
use std::{fmt, mem};

use console::Style;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tickets_domain::Version;

use crate::command::export::COLUMNS;

/// Whether a terminal would act on a character instead of showing it: control characters, C1 included, line
/// separators, and what embeds, overrides or isolates a direction of text (Unicode TR 9; CVE-2021-42574).
fn acts(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text on one line, as it may be shown on a terminal: what would act there is shown by its number, as `less`
/// does; tabs and ends of lines are spaces.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return text.into();
    }
    let shown = text.chars().map(|character| match character {
        '\t' | '\n' | '\r' => " ".to_owned(),
        character if acts(character) => format!("<U+{:04X}>", u32::from(character)),
        character => character.to_string(),
    });
    shown.collect::<String>().into()
}

/// A text of several lines, each as [`sanitize`] shows it.
pub fn sanitize_lines(text: &str) -> String {
    // Not `lines`, which would drop the last end of a line.
    text.split('\n')
        .map(|line| sanitize(line.strip_suffix('\r').unwrap_or(line)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// JSON that says the same, with what a terminal would act on escaped. Such characters are in strings only.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return text.into();
    }
    let escaped = text.chars().map(|character| match character {
        // All that act have four digits.
        character if acts(character) => format!("\\u{:04x}", u32::from(character)),
        character => character.to_string(),
    });
    escaped.collect::<String>().into()
}

/// A text that may be printed: what was put into it is shown, whatever it is, and looks as its styles say.
#[derive(Debug, Clone, Default)]
pub struct Text(String);

impl Text {
    /// These lines.
    pub fn new(text: impl fmt::Display) -> Self {
        Self::default().and(text)
    }

    /// And then these.
    #[must_use]
    pub fn and(mut self, text: impl fmt::Display) -> Self {
        self.push(text);
        self
    }

    /// And then these, which are to look so.
    #[must_use]
    pub fn styled(mut self, style: Style, text: impl fmt::Display) -> Self {
        self.0.push_str(&style.apply_to(sanitize_lines(&text.to_string())).to_string());
        self
    }

    /// Adds these lines.
    pub fn push(&mut self, text: impl fmt::Display) {
        self.0.push_str(&sanitize_lines(&text.to_string()));
    }

    /// Prints it on standard output, as lines of its own and at once.
    ///
    /// # Errors
    /// Where standard output does not take it.
    #[expect(clippy::disallowed_methods, reason = "this is where things are printed")]
    pub fn print(self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all((self.0 + "\n").as_bytes())?;
        out.flush()
    }

    /// Prints it on standard error, as lines of its own: for people, whom it does not reach where nobody listens.
    #[expect(clippy::disallowed_methods, reason = "this is where things are printed")]
    pub fn note(self) {
        let _ = io::stderr().lock().write_all((self.0 + "\n").as_bytes());
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints lines on standard output.
///
/// # Errors
/// Where it does not take them.
pub fn print(text: impl fmt::Display) -> io::Result<()> {
    Text::new(text).print()
}

/// Prints lines on standard error, for people.
pub fn note(text: impl fmt::Display) {
    Text::new(text).note();
}

/// Standard error for logs, whose lines come as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Notes;

impl Write for Notes {
    #[expect(clippy::disallowed_methods, reason = "this is where things are printed")]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = sanitize_lines(&String::from_utf8_lossy(bytes));
        io::stderr().write_all(text.as_bytes()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints JSON on standard output.
///
/// # Errors
/// Where it does not take it.
pub fn print_json(text: &str) -> io::Result<()> {
    Text(json(text).into_owned()).print()
}

/// A ticket's fields, one below the other, with its version where that is known.
///
/// # Errors
/// Where the ticket is no JSON object.
pub fn ticket(ticket: &RawValue, version: Option<Version>) -> io::Result<Text> {
    let fields: Map<String, Value> = serde_json::from_str(ticket.get())?;
    let mut text = Text::default();
    let mut line = |name: &str, value: &str| {
        // Further lines of a text stand below the first.
        let value = value.lines().collect::<Vec<_>>().join(&format!("\n{:22}", ""));
        let start = if text.0.is_empty() { "" } else { "\n" };
        text.0.push_str(start);
        text =
            mem::take(&mut text).styled(Style::new().bold(), format!("{name:<20}")).and(format!("  {value}"));
    };
    for name in COLUMNS {
        match fields.get(name) {
            None => {}
            Some(Value::String(text)) => line(name, text),
            Some(other) => line(name, &other.to_string()),
        }
    }
    if let Some(version) = version {
        line("version", &version.get().to_string());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A colour, a bell, a C1 control sequence, an override and an isolate of direction, a line separator.
    const EVIL: &str = "a\u{1b}[31m\u{7}\u{9b}2J\u{202e}b\u{2066}\u{2028}c\td";

    #[test]
    fn nothing_that_a_terminal_acts_on_is_printed() {
        assert_eq!(sanitize(EVIL), "a<U+001B>[31m<U+0007><U+009B>2J<U+202E>b<U+2066><U+2028>c d");
        assert_eq!(sanitize_lines("one\r\ntwo\u{8}"), "one\ntwo<U+0008>");
    }

    #[test]
    fn only_the_style_of_a_text_acts() {
        let style = Style::new().red().force_styling(true);
        let text = Text::new(EVIL).and("\n").styled(style, EVIL).to_string();
        let plain = text.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(plain, [sanitize(EVIL), sanitize(EVIL)].join("\n"));
        assert_eq!(text.matches('\u{1b}').count(), 2);
    }

    #[test]
    fn a_ticket_s_texts_stand_below_each_other() {
        console::set_colors_enabled(false);
        let raw =
            RawValue::from_string(r#"{"id":"7","subject":"a\u001b[2J\nb","customerID":4}"#.into()).unwrap();
        let text = ticket(&raw, Some(Version::new(3))).unwrap().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("{:<22}7", "id"));
        assert_eq!(
            lines[2..],
            [format!("{:<22}a<U+001B>[2J", "subject"), format!("{:22}b", ""), format!("{:<22}3", "version")]
        );
    }

    #[test]
    fn texts_in_any_script_are_left_as_they_are() {
        for text in ["Rechnung über 3 €", "فاتورة خاطئة", "請求書 👩‍💻", "it's \"fine\""]
        {
            assert!(matches!(sanitize(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn escaped_json_says_the_same() {
        let text = Value::from(EVIL).to_string();
        let escaped = json(&text);
        assert!(!escaped.chars().any(acts), "{escaped}");
        assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), Value::from(EVIL));
    }
}
