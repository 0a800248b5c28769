//! `tickets get`, `tickets list`: tickets, for people to read.

use std::io::{self, Write};

use clap::Args;
use console::style;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tickets_domain::TicketId;

use super::export::COLUMNS;
use super::{CommandError, plain_table};
use crate::client::Api;
use crate::source::Selection;

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

/// List tickets
#[derive(Debug, Clone, Args)]
pub struct List {
    #[command(flatten)]
    selection: Selection,
    /// Only higher ids
    #[arg(long, value_name = "ID", default_value_t = 0)]
    id_after: u64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// A JSON array, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

/// What is shown of a ticket on one line.
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
    #[serde(rename = "createdDate")]
    pub(super) created: String,
    #[serde(rename = "updatedDate")]
    pub(super) updated: String,
    #[serde(rename = "deletedDate")]
    pub(super) deleted: Option<String>,
}

/// Status, priority, owner and subject.
pub(super) fn one_line(ticket: &Shown) -> String {
    let words = [&ticket.status, &ticket.priority, &ticket.owner];
    let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
    format!("  {}  {}", words.join(" "), printable(ticket.subject.as_deref().unwrap_or_default()))
}

/// A text without what could move the cursor or change the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

impl Get {
    /// Shows it.
    ///
    /// # Errors
    /// Where there is none, or the API refuses or does not answer.
    pub async fn run(self) -> Result<(), CommandError> {
        let ticket = self.api.client()?.get(self.id.get()).await?;
        let mut out = io::stdout().lock();
        if self.json {
            return Ok(writeln!(out, "{}", ticket.get())?);
        }
        let fields: Map<String, Value> = serde_json::from_str(ticket.get()).map_err(io::Error::from)?;
        for name in COLUMNS {
            let text = match fields.get(name) {
                None => continue,
                Some(Value::String(text)) => text.lines().map(printable).collect::<Vec<_>>(),
                Some(other) => vec![other.to_string()],
            };
            // Further lines of a text stand below the first.
            writeln!(out, "{:<20}  {}", style(name).bold(), text.join(&format!("\n{:22}", "")))?;
        }
        Ok(())
    }
}

impl List {
    /// Lists them.
    ///
    /// # Errors
    /// Where the API refuses or does not answer.
    pub async fn run(self) -> Result<(), CommandError> {
        let query = self.selection.query(self.id_after, Some(self.limit.into()));
        let page = self.api.client()?.list(&self.selection.path(), &query).await?;
        let mut out = io::stdout().lock();
        if self.json {
            let records: Vec<&RawValue> = page.rows.iter().map(|row| &*row.json).collect();
            let text = serde_json::to_string(&records).map_err(io::Error::from)?;
            return Ok(writeln!(out, "{text}")?);
        }
        let mut table =
            plain_table(["ID", "STATUS", "PRIORITY", "TYPE", "CUSTOMER", "OWNER", "UPDATED", "SUBJECT"]);
        for row in &page.rows {
            let ticket: Shown = serde_json::from_str(row.json.get()).map_err(io::Error::from)?;
            let or_dash = |text: Option<String>| text.map_or_else(|| "-".into(), |text| printable(&text));
            let status = if ticket.deleted.is_some() { Some("deleted".into()) } else { ticket.status };
            table.add_row([
                ticket.id,
                or_dash(status),
                or_dash(ticket.priority),
                or_dash(ticket.kind),
                ticket.customer.to_string(),
                or_dash(ticket.owner),
                // To the second, which is as much as people read.
                ticket.updated.get(..19).unwrap_or(&ticket.updated).replace('T', " "),
                or_dash(ticket.subject),
            ]);
        }
        writeln!(out, "{table}")?;
        if let (true, Some(last)) = (page.more, page.rows.last()) {
            eprintln!("there are more: --id-after {}", last.id);
        }
        Ok(())
    }
}
