//! Everything that commands print. Nothing else writes to standard output and error (clippy checks this),
//! except files and protocols for other programs. Tickets, notes, names and errors contain texts that other
//! people chose. Such a text must not move the cursor, change colours, hide other output, or reverse the
//! reading order.

use std::borrow::Cow;
use std::io::{self, Write};
use std::{fmt, mem};

use comfy_table::{Table, presets};
use console::Style;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use serde_json::value::RawValue;
use tickets_domain::ticket::field_names;
use tickets_domain::{Tag, json};

/// Whether a terminal acts on a character instead of showing it: control characters (C1 included), line
/// separators, and characters that change the direction of text (Unicode TR 9; CVE-2021-42574).
fn acts(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text on one line, safe to show on a terminal. Characters that a terminal acts on are shown by their
/// number, as `less` does; tabs and line ends become spaces.
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

/// A text of several lines, each [`sanitize`]d.
pub fn sanitize_lines(text: &str) -> String {
    // `lines` would drop a line end at the end.
    text.split('\n')
        .map(|line| sanitize(line.strip_suffix('\r').unwrap_or(line)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The same JSON, with characters that a terminal acts on escaped. They occur only in strings.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return text.into();
    }
    let escaped = text.chars().map(|character| match character {
        // All of them have at most four hexadecimal digits.
        character if acts(character) => format!("\\u{:04x}", u32::from(character)),
        character => character.to_string(),
    });
    escaped.collect::<String>().into()
}

/// A text that is safe to print: every part was sanitized when it was added. Styles are added by this program
/// only.
#[derive(Debug, Clone, Default)]
pub struct Text(String);

impl Text {
    /// A text of these lines.
    pub fn new(text: impl fmt::Display) -> Self {
        Self::default().and(text)
    }

    /// Appends these lines.
    #[must_use]
    pub fn and(mut self, text: impl fmt::Display) -> Self {
        self.push(text);
        self
    }

    /// Appends these lines in a style.
    #[must_use]
    pub fn styled(mut self, style: Style, text: impl fmt::Display) -> Self {
        self.0.push_str(&style.apply_to(sanitize_lines(&text.to_string())).to_string());
        self
    }

    /// Appends these lines.
    pub fn push(&mut self, text: impl fmt::Display) {
        self.0.push_str(&sanitize_lines(&text.to_string()));
    }

    /// Prints the text and a line end on standard output, and flushes.
    #[expect(clippy::disallowed_methods, reason = "this is where things are printed")]
    pub fn print(self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all((self.0 + "\n").as_bytes())?;
        out.flush()
    }

    /// Prints the text and a line end on standard error, for people. Errors are ignored: nobody may be
    /// listening.
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
pub fn print(text: impl fmt::Display) -> io::Result<()> {
    Text::new(text).print()
}

/// Prints lines on standard error, for people.
pub fn note(text: impl fmt::Display) {
    Text::new(text).note();
}

/// Sanitized standard error, for log lines that come as bytes.
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
pub fn print_json(text: &str) -> io::Result<()> {
    Text(json(text).into_owned()).print()
}

/// A ticket's fields, one below the other, and the tag of its version if known.
///
/// # Errors
/// If the ticket is not a JSON object.
pub fn ticket(ticket: &RawValue, tag: Option<Tag>) -> io::Result<Text> {
    let fields = json::object(ticket.get().as_bytes())?;
    let mut text = Text::default();
    let mut line = |name: &str, value: &str| {
        // Indent further lines of a text below the first.
        let value = value.lines().collect::<Vec<_>>().join(&format!("\n{:22}", ""));
        let start = if text.0.is_empty() { "" } else { "\n" };
        text.0.push_str(start);
        text =
            mem::take(&mut text).styled(Style::new().bold(), format!("{name:<20}")).and(format!("  {value}"));
    };
    for name in field_names() {
        match fields.get(name) {
            None => {}
            Some(Value::String(text)) => line(name, text),
            Some(other) => line(name, &other.to_string()),
        }
    }
    if let Some(tag) = tag {
        line("version", &tag.to_string());
    }
    Ok(text)
}

/// A progress bar on standard error, hidden if that is not a terminal or if `quiet`.
pub fn progress_bar(quiet: bool, text: &str) -> ProgressBar {
    let progress = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    match ProgressStyle::with_template(&format!("{{bar:30}} {text}")) {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

/// A table without borders: easy to read and to `grep`.
pub fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A colour, a bell, a C1 control sequence, an override and an isolate of text direction, and a line
    /// separator.
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
        let text = ticket(&raw, "3-0c5fe1a2".parse().ok()).unwrap().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("{:<22}7", "id"));
        assert_eq!(
            lines[2..],
            [
                format!("{:<22}a<U+001B>[2J", "subject"),
                format!("{:22}b", ""),
                format!("{:<22}3-0c5fe1a2", "version")
            ]
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
