//! `tickets export`: writes tickets to a file or standard output.

use std::borrow::Cow;
use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tickets_domain::ticket::{GONE_FIELDS, field_names};
use tickets_domain::{Continuation, ListEnd, json};

use super::serve::says_if_interrupted;
use crate::client::Row;
use crate::error::CommandError;
use crate::operator::source::{From, Selection};
use crate::output::{self, progress_bar};
use crate::private;

/// The path that means standard output.
const STANDARD_OUTPUT: &str = "-";
/// Tells a spreadsheet that a file is UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// How long to wait before a list that ended before an open id is read on.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Write tickets to a file or standard output
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "An export into a file that was interrupted goes on where it was when it is repeated."
)]
pub struct Export {
    /// File to write; standard output if not given, or if it is -
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format; if not given, that of the file's name, else NDJSON
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// With CSV: begin with a byte order mark, without which Excel misreads letters like ü
    #[arg(long)]
    bom: bool,
    #[command(flatten)]
    selection: Selection,
    /// Do not show progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    from: From,
}

/// The formats of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object on each line
    Ndjson,
    /// Comma-separated values with a header
    Csv,
}

impl Format {
    /// The given format, or else the one that the file's name ends in.
    pub fn of(said: Option<Self>, file: Option<&Path>) -> Self {
        let is_csv = |file: &Path| file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        said.unwrap_or(if file.is_some_and(is_csv) { Self::Csv } else { Self::Ndjson })
    }
}

/// How far an export into a file has come. It is stored beside the file until the export is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Resume {
    /// What is exported. A different export starts from the beginning.
    request: String,
    /// Records up to this id are in the file.
    id_after: u64,
    /// The file's size in bytes at that point.
    bytes: u64,
    records: u64,
    /// `Sync-Until` of the first page.
    sync_until: Option<String>,
}

/// The file being written, under another name until it is complete. Links are never followed: in a directory
/// that others can write to, a link could make this program overwrite this user's files, or supply a false
/// beginning.
struct Target {
    output: PathBuf,
    partial: PathBuf,
    state: PathBuf,
    file: File,
}

impl Target {
    /// Opens the file to continue an export of the same kind, or from the beginning.
    fn open(output: &Path, resume: &mut Resume) -> Result<Self, CommandError> {
        let beside = |ending: &str| {
            let mut name = output.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let (partial, state) = (beside(".partial"), beside(".resume"));
        let mut file = private::locked(&partial).map_err(|error| match error {
            TryLockError::WouldBlock => CommandError::Exporting(output.to_owned()),
            TryLockError::Error(error) => error.into(),
        })?;
        let begun =
            private::unplanted(&state).ok().and_then(|file| serde_json::from_reader::<_, Resume>(file).ok());
        let length = file.metadata()?.len();
        if let Some(begun) = begun.filter(|begun| begun.request == resume.request && begun.bytes <= length) {
            *resume = begun;
        }
        // Cut off what was written after the last note; it is written again.
        file.set_len(resume.bytes)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(Self { output: output.to_owned(), partial, state, file })
    }

    /// Records atomically how far the file has come.
    fn note(&mut self, resume: &mut Resume) -> io::Result<()> {
        resume.bytes = self.file.stream_position()?;
        let text = serde_json::to_vec(resume)?;
        let new = self.state.with_extension("resume-new");
        let mut file = private::open(&new)?;
        file.set_len(0)?;
        file.write_all(&text)?;
        fs::rename(new, &self.state)
    }

    fn complete(self) -> io::Result<()> {
        self.file.sync_all()?;
        // First the note: with the file's new name, the next export may begin and write its own.
        fs::remove_file(&self.state).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        fs::rename(&self.partial, &self.output)
    }
}

impl Export {
    /// Exports the tickets. An interrupted export into a file continues when it is repeated.
    pub async fn run(self) -> Result<(), CommandError> {
        let output = self.output.as_deref().filter(|output| *output != Path::new(STANDARD_OUTPUT));
        let format = Format::of(self.format, output);
        if self.bom && format != Format::Csv {
            return Err(CommandError::Usage("--bom is for CSV: add --format csv".into()));
        }
        let source = self.from.open().await?;
        let mark = if self.bom { " with a byte order mark" } else { "" };
        let request = format!("{} {format:?}{mark} {:?}", source.name(), self.selection);
        let mut resume = Resume { request, id_after: 0, bytes: 0, records: 0, sync_until: None };
        let mut target = output.map(|output| Target::open(output, &mut resume)).transpose()?;
        let begun_at = resume.id_after;

        let progress = progress_bar(self.quiet, "{percent}%  {msg} tickets  {left}").with_message("0");
        if !progress.is_hidden() {
            progress.set_length(source.highest_id(&self.selection).await?);
            progress.set_position(begun_at);
            progress.reset_eta();
        }
        if target.is_some() {
            says_if_interrupted(&progress, "repeat the command to continue");
        }
        if target.is_some() && begun_at > 0 && !self.quiet {
            output::note(format!("going on after ticket {begun_at}, {} are there", resume.records));
        }
        let mut continuation = Continuation::default();
        let mut is_begun = resume.bytes > 0;
        // The ticket up to which a list that ended early is read on, and whether the user knows.
        let (mut until, mut is_told) = (None, false);
        loop {
            let page = source.page(&self.selection, resume.id_after, None, &continuation).await?;
            if resume.sync_until.is_none() {
                resume.sync_until = page.sync_until.map(|time| time.to_string());
            }
            let text = self.text(format, &page.rows, !is_begun)?;
            is_begun = true;
            match &mut target {
                Some(target) => target.file.write_all(&text)?,
                None => to_stdout(&text)?,
            }
            resume.records += page.rows.len() as u64;
            resume.id_after = match page.end {
                ListEnd::Complete => page.rows.last().map_or(resume.id_after, |row| row.id),
                ListEnd::More { after, .. } => after,
            };
            if let Some(target) = &mut target {
                target.note(&mut resume)?;
            }
            progress.set_position(resume.id_after);
            progress.set_message(HumanCount(resume.records).to_string());
            continuation = match page.end {
                ListEnd::More { found, .. } => found,
                ListEnd::Complete => {
                    let held_back = source.held_back(&self.selection, resume.id_after, page.sync_until);
                    let Some(last) = held_back.await? else { break };
                    // What comes while this waits need not be in the file: it could go on for ever.
                    if resume.id_after >= *until.get_or_insert(last) {
                        break;
                    }
                    if page.rows.is_empty() && !self.quiet && !is_told {
                        is_told = true;
                        let after = resume.id_after;
                        progress.suspend(|| {
                            output::note(format!(
                                "a ticket after {after} may still be on its way: waiting for it"
                            ));
                        });
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                    Continuation::default()
                }
            };
        }
        progress.finish_and_clear();
        if let Some(target) = target {
            target.complete()?;
        }
        if !self.quiet {
            let next =
                resume.sync_until.map(|time| format!("; next time: --since {time}")).unwrap_or_default();
            output::note(format!("exported {}{next}", output::counted(resume.records, "ticket")));
        }
        Ok(())
    }

    /// The rows in the file's format.
    fn text(&self, format: Format, rows: &[Row], header: bool) -> Result<Vec<u8>, CommandError> {
        let mut text = Vec::new();
        if format == Format::Ndjson {
            for row in rows {
                text.extend_from_slice(row.json.get().as_bytes());
                text.push(b'\n');
            }
            return Ok(text);
        }
        // Exports that include deleted tickets have two more columns.
        let gone = if self.selection.include_deleted { GONE_FIELDS.as_slice() } else { &[] };
        let columns: Vec<&str> = field_names().chain(gone.iter().copied()).collect();
        if header && self.bom {
            text.extend_from_slice(BYTE_ORDER_MARK.as_bytes());
        }
        let mut csv = csv::Writer::from_writer(text);
        if header {
            csv.write_record(&columns).map_err(io::Error::from)?;
        }
        for row in rows {
            let record = json::value(row.json.get().as_bytes()).map_err(io::Error::from)?;
            let cell = |column: &&str| match &record[*column] {
                Value::Null => String::new(),
                Value::String(text) => escaped(text).into_owned(),
                other => other.to_string(),
            };
            csv.write_record(columns.iter().map(cell)).map_err(io::Error::from)?;
        }
        csv.into_inner().map_err(|error| error.into_error().into())
    }
}

/// Writes to standard output: unchanged for a program, sanitized for a terminal.
fn to_stdout(text: &[u8]) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the export is for the next program")]
    let mut out = io::stdout();
    if out.is_terminal() {
        return output::print(String::from_utf8_lossy(text).trim_end());
    }
    out.write_all(text)?;
    out.flush()
}

/// Characters that begin a formula in a spreadsheet, East Asian forms included, and whitespace that it skips
/// before one. A formula can read other cells, files and the network (CWE-1236), and whoever creates a ticket
/// chooses its texts.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n'];

/// A text as a cell. A text that a spreadsheet would run gets a `'` before it, also if it begins with `'`s
/// already. An empty cell means that the field is absent, so an empty text becomes `\`, and a text of only
/// `\`s gets one more.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.trim_start_matches('\'').starts_with(FORMULA) {
        format!("'{text}").into()
    } else if text.bytes().all(|byte| byte == b'\\') {
        format!("{text}\\").into()
    } else {
        text.into()
    }
}

/// Undoes [`escaped`] for a cell that is not empty.
pub(super) fn unescaped(cell: &str) -> &str {
    if cell.bytes().all(|byte| byte == b'\\') {
        return cell.strip_suffix('\\').unwrap_or(cell);
    }
    match cell.strip_prefix('\'') {
        Some(text) if text.trim_start_matches('\'').starts_with(FORMULA) => text,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_a_cell_of_its_own_and_none_is_empty() {
        for (text, cell) in [("", "\\"), ("\\", "\\\\"), ("a", "a"), ("a\\", "a\\"), (" ", " ")] {
            assert_eq!((escaped(text).as_ref(), unescaped(cell)), (cell, text));
        }
    }

    #[test]
    fn no_cell_is_a_formula_and_each_is_its_text_again() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''+x"] {
            let cell = escaped(text);
            assert_eq!((cell.as_ref(), unescaped(&cell)), (format!("'{text}").as_str(), text));
            assert!(cell.starts_with('\''));
        }
        for text in ["'tis", "''", "'", "a=1", "1-1", " =1", "'\\"] {
            assert_eq!((escaped(text).as_ref(), unescaped(text)), (text, text));
        }
    }
}
