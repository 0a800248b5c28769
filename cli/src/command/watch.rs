//! `tickets watch`: changes as they happen, one line each.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use console::style;
use tickets_domain::id::CustomerId;
use tickets_domain::{Clock, Timestamp};

use super::CommandError;
use super::serve::interrupted;
use super::show::{Shown, one_line};
use crate::client::{Api, Row};
use crate::source::Selection;

/// Follow changes as they happen, one line each
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// Begin with what changed then or later; now if not said
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only one customer's tickets
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// Seconds between looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// One JSON object on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

impl Watch {
    /// Follows until interrupted.
    ///
    /// # Errors
    /// Where the API refuses or does not answer for long.
    pub async fn run(self) -> Result<(), CommandError> {
        tokio::select! {
            ended = self.follow() => ended,
            () = interrupted() => Ok(()),
        }
    }

    async fn follow(&self) -> Result<(), CommandError> {
        let client = self.api.client()?;
        let mut selection = Selection {
            since: Some(self.since.unwrap_or(Clock::system().now())),
            customer: self.customer,
            include_deleted: true,
            ..Selection::default()
        };
        // What was shown and will be listed again, for what is fresher than `Sync-Until` is listed twice.
        let mut shown: HashMap<u64, Timestamp> = HashMap::new();
        loop {
            let (mut id_after, mut sync_until, mut rows) = (0, None, Vec::new());
            loop {
                let page = client.list(&selection.path(), &selection.query(id_after, None)).await?;
                sync_until = sync_until.or(page.sync_until);
                id_after = page.rows.last().map_or(id_after, |row| row.id);
                rows.extend(page.rows);
                if !page.more {
                    break;
                }
            }
            rows.retain(|row| shown.get(&row.id).is_none_or(|before| *before < row.updated));
            rows.sort_by_key(|row| row.updated);
            for row in rows {
                self.show(&row)?;
                shown.insert(row.id, row.updated);
            }
            if let Some(until) = sync_until {
                selection.since = selection.since.max(Some(until));
                shown.retain(|_, updated| *updated >= until);
            }
            tokio::time::sleep(Duration::from_secs(self.every)).await;
        }
    }

    fn show(&self, row: &Row) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", row.json.get())?;
            return Ok(out.flush()?);
        }
        let ticket: Shown = serde_json::from_str(row.json.get()).map_err(io::Error::from)?;
        let (what, text) = match (&ticket.deleted, ticket.created == ticket.updated) {
            (Some(_), _) => (style("deleted").red(), String::new()),
            (None, true) => (style("created").green(), one_line(&ticket)),
            (None, false) => (style("changed").yellow(), one_line(&ticket)),
        };
        writeln!(out, "{}  {what}  {}  customer {}{text}", ticket.updated, ticket.id, ticket.customer)?;
        Ok(out.flush()?)
    }
}
