//! `tickets db`: the embedded database alone, for `cargo lambda watch` and `sam local`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tickets_domain::Clock;
use tickets_repository::{Keys, schema};

use super::CommandError;
use super::serve::interrupted;
use crate::local::{DATA, Local, LocalError, development_key, store_development_key};
use crate::storage::StorageServer;

/// The key that the sample events carry. It is no secret.
pub const SAMPLE_KEY: &str =
    "tk_localdevelopment_0000000000000000000000000000000000000000000000000000000000000000";

/// Serve the embedded database alone, with its tables
#[derive(Debug, Clone, Args)]
pub struct Db {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Address of the store of objects, for exports; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "ADDR")]
    pub listen_s3: SocketAddr,
    /// Directory to keep data in
    #[arg(long, default_value = DATA, value_name = "DIR")]
    pub data: PathBuf,
    /// Keep data in memory only
    #[arg(long, conflicts_with = "data")]
    pub in_memory: bool,
    /// Also let in the key in events/, which everybody knows
    #[arg(long)]
    pub sample_key: bool,
}

impl Db {
    /// Serves until interrupted.
    ///
    /// # Errors
    /// Where the data or the address does not do.
    pub async fn run(self) -> Result<(), CommandError> {
        let local = if self.in_memory {
            Local::in_memory(self.listen).await?
        } else {
            Local::open(&self.data, self.listen).await?
        };
        if !local.is_own() {
            return Err(CommandError::InUse(self.data));
        }
        let objects = (!self.in_memory).then(|| self.data.join("s3"));
        let storage = StorageServer::start(objects.as_deref(), self.listen_s3).await?;
        let clock = Clock::system();
        let keys = Keys::new(local.client().await, schema::API_KEYS, clock.clone());
        let key_file = (!self.in_memory).then(|| self.data.join("dev-key"));
        let key = development_key(&keys, key_file.as_deref(), &clock).await?.reveal();
        if self.sample_key {
            let token = SAMPLE_KEY.parse().map_err(|_| LocalError::NoKey(SAMPLE_KEY.into()))?;
            store_development_key(&keys, &token, &clock).await?;
        }
        let (database, s3, objects) = (&local.url, storage.url(), storage.bucket_directory());
        let greeting = format!(
            "database  {database}\nkey       {key}\ns3        {s3} has exports, in {}\n\
             use       export AWS_ENDPOINT_URL_DYNAMODB={database} AWS_ENDPOINT_URL_S3={s3}\n",
            objects.display()
        );
        // At once, and whether or not anybody reads it to its end.
        let _ = io::stdout().write_all(greeting.as_bytes());
        interrupted().await;
        Ok(())
    }
}
