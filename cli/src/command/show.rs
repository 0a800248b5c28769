//! `tickets get` and `tickets list`: show tickets to people.

mod sort;

use std::io;
use std::time::Duration;

use chrono::{DateTime, Local};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use tickets_domain::filter::MAX_LIMIT;
use tickets_domain::preset::Preset;
use tickets_domain::{Clock, Continuation, ListEnd, TicketId, Timestamp, Violation};
use tickets_http::list::Parameter;

use sort::Sort;

use crate::client::{Api, ClientError, Row};
use crate::error::CommandError;
use crate::operator::source::Selection;
use crate::output::{self, Table, Text, priority_style, sanitize, status_style};

/// Show one ticket
#[derive(Debug, Clone, Args)]
pub struct Get {
    /// The ticket's id
    id: TicketId,
    /// The JSON, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

/// The filters of a work queue
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Work queue")]
pub(super) struct Queue {
    /// Only open tickets
    #[arg(long, conflicts_with = "closed")]
    open: bool,
    /// Only closed ones
    #[arg(long)]
    closed: bool,
    /// Only with this status; several with commas between
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Only of this type; several with commas between
    #[arg(long = "type", value_name = "TYPE")]
    ticket_type: Vec<String>,
    /// Only of this priority; several with commas between
    #[arg(long, value_name = "PRIORITY")]
    priority: Vec<String>,
    /// Only with this owner; for several, give it several times, or commas between where owners are configured
    #[arg(long, value_name = "OWNER")]
    owner: Vec<String>,
    /// Only with a follow-up then or earlier: a date, a time, today or tomorrow (in UTC)
    #[arg(long, value_name = "DAY")]
    due: Option<String>,
    /// Only with action required then or earlier
    #[arg(long, value_name = "DAY")]
    action: Option<String>,
}

/// The API's form of a date or time that a person gave.
pub(super) fn day(text: &str, now: Timestamp) -> String {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let date = |time: Timestamp| time.to_string()[..10].to_owned();
    match text {
        "today" => date(now),
        "tomorrow" => date(now.plus(DAY)),
        other => other.to_owned(),
    }
}

impl Queue {
    /// The filters: the list's parameters, the flags for them, and what was given.
    fn filters(&self, now: Timestamp) -> [(Parameter, &'static str, Vec<String>); 7] {
        let open = (self.open || self.closed).then(|| self.open.to_string());
        let until = |text: &Option<String>| Vec::from_iter(text.as_ref().map(|text| day(text, now)));
        [
            (Parameter::Open, "--open", Vec::from_iter(open)),
            (Parameter::Status, "--status", self.status.clone()),
            (Parameter::TicketType, "--type", self.ticket_type.clone()),
            (Parameter::TicketPriority, "--priority", self.priority.clone()),
            (Parameter::Owner, "--owner", self.owner.clone()),
            (Parameter::FollowupUntil, "--due", until(&self.due)),
            (Parameter::ActionUntil, "--action", until(&self.action)),
        ]
    }

    /// The filters as query parameters of the list.
    pub(super) fn query(&self, now: Timestamp) -> impl Iterator<Item = (&'static str, String)> {
        self.filters(now)
            .into_iter()
            .flat_map(|(parameter, _, values)| values.into_iter().map(move |value| (parameter.name(), value)))
    }

    /// The API's refusal of a list, in the words of this command line: flags for parameters.
    pub(super) fn in_flags(&self, refusal: ClientError) -> ClientError {
        let ClientError::Refused { status, detail, violations } = refusal else { return refusal };
        let filters = self.filters(Timestamp::MAX);
        let flag = |name: &str| filters.iter().find(|(parameter, ..)| parameter.name() == name);
        let in_flags = |violation: Violation| {
            let field = flag(&violation.field).map_or(violation.field.clone(), |(_, flag, _)| (*flag).into());
            // As the API says what a filter needs beside it.
            let detail = [
                ("open=true", "--open"),
                (Parameter::CreatedSince.name(), "--created-since"),
                (Parameter::UpdatedSince.name(), "--since"),
            ];
            let detail = detail.iter().fold(violation.detail, |text, (name, flag)| text.replace(name, flag));
            Violation::new(field, detail)
        };
        let violations = violations.into_iter().map(in_flags).collect();
        ClientError::Refused { status, detail, violations }
    }
}

/// List tickets
#[derive(Debug, Clone, Args)]
pub struct List {
    #[command(flatten)]
    selection: Selection,
    /// Only tickets with these ids, with commas between
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    id: Vec<TicketId>,
    /// Only higher ids
    #[arg(long, value_name = "ID", default_value_t = 0)]
    id_after: u64,
    /// In another order than that of their ids: for a work queue, or tickets of one customer or with some ids
    #[arg(long, value_enum, value_name = "ORDER", conflicts_with = "id_after")]
    sort: Option<Sort>,
    /// At most this many tickets
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// A JSON array, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    zone: Zone,
    #[command(flatten)]
    queue: Queue,
    #[command(flatten)]
    api: Api,
}

/// The time zone in which times are shown
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Zone {
    /// Show times in this machine's time zone, not in UTC
    #[arg(long)]
    local: bool,
}

impl Zone {
    /// A time without fractions of a second, for people.
    pub(super) fn time(self, time: &str) -> String {
        match DateTime::parse_from_rfc3339(time) {
            Ok(time) if self.local => time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string(),
            Ok(_) | Err(_) => time.get(..19).unwrap_or(time).replace('T', " "),
        }
    }

    /// The same with its zone.
    pub(super) fn time_in_zone(self, time: &str) -> String {
        match DateTime::parse_from_rfc3339(time) {
            Ok(time) if self.local => time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S%:z").to_string(),
            Ok(_) | Err(_) => format!("{}Z", self.time(time)),
        }
    }
}

/// The fields shown of a ticket on one line.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) id: String,
    #[serde(rename = "customerID")]
    pub(super) customer: u64,
    pub(super) status: Option<String>,
    #[serde(rename = "ticketPriority")]
    priority: Option<String>,
    #[serde(rename = "ticketType")]
    kind: Option<String>,
    owner: Option<String>,
    subject: Option<String>,
    #[serde(rename = "ticketFollowupDate")]
    followup: Option<String>,
    #[serde(rename = "createdDate")]
    pub(super) created: String,
    #[serde(rename = "updatedDate")]
    pub(super) updated: String,
    #[serde(rename = "deletedDate")]
    pub(super) deleted: Option<String>,
    #[serde(rename = "movedDate")]
    pub(super) moved: Option<String>,
}

/// A ticket's status, priority, owner and subject.
pub(super) fn one_line(ticket: &Shown) -> String {
    let words = [&ticket.status, &ticket.priority, &ticket.owner];
    let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
    let subject = ticket.subject.as_deref().unwrap_or_default();
    format!("  {}  {}", sanitize(&words.join(" ")), sanitize(subject))
}

impl Get {
    pub async fn run(self) -> Result<(), CommandError> {
        let ticket = self.api.client()?.get(self.id).await?;
        if self.json {
            return Ok(output::print_json(ticket.json.get())?);
        }
        Ok(output::ticket(&ticket.json, ticket.tag)?.print()?)
    }
}

impl List {
    pub async fn run(self) -> Result<(), CommandError> {
        let (rows, more) = match self.sort {
            Some(sort) => self.sorted(sort).await?,
            None => {
                let (rows, more) = self.rows(self.limit.into()).await?;
                let again = |after| format!("more: {}", repeated(std::env::args().skip(1), after));
                (rows, more.map(again))
            }
        };
        if self.json {
            let records: Vec<&RawValue> = rows.iter().map(|row| &*row.json).collect();
            let text = serde_json::to_string(&records).map_err(io::Error::from)?;
            return Ok(output::print_json(&text)?);
        }
        // The date by which they are sorted.
        let by_followup = self.sort == Some(Sort::Followup);
        let date = match (by_followup, self.zone.local) {
            (true, _) => "FOLLOWUP",
            (false, true) => "UPDATED (local)",
            (false, false) => "UPDATED (UTC)",
        };
        let mut table = Table::new(
            ["ID", "STATUS", "PRIORITY", "TYPE", "CUSTOMER", "OWNER", date, "SUBJECT"],
            &["TYPE", "CUSTOMER", "FOLLOWUP", "UPDATED (local)", "UPDATED (UTC)", "OWNER", "PRIORITY"],
        );
        for row in &rows {
            let ticket: Shown = serde_json::from_str(row.json.get()).map_err(io::Error::from)?;
            let or_dash = |text: Option<String>| Text::new(sanitize(text.as_deref().unwrap_or("-")));
            let status = match (&ticket.deleted, &ticket.moved) {
                (Some(_), _) => "deleted",
                (None, Some(_)) => "moved away",
                (None, None) => ticket.status.as_deref().unwrap_or("-"),
            };
            let priority = ticket.priority.as_deref().unwrap_or("-");
            table.push([
                Text::new(sanitize(&ticket.id)),
                Text::default().styled(status_style(status), sanitize(status)),
                Text::default().styled(priority_style(priority), sanitize(priority)),
                or_dash(ticket.kind),
                Text::new(ticket.customer),
                or_dash(ticket.owner),
                if by_followup {
                    or_dash(ticket.followup.map(|date| self.zone.time(&date)))
                } else {
                    Text::new(sanitize(&self.zone.time(&ticket.updated)))
                },
                or_dash(ticket.subject),
            ]);
        }
        table.print()?;
        if let Some(more) = more {
            output::note(format!("{} shown; {more}", rows.len()));
        }
        Ok(())
    }

    /// The first tickets in this order, and what to say if there are more.
    ///
    /// # Errors
    /// [`CommandError::Usage`] if the list has no bound, or too many tickets.
    async fn sorted(&self, sort: Sort) -> Result<(Vec<Row>, Option<String>), CommandError> {
        let is_bounded = self.queue.query(Clock::system().now()).next().is_some()
            || self.selection.customer.is_some()
            || !self.id.is_empty();
        if !is_bounded {
            let needed = "--sort needs a list that can be read to its end: add --open, --status, --due or another filter of a \
                work queue, --customer or --id";
            return Err(CommandError::Usage(needed.into()));
        }
        let (rows, more) = self.rows(sort::MOST).await?;
        if more.is_some() {
            let most = sort::MOST;
            let needed = format!(
                "--sort takes up to {most} tickets, and there are more: add --owner, --type, --priority or --due"
            );
            return Err(CommandError::Usage(needed));
        }
        let priorities = match sort {
            Sort::Priority => self.api.client()?.presets().await?.priority,
            Sort::Updated | Sort::Followup | Sort::Customer => Preset::default(),
        };
        let mut rows = sort.sort(rows, &priorities)?;
        let left = rows.len().saturating_sub(self.limit.into());
        rows.truncate(self.limit.into());
        Ok((rows, (left > 0).then(|| format!("there are {left} more: --limit N shows up to 1000"))))
    }

    /// As many tickets as are wanted, and the id after which there may be more. A page of a work queue in which
    /// little matches may hold fewer than that, or none.
    async fn rows(&self, wanted: usize) -> Result<(Vec<Row>, Option<u64>), CommandError> {
        let client = self.api.client()?;
        let filters: Vec<_> = self.queue.query(Clock::system().now()).collect();
        let ids = self.id.iter().map(|id| (Parameter::Id.name(), id.to_string()));
        let filters = [filters, ids.collect()].concat();
        let (mut rows, mut id_after, mut continuation) = (Vec::new(), self.id_after, Continuation::default());
        loop {
            let limit = MAX_LIMIT.min(wanted - rows.len());
            let mut query = self.selection.query(id_after, Some(limit), &continuation);
            query.extend_from_slice(&filters);
            let page = client.list(&self.selection.path(), &query).await;
            let page = page.map_err(|error| self.queue.in_flags(error))?;
            rows.extend(page.rows);
            match page.end {
                ListEnd::Complete => return Ok((rows, None)),
                ListEnd::More { after, .. } if rows.len() >= wanted => return Ok((rows, Some(after))),
                ListEnd::More { after, found } => (id_after, continuation) = (after, found),
            }
        }
    }
}

/// The command line with these arguments, as a shell takes it, but for what follows this ticket.
fn repeated(arguments: impl Iterator<Item = String>, after: u64) -> String {
    const PLAIN: [char; 9] = ['-', '_', '.', ',', ':', '/', '=', '@', '+'];
    let mut again = "tickets".to_owned();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--id-after" {
            arguments.next();
        } else if !argument.starts_with("--id-after=") {
            let is_plain = |character: char| character.is_ascii_alphanumeric() || PLAIN.contains(&character);
            again += match !argument.is_empty() && argument.chars().all(is_plain) {
                true => format!(" {argument}"),
                false => format!(" '{}'", argument.replace('\'', r"'\''")),
            }
            .as_str();
        }
    }
    format!("{again} --id-after {after}")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        queue: Queue,
    }

    #[test]
    fn every_filter_of_the_api_has_a_flag() {
        let flags = Line::command();
        let flags = flags.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument)));
        let given = flags.filter(|(flag, _)| *flag != "closed" && *flag != "help").map(|(flag, argument)| {
            let value = if argument.get_action().takes_values() { "=x" } else { "" };
            format!("--{flag}{value}")
        });
        let line = Line::parse_from(["tickets".to_owned()].into_iter().chain(given));
        let asked: Vec<_> = line.queue.query(Clock::system().now()).map(|(name, _)| name).collect();
        let filters = Parameter::ALL.into_iter().filter(|parameter| parameter.is_filter());
        assert_eq!(asked, filters.map(Parameter::name).collect::<Vec<_>>());
        for (parameter, flag, _) in line.queue.filters(Clock::system().now()) {
            let value = if parameter == Parameter::Open { "" } else { "=x" };
            let line = Line::parse_from(["tickets".to_owned(), format!("{flag}{value}")]);
            let asked: Vec<_> = line.queue.query(Clock::system().now()).map(|(name, _)| name).collect();
            assert_eq!(asked, [parameter.name()], "{flag}");
        }
    }

    #[test]
    fn the_command_for_more_is_what_was_typed_and_a_shell_reads_it_so() {
        for (typed, more) in [
            (&["list"][..], "tickets list --id-after 57"),
            (&["ls", "--id-after", "7", "--open"], "tickets ls --open --id-after 57"),
            (&["ls", "--id-after=7", "--limit=5"], "tickets ls --limit=5 --id-after 57"),
            (&["list", "--owner", "Smith, John"], "tickets list --owner 'Smith, John' --id-after 57"),
            (&["list", "--owner", "O'Neill", ""], r"tickets list --owner 'O'\''Neill' '' --id-after 57"),
        ] {
            assert_eq!(repeated(typed.iter().map(|&word| word.to_owned()), 57), more);
        }
    }

    #[test]
    fn a_time_says_its_zone() {
        let [utc, local] = [false, true].map(|local| Zone { local });
        let time = "2026-11-24T17:45:00.123Z";
        assert_eq!(utc.time(time), "2026-11-24 17:45:00");
        assert_eq!(utc.time_in_zone(time), "2026-11-24 17:45:00Z");
        let shown = DateTime::parse_from_str(&local.time_in_zone(time), "%Y-%m-%d %H:%M:%S%:z").unwrap();
        assert_eq!(shown.to_utc().to_rfc3339(), "2026-11-24T17:45:00+00:00");
    }
}
