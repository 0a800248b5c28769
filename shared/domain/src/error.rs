//! Everything that can go wrong, in the matter's own terms: no status codes, no DynamoDB.

use thiserror::Error;

use crate::id::CustomerId;
use crate::key::Scope;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing wrong with one field or parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the field or parameter, as the caller wrote it.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub detail: String,
}

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, detail: impl ToString) -> Self {
        Self { field: field.into(), detail: detail.to_string() }
    }

    /// "`name` is unknown", with the nearest of the known names if one is near.
    pub fn unknown(what: &str, name: &str, known: &[&str]) -> Self {
        let nearest = known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase()), *known))
            .min()
            // Further off than a third of the name it would be a guess, not a help.
            .filter(|(distance, known)| *distance <= known.len().div_ceil(3));
        Self::new(
            name,
            match nearest {
                Some((_, nearest)) => format!("unknown {what}; did you mean {nearest}?"),
                None => format!("unknown {what}; known are {}", known.join(", ")),
            },
        )
    }
}

/// A cause for the log. It has no `Display`, so that it cannot slip into a response.
#[derive(Debug)]
pub struct Cause(pub Box<dyn std::error::Error + Send + Sync>);

/// What a caller may be told went wrong. The messages are fit for the caller; causes are for the log.
#[derive(Debug, Error)]
pub enum Error {
    /// The body is no JSON object.
    #[error("{0}")]
    MalformedBody(String),
    /// Query or path parameters that do not parse.
    #[error("the request has invalid parameters")]
    InvalidParameters(Vec<Violation>),
    /// Fields whose values are refused: every one of them.
    #[error("the ticket has invalid fields")]
    InvalidFields(Vec<Violation>),
    /// No key, or none that is known, unexpired, unrevoked and has this secret.
    #[error("the request needs a valid key: Authorization: Bearer tk_…")]
    Unauthenticated,
    /// The key may not do this.
    #[error("the key lacks the scope {0}")]
    MissingScope(Scope),
    /// The key is restricted to another customer than the one the ticket would get.
    #[error("the key is restricted to customer {0}")]
    OtherCustomer(CustomerId),
    /// There is no such ticket, or the key may not know of it.
    #[error("there is no such ticket")]
    NotFound,
    /// The ticket is no longer at a version the caller was willing to change.
    #[error("the ticket has changed since it was read; read it again and repeat the change")]
    VersionMismatch,
    /// The idempotency key was used for a request that said something else.
    #[error("the Idempotency-Key was used before with another body; use a new key for a new ticket")]
    IdempotencyKeyReused,
    /// The first request with this idempotency key is not decided yet.
    #[error("a request with this Idempotency-Key is still under way; repeat it to learn how it ended")]
    IdempotencyKeyInUse,
    /// Other writers were faster until the write deadline had passed. Nothing was written.
    #[error("too many concurrent writers; nothing was written, repeat the request")]
    Contended,
    /// The database asked for less. Nothing was written.
    #[error("too many requests at once; repeat the request later")]
    Throttled(Cause),
    /// The database could not be reached or did not answer in time. Nothing was written.
    #[error("the service is temporarily unavailable; repeat the request later")]
    Unavailable(Cause),
    /// A write whose outcome could not be learned before the deadline.
    #[error(
        "the outcome is unknown; read before repeating the request, or repeat it with the same Idempotency-Key"
    )]
    Undecided(Cause),
    /// A fault of ours.
    #[error("an internal error occurred")]
    Internal(Cause),
}

impl Error {
    /// A fault of ours.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(Cause(cause.into()))
    }

    /// The cause for the log, where there is one.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match self {
            Self::Throttled(cause)
            | Self::Unavailable(cause)
            | Self::Undecided(cause)
            | Self::Internal(cause) => Some(cause.0.as_ref()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_known_one() {
        let known = ["idAfter", "createdSince", "updatedSince"];
        assert_eq!(
            Violation::unknown("parameter", "updateSince", &known).detail,
            "unknown parameter; did you mean updatedSince?"
        );
        assert_eq!(
            Violation::unknown("parameter", "colour", &known).detail,
            "unknown parameter; known are idAfter, createdSince, updatedSince"
        );
    }
}
