//! Why a request failed.

use std::path::PathBuf;

use reqwest::StatusCode;
use tickets_domain::{Error, Violation};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No key was given.
    #[error("no key: set TICKETS_KEY, or --key-file to a file with one ({path}: {reason})", path = path.display())]
    NoKey {
        /// The key file.
        path: PathBuf,
        reason: String,
    },
    /// What was given is no key.
    #[error("{0} is not a key: a key is tk_, an id, _ and 64 digits, as `tickets keys create` printed it")]
    InvalidKey(String),
    /// The API did not answer.
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// The API refused the request.
    #[error("{status}: {detail}{}", listed(violations))]
    Refused {
        status: StatusCode,
        /// The problem's `detail`.
        detail: String,
        /// The fields that the problem names.
        violations: Vec<Violation>,
    },
    /// A change with `If-Match` was sent again because the answer was lost, and then refused with 412. The
    /// first attempt may have taken effect.
    #[error(
        "412: the ticket has changed, perhaps by this very change: the answer to an earlier attempt was lost; \
         look at the ticket before repeating it"
    )]
    Undecided,
    /// The answer is not one of this API.
    #[error("{url} does not answer like the Tickets API: {reason}")]
    Strange {
        url: String,
        /// How it differs.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => is_temporary(*status),
            Self::NoKey { .. } | Self::InvalidKey(_) | Self::Undecided | Self::Strange { .. } => false,
        }
    }

    /// Whether the API says that there is no such ticket, and not that there is no such path.
    pub fn is_no_such_ticket(&self) -> bool {
        let expected = Error::NotFound.to_string();
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, detail, .. } if *detail == expected)
    }
}

fn listed(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  {}: {}", violation.field, violation.detail)).collect()
}

/// Whether the same request may succeed later.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 409 | 429 | 500 | 502 | 503 | 504)
}
