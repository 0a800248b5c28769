//! Everything that commands print. Nothing else writes to standard output and error (clippy checks this),
//! except files and protocols for other programs. Tickets, notes, names and errors contain texts that other
//! people chose. Such a text must not move the cursor, change colours, hide other output, or reverse the
//! reading order.

use std::borrow::Cow;
use std::io::{self, Write};
use std::{fmt, mem};

use clap::ValueEnum;
use console::{Alignment, Style, Term, measure_text_width, pad_str, truncate_str};
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
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

/// A number with what it counts: `1 ticket`, `2 tickets`.
pub fn counted<N: fmt::Display + From<u8> + PartialEq>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
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

    /// Prints the text as [`print`](Self::print) does, on a terminal no line longer than it is wide.
    pub fn print_cut(self) -> io::Result<()> {
        let Some(columns) = columns() else { return self.print() };
        Self(self.0.split('\n').map(|line| truncate_str(line, columns, "…")).collect::<Vec<_>>().join("\n"))
            .print()
    }

    /// Prints the text and a line end on standard error, for people. Errors are ignored: nobody may be
    /// listening.
    #[expect(clippy::disallowed_methods, reason = "this is where things are printed")]
    pub fn note(self) {
        let _ = io::stderr().lock().write_all((self.0 + "\n").as_bytes());
    }
}

/// How many columns the terminal has that standard output is; `None` if it is none.
fn columns() -> Option<usize> {
    Term::stdout().size_checked().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Applies to everything that is printed from now on.
    pub fn apply(self) {
        let enabled = match self {
            Self::Auto => return,
            Self::Always => true,
            Self::Never => false,
        };
        console::set_colors_enabled(enabled);
        console::set_colors_enabled_stderr(enabled);
    }
}

/// The style of a status. Those of a deployment's own that it does not know are plain.
pub fn status_style(status: &str) -> Style {
    match status.to_lowercase().as_str() {
        "open" => Style::new().green(),
        "assigned" => Style::new().yellow(),
        "resolved" | "closed" => Style::new().dim(),
        "deleted" | "moved away" => Style::new().red(),
        _ => Style::new(),
    }
}

/// The style of a priority, as [`status_style`].
pub fn priority_style(priority: &str) -> Style {
    match priority.to_lowercase().as_str() {
        "urgent" => Style::new().red().bold(),
        "high" => Style::new().yellow(),
        "low" => Style::new().dim(),
        _ => Style::new(),
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
    let mut line = |name: &str, value: &str, style: Style| {
        // Indent further lines of a text below the first.
        let value = value.lines().collect::<Vec<_>>().join(&format!("\n{:22}", ""));
        let start = if text.0.is_empty() { "" } else { "\n" };
        text.0.push_str(start);
        let name = format!("{name:<20}");
        text = mem::take(&mut text).styled(Style::new().bold(), name).and("  ").styled(style, value);
    };
    for name in field_names() {
        let style = match name {
            "status" => status_style,
            "ticketPriority" => priority_style,
            _ => |_: &str| Style::new(),
        };
        match fields.get(name) {
            None => {}
            Some(Value::String(text)) => line(name, text, style(text)),
            Some(other) => line(name, &other.to_string(), Style::new()),
        }
    }
    if let Some(tag) = tag {
        line("version", &tag.to_string(), Style::new());
    }
    Ok(text)
}

/// A progress bar on standard error, hidden if that is not a terminal or if `quiet`. The text may have `{rate}` and
/// `{left}`, which say how fast it goes and how much longer it takes.
pub fn progress_bar(quiet: bool, text: &str) -> ProgressBar {
    let progress = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    let left = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // Nothing is known at the beginning.
        if state.pos() > 0 {
            let _ = write!(out, "{:#} left", HumanDuration(state.eta()));
        }
    };
    match ProgressStyle::with_template(&format!("{{bar:30}} {text}")) {
        Ok(style) => progress.with_style(style.with_key("rate", rate).with_key("left", left)),
        Err(_) => progress,
    }
}

/// Rows below a header: easy to read and to `grep`. On a terminal no row is longer than a line.
#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    /// The columns that are left out where there is no room for all, the first one first.
    spare: &'static [&'static str],
    rows: Vec<Vec<Text>>,
}

/// The spaces between two columns.
const GAP: usize = 2;
/// No other column takes more of a terminal than this, which is what a time takes. Names can be much longer.
const WIDEST: usize = 24;
/// Columns are left out until this much of the last one can be shown.
const READABLE: usize = 20;

impl Table {
    pub fn new(header: impl Into<Vec<&'static str>>, spare: &'static [&'static str]) -> Self {
        Self { header: header.into(), spare, rows: Vec::new() }
    }

    /// Adds a row. Cells that it lacks at its end are empty.
    pub fn push(&mut self, row: impl Into<Vec<Text>>) {
        self.rows.push(row.into());
    }

    /// Prints the table on standard output; and on standard error which columns had no room.
    pub fn print(&self) -> io::Result<()> {
        let (text, left_out) = self.text(columns());
        text.print()?;
        if !left_out.is_empty() {
            note(format!("no room for {}", left_out.join(", ")));
        }
        Ok(())
    }

    /// The table in so many columns of a terminal, and what was left out. Elsewhere it is whole.
    pub(crate) fn text(&self, columns: Option<usize>) -> (Text, Vec<&'static str>) {
        let header: Vec<_> =
            self.header.iter().map(|name| Text::default().styled(Style::new().bold(), name)).collect();
        let mut widths = vec![0; header.len()];
        for row in [&header].into_iter().chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = measure_text_width(&cell.0).max(*width);
            }
        }
        let last = header.len().saturating_sub(1);
        if columns.is_some() {
            widths[..last].iter_mut().for_each(|width| *width = WIDEST.min(*width));
        }
        let columns = columns.unwrap_or(usize::MAX);
        let mut shown: Vec<usize> = (0..header.len()).collect();
        let mut left_out = Vec::new();
        for spare in self.spare {
            let all: usize = shown.iter().map(|column| widths[*column] + GAP).sum();
            let spared = widths[last].saturating_sub(READABLE);
            if all - GAP - spared <= columns {
                break;
            }
            if let Some(place) = shown.iter().position(|column| self.header[*column] == *spare) {
                shown.remove(place);
                left_out.push(*spare);
            }
        }
        let lines = [&header].into_iter().chain(&self.rows).map(|row| {
            let cells = shown.iter().map(|column| {
                let cell = row.get(*column).map_or("", |cell| &cell.0);
                match *column == last {
                    true => cell.into(),
                    false => pad_str(cell, widths[*column], Alignment::Left, Some("…")),
                }
            });
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
            truncate_str(line.trim_end(), columns, "…").into_owned()
        });
        (Text(lines.collect::<Vec<_>>().join("\n")), left_out)
    }
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

    fn table() -> Table {
        let mut table = Table::new(["ID", "STATUS", "OWNER", "SUBJECT"], &["KEY", "OWNER", "STATUS"]);
        let status = Style::new().green().force_styling(true);
        table.push([
            Text::new("7"),
            Text::default().styled(status, "open"),
            Text::new("請求書部"),
            Text::new("請求書が間違っています。確認をお願いします"),
        ]);
        table.push([Text::new("8"), Text::new("closed"), Text::new("ada"), Text::new("short")]);
        table
    }

    #[test]
    fn a_row_is_never_longer_than_the_terminal_and_elsewhere_whole() {
        console::set_colors_enabled(false);
        for columns in 1..90 {
            let (text, _) = table().text(Some(columns));
            let widest = text.to_string().lines().map(measure_text_width).max().unwrap();
            assert!(widest <= columns && text.to_string().lines().count() == 3, "{columns}: {text}");
        }
        let (whole, left_out) = table().text(None);
        assert!(whole.to_string().contains("お願いします") && left_out.is_empty(), "{whole}");
        // What is wide takes two columns, and is not cut in the middle.
        let (text, left_out) = table().text(Some(42));
        let text = console::strip_ansi_codes(&text.to_string()).into_owned();
        assert_eq!(left_out, [""; 0]);
        assert_eq!(text.lines().nth(1), Some("7   open    請求書部  請求書が間違ってい…"));
        assert_eq!(text.lines().nth(2), Some("8   closed  ada       short"));
    }

    #[test]
    fn a_long_name_takes_no_room_from_the_others() {
        console::set_colors_enabled(false);
        let mut table = table();
        table.rows[1][2] = Text::new("n".repeat(4000));
        let (text, left_out) = table.text(Some(60));
        let name = format!("8   closed  {}…  short", "n".repeat(23));
        assert_eq!((text.to_string().lines().nth(2), left_out), (Some(name.as_str()), vec![]));
        assert!(table.text(None).0.to_string().contains(&"n".repeat(4000)));
    }

    #[test]
    fn columns_are_left_out_until_the_last_one_can_be_read() {
        console::set_colors_enabled(false);
        for (columns, left_out) in [(42, vec![]), (41, vec!["OWNER"]), (31, vec!["OWNER", "STATUS"])] {
            assert_eq!(table().text(Some(columns)).1, left_out, "{columns}");
        }
    }
}
