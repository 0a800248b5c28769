//! `tickets watch`: prints changes as they happen, one on each line.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use console::Style;
use tickets_domain::id::CustomerId;
use tickets_domain::{Clock, Continuation, ListEnd, Timestamp};

use super::serve::interrupted;
use super::show::{Shown, one_line};
use crate::client::{Api, Client, Row};
use crate::error::CommandError;
use crate::operator::source::Selection;
use crate::output::{self, Text, sanitize};

/// Follow changes as they happen, one line each
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// Begin with what changed then or later; now if not given
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only one customer's tickets
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// Seconds between two polls
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// One JSON object on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

/// What was printed.
struct Seen {
    /// Every change up to then.
    since: Timestamp,
    /// And these, which are later than that: the next poll lists them again.
    shown: HashMap<u64, Timestamp>,
}

/// How long the API may be away before the command ends.
const LONGEST_OUTAGE: Duration = Duration::from_secs(60 * 60);

/// Polls every so many seconds, for ever, also while the API does not answer.
///
/// # Errors
/// If the API refuses, or does not answer for an hour.
pub(super) async fn follow(
    every: u64,
    mut poll: impl AsyncFnMut() -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut away = None;
    loop {
        match poll().await {
            Ok(()) => {
                if away.take().is_some() {
                    output::note("the API answers again");
                }
            }
            Err(CommandError::Client(error)) if error.is_temporary() => {
                let since = *away.get_or_insert_with(|| {
                    output::note(format!("{error}\ntrying again for an hour"));
                    Instant::now()
                });
                if since.elapsed() > LONGEST_OUTAGE {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_secs(every)).await;
    }
}

impl Watch {
    /// Prints changes until interrupted, and then from when on to go on.
    ///
    /// # Errors
    /// If the API refuses, or does not answer for an hour.
    pub async fn run(self) -> Result<(), CommandError> {
        let client = self.api.client()?;
        let mut seen = Seen { since: self.since.unwrap_or(Clock::system().now()), shown: HashMap::new() };
        let ended = tokio::select! {
            ended = follow(self.every, async || self.poll(&client, &mut seen).await) => ended,
            () = interrupted() => Ok(()),
        };
        output::note(format!("to go on from here: --since {}", seen.since));
        ended
    }

    /// Prints what changed since the last poll.
    async fn poll(&self, client: &Client, seen: &mut Seen) -> Result<(), CommandError> {
        let selection = Selection {
            since: Some(seen.since),
            customer: self.customer,
            include_deleted: true,
            ..Selection::default()
        };
        let (mut id_after, mut sync_until, mut rows) = (0, None, Vec::new());
        let mut continuation = Continuation::default();
        loop {
            let query = selection.query(id_after, None, &continuation);
            let page = client.list(&selection.path(), &query).await?;
            sync_until = sync_until.or(page.sync_until);
            rows.extend(page.rows);
            match page.end {
                ListEnd::Complete => break,
                ListEnd::More { after, found } => (id_after, continuation) = (after, found),
            }
        }
        rows.retain(|row| seen.shown.get(&row.id).is_none_or(|before| *before < row.updated));
        rows.sort_by_key(|row| row.updated);
        for row in rows {
            self.show(&row)?;
            seen.shown.insert(row.id, row.updated);
        }
        if let Some(until) = sync_until {
            seen.since = seen.since.max(until);
            seen.shown.retain(|_, updated| *updated >= until);
        }
        Ok(())
    }

    fn show(&self, row: &Row) -> Result<(), CommandError> {
        if self.json {
            return Ok(output::print_json(row.json.get())?);
        }
        let ticket: Shown = serde_json::from_str(row.json.get()).map_err(io::Error::from)?;
        let (style, what, text) = if ticket.deleted.is_some() {
            (Style::new().red(), "deleted", String::new())
        } else if ticket.moved.is_some() {
            (Style::new().red(), "moved away", String::new())
        } else if ticket.created == ticket.updated {
            (Style::new().green(), "created", one_line(&ticket))
        } else {
            (Style::new().yellow(), "changed", one_line(&ticket))
        };
        let (updated, id) = (sanitize(&ticket.updated), sanitize(&ticket.id));
        let line = Text::new(format!("{updated}  ")).styled(style, what);
        Ok(line.and(format!("  {id}  customer {}{text}", ticket.customer)).print_cut()?)
    }
}
