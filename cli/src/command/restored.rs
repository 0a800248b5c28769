//! `tickets restored`: prepares a restored table for use.

use std::path::PathBuf;

use clap::Args;
use tickets_domain::{Clock, Error, Settings};
use tickets_repository::Tickets;

use crate::error::CommandError;
use crate::operator::connect::{Tables, open};
use crate::output::print;

/// Start a new epoch, after the table was restored from an earlier state
///
/// A restored table would give out ids a second time, with other content, and no copy would notice. This
/// moves the counter of ids far ahead, and gives every list a new Sync-Epoch, at which copies start over. Run
/// it once, before the API uses the table: docs/operations.md has the whole procedure.
#[derive(Debug, Clone, Args)]
pub struct Restored {
    /// How many ids to leave out: more than were given out since the restored state
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    ahead: u64,
    /// Database to use; without this and --data, that of your AWS configuration
    #[arg(long, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL")]
    endpoint_url: Option<String>,
    /// Local data directory to use, as `tickets serve` does
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint_url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    tables: Tables,
}

impl Restored {
    /// Starts a new epoch.
    ///
    /// # Errors
    /// [`CommandError::NoTickets`] if the table has never had a ticket.
    pub async fn run(self) -> Result<(), CommandError> {
        let opened = open(self.endpoint_url.as_deref(), self.data.as_ref()).await?;
        let table = &self.tables.tickets_table;
        // It writes no ticket and lists none, so it needs no setting of the deployment.
        let tickets = Tickets::new(opened.dynamodb.clone(), table, Clock::system(), Settings::default());
        tickets.check_format().await?;
        let restored = match tickets.start_epoch(self.ahead).await {
            Err(Error::NotFound) => return Err(CommandError::NoTickets(table.clone())),
            restored => restored?,
        };
        let (last, next) = (restored.last, restored.skipped_to + 1);
        Ok(print(format!(
            "epoch {}\nthe highest id was {last}, the next ticket gets {next}",
            restored.epoch
        ))?)
    }
}
