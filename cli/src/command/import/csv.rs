//! A strict reader of CSV, as RFC 4180 describes it. Where a file can be read in two ways, the row is refused: a
//! lenient reader would make a cell of half the file, or change a text, and nobody would notice.
//!
//! Other than RFC 4180 it takes any delimiter, ends lines with `\n`, `\r\n` or `\r`, skips empty lines, and takes
//! a quote that is neither at a cell's beginning nor in a quoted cell as it is (`5" disk`).

use std::io::{self, Read};
use std::mem;

use thiserror::Error;

use super::input::Bytes;

/// The most bytes of a row, in any format: four times what the service takes as a body, for columns that become no
/// field.
pub(super) const MAX_ROW: usize = 8 * 1024 * 1024;
/// The most cells of a row: as many as a spreadsheet has columns (Excel's specifications and limits).
pub(super) const MAX_CELLS: usize = 16_384;

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Fault {
    #[error("the quote that opens on line {opened} is never closed")]
    Unclosed { opened: u64 },
    #[error(
        "cell {cell}, whose quote opens on line {opened}, goes on after its closing quote; within quotes a quote is \
         written \"\", not \\\", and --delimiter names another delimiter"
    )]
    AfterQuote { cell: usize, opened: u64 },
    #[error("cell {cell} has spaces before its quote; remove them, or quote the whole cell")]
    SpaceBeforeQuote { cell: usize },
    #[error("is longer than {} MiB; is a closing quote missing?", MAX_ROW / 1024 / 1024)]
    TooLong,
    #[error("has more than {} cells", MAX_CELLS)]
    TooManyCells,
    #[error("is not UTF-8: {0}; save the file as UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
}

/// A row of the file, the header included.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line on which it begins.
    pub(super) line: u64,
    pub(super) cells: Result<Vec<String>, Fault>,
}

pub(super) struct Reader<R> {
    bytes: Bytes<R>,
    delimiter: u8,
}

#[derive(Clone, Copy)]
enum State {
    /// At the beginning of a cell, or after spaces there.
    Start,
    Unquoted,
    Quoted,
    /// After a quote within a quoted cell: it closes the cell, unless a second one follows.
    Closed,
    /// The row is refused: only its end is looked for.
    Refused,
}

/// The part of a row that was read.
#[derive(Default)]
struct Partial {
    cells: Vec<String>,
    cell: Vec<u8>,
    /// Bytes kept so far.
    size: usize,
    fault: Option<Fault>,
}

impl Partial {
    /// Notes why the row is refused. Nothing more is kept of it.
    fn refuse(&mut self, fault: Fault) {
        *self = Self { fault: self.fault.take().or(Some(fault)), ..Self::default() };
    }

    fn push(&mut self, byte: u8) {
        self.size += 1;
        if self.size > MAX_ROW {
            self.refuse(Fault::TooLong);
        } else if self.fault.is_none() {
            self.cell.push(byte);
        }
    }

    /// The number of the cell that is being read.
    fn cell(&self) -> usize {
        self.cells.len() + 1
    }

    fn end_cell(&mut self) {
        match String::from_utf8(mem::take(&mut self.cell)) {
            _ if self.fault.is_some() => {}
            Ok(_) if self.cells.len() == MAX_CELLS => self.refuse(Fault::TooManyCells),
            Ok(cell) => self.cells.push(cell),
            Err(error) => self.refuse(error.utf8_error().into()),
        }
    }
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R, delimiter: u8) -> Self {
        Self { bytes: Bytes::new(from), delimiter }
    }

    /// Skips a line that is no row, and empty lines before it.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        let mut has_begun = false;
        loop {
            match self.bytes.next()? {
                None => return Ok(()),
                Some(b'\n' | b'\r') if has_begun => return Ok(()),
                Some(byte) => has_begun |= !matches!(byte, b'\n' | b'\r'),
            }
        }
    }

    /// The next row; `None` at the end of the file. After a refused row it goes on with the line after the fault.
    pub(super) fn record(&mut self) -> io::Result<Option<Record>> {
        let mut next = self.bytes.next()?;
        while matches!(next, Some(b'\n' | b'\r')) {
            next = self.bytes.next()?;
        }
        if next.is_none() {
            return Ok(None);
        }
        let line = self.bytes.line();
        let mut row = Partial::default();
        let (mut state, mut opened) = (State::Start, line);
        loop {
            state = match (state, next) {
                (State::Quoted, None) => {
                    row.fault = Some(Fault::Unclosed { opened });
                    break;
                }
                (State::Quoted, Some(b'"')) => State::Closed,
                (State::Quoted, Some(byte)) => {
                    row.push(byte);
                    State::Quoted
                }
                (State::Closed, Some(b'"')) => {
                    row.push(b'"');
                    State::Quoted
                }
                (_, None | Some(b'\n' | b'\r')) => {
                    row.end_cell();
                    break;
                }
                (State::Refused, Some(_)) => State::Refused,
                (_, Some(byte)) if byte == self.delimiter => {
                    row.end_cell();
                    State::Start
                }
                (State::Closed, Some(_)) => {
                    row.refuse(Fault::AfterQuote { cell: row.cell(), opened });
                    State::Refused
                }
                (State::Start, Some(b'"')) if row.cell.is_empty() => {
                    opened = self.bytes.line();
                    State::Quoted
                }
                (State::Start, Some(b'"')) => {
                    row.refuse(Fault::SpaceBeforeQuote { cell: row.cell() });
                    State::Refused
                }
                (State::Start, Some(byte @ (b' ' | b'\t'))) => {
                    row.push(byte);
                    State::Start
                }
                (State::Start | State::Unquoted, Some(byte)) => {
                    row.push(byte);
                    State::Unquoted
                }
            };
            next = self.bytes.next()?;
        }
        let cells = row.fault.map_or(Ok(row.cells), Err);
        Ok(Some(Record { line, cells }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(text: impl AsRef<[u8]>, delimiter: u8) -> Vec<(u64, Result<Vec<String>, Fault>)> {
        let mut reader = Reader::new(text.as_ref(), delimiter);
        let records = std::iter::from_fn(|| reader.record().unwrap());
        records.map(|Record { line, cells }| (line, cells)).collect()
    }

    fn cells(cells: &[&str]) -> Result<Vec<String>, Fault> {
        Ok(cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn a_row_is_on_the_line_it_begins_on_whatever_ends_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let text =
                ["", "a,b", "1,x", "", "2,\"two", "lines, and \"\"more\"\"", "\"", "", "3,y,", "\"\",", ""]
                    .join(end);
            let quoted = format!("two{end}lines, and \"more\"{end}");
            let expected = [
                (2, cells(&["a", "b"])),
                (3, cells(&["1", "x"])),
                (5, cells(&["2", &quoted])),
                (9, cells(&["3", "y", ""])),
                (10, cells(&["", ""])),
            ];
            assert_eq!(records(&text, b','), expected, "{end:?}");
        }
        assert!(records("", b',').is_empty());
    }

    #[test]
    fn a_quote_that_never_closes_is_refused_with_the_line_on_which_it_opens() {
        let text = "a,b\n1,\"x\ny\n\",\"never\n3,c\n4,d\n";
        let unclosed = Err(Fault::Unclosed { opened: 4 });
        assert_eq!(records(text, b','), [(1, cells(&["a", "b"])), (2, unclosed)]);
        assert_eq!(records("\"", b','), [(1, Err(Fault::Unclosed { opened: 1 }))]);
        assert_eq!(records("\"\"", b','), [(1, cells(&[""]))]);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_whatever_the_delimiter_is() {
        for delimiter in [b',', b';', b'\t', b'|'] {
            let row = |text: &str| records(text.replace('|', &char::from(delimiter).to_string()), delimiter);
            for altered in [r#"1|"plain \"q\" end"|x"#, "1|\"x\"y|x", "1|\"x\" |x", "1|\"x\"'|x"] {
                let fault = Err(Fault::AfterQuote { cell: 2, opened: 1 });
                assert_eq!(
                    row(&format!("{altered}\n2|z")),
                    [(1, fault), (2, cells(&["2", "z"]))],
                    "{altered}"
                );
            }
            let spaced = Err(Fault::SpaceBeforeQuote { cell: 2 });
            assert_eq!(row("1| \"a\"|x\n2| b"), [(1, spaced), (2, cells(&["2", " b"]))]);
            assert_eq!(row("5\" disk|a\"b\"| |x "), [(1, cells(&["5\" disk", "a\"b\"", " ", "x "]))]);
        }
    }

    #[test]
    fn no_row_is_kept_beyond_the_most_bytes_and_cells() {
        let most = "x".repeat(MAX_ROW);
        assert_eq!(
            records(format!("{most}\n{most}x\na"), b','),
            [(1, cells(&[&most])), (2, Err(Fault::TooLong)), (3, cells(&["a"])),]
        );
        let quoted = format!("\"{most}\n\"\na");
        assert_eq!(records(quoted, b','), [(1, Err(Fault::TooLong)), (3, cells(&["a"]))]);
        let delimiters = ",".repeat(MAX_CELLS - 1);
        let rows = records(format!("{delimiters}\n{delimiters},\na"), b',');
        assert_eq!(rows[0].1.as_ref().unwrap().len(), MAX_CELLS);
        assert_eq!(rows[1..], [(2, Err(Fault::TooManyCells)), (3, cells(&["a"]))]);
    }

    #[test]
    fn each_cell_must_be_utf8_by_itself() {
        let rows = records(b"\xc3,\xbc\nb", b',');
        assert!(matches!(rows[0].1, Err(Fault::NotUtf8(_))) && rows[1].1.is_ok(), "{rows:?}");
        assert_eq!(records("ü,\"ü\"", b','), [(1, cells(&["ü", "ü"]))]);
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read_as_it_was(
            rows in proptest::collection::vec(proptest::collection::vec("[a \",;\t\r\nü]{0,6}", 2..4), 0..5),
            delimiter in proptest::sample::select(vec![b',', b';', b'\t']),
        ) {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let read: Vec<_> = records(text, delimiter).into_iter().map(|(_, cells)| cells.unwrap()).collect();
            prop_assert_eq!(read, rows);
        }
    }
}
