//! The commands. Each file holds one command's arguments and its code.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::Client;
use clap::Args;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;
use tickets_app::{Config, InvalidConfig};
use tickets_domain::KeyId;
use tickets_repository::client::{is_on_this_machine, system_http_client};
use tickets_repository::{dynamodb_client, schema};

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

/// Why a command failed, in words that a person can act on.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The database, or a call of its repository.
    #[error("{message}{}", cause.as_ref().map(|cause| format!("\n  cause: {cause}")).unwrap_or_default())]
    Tickets {
        message: String,
        /// The cause, if known.
        cause: Option<String>,
    },
    /// The object store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An MCP client sent something else.
    #[error("not an MCP client: {0}")]
    Mcp(String),
    /// Arguments that do not fit together.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file is not valid CSV.
    #[error("not comma-separated values: {0}")]
    Csv(#[from] csv::Error),
    /// Columns of a file are missing or wrong.
    #[error("{0}")]
    Columns(String),
    /// A column map is invalid.
    #[error("{}: {reason}", path.display())]
    Map { path: PathBuf, reason: String },
    /// Ids that are too far apart: no list could page through them.
    #[error(
        "the ids of {count} records go from {first} to {last}: too far apart to keep; without --table --keep-ids they get new ones"
    )]
    TooSparse { count: usize, first: u64, last: u64 },
    /// Lines of a file were refused.
    #[error(
        "{refused} of {lines} lines are refused{}",
        if *sent { "; the others are imported" } else { "; nothing was sent" }
    )]
    Refused {
        refused: u64,
        /// The lines in total.
        lines: u64,
        /// Whether the other lines were sent.
        sent: bool,
    },
    /// The AWS configuration names no region.
    #[error("no AWS region: set AWS_REGION or choose a profile with AWS_PROFILE")]
    NoRegion,
    /// No usable key has this id.
    #[error("there is no key {0}, or it is revoked; `tickets keys list` shows those there are")]
    NoSuchKey(KeyId),
    /// The table has never had a ticket.
    #[error("the table {0} has never had a ticket: is it the restored one?")]
    NoTickets(String),
    /// Another process uses the data directory.
    #[error("{} is in use by another `tickets`: stop it first, or choose another with --data DIR", .0.display())]
    InUse(PathBuf),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --listen ADDR")]
    Listen { address: SocketAddr, source: io::Error },
    /// Standard output, or the server's socket, failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system has no randomness.
    #[error("no randomness for a key: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl CommandError {
    /// The process's exit code: 2 for a wrong command line (as clap does), 3 if lines of a file are refused,
    /// 4 if there is no such ticket, else 1. 0 if the reader of the output has left.
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

/// The names of the tables
#[derive(Debug, Clone, Args)]
pub struct Tables {
    /// Name of the table of tickets
    #[arg(long, global = true, env = "TICKETS_TABLE", default_value = schema::TICKETS, value_name = "NAME")]
    pub tickets_table: String,
    /// Name of the table of keys
    #[arg(long, global = true, env = "API_KEYS_TABLE", default_value = schema::API_KEYS, value_name = "NAME")]
    pub api_keys_table: String,
}

/// An open database: its client, and the local server that it may need.
#[derive(Debug)]
pub struct Opened {
    pub client: Client,
    local: Option<Local>,
}

impl Opened {
    /// Whether another running process serves this database.
    fn is_served(&self) -> bool {
        self.local.as_ref().is_some_and(|local| !local.is_own())
    }
}

/// The database at an endpoint; without one, that of a data directory; without either, the deployed one of
/// the usual AWS configuration.
pub async fn open(endpoint_url: Option<&str>, data: Option<&PathBuf>) -> Result<Opened, CommandError> {
    if let Some(url) = endpoint_url {
        return Ok(Opened { client: dynamodb_client(&sdk_config(Some(url)).await?), local: None });
    }
    match data {
        Some(directory) => {
            let local = Local::open(directory, any_port()).await?;
            Ok(Opened { client: local.client().await, local: Some(local) })
        }
        None => Ok(Opened { client: dynamodb_client(&sdk_config(None).await?), local: None }),
    }
}

/// The SDK's configuration with this user's AWS credentials: a profile, SSO, or any other source that the AWS
/// CLI knows. For an endpoint on this machine, credentials from the environment or dummy ones, as in a
/// function.
async fn sdk_config(endpoint_url: Option<&str>) -> Result<SdkConfig, CommandError> {
    if let Some(url) = endpoint_url.filter(|url| is_on_this_machine(url)) {
        return Ok(Config::from_env()?.sdk_config(Some(url))?);
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(system_http_client());
    if let Some(url) = endpoint_url {
        loader = loader.endpoint_url(url);
    }
    let sdk_config = loader.load().await;
    if sdk_config.region().is_none() || sdk_config.credentials_provider().is_none() {
        return Err(CommandError::NoRegion);
    }
    Ok(sdk_config)
}

/// A progress bar on standard error, hidden if that is not a terminal or if `quiet`.
fn progress_of(quiet: bool, text: &str) -> ProgressBar {
    let progress = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    match ProgressStyle::with_template(&format!("{{bar:30}} {text}")) {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

/// A table without borders: easy to read and to `grep`.
fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table
}
