//! `tickets import`: creates tickets from a file. Repeating an import creates none twice. It writes new
//! tickets through the API, or moves records straight into the table with their ids and dates.

mod csv;
mod date;
mod input;
mod map;
mod report;
mod rows;
mod send;
mod table;

use std::borrow::BorrowMut;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Map, Value};
use tickets_app::Config;
use tickets_app::config::PRESETS;
use tickets_domain::input::ASSIGNED;
use tickets_domain::ticket::{GONE_FIELDS, field_names};
use tickets_domain::{Clock, Error, JsonObject, Presets, Record, TicketInput, Timestamp, Violation, json};
use tickets_repository::Tickets;

use super::export::unescaped;
use super::serve::says_if_interrupted;
use crate::client::Api;
use crate::error::CommandError;
use crate::operator::connect::{Tables, open};
use crate::output::{counted, note, progress_bar, sanitize};
use input::{Format, Input};
use map::{ColumnMap, Losses};
use report::{Findings, ROW, Report};
use rows::{Content, Row};

/// Create tickets from a file, or move them in with their ids and dates
///
/// Every line is checked before the first is sent. Through the API, lines go in batches named after their
/// content: an interrupted import can be repeated within a day, and makes no ticket twice. With --table
/// --keep-ids, records go straight to the table with their ids and dates; this can be repeated at any time.
#[derive(Debug, Clone, Args)]
pub struct Import {
    /// File to read: CSV, NDJSON or a JSON array, gzipped or not; - for standard input
    file: PathBuf,
    /// Format; if not given, found by the file's name or first bytes
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Delimiter of a CSV file; the most frequent one in its header if not given
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// TOML file that says which column of another system fills which field
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Leave out id, createdDate and updatedDate, which an exported file has and the service assigns
    #[arg(long)]
    drop_assigned: bool,
    /// Write to the table directly, not through the API: with your AWS credentials, or to a local one
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", requires = "keep_ids")]
    table: Option<String>,
    /// With --table: keep ids, dates and deletions as they are in the file
    #[arg(long, requires = "table", conflicts_with = "drop_assigned")]
    keep_ids: bool,
    /// With --table: accept values of preset fields that are not configured (any more)
    #[arg(long, requires = "table")]
    any_preset: bool,
    /// With --table: database to use
    #[arg(long, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL")]
    endpoint_url: Option<String>,
    /// With --table: local data directory to use
    #[arg(long, value_name = "DIR", requires = "table", conflicts_with = "endpoint_url")]
    data: Option<PathBuf>,
    /// Check the file, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Requests at the same time, each of up to 100 lines; with 1, new tickets get ids in the order of the
    /// lines
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Do not show progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    api: Api,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
            _ => Err("must be one ASCII character, or tab".into()),
        },
    }
}

/// An import file, with everything needed to turn its rows into request bodies.
struct Source<'a> {
    import: &'a Import,
    input: Input,
    map: Option<ColumnMap>,
    presets: Presets,
    now: Timestamp,
}

/// A row as a ticket's JSON.
struct Line {
    number: u64,
    body: Result<String, Vec<Violation>>,
}

impl Import {
    /// Imports the file.
    ///
    /// # Errors
    /// [`CommandError::Refused`] if lines are refused, after all lines were checked.
    pub async fn run(self) -> Result<(), CommandError> {
        // A table's presets and settings are those of its deployment.
        let (config, table) = match &self.table {
            None => (Config::from_env()?, None),
            Some(name) => {
                let opened = open(self.endpoint_url.as_deref(), self.data.as_ref()).await?;
                let name = if name.is_empty() { &self.tables.tickets_table } else { name };
                let needed = if self.any_preset { &[][..] } else { &PRESETS[..] };
                let config = opened.config(name, needed).await?;
                (config, Some((opened, name)))
            }
        };
        let source = Source {
            import: &self,
            input: Input::open(&self.file, self.format)?,
            map: self.map.as_deref().map(ColumnMap::open).transpose()?,
            presets: match self.table {
                None => self.presets(config.presets).await?,
                Some(_) if self.any_preset => Presets::any(),
                Some(_) => config.presets,
            },
            now: Clock::system().now(),
        };
        let progress = progress_bar(self.quiet, "{human_pos}/{human_len} lines  {rate}  {left}");
        let mut report = Report::default();
        let ended = match table {
            None => self.send(&source, &mut report, &progress).await,
            Some((opened, name)) => {
                let tickets = Tickets::new(opened.dynamodb.clone(), name, Clock::system(), config.settings);
                self.import(&source, &tickets, &mut report, &progress).await
            }
        };
        report.finish();
        ended
    }

    /// The service's presets, if it can be reached; else the configured ones, which are enough to check a
    /// file.
    async fn presets(&self, configured: Presets) -> Result<Presets, CommandError> {
        let asked = match self.api.client() {
            Ok(client) => client.presets().await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(presets) => Ok(presets),
            Err(error) if self.dry_run => {
                self.say(&format!(
                    "checked with the values that are configured here, not those of the API: {error}"
                ));
                Ok(configured)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Creates new tickets through the API.
    async fn send(
        &self,
        source: &Source<'_>,
        report: &mut Report,
        progress: &ProgressBar,
    ) -> Result<(), CommandError> {
        let lines =
            source.check(report, |_, object, presets| TicketInput::create(object, presets).map(drop))?;
        if self.dry_run {
            self.say(&format!("checked {}; nothing was sent", counted(lines, "line")));
            return Ok(());
        }
        let client = self.api.client()?;
        progress.set_length(lines);
        says_if_interrupted(
            progress,
            "repeat the command within a day to continue: no line makes two tickets",
        );
        let sent =
            send::send(&client, source.bodies()?, self.parallel.into(), source.now, report, progress).await?;
        progress.finish_and_clear();
        let again = match sent.replayed {
            0 => String::new(),
            replayed => format!(", {replayed} were there from before"),
        };
        self.say(&format!("imported {}{again}", counted(sent.new, "ticket")));
        refused(report, lines, true)
    }

    /// Moves records with their ids and dates straight into the table.
    async fn import(
        &self,
        source: &Source<'_>,
        tickets: &Tickets,
        report: &mut Report,
        progress: &ProgressBar,
    ) -> Result<(), CommandError> {
        let parallel = self.parallel.into();
        let mut survey = table::Survey::default();
        let lines = source.check(report, |line, object, presets| {
            Record::imported(object, presets, source.now).map(|record| survey.note(line, &record))
        })?;
        survey.refuse_twins(report, progress);
        refused(report, lines, false)?;
        let ranges = tickets.reserved_ranges().await?;
        if survey.is_to_be_looked_for(&ranges) {
            table::look(tickets, &ranges, source.records()?, parallel, report, progress).await?;
            refused(report, lines, false)?;
        }
        if self.dry_run {
            self.say(&format!("checked {}; nothing was written", counted(lines, "line")));
            return Ok(());
        }
        progress.set_length(lines);
        says_if_interrupted(progress, "repeat the command to continue: what is there is not moved in twice");
        let moved = table::import(tickets, &survey, source.records()?, parallel, report, progress).await?;
        progress.finish_and_clear();
        // Also if nothing was put now: an interrupted import may have put the records.
        let epoch = tickets.renew_epoch().await?;
        let count =
            |count: u64, text: &str| if count > 0 { format!(", {count} {text}") } else { String::new() };
        self.say(&format!(
            "moved in {}{}{}\nepoch {epoch}: copies start over",
            counted(moved.new, "record"),
            count(moved.there, "were there from before"),
            count(moved.changed, "have changed since they were moved in, and stay as they are"),
        ));
        refused(report, lines, true)
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            note(text);
        }
    }
}

/// Fails if rows were refused.
fn refused(report: &Report, lines: u64, sent: bool) -> Result<(), CommandError> {
    match report.refused {
        0 => Ok(()),
        refused => Err(CommandError::Refused { refused, lines, sent }),
    }
}

impl Source<'_> {
    /// Checks every row, and prints which values will not become part of a ticket. Returns the number of
    /// rows.
    ///
    /// # Errors
    /// [`CommandError::Refused`] if some rows are refused.
    fn check(
        &self,
        report: &mut Report,
        mut check: impl FnMut(u64, JsonObject, &Presets) -> tickets_domain::Result<()>,
    ) -> Result<u64, CommandError> {
        let (mut count, mut assigned) = (0, false);
        let (mut losses, mut findings) = (Losses::default(), Findings::default());
        for line in self.lines(&mut losses)? {
            let Line { number, body } = line?;
            count += 1;
            let checked = body.and_then(|body| {
                let checked = JsonObject::parse(body.as_bytes())
                    .and_then(|object| check(number, object, &self.presets));
                checked.map_err(|error| match error {
                    Error::InvalidFields(violations) => violations.into_iter().collect(),
                    error => vec![Violation::new(ROW, error)],
                })
            });
            if let Err(violations) = checked {
                assigned |= violations.iter().any(|violation| ASSIGNED.contains(&&*violation.field));
                findings.refuse(number, violations);
            }
        }
        findings.tell(count, report);
        for (field, rows) in &losses.one_line {
            self.import.say(&format!("{field}: line breaks became spaces on {}", counted(*rows, "line")));
        }
        for (field, rows) in &losses.replaced {
            self.import
                .say(&format!("{field}: replaced by the map's `otherwise` on {}", counted(*rows, "line")));
        }
        if losses.empty_rows > 0 {
            self.import.say(&format!("skipped {} with empty cells only", counted(losses.empty_rows, "line")));
        }
        if losses.short_rows > 0 {
            self.import.say(&format!(
                "{} shorter than the header: the missing cells were read as empty",
                counted(losses.short_rows, "line")
            ));
        }
        if !losses.columns.is_empty() {
            let rows = |(name, rows): (&Rc<str>, &u64)| format!("{name} (on {})", counted(*rows, "line"));
            let columns = map::listed(&losses.columns.iter().map(rows).collect::<Vec<_>>());
            let columns = sanitize(&columns);
            if self.map.is_none() {
                return Err(CommandError::Columns(format!(
                    "no field for the columns {columns}; --map FILE says what becomes of them; nothing was sent"
                )));
            }
            self.import.say(&format!("no field for the columns {columns}: left out"));
        }
        if assigned && !self.import.keep_ids {
            self.import.say(
                "an exported file? --drop-assigned leaves out what the service assigns; --table --keep-ids keeps it",
            );
        }
        refused(report, count, false)?;
        Ok(count)
    }

    /// Turns the rows into request bodies, one by one. Rows of a spreadsheet that have nothing in them are skipped.
    fn lines<'a>(
        &'a self,
        mut losses: impl BorrowMut<Losses> + 'a,
    ) -> Result<impl Iterator<Item = Result<Line, CommandError>> + 'a, CommandError> {
        let (rows, columns) = rows::rows(&self.input, self.import.delimiter)?;
        let width = columns.as_ref().map_or(0, Vec::len);
        match (&self.map, columns) {
            (Some(map), Some(columns)) => map.check_columns(&columns)?,
            (None, Some(columns)) => check_columns(&columns)?,
            (Some(_) | None, None) => {}
        }
        let mut line = move |row: Row| {
            let losses: &mut Losses = losses.borrow_mut();
            let Row { line: number, content } = row;
            if let Ok(Content::Cells(cells)) = &content {
                if cells.iter().all(|(_, cell)| cell.trim().is_empty()) {
                    losses.empty_rows += 1;
                    return None;
                }
                losses.short_rows += u64::from(cells.len() < width);
            }
            let body = content.map_err(|violation| vec![violation]);
            Some(Line { number, body: body.and_then(|content| self.body(content, losses)) })
        };
        Ok(rows.filter_map(move |row| row.map(&mut line).transpose()))
    }

    fn body(&self, content: Content, losses: &mut Losses) -> Result<String, Vec<Violation>> {
        let body = match (content, &self.map) {
            (Content::Json(json), None) => json,
            (Content::Cells(cells), None) => plain(&cells, losses),
            (Content::Cells(cells), Some(map)) => map.apply(&cells, &self.presets, self.now, losses)?,
            (Content::Json(json), Some(map)) => {
                let cells = rows::flattened(&json).map_err(|violation| vec![violation])?;
                map.apply(&cells, &self.presets, self.now, losses)?
            }
        };
        Ok(if self.import.drop_assigned { without_assigned(body) } else { body })
    }

    /// Reads the checked rows again, as request bodies.
    fn bodies(&self) -> Result<impl Iterator<Item = Result<(u64, String), CommandError>>, CommandError> {
        Ok(self.lines(Losses::default())?.map(|line| {
            let Line { number, body } = line?;
            body.map(|body| (number, body)).map_err(|_| send::has_changed())
        }))
    }

    /// Reads the checked rows again, as records.
    fn records(&self) -> Result<impl Iterator<Item = Result<(u64, Record), CommandError>>, CommandError> {
        Ok(self.bodies()?.map(|body| {
            let (line, body) = body?;
            let record = JsonObject::parse(body.as_bytes())
                .and_then(|object| Record::imported(object, &self.presets, self.now))
                .map_err(|_| send::has_changed())?;
            Ok((line, record))
        }))
    }
}

/// Whether a column is a field of tickets, or of what is left of them.
fn field(column: &str) -> Option<&'static str> {
    field_names().chain(GONE_FIELDS).find(|known| *known == column)
}

/// Refuses a file without a map that has two columns for one field.
fn check_columns(columns: &[Rc<str>]) -> Result<(), CommandError> {
    let mut seen = BTreeSet::new();
    match columns.iter().filter_map(|column| field(column)).find(|field| !seen.insert(*field)) {
        Some(twice) => Err(CommandError::Columns(format!(
            "the column {twice} is there twice; with --map FILE columns of one name are joined"
        ))),
        None => Ok(()),
    }
}

/// The JSON of a row whose columns are named like a ticket's fields, as in an export.
fn plain(cells: &[(Rc<str>, String)], losses: &mut Losses) -> String {
    let mut members = Map::new();
    for (name, cell) in cells.iter().filter(|(_, cell)| !cell.is_empty()) {
        match field(name) {
            Some(known) => {
                members.insert(known.to_owned(), map::member(known, unescaped(cell)));
            }
            None => *losses.columns.entry(Rc::clone(name)).or_default() += 1,
        }
    }
    Value::from(members).to_string()
}

/// The body without the fields that the service assigns.
fn without_assigned(body: String) -> String {
    match json::object(body.as_bytes()) {
        Ok(mut members) => {
            members.retain(|name, _| !ASSIGNED.contains(&name.as_str()));
            Value::from(members).to_string()
        }
        // Not an object: left as it is, for the service to refuse.
        Err(_) => body,
    }
}
