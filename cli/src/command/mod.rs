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
use tickets_app::InvalidConfig;
use tickets_repository::connection::{Identity, is_on_this_machine, system_http_client};
use tickets_repository::{Connection, schema};

use crate::client::ClientError;
use crate::local::{Local, LocalError, any_port};
use crate::storage::StorageError;

pub mod completions;
pub mod db;
pub mod export;
pub mod import;
pub mod keys;
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

impl CommandError {
    /// What the process ends with: 1 for most; 3 where a file has lines that are refused; 4 where there is
    /// no such ticket. (2 is a command line that is not understood.) Nobody reading on is no failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Refused { .. } => 3,
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
        return Ok(Opened { client: connection(Some(url)).await?.open(), _local: None });
    }
    match data {
        Some(directory) => {
            let local = Local::open(directory, any_port()).await?;
            Ok(Opened { client: local.client().await, _local: Some(local) })
        }
        None => Ok(Opened { client: connection(None).await?.open(), _local: None }),
    }
}

/// A connection as whoever uses this machine: by profile, SSO or whatever else the AWS CLI knows.
async fn connection(endpoint_url: Option<&str>) -> Result<Connection, CommandError> {
    if let Some(url) = endpoint_url.filter(|url| is_on_this_machine(url)) {
        return Ok(Connection::to(url));
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
