//! `tickets erase`: removes a ticket's content from the table, its history and the exports.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use export_tickets::{Store, erase};
use indicatif::ProgressBar;
use serde::Deserialize as _;
use tickets_domain::{Clock, Error, KeyId, TicketId, Visibility};
use tickets_repository::operator::erase::Found;
use tickets_repository::{History, Tickets, schema};

use super::change::confirmed;
use super::serve::says_if_interrupted;
use super::show::{Shown, one_line};
use crate::error::CommandError;
use crate::operator::connect::{Tables, open, sdk_config};
use crate::output;
use crate::private;
use crate::server::local::Local;
use crate::server::stream;

/// Erase a ticket's content for good: from the table, its history, and the exports
///
/// Deletes the ticket if it is not deleted yet. Who changed it and when stays, as after a deletion. It can be
/// interrupted and repeated. What backups keep, and for how long, is in docs/operations.md.
#[derive(Debug, Clone, Args)]
pub struct Erase {
    /// The ticket's id
    id: TicketId,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Database to use; without this and --data, that of your AWS configuration
    #[arg(long, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL")]
    endpoint_url: Option<String>,
    /// Object store to use; without this and --data, S3 in your AWS region
    #[arg(long, env = "AWS_ENDPOINT_URL_S3", value_name = "URL")]
    s3_endpoint_url: Option<String>,
    /// Local data directory to use, as `tickets serve` does
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint_url", "s3_endpoint_url"])]
    data: Option<PathBuf>,
    /// Name of the history's table
    #[arg(long, env = "HISTORY_TABLE", default_value = schema::HISTORY, value_name = "NAME")]
    history_table: String,
    /// Name of the exports' bucket
    #[arg(long, env = "EXPORT_BUCKET", value_name = "NAME", required_unless_present = "data")]
    export_bucket: Option<String>,
    #[command(flatten)]
    tables: Tables,
}

/// The name that the history records for the deletion.
fn eraser() -> Result<KeyId, Error> {
    "erase".parse().map_err(Error::internal)
}

impl Erase {
    /// Erases the ticket.
    ///
    /// # Errors
    /// If nobody confirms, or the database or the store does not answer. Steps already done are kept.
    pub async fn run(self) -> Result<(), CommandError> {
        private::by_default();
        let opened = open(self.endpoint_url.as_deref(), self.data.as_ref()).await?;
        let settings = opened.config(&self.tables.tickets_table, &[]).await?.settings;
        let (dynamodb, clock) = (&opened.dynamodb, Clock::system());
        let history = History::new(dynamodb.clone(), &self.history_table, clock.clone(), settings.clone());
        let tickets = Tickets::new(dynamodb.clone(), &self.tables.tickets_table, clock, settings);
        if !self.is_meant(&tickets).await? {
            output::note(format!("ticket {} stays", self.id));
            return Ok(());
        }
        says_if_interrupted(&ProgressBar::hidden(), "repeat the command to continue");
        // Locally, the changes still in the stream must reach the history first.
        let feed = match &opened.local {
            Some(local) => local.feed().await?,
            None => None,
        };
        let exports = opened.local.as_ref().map(Local::exports).transpose()?.flatten();
        let store = match (exports, &self.export_bucket) {
            (Some(directory), _) => Store::directory(directory)?,
            (None, Some(bucket)) => {
                let sdk_config = sdk_config(self.s3_endpoint_url.as_deref()).await?;
                Store::bucket(bucket, &sdk_config, None).await?
            }
            (None, None) => {
                return Err(CommandError::Usage("--export-bucket names the exports' bucket".into()));
            }
        };

        let erased = tickets.erase(self.id, &eraser()?, &history).await?;
        output::print(match erased.found {
            Found::Ticket => format!("deleted ticket {}; its history has no values", self.id),
            Found::Tombstone => format!("ticket {} was deleted before; its history has no values", self.id),
            Found::Nothing => format!("there is no ticket {}; its history has no values", self.id),
        })?;
        let exports = erase::erase(&store, self.id, erased.created).await?;
        output::print(format!(
            "rewrote {} of {} that could hold it; corrected {}",
            exports.rewritten,
            output::counted(exports.looked_at, "object"),
            output::counted(exports.corrected, "manifest")
        ))?;
        if let Some(data) = &self.data {
            stream::scrub(data).await.map_err(crate::server::local::LocalError::from)?;
            drop(feed);
            return Ok(output::print(format!("{} has no trace of it in free space", data.display()))?);
        }
        output::note(
            "an export that was under way may have stored it once more: run this again in ten minutes\n\
             backups keep it until they expire: docs/operations.md, \"Erase\"",
        );
        Ok(())
    }

    /// Whether to go on: `--yes`, or the user confirms after seeing the ticket.
    async fn is_meant(&self, tickets: &Tickets) -> Result<bool, CommandError> {
        if self.yes {
            return Ok(true);
        }
        if !io::stdin().is_terminal() || !console::user_attended_stderr() {
            return Err(CommandError::Usage("nobody is here to ask: --yes erases without asking".into()));
        }
        let question = match tickets.get(self.id, Visibility::All).await {
            Ok(ticket) => {
                let shown = serde_json::to_value(&ticket.ticket)
                    .and_then(Shown::deserialize)
                    .map_err(io::Error::from)?;
                format!(
                    "ticket {}, customer {}{}\nerase it, for good?",
                    self.id,
                    shown.customer,
                    one_line(&shown)
                )
            }
            Err(Error::NotFound) => {
                format!(
                    "there is no ticket {}\nerase what its history and the exports have of it, for good?",
                    self.id
                )
            }
            Err(error) => return Err(error.into()),
        };
        Ok(confirmed(&question, &mut io::stdin().lock(), &mut console::Term::stderr())?)
    }
}
