//! Why a command failed, and with which exit code the process then ends.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use export_tickets::StoreError;
use thiserror::Error;
use tickets_app::InvalidConfig;
use tickets_domain::{KeyId, TicketId, WebhookId};
use tickets_repository::deployment::FormatError;

use crate::client::ClientError;
use crate::output::counted;
use crate::server::local::LocalError;

/// Why a command failed, in words that a person can act on.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A newer program has written the tables.
    #[error(transparent)]
    Format(FormatError),
    /// The database, or a call of its repository.
    #[error("{message}{}", cause.as_ref().map(|cause| format!("\n  cause: {cause}")).unwrap_or_default())]
    Tickets {
        message: String,
        /// The cause, if known.
        cause: Option<String>,
    },
    /// The store of exports.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// Another process writes the same file.
    #[error(
        "another `tickets export` is writing {}: wait until it is done, or choose another file", .0.display()
    )]
    Exporting(PathBuf),
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
        "refused {refused} of {}{}", counted(*lines, "line"),
        if *sent { "; the others are imported" } else { "; nothing was sent" }
    )]
    Refused {
        refused: u64,
        /// The lines in total.
        lines: u64,
        /// Whether the other lines were sent.
        sent: bool,
    },
    /// Some of many tickets were refused.
    #[error("refused {refused} of {}{}", counted(*of, "ticket"), if refused < of { "; the others are updated" } else { "" })]
    NotAll { refused: usize, of: usize },
    /// A change of many tickets ended before the last one.
    #[error(
        "{}: {} done, {left} left, from ticket {next} on; repeat the command to continue: it \
         changes no ticket that already is as it says",
        cause.as_ref().map_or_else(|| "interrupted".to_owned(), ToString::to_string), counted(*done, "ticket")
    )]
    Stopped {
        done: usize,
        left: usize,
        next: TicketId,
        /// `None` if a person or the system ended it.
        cause: Option<ClientError>,
    },
    /// The AWS configuration names no region.
    #[error("no AWS region: set AWS_REGION or choose a profile with AWS_PROFILE")]
    NoRegion,
    /// No usable key has this id.
    #[error("there is no key {0}, or it is revoked; `tickets keys list` shows those there are")]
    NoSuchKey(KeyId),
    /// No webhook has this id.
    #[error("there is no webhook {0}; `tickets webhooks list` shows those there are")]
    NoSuchWebhook(WebhookId),
    /// A receiver did not accept a test message.
    #[error("the receiver answered: {0}")]
    NotAccepted(String),
    /// The HTTP client for receivers cannot be made.
    #[error("cannot send requests: {0}")]
    Sender(#[from] reqwest::Error),
    /// The table has never had a ticket.
    #[error("the table {0} has never had a ticket: is it the restored one?")]
    NoTickets(String),
    /// Nothing says how the functions of a table are configured.
    #[error(
        "the table {table} does not say how its functions are configured: the export function notes it within five minutes of a deployment; or set {missing} as the deployment has them"
    )]
    Unconfigured { table: String, missing: String },
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

/// The exit code of a process that was interrupted, as shells give it to one that SIGINT has ended.
pub const INTERRUPTED: u8 = 130;

impl CommandError {
    /// The process's exit code: 2 for a wrong command line (as clap does), 3 if lines of a file, or some of many
    /// tickets, are refused, 4 if there is no such ticket, [`INTERRUPTED`] if so, else 1. 0 if the reader of the output has left.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Usage(_) => 2,
            Self::Refused { .. } | Self::Columns(_) | Self::NotAll { .. } => 3,
            Self::Client(error) if error.is_no_such_ticket() => 4,
            Self::Stopped { cause: None, .. } => INTERRUPTED,
            Self::Config(_)
            | Self::Local(_)
            | Self::Format(_)
            | Self::Tickets { .. }
            | Self::Store(_)
            | Self::Client(_)
            | Self::Mcp(_)
            | Self::File { .. }
            | Self::Exporting(_)
            | Self::Map { .. }
            | Self::TooSparse { .. }
            | Self::Stopped { cause: Some(_), .. }
            | Self::NoRegion
            | Self::NoSuchKey(_)
            | Self::NoSuchWebhook(_)
            | Self::NotAccepted(_)
            | Self::Sender(_)
            | Self::NoTickets(_)
            | Self::Unconfigured { .. }
            | Self::InUse(_)
            | Self::Listen { .. }
            | Self::Io(_)
            | Self::Randomness(_) => 1,
        }
    }
}

impl From<FormatError> for CommandError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Tickets(error) => error.into(),
            newer @ FormatError::Newer(_) => Self::Format(newer),
        }
    }
}

impl From<tickets_domain::Error> for CommandError {
    fn from(error: tickets_domain::Error) -> Self {
        Self::Tickets {
            message: error.to_string(),
            cause: error.cause().map(|cause| cause.as_str().to_owned()),
        }
    }
}
