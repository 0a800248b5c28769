//! The commands: for each its arguments and what it does.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use clap::Args;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;
use tickets_app::{Config, InvalidConfig};
use tickets_domain::KeyId;
use tickets_repository::client::{Identity, is_on_this_machine, system_http_client};
use tickets_repository::{Connection, schema};

use crate::client::ClientError;
use crate::local::{Local, LocalError, any_port};
use crate::storage::StorageError;

pub mod change;
pub mod completions;
pub mod db;
pub mod erase;
pub mod export;
pub mod history;
pub mod import;
pub mod keys;
pub mod mcp;
pub mod restored;
pub mod seed;
pub mod serve;
pub mod show;
pub mod watch;

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
    /// The store of objects.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The API.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What an MCP client sends.
    #[error("not an MCP client: {0}")]
    Mcp(String),
    /// A command line whose parts do not go together.
    #[error("{0}")]
    Usage(String),
    /// A file.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of comma-separated values.
    #[error("not comma-separated values: {0}")]
    Csv(#[from] csv::Error),
    /// Columns of a file.
    #[error("{0}")]
    Columns(String),
    /// A map of columns.
    #[error("{}: {reason}", path.display())]
    Map {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Ids that no list could go through.
    #[error(
        "the ids of {count} records go from {first} to {last}: too far apart to keep; without --table --keep-ids they get new ones"
    )]
    TooSparse {
        /// How many there are.
        count: usize,
        /// The lowest.
        first: u64,
        /// The highest.
        last: u64,
    },
    /// Lines of a file that are no tickets.
    #[error(
        "{refused} of {lines} lines are refused{}",
        if *sent { "; the others are imported" } else { "; nothing was sent" }
    )]
    Refused {
        /// How many.
        refused: u64,
        /// Of how many.
        lines: u64,
        /// Whether the others were sent.
        sent: bool,
    },
    /// The AWS configuration does not say where to go.
    #[error("no AWS region: set AWS_REGION or choose a profile with AWS_PROFILE")]
    NoRegion,
    /// There is no key of this id that can be used.
    #[error("there is no key {0}, or it is revoked; `tickets keys list` shows those there are")]
    NoSuchKey(KeyId),
    /// There is nothing to do.
    #[error("the table {0} has never had a ticket: is it the restored one?")]
    NoTickets(String),
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

impl CommandError {
    /// What the process ends with: 1 for most; 3 where a file has lines that are refused; 4 where there is
    /// no such ticket; 2, as for clap, a command line that is not understood. Nobody reading on is no failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Usage(_) => 2,
            Self::Refused { .. } | Self::Columns(_) => 3,
            Self::Client(ClientError::Refused { status, .. }) if status.as_u16() == 404 => 4,
            _ => 1,
        }
    }
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
    #[arg(long, global = true, env = "TICKETS_TABLE", default_value = schema::TICKETS, value_name = "NAME")]
    pub tickets_table: String,
    /// Name of the table of keys
    #[arg(long, global = true, env = "API_KEYS_TABLE", default_value = schema::API_KEYS, value_name = "NAME")]
    pub api_keys_table: String,
}

/// An open database: a client, and what keeps it alive.
#[derive(Debug)]
pub struct Opened {
    /// The client.
    pub client: Client,
    local: Option<Local>,
}

impl Opened {
    /// Whether a server that runs has this database open.
    fn is_served(&self) -> bool {
        self.local.as_ref().is_some_and(|local| !local.is_own())
    }
}

/// The database at an endpoint; with none, that of a data directory; with neither, the deployed one
/// that the ordinary AWS configuration leads to.
///
/// # Errors
/// Where the data directory does not open.
pub async fn open(endpoint_url: Option<&str>, data: Option<&PathBuf>) -> Result<Opened, CommandError> {
    if let Some(url) = endpoint_url {
        return Ok(Opened { client: connection(Some(url)).await?.open(), local: None });
    }
    match data {
        Some(directory) => {
            let local = Local::open(directory, any_port()).await?;
            Ok(Opened { client: local.client().await, local: Some(local) })
        }
        None => Ok(Opened { client: connection(None).await?.open(), local: None }),
    }
}

/// A connection as whoever uses this machine: by profile, SSO or whatever else the AWS CLI knows. To an endpoint on
/// this machine as a function connects: by the credentials in the environment, or made-up ones.
async fn connection(endpoint_url: Option<&str>) -> Result<Connection, CommandError> {
    if let Some(url) = endpoint_url.filter(|url| is_on_this_machine(url)) {
        return Ok(Config::from_env()?.connection(Some(url))?);
    }
    let http_client = system_http_client();
    let config =
        aws_config::defaults(BehaviorVersion::latest()).http_client(http_client.clone()).load().await;
    let region = config.region().cloned().ok_or(CommandError::NoRegion)?;
    let credentials = config.credentials_provider().ok_or(CommandError::NoRegion)?;
    Ok(Connection {
        endpoint_url: endpoint_url.map(str::to_owned),
        identity: Identity { region, credentials },
        http_client: Some(http_client),
    })
}

/// A progress bar on standard error, where that is a terminal and nobody wants it quiet.
fn progress_of(quiet: bool, text: &str) -> ProgressBar {
    let progress = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    match ProgressStyle::with_template(&format!("{{bar:30}} {text}")) {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

/// A table without lines, for people and for `grep`.
fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table
}
