//! `tickets import`: tickets from a file, each once however often the import is repeated.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::HEXLOWER;
use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tickets_app::Config;
use tickets_domain::{Error, Form, Presets, TicketFields, Violation};

use super::export::Format;
use super::{CommandError, progress_of};
use crate::client::{Api, ClientError, Creation};

/// Create tickets from a file of NDJSON or CSV
///
/// Every line is checked before the first is sent. Each line has its own idempotency key, made of what it
/// says: an import that was interrupted can be repeated within a day, and makes no ticket twice.
#[derive(Debug, Clone, Args)]
pub struct Import {
    /// File to read
    file: PathBuf,
    /// Format; by the file's name if not said, else NDJSON
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Leave out id, createdDate and updatedDate, which an exported file has and the service assigns
    #[arg(long)]
    drop_assigned: bool,
    /// Check the file, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Requests at the same time; with 1 the tickets get ids in the order of the lines
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Do not show progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    api: Api,
}

/// The fields the service assigns.
const ASSIGNED: [&str; 3] = ["id", "createdDate", "updatedDate"];

/// A line of the file: where it begins, and the JSON of its ticket.
struct Line {
    number: u64,
    body: Result<String, Vec<Violation>>,
}

/// A line on its way, with the name by which it takes effect once.
struct Request {
    number: u64,
    body: String,
    key: String,
}

/// Gives each line its idempotency key: what it says, and how many lines before it say the same.
#[derive(Default)]
struct Names {
    seen: HashMap<[u8; 16], u32>,
}

impl Names {
    fn next(&mut self, body: &str) -> String {
        let hash = Sha256::digest(body.as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash[..16]);
        let count = self.seen.entry(short).or_default();
        *count += 1;
        format!("import-{}-{count}", HEXLOWER.encode(&short))
    }
}

impl Import {
    /// Imports.
    ///
    /// # Errors
    /// Where lines are refused, after all were looked at; where the file or the API does not do.
    pub async fn run(self) -> Result<(), CommandError> {
        // The same rules as the service has, if it is configured the same.
        let presets = Config::from_env()?.presets;
        let (mut lines, mut refused, mut assigned) = (0, 0, false);
        for line in self.lines()? {
            let Line { number, body } = line?;
            lines += 1;
            if let Err(violations) = body.and_then(|body| check(&body, &presets)) {
                refused += 1;
                assigned |= violations.iter().any(|violation| ASSIGNED.contains(&&*violation.field));
                report(number, &violations);
            }
        }
        if assigned {
            self.say("an exported file? --drop-assigned leaves out what the service assigns");
        }
        if refused > 0 {
            return Err(CommandError::Refused { refused, lines, sent: false });
        }
        if self.dry_run {
            self.say(&format!("{lines} lines are fine; nothing was sent"));
            return Ok(());
        }
        let client = self.api.client()?;
        let progress = progress_of(self.quiet, "{human_pos}/{human_len} lines, {per_sec}, {eta} left");
        progress.set_length(lines);
        let mut names = Names::default();
        let requests = self.lines()?.map(|line| match line {
            Ok(Line { number, body: Ok(body) }) => {
                let key = names.next(&body);
                Ok(Request { number, body, key })
            }
            Ok(_) => Err(io::Error::other("the file changed while it was read").into()),
            Err(error) => Err(error),
        });
        let sent = stream::iter(requests).map(|request: Result<Request, CommandError>| async {
            let request = request?;
            let created = client.create(&request.body, &request.key).await;
            Ok::<_, CommandError>((request.number, created))
        });
        let (new, old, refused) = count(sent.buffer_unordered(self.parallel.into()), &progress).await?;
        progress.finish_and_clear();
        let again = if old > 0 { format!(", {old} were there from before") } else { String::new() };
        self.say(&format!("imported {new} tickets{again}"));
        if refused > 0 { Err(CommandError::Refused { refused, lines, sent: true }) } else { Ok(()) }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// The file's lines, one by one.
    fn lines(&self) -> Result<Box<dyn Iterator<Item = Result<Line, CommandError>> + '_>, CommandError> {
        let drop_assigned = self.drop_assigned;
        Ok(match Format::of(self.format, Some(&self.file)) {
            Format::Ndjson => {
                Box::new(ndjson(&self.file)?.map(move |line| line.map(|l| l.without(drop_assigned))))
            }
            Format::Csv => Box::new(csv(&self.file)?.map(move |line| line.map(|l| l.without(drop_assigned)))),
        })
    }
}

/// Counts new and replayed tickets and refused lines, until one fails for another reason.
async fn count(
    sent: impl futures::Stream<Item = Result<(u64, Result<Creation, ClientError>), CommandError>>,
    progress: &ProgressBar,
) -> Result<(u64, u64, u64), CommandError> {
    let counted = sent.try_fold((0, 0, 0), |(new, old, refused), (number, created)| async move {
        progress.inc(1);
        match created {
            Ok(Creation::New) => Ok((new + 1, old, refused)),
            Ok(Creation::Replayed) => Ok((new, old + 1, refused)),
            Err(ClientError::Refused { status, violations, detail })
                if matches!(status.as_u16(), 400 | 413 | 422) =>
            {
                let detail =
                    if violations.is_empty() { vec![Violation::new("line", detail)] } else { violations };
                progress.suspend(|| report(number, &detail));
                Ok((new, old, refused + 1))
            }
            Err(error) => Err(error.into()),
        }
    });
    counted.await
}

fn report(number: u64, violations: &[Violation]) {
    for Violation { field, detail } in violations {
        eprintln!("line {number}: {field}: {detail}");
    }
}

/// What is wrong with a ticket, by the service's own rules.
fn check(body: &str, presets: &Presets) -> Result<(), Vec<Violation>> {
    match Form::parse(body.as_bytes()).and_then(|form| TicketFields::draft(form, presets)) {
        Ok(_) => Ok(()),
        Err(Error::InvalidFields(violations)) => Err(violations),
        Err(error) => Err(vec![Violation::new("line", error)]),
    }
}

impl Line {
    /// The line without the fields the service assigns.
    fn without(mut self, assigned: bool) -> Self {
        if let (true, Ok(body)) = (assigned, &self.body)
            && let Ok(mut members) = serde_json::from_str::<Map<String, Value>>(body)
        {
            members.retain(|name, _| !ASSIGNED.contains(&name.as_str()));
            self.body = Ok(Value::from(members).to_string());
        }
        self
    }
}

fn opened(file: &Path) -> Result<File, CommandError> {
    File::open(file).map_err(|source| CommandError::File { path: file.to_owned(), source })
}

/// Lines of JSON; empty ones do not count.
fn ndjson(file: &Path) -> Result<impl Iterator<Item = Result<Line, CommandError>> + use<>, CommandError> {
    let lines = BufReader::new(opened(file)?).split(b'\n').zip(1..);
    Ok(lines.filter_map(|(bytes, number)| match bytes {
        Err(error) => Some(Err(error.into())),
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => None,
        Ok(bytes) => {
            let text = String::from_utf8(bytes);
            let body = text.map_err(|error| vec![Violation::new("line", error)]);
            Some(Ok(Line { number, body: body.map(|text| text.trim().to_owned()) }))
        }
    }))
}

/// Records of CSV, by the names in the header; an empty cell is a field that is absent.
fn csv(file: &Path) -> Result<impl Iterator<Item = Result<Line, CommandError>> + use<>, CommandError> {
    let mut reader = csv::Reader::from_reader(opened(file)?);
    let names = reader.headers()?.clone();
    Ok(reader.into_records().map(move |record| {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let number = error.position().map_or(0, csv::Position::line);
                return match error.kind() {
                    csv::ErrorKind::Io(_) => Err(error.into()),
                    _ => Ok(Line { number, body: Err(vec![Violation::new("line", error)]) }),
                };
            }
        };
        let cells = names.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        let members: Map<String, Value> =
            cells.map(|(name, cell)| (name.to_owned(), json(name, cell))).collect();
        let number = record.position().map_or(0, csv::Position::line);
        Ok(Line { number, body: Ok(Value::from(members).to_string()) })
    }))
}

/// A cell as its field is in JSON.
fn json(name: &str, cell: &str) -> Value {
    match name {
        "customerID" => cell.trim().parse::<u64>().map_or_else(|_| Value::from(cell), Value::from),
        _ => Value::from(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lines_have_keys_of_their_own_and_repeat_them() {
        let mut names = Names::default();
        let first = [names.next("a"), names.next("b"), names.next("a")];
        assert!(first[0] != first[1] && first[0] != first[2]);
        let mut names = Names::default();
        // A line put before them changes no key.
        names.next("c");
        assert_eq!([names.next("a"), names.next("b"), names.next("a")], first);
    }
}
