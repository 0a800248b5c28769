//! The rows of a file, each with the line it begins on. Of a row only as much is kept as is allowed.

use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use serde_json::Value;
use tickets_domain::{Violation, json};

use super::csv::{Fault, MAX_CELLS, MAX_ROW, Reader, Record};
use super::input::{Bytes, Format, Input};
use super::report::ROW;
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
    let unreadable = input.unreadable();
    let (rows, columns): (Box<dyn Iterator<Item = io::Result<Row>>>, _) = match input.format {
        Format::Ndjson => (Box::new(ndjson(BufReader::new(input.read()?))), None),
        Format::Json => (Box::new(Elements::new(input.read()?)), None),
        Format::Csv => {
            let dialect = Dialect::of(input.read()?, delimiter).map_err(&unreadable)?;
            let (header, rows) = csv(input.read()?, dialect).map_err(&unreadable)?;
            let columns = header.map_err(CommandError::Columns)?;
            (Box::new(rows), Some(columns))
        }
    };
    Ok((Box::new(rows.map(move |row| row.map_err(&unreadable))), columns))
}

fn refused(line: u64, fault: impl ToString) -> Row {
    Row { line, content: Err(Violation::new(ROW, fault)) }
}

/// A row of JSON.
fn json_row(line: u64, bytes: Vec<u8>) -> Row {
    match String::from_utf8(bytes) {
        Ok(text) => Row { line, content: Ok(Content::Json(text.trim().to_owned())) },
        Err(error) => refused(line, Fault::from(error.utf8_error())),
    }
}

/// NDJSON, without blank lines.
fn ndjson(mut text: impl BufRead) -> impl Iterator<Item = io::Result<Row>> {
    let mut lines = 0;
    let mut next = move || -> io::Result<Option<Row>> {
        loop {
            let mut bytes = Vec::new();
            if text.by_ref().take(MAX_ROW as u64 + 1).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            lines += 1;
            if bytes.len() > MAX_ROW && !bytes.ends_with(b"\n") {
                text.skip_until(b'\n')?;
                return Ok(Some(refused(lines, Fault::TooLong)));
            }
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(json_row(lines, bytes)));
            }
        }
    };
    std::iter::from_fn(move || next().transpose())
}

/// The elements of a JSON array. Only its commas and brackets are looked at here: each element is parsed later, as a
/// line of NDJSON is.
struct Elements<R> {
    bytes: Bytes<R>,
    part: Part,
}

/// What comes next in an array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Begin,
    /// The first element, or the end.
    First,
    Element,
    End,
}

impl<R: Read> Elements<R> {
    fn new(text: R) -> Self {
        Self { bytes: Bytes::new(text), part: Part::Begin }
    }

    /// The next byte that is no white space; `None` at the end.
    fn next_visible(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.bytes.next()? {
                Some(byte) if byte.is_ascii_whitespace() => {}
                next => return Ok(next),
            }
        }
    }

    fn no_array(&self, why: &str) -> io::Error {
        io::Error::other(format!("not a JSON array: {why} on line {}", self.bytes.line()))
    }

    fn row(&mut self) -> io::Result<Option<Row>> {
        if self.part == Part::Begin {
            if self.next_visible()? != Some(b'[') {
                return Err(self.no_array("it does not begin with ["));
            }
            self.part = Part::First;
        }
        if self.part == Part::End {
            return match self.next_visible()? {
                None => Ok(None),
                Some(_) => Err(self.no_array("something follows its end")),
            };
        }
        let mut next = self.next_visible()?;
        let line = self.bytes.line();
        if next == Some(b']') && self.part == Part::First {
            self.part = Part::End;
            return self.row();
        }
        let mut element = Vec::new();
        let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
        loop {
            let Some(byte) = next else { return Err(self.no_array("it ends too early")) };
            match byte {
                b',' | b']' if depth == 0 && !is_text => {
                    self.part = if byte == b',' { Part::Element } else { Part::End };
                    break;
                }
                _ if is_escaped => is_escaped = false,
                b'\\' if is_text => is_escaped = true,
                b'"' => is_text = !is_text,
                b'[' | b'{' if !is_text => depth += 1,
                b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            // One more than is allowed tells that it is too long.
            if element.len() <= MAX_ROW {
                element.push(byte);
            }
            next = self.bytes.next()?;
        }
        Ok(Some(if element.len() > MAX_ROW {
            refused(line, Fault::TooLong)
        } else {
            json_row(line, element)
        }))
    }
}

impl<R: Read> Iterator for Elements<R> {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.row().transpose()
    }
}

/// How a CSV file is written.
#[derive(Debug, PartialEq, Eq)]
struct Dialect {
    delimiter: u8,
    /// Whether its first line only names the delimiter, for Excel: `sep=;`.
    has_sep: bool,
}

impl Dialect {
    /// The dialect of a text, with the delimiter that is given or named, or else the one that occurs most often in
    /// the header, outside quotes: comma, semicolon or tab.
    fn of(text: impl Read, given: Option<u8>) -> io::Result<Self> {
        let (mut line, mut is_quoted) = (Vec::new(), false);
        let mut bytes = BufReader::new(text).take(MAX_ROW as u64).bytes();
        while let Some(byte) = bytes.next().transpose()? {
            match byte {
                b'\n' | b'\r' if line.is_empty() => {}
                b'\n' | b'\r' if !is_quoted => break,
                byte => {
                    is_quoted ^= byte == b'"';
                    line.push(byte);
                }
            }
        }
        let unquoted = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(&line);
        if let [name @ .., b'=', named] = unquoted
            && name.eq_ignore_ascii_case(b"sep")
        {
            return Ok(Self { delimiter: given.unwrap_or(*named), has_sep: true });
        }
        let count = |delimiter: u8| {
            let (mut count, mut is_quoted) = (0_u64, false);
            for byte in &line {
                is_quoted ^= *byte == b'"';
                count += u64::from(*byte == delimiter && !is_quoted);
            }
            count
        };
        // `rev`, because `max_by_key` returns the last of equals.
        let frequent = [b',', b';', b'\t'].into_iter().rev().max_by_key(|delimiter| count(*delimiter));
        Ok(Self { delimiter: given.or(frequent).unwrap_or(b','), has_sep: false })
    }
}

/// The names of a CSV file's columns, or why there are none, and its rows. A row may have fewer cells than the header:
/// spreadsheets leave out delimiters at the end of a line.
fn csv(
    text: impl Read,
    dialect: Dialect,
) -> io::Result<(Result<Columns, String>, impl Iterator<Item = io::Result<Row>>)> {
    let mut reader = Reader::new(text, dialect.delimiter);
    if dialect.has_sep {
        reader.skip_line()?;
    }
    let header = match reader.record()? {
        Some(Record { line, cells }) => cells.map_err(|fault| format!("line {line}: {fault}")),
        None => Err("the file is empty; CSV begins with the names of its columns".to_owned()),
    };
    let columns: Result<Columns, String> =
        header.map(|names| (1..).zip(&names).map(|(at, name)| column_name(name, at)).collect());
    let names: Columns = columns.clone().unwrap_or_default();
    let row = move |Record { line, cells }: Record| match cells {
        Ok(cells) if cells.iter().skip(names.len()).all(String::is_empty) => {
            Row { line, content: Ok(Content::Cells(names.iter().cloned().zip(cells).collect())) }
        }
        Ok(cells) => refused(line, format!("has {} cells, but the header has {}", cells.len(), names.len())),
        Err(fault) => refused(line, fault),
    };
    let records = std::iter::from_fn(move || reader.record().transpose());
    Ok((columns, records.map(move |record| record.map(&row))))
}

/// The name of a column without what nobody sees; `unnamed column 2` if nothing is left.
fn column_name(written: &str, at: usize) -> Rc<str> {
    let name = visible(written);
    if name.is_empty() { format!("unnamed column {at}").into() } else { name.into() }
}

/// A name without white space around it, and without characters of no width (a copied header often has some).
pub(super) fn visible(name: &str) -> String {
    let is_seen = |c: &char| !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    name.chars().filter(is_seen).collect::<String>().trim().to_owned()
}

/// The cells of a JSON object. A member of an inner object is named `outer.inner`; the texts of an array are
/// joined.
///
/// # Errors
/// If it is not a JSON object, or if its cells and their names would be larger than a row may be.
pub(super) fn flattened(json: &str) -> Result<Vec<(Rc<str>, String)>, Violation> {
    #[derive(Default)]
    struct Cells {
        cells: Vec<(Rc<str>, String)>,
        size: usize,
    }

    impl Cells {
        fn add(&mut self, name: &str, value: Value) -> Result<(), Fault> {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text,
                Value::Object(members) => {
                    return members
                        .into_iter()
                        .try_for_each(|(inner, value)| self.add(&format!("{name}.{inner}"), value));
                }
                Value::Array(values)
                    if values.iter().all(|value| !value.is_object() && !value.is_array()) =>
                {
                    let texts = values.into_iter().map(|value| match value {
                        Value::String(text) => text,
                        other => other.to_string(),
                    });
                    texts.collect::<Vec<_>>().join(", ")
                }
                other => other.to_string(),
            };
            // Each member of an inner object repeats the names of the outer ones.
            self.size += name.len() + text.len();
            if self.size > MAX_ROW {
                return Err(Fault::TooLong);
            }
            if self.cells.len() == MAX_CELLS {
                return Err(Fault::TooManyCells);
            }
            self.cells.push((name.into(), text));
            Ok(())
        }
    }

    let members = json::object(json.as_bytes())
        .map_err(|error| Violation::new(ROW, format!("cannot be read as a JSON object: {error}")))?;
    let mut cells = Cells::default();
    for (name, value) in members {
        cells.add(name.trim(), value).map_err(|fault| Violation::new(ROW, fault))?;
    }
    Ok(cells.cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(text: &str, given: Option<u8>) -> (u8, bool) {
        let Dialect { delimiter, has_sep } = Dialect::of(text.as_bytes(), given).unwrap();
        (delimiter, has_sep)
    }

    /// The columns, or why there are none, and each row's line and cells, or why it is refused.
    fn csv_rows(text: &str) -> (Result<Columns, String>, Vec<(u64, String)>) {
        let (columns, rows) = csv(text.as_bytes(), Dialect::of(text.as_bytes(), None).unwrap()).unwrap();
        (columns, rows.map(|row| shown(row.unwrap())).collect())
    }

    fn shown(row: Row) -> (u64, String) {
        let text = match row.content {
            Ok(Content::Cells(cells)) => {
                cells.into_iter().map(|(name, cell)| format!("{name}={cell}")).collect::<Vec<_>>().join("|")
            }
            Ok(Content::Json(json)) => json,
            Err(violation) => violation.detail,
        };
        (row.line, text)
    }

    #[test]
    fn the_delimiter_is_the_one_named_or_what_the_header_has_most_of() {
        for (header, delimiter) in [
            ("a,b,c", b','),
            ("a;b", b';'),
            ("\na\tb\tc,d\n;;;;", b'\t'),
            ("\"a,b,\nc\";d\n,,,", b';'),
            ("a", b','),
            ("", b','),
        ] {
            assert_eq!(dialect(header, None), (delimiter, false), "{header}");
            assert_eq!(dialect(header, Some(b'|')), (b'|', false), "{header}");
        }
        for (line, delimiter) in
            [("sep=;", b';'), ("SEP=,", b','), ("sep=\t", b'\t'), ("\"sep=;\"", b';'), ("sep=|", b'|')]
        {
            assert_eq!(dialect(&format!("{line}\r\na,b,c\r\n"), None), (delimiter, true), "{line}");
        }
        assert_eq!(dialect("sep=;\na|b", Some(b'|')), (b'|', true));
        assert_eq!(dialect("sep=;;\na", None), (b';', false));
    }

    #[test]
    fn a_row_may_leave_out_empty_cells_at_its_end_and_have_more_of_them() {
        let (columns, rows) = csv_rows("sep=;\r\na;b;c\r\n1\r\n1;2;3;;\r\n;;\r\n\r\n1;2;3;;x\r\n");
        assert_eq!(columns.unwrap().len(), 3);
        let expected =
            [(3, "a=1"), (4, "a=1|b=2|c=3"), (5, "a=|b=|c="), (7, "has 5 cells, but the header has 3")];
        assert_eq!(rows, expected.map(|(line, row)| (line, row.to_owned())));
    }

    #[test]
    fn a_column_s_name_is_what_people_see_of_it() {
        let (columns, rows) = csv_rows(" a\u{200b} ,\u{feff}b,,\"c\nd\"\n1,2,3,4\n");
        let names: Vec<String> = columns.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a", "b", "unnamed column 3", "c\nd"]);
        assert_eq!(rows, [(3, "a=1|b=2|unnamed column 3=3|c\nd=4".to_owned())]);
    }

    #[test]
    fn a_file_without_a_header_is_refused() {
        for empty in ["", "\n\r\n", "sep=;\n"] {
            assert!(csv_rows(empty).0.unwrap_err().starts_with("the file is empty"), "{empty:?}");
        }
        assert_eq!(
            csv_rows("a,\"b\n1,2").0.unwrap_err(),
            "line 1: the quote that opens on line 1 is never closed"
        );
    }

    #[test]
    fn a_line_of_ndjson_is_kept_up_to_the_most_bytes() {
        let most = "1".repeat(MAX_ROW);
        let text = format!("{most}\n{most}1\n\n \t\r\n2 \r\n{most}1");
        let rows: Vec<_> = ndjson(text.as_bytes()).map(|row| shown(row.unwrap())).collect();
        let too_long = Fault::TooLong.to_string();
        assert_eq!(rows, [(1, most), (2, too_long.clone()), (5, "2".into()), (6, too_long)]);
    }

    fn elements(text: &str) -> Result<Vec<(u64, String)>, String> {
        let rows = Elements::new(text.as_bytes());
        rows.map(|row| row.map(shown)).collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn elements_of_an_array_are_on_their_lines() {
        let expected =
            |rows: &[(u64, &str)]| Ok(rows.iter().map(|(line, text)| (*line, (*text).into())).collect());
        let text = "\n[\n{\"a\":\n1},\n\n  {\"b\": \"]\\\"},{\\\\\"}, [{},[1]] ,7\n]\n";
        let rows = [(3, "{\"a\":\n1}"), (6, r#"{"b": "]\"},{\\"}"#), (6, "[{},[1]]"), (6, "7")];
        assert_eq!(elements(text), expected(&rows));
        assert_eq!(elements(" [ ] "), expected(&[]));
        // What is no value stays for the one who parses it.
        assert_eq!(elements("[{} {},\n]"), expected(&[(1, "{} {}"), (2, "")]));
    }

    #[test]
    fn what_is_no_array_is_refused_by_line() {
        for (text, why) in [
            ("", "it does not begin with [ on line 1"),
            ("{}", "it does not begin with [ on line 1"),
            ("[{}\n", "it ends too early on line 2"),
            ("[{}, \"]", "it ends too early on line 1"),
            ("[{}]\n\n]", "something follows its end on line 3"),
        ] {
            assert_eq!(elements(text).unwrap_err(), format!("not a JSON array: {why}"), "{text}");
        }
    }

    #[test]
    fn an_element_is_kept_up_to_the_most_bytes() {
        let most = "1".repeat(MAX_ROW);
        let rows = elements(&format!("[{most},{most}1,2]")).unwrap();
        assert_eq!(rows, [(1, most), (1, Fault::TooLong.to_string()), (1, "2".into())]);
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

    #[test]
    fn names_that_are_repeated_for_each_inner_member_count() {
        let members = |count: usize| (0..count).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",");
        assert_eq!(flattened(&format!("{{{}}}", members(MAX_CELLS))).unwrap().len(), MAX_CELLS);
        let many = flattened(&format!("{{{}}}", members(MAX_CELLS + 1))).unwrap_err();
        assert_eq!(many.detail, Fault::TooManyCells.to_string());
        let long = format!("{{\"{}\":{{{}}}}}", "x".repeat(MAX_ROW / 2), members(3));
        assert_eq!(flattened(&long).unwrap_err().detail, Fault::TooLong.to_string());
    }
}
