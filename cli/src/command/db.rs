//! `tickets db`: the embedded database alone, for `cargo lambda watch` and `sam local`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tickets_domain::Clock;
use tickets_repository::{Keys, schema};

use super::serve::interrupted;
use crate::error::CommandError;
use crate::output::print;
use crate::server::http::warn_if_open;
use crate::server::local::{Local, LocalError, store_development_key};
use crate::{data, private};

/// The key in the sample events. It is not secret.
pub const SAMPLE_KEY: &str =
    "tk_localdevelopment_0000000000000000000000000000000000000000000000000000000000000000";

/// Serve the embedded database alone, with its tables
///
/// Run `. .tickets/env` in each terminal that uses it: that sets its address and this run's access key.
#[derive(Debug, Clone, Args)]
pub struct Db {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Directory to keep data in
    #[arg(long, default_value = data::DIRECTORY, value_name = "DIR")]
    pub data: PathBuf,
    /// Keep data in memory only, with no place for exports
    #[arg(long, conflicts_with = "data")]
    pub in_memory: bool,
    /// Also accept the sample key of the events in events/, which everybody knows
    #[arg(long)]
    pub sample_key: bool,
}

impl Db {
    pub async fn run(self) -> Result<(), CommandError> {
        private::by_default();
        let local = if self.in_memory {
            Local::in_memory(self.listen).await?
        } else {
            Local::open(&self.data, self.listen).await?
        };
        if !local.is_own() {
            return Err(CommandError::InUse(self.data));
        }
        // Feed the history here: `cargo lambda` and `sam local` do not emulate streams.
        let _changes = local.feed().await?;
        let exports = local.exports()?;
        let clock = Clock::system();
        let keys = Keys::new(local.dynamodb(), schema::API_KEYS, clock.clone());
        let key = local.development_key(&keys, &clock).await?.reveal();
        if self.sample_key {
            let token = SAMPLE_KEY.parse().map_err(|_| LocalError::NoKey(SAMPLE_KEY.into()))?;
            store_development_key(&keys, &token, &clock).await?;
        }
        let database = &local.url;
        let mut variables = format!("AWS_ENDPOINT_URL_DYNAMODB={database} {}", local.key.variables());
        let mut greeting = format!("database  {database}\nkey       {key}\n");
        if let Some(directory) = exports {
            let directory = directory.display().to_string();
            greeting += &format!("exports   {directory}\n");
            // In quotes, because a path may have spaces.
            variables += &format!(" EXPORT_DIR='{}'", directory.replace('\'', r"'\''"));
        }
        if !self.in_memory {
            let path = self.data.join(data::ENVIRONMENT);
            let written = private::write(&path, &format!("export {variables}\n"));
            written.map_err(|source| LocalError::File { path, source })?;
        }
        warn_if_open("the database", self.listen);
        // A reader that closes its end early is no failure.
        let _ = print(format!("{greeting}use       export {variables}"));
        interrupted().await;
        Ok(())
    }
}
