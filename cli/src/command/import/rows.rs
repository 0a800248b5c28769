//! The rows of a file, each with the line it begins on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use serde_json::Value;
use serde_json::value::RawValue;
use tickets_domain::{Violation, json};

use super::input::{Format, Input};
use crate::error::CommandError;

pub(super) enum Content {
    /// Text that should be a JSON object.
    Json(String),
    /// Each column's cell, empty ones included.
    Cells(Vec<(Rc<str>, String)>),
}

pub(super) struct Row {
    pub(super) line: u64,
    pub(super) content: Result<Content, Violation>,
}

/// The names of a file's columns.
type Columns = Vec<Rc<str>>;

pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, CommandError>>>;

/// The rows of a file, and its column names if it has a header.
pub(super) fn rows(input: &Input, delimiter: Option<u8>) -> Result<(Rows, Option<Columns>), CommandError> {
    let file = input.read()?;
    Ok(match input.format {
        Format::Ndjson => (Box::new(ndjson(file)), None),
        Format::Json => (Box::new(array(file)?), None),
        Format::Csv => {
            let delimiter = match delimiter {
                Some(delimiter) => delimiter,
                None => detect(input.read()?)?,
            };
            let (rows, columns) = csv(input.read()?, delimiter)?;
            (rows, Some(columns))
        }
    })
}

/// NDJSON, without blank lines.
fn ndjson(file: File) -> impl Iterator<Item = Result<Row, CommandError>> {
    let lines = BufReader::new(file).split(b'\n').zip(1..);
    lines.filter_map(|(bytes, line)| match bytes {
        Err(error) => Some(Err(error.into())),
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => None,
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(not_utf8);
            Some(Ok(Row { line, content: text.map(|text| Content::Json(text.trim().to_owned())) }))
        }
    })
}

fn not_utf8(error: impl ToString) -> Violation {
    Violation::new("line", format!("is not UTF-8: {}; save the file as UTF-8", error.to_string()))
}

/// The objects of a JSON array. The array is read as a whole.
fn array(mut file: File) -> Result<impl Iterator<Item = Result<Row, CommandError>>, CommandError> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let values: Vec<&RawValue> = serde_json::from_str(&text)
        .map_err(|error| CommandError::Io(io::Error::other(format!("not a JSON array: {error}"))))?;
    let (mut line, mut counted) = (1, 0);
    let mut rows = Vec::with_capacity(values.len());
    for value in values {
        // A raw value borrows from the text, so its address gives its line.
        let at = value.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text[counted..at].bytes().filter(|byte| *byte == b'\n').count() as u64;
        counted = at;
        rows.push(Ok(Row { line, content: Ok(Content::Json(value.get().to_owned())) }));
    }
    Ok(rows.into_iter())
}

/// The delimiter that occurs most often in the header, outside quotes: comma, semicolon or tab.
fn detect(file: File) -> io::Result<u8> {
    let (mut counts, mut quoted) = ([(b',', 0), (b';', 0), (b'\t', 0)], false);
    for byte in BufReader::new(file).bytes() {
        match byte? {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            byte if !quoted => {
                counts.iter_mut().filter(|(of, _)| *of == byte).for_each(|(_, count)| *count += 1)
            }
            _ => {}
        }
    }
    // `rev`, because `max_by_key` returns the last of equals.
    Ok(counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| delimiter))
}

/// Finds the line of a byte offset. Holds the starts of lines with text that were read but not asked for yet.
///
/// The `csv` crate counts lines too, but after `\r\n` or an empty line it reports the line on which the row
/// before ended.
#[derive(Default)]
struct LineStarts {
    starts: VecDeque<(u64, u64)>,
    /// Bytes read and lines begun so far.
    read: u64,
    lines: u64,
    at_start: bool,
}

impl LineStarts {
    fn note(&mut self, bytes: &[u8]) {
        if self.lines == 0 {
            (self.lines, self.at_start) = (1, true);
        }
        for (byte, at) in bytes.iter().zip(self.read..) {
            match byte {
                b'\n' => (self.lines, self.at_start) = (self.lines + 1, true),
                b'\r' => {}
                _ if self.at_start => {
                    self.starts.push_back((at, self.lines));
                    self.at_start = false;
                }
                _ => {}
            }
        }
        self.read += bytes.len() as u64;
    }

    /// The line of the first text at or after a byte offset. Calls must be in ascending order.
    fn line_at(&mut self, byte: u64) -> u64 {
        while self.starts.front().is_some_and(|(at, _)| *at < byte) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.lines, |(_, line)| *line)
    }
}

/// A reader that records where lines begin.
struct Noting(File, Rc<RefCell<LineStarts>>);

impl Read for Noting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.borrow_mut().note(&buffer[..count]);
        Ok(count)
    }
}

/// The rows of a CSV file, with the column names of its header.
fn csv(file: File, delimiter: u8) -> Result<(Rows, Columns), CommandError> {
    let starts = Rc::new(RefCell::new(LineStarts::default()));
    let noting = Noting(file, Rc::clone(&starts));
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(noting);
    let columns: Columns = reader.headers()?.iter().map(|name| name.trim().into()).collect();
    for (at, name) in columns.iter().enumerate() {
        if !name.is_empty() && columns[..at].contains(name) {
            return Err(CommandError::Columns(format!("the column {name} is there twice")));
        }
    }
    let names = columns.clone();
    let rows = reader.into_records().map(move |record| {
        let line_of = |position: Option<&csv::Position>| {
            position.map_or(0, |position| starts.borrow_mut().line_at(position.byte()))
        };
        match record {
            Ok(record) => {
                let line = line_of(record.position());
                let cells = names.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
                Ok(Row { line, content: Ok(Content::Cells(cells)) })
            }
            Err(error) => {
                let line = line_of(error.position());
                let violation = match error.kind() {
                    csv::ErrorKind::Io(_) => return Err(error.into()),
                    csv::ErrorKind::Utf8 { err, .. } => not_utf8(err),
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        Violation::new("line", format!("has {len} cells, but the header has {expected_len}"))
                    }
                    _ => Violation::new("line", &error),
                };
                Ok(Row { line, content: Err(violation) })
            }
        }
    });
    Ok((Box::new(rows), columns))
}

/// The cells of a JSON object. A member of an inner object is named `outer.inner`; the texts of an array are
/// joined.
///
/// # Errors
/// If it is not a JSON object.
pub(super) fn flattened(json: &str) -> Result<Vec<(Rc<str>, String)>, Violation> {
    fn add(cells: &mut Vec<(Rc<str>, String)>, name: &str, value: Value) {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            Value::Object(members) => {
                for (inner, value) in members {
                    add(cells, &format!("{name}.{inner}"), value);
                }
                return;
            }
            Value::Array(values) if values.iter().all(|value| !value.is_object() && !value.is_array()) => {
                let texts = values.into_iter().map(|value| match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                });
                texts.collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        cells.push((name.into(), text));
    }
    let members = json::object(json.as_bytes())
        .map_err(|error| Violation::new("line", format!("is not a JSON object: {error}")))?;
    let mut cells = Vec::new();
    for (name, value) in members {
        add(&mut cells, name.trim(), value);
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn lines(text: &str) -> Vec<(u64, String)> {
        let (rows, _) = csv(file(text), b',').unwrap();
        let shown = |row: Row| match row.content {
            Ok(Content::Cells(cells)) => {
                cells.into_iter().map(|(_, cell)| cell).collect::<Vec<_>>().join("|")
            }
            Ok(Content::Json(json)) => json,
            Err(violation) => violation.detail,
        };
        rows.map(|row| row.unwrap()).map(|row| (row.line, shown(row))).collect()
    }

    #[test]
    fn a_row_is_on_the_line_it_begins_on_whatever_ends_lines() {
        for end in ["\n", "\r\n"] {
            let text = ["a,b", "1,x", "", "2,\"two", "lines, and \"\"more\"\"", "\"", "3,y,z", "", "", "4,w"]
                .join(end);
            let expected = [
                (2, "1|x".to_owned()),
                (4, format!("2|two{end}lines, and \"more\"{end}")),
                (7, "has 3 cells, but the header has 2".to_owned()),
                (10, "4|w".to_owned()),
            ];
            assert_eq!(lines(&text), expected);
            assert_eq!(
                lines(&format!("{end}{text}{end}{end}")).iter().map(|(line, _)| *line).collect::<Vec<_>>(),
                [3, 5, 8, 11]
            );
        }
    }

    #[test]
    fn lines_are_counted_right_over_the_reader_s_buffer() {
        let text = format!("a,b\r\n{}", "1,\"x\r\n\r\ny\"\r\n\r\n".repeat(20_000));
        for (at, (line, _)) in lines(&text).into_iter().enumerate() {
            assert_eq!(line, 2 + 4 * at as u64);
        }
    }

    #[test]
    fn the_delimiter_is_what_the_header_has_most_of() {
        for (header, delimiter) in [
            ("a,b,c", b','),
            ("a;b", b';'),
            ("a\tb\tc,d", b'\t'),
            ("\"a,b,c\";d\n,,,", b';'),
            ("a", b','),
            ("", b','),
        ] {
            assert_eq!(detect(file(header)).unwrap(), delimiter, "{header}");
        }
    }

    #[test]
    fn objects_of_an_array_are_on_their_lines() {
        let rows: Vec<Row> = array(file("[\n{\"a\":\n1},\n\n  {\"b\": \"]\\n\"}, {}]\n"))
            .unwrap()
            .map(|row| row.unwrap())
            .collect();
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5, 5]);
        assert!(array(file("[{}")).is_err() && array(file("{}")).is_err());
    }

    #[test]
    fn nested_members_are_cells_by_their_path() {
        let cells = flattened(
            r#"{"id": 7, "via": {"channel": "web", "source": {"from": null}}, "tags": ["a", 2], "c": [{"x": 1}]}"#,
        );
        let cells: Vec<(String, String)> =
            cells.unwrap().into_iter().map(|(n, c)| (n.to_string(), c)).collect();
        let expected = [
            ("c", r#"[{"x":1}]"#),
            ("id", "7"),
            ("tags", "a, 2"),
            ("via.channel", "web"),
            ("via.source.from", ""),
        ];
        assert_eq!(cells, expected.map(|(name, cell)| (name.to_owned(), cell.to_owned())));
    }
}
