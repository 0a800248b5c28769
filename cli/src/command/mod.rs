//! The commands: for each its arguments and what it does.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use aws_sdk_dynamodb::Client;
use clap::Args;
use thiserror::Error;
use tickets_app::InvalidConfig;
use tickets_repository::{Connection, schema};

use crate::local::{Local, LocalError, any_port};

pub mod db;
pub mod keys;
pub mod seed;
pub mod serve;

/// Why a command failed: what a person can act on.
#[derive(Debug, Error)]
pub enum CommandError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The local data.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The database.
    #[error("{message}{}", cause.as_ref().map(|cause| format!("\n  cause: {cause}")).unwrap_or_default())]
    Tickets {
        /// What went wrong.
        message: String,
        /// Why, where known.
        cause: Option<String>,
    },
    /// There is no key of this id.
    #[error("there is no key {0}; `tickets keys list` shows those there are")]
    NoSuchKey(String),
    /// Another process has the data directory.
    #[error("{} is in use by another `tickets`: stop it first, or choose another with --data DIR", .0.display())]
    InUse(PathBuf),
    /// An address that is not to be had.
    #[error("cannot listen on {address}: {source}; choose another with --listen ADDR")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Output, or the server's socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No randomness.
    #[error("no randomness for a key: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl From<tickets_domain::Error> for CommandError {
    fn from(error: tickets_domain::Error) -> Self {
        Self::Tickets { message: error.to_string(), cause: error.cause().map(ToString::to_string) }
    }
}

/// Which tables.
#[derive(Debug, Clone, Args)]
pub struct Tables {
    /// Name of the table of tickets
    #[arg(long, env = "TICKETS_TABLE", default_value = schema::TICKETS, value_name = "NAME")]
    pub tickets_table: String,
    /// Name of the table of keys
    #[arg(long, env = "API_KEYS_TABLE", default_value = schema::API_KEYS, value_name = "NAME")]
    pub api_keys_table: String,
}

/// An open database: a client, and what keeps it alive.
#[derive(Debug)]
pub struct Opened {
    /// The client.
    pub client: Client,
    _local: Option<Local>,
}

/// The database at an endpoint; with none, that of a data directory; with neither, the deployed one
/// that the ordinary AWS configuration leads to.
///
/// # Errors
/// Where the data directory does not open.
pub async fn open(endpoint_url: Option<&str>, data: Option<&PathBuf>) -> Result<Opened, CommandError> {
    if let Some(url) = endpoint_url {
        return Ok(Opened { client: Connection::to(url).open().await, _local: None });
    }
    match data {
        Some(directory) => {
            let local = Local::open(directory, any_port()).await?;
            Ok(Opened { client: local.client().await, _local: Some(local) })
        }
        None => Ok(Opened { client: Connection::default().open().await, _local: None }),
    }
}
