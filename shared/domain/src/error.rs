//! Everything that can go wrong, in the domain's own terms: no status codes, no DynamoDB.

use std::fmt;

use thiserror::Error;

use crate::id::CustomerId;
use crate::key::Scope;
use crate::limit::Quota;
use crate::precondition::UnusableTag;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The most violations that an error lists. Any more are only counted.
pub const MOST_VIOLATIONS: usize = 50;
/// The most characters that a message repeats of an unknown name, or of a JSON parser's error.
const MOST_REPEATED: usize = 100;

/// One thing wrong with one field or parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the field or parameter, as the caller wrote it.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub detail: String,
}

impl Violation {
    pub fn new(field: impl Into<String>, detail: impl ToString) -> Self {
        Self { field: field.into(), detail: detail.to_string() }
    }
}

/// Cuts a text after [`MOST_REPEATED`] characters.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// All violations that were found. The first [`MOST_VIOLATIONS`] are kept and the others only counted,
/// because a body of two megabytes can hold 170,000 mistakes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    listed: Vec<Violation>,
    unlisted: usize,
}

impl Violations {
    /// Adds a violation, which is only built if it is kept.
    pub fn push_with(&mut self, violation: impl FnOnce() -> Violation) {
        if self.listed.len() < MOST_VIOLATIONS {
            self.listed.push(violation());
        } else {
            self.unlisted += 1;
        }
    }

    pub fn push(&mut self, violation: Violation) {
        self.push_with(|| violation);
    }

    /// Counts more violations without listing them.
    pub(crate) fn add_unlisted(&mut self, more: usize) {
        self.unlisted += more;
    }

    /// Adds violations, counting those that are not listed.
    pub(crate) fn append(&mut self, more: Self) {
        self.unlisted += more.unlisted;
        more.listed.into_iter().for_each(|violation| self.push(violation));
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are, listed or not.
    pub(crate) fn len(&self) -> usize {
        self.listed.len() + self.unlisted
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self { listed: vec![violation], unlisted: 0 }
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    /// Iterates over the violations that are listed.
    fn into_iter(self) -> Self::IntoIter {
        self.listed.into_iter()
    }
}

impl fmt::Display for Violations {
    /// Writes how many violations are not listed, or nothing if all are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "; the first {} are listed, {more} more are not", self.listed.len()),
        }
    }
}

/// The most characters of a [`Cause`].
const MOST_LOGGED: usize = 300;

/// A cause for the log: short, and on one line. It has no `Display`, so that it cannot slip into a response.
///
/// Whoever makes one leaves out what was read: no value of a ticket, key or history may get into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    pub fn new(text: impl ToString) -> Self {
        let text = text.to_string();
        let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self(printable.take(MOST_LOGGED).collect())
    }

    /// The text, for the log or an operator.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a request failed. The messages may be shown to the caller; causes are for the log.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The body is not the JSON that was expected.
    #[error("{0}")]
    MalformedBody(String),
    /// Query or path parameters that do not parse.
    #[error("the request has invalid parameters{0}")]
    InvalidParameters(Violations),
    /// Fields whose values are refused, all reported at once.
    #[error("the ticket has invalid fields{0}")]
    InvalidFields(Violations),
    /// The key is missing, unknown, expired or revoked, or its secret is wrong.
    #[error("the request needs a valid key: Authorization: Bearer tk_…")]
    Unauthenticated,
    /// The key has used up its limit for this window.
    #[error("the key has used up its {} requests in {} s; repeat the request after Retry-After", .0.limit.requests(), .0.limit.window().as_secs())]
    RateLimited(Quota),
    /// The key lacks this scope.
    #[error("the key lacks the scope {0}")]
    MissingScope(Scope),
    /// The key is restricted to this customer, but the ticket would get another one.
    #[error("the key is restricted to customer {0}")]
    OtherCustomer(CustomerId),
    /// There is no such ticket, or the key cannot see it.
    #[error("there is no such ticket")]
    NotFound,
    /// The ticket's version is not one that the caller was willing to change.
    #[error("the ticket has changed since it was read; read it again and repeat the change")]
    VersionMismatch,
    /// `If-Match` names a tag that matches no version, whether the ticket has changed or not.
    #[error("{0}")]
    UnusableTag(UnusableTag),
    /// The caller was not willing to change the ticket's version.
    #[error("If-None-Match excludes the version that the ticket has; nothing was written")]
    VersionExcluded,
    /// The idempotency key was used before, for a request with another content.
    #[error("the Idempotency-Key was used before with another body; use a new key for a new ticket")]
    IdempotencyKeyReused,
    /// The first request with this idempotency key is still in progress.
    #[error("a request with this Idempotency-Key is still under way; repeat it to learn how it ended")]
    IdempotencyKeyInUse,
    /// Other writers were faster until the write deadline had passed. Nothing was written.
    #[error("too many concurrent writers; nothing was written, repeat the request")]
    Contended,
    /// The database throttled the request. Nothing was written.
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
    /// A fault of the service.
    #[error("an internal error occurred")]
    Internal(Cause),
}

impl Error {
    /// A fault of the service, with its cause. An error that quotes what it could not read is no cause:
    /// see [`Error::unreadable`].
    pub fn internal(cause: impl ToString) -> Self {
        Self::Internal(Cause::new(cause))
    }

    /// Something stored cannot be read. The reader's error is left out: it may quote the value.
    pub fn unreadable(what: &str) -> Self {
        Self::internal(format!("{what} cannot be read"))
    }

    /// The cause for the log, if there is one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Throttled(cause)
            | Self::Unavailable(cause)
            | Self::Undecided(cause)
            | Self::Internal(cause) => Some(cause),
            Self::MalformedBody(_)
            | Self::InvalidParameters(_)
            | Self::InvalidFields(_)
            | Self::Unauthenticated
            | Self::RateLimited(_)
            | Self::MissingScope(_)
            | Self::OtherCustomer(_)
            | Self::NotFound
            | Self::VersionMismatch
            | Self::UnusableTag(_)
            | Self::VersionExcluded
            | Self::IdempotencyKeyReused
            | Self::IdempotencyKeyInUse
            | Self::Contended => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_violations_the_first_are_listed_and_the_others_counted() {
        let mut violations = Violations::default();
        for n in 0..MOST_VIOLATIONS {
            violations.push(Violation::new(n.to_string(), "is wrong"));
        }
        assert_eq!(violations.to_string(), "");
        violations.push_with(|| panic!("one that is not kept is not made"));
        assert_eq!(violations.to_string(), "; the first 50 are listed, 1 more are not");
        assert_eq!(violations.into_iter().count(), MOST_VIOLATIONS);
    }

    #[test]
    fn violations_are_counted_however_they_are_collected() {
        assert!(Violations::default().is_empty());
        let one = Violations::from(Violation::new("subject", "is wrong"));
        assert!(!one.is_empty());
        assert_eq!(one.into_iter().collect::<Vec<_>>(), [Violation::new("subject", "is wrong")]);
        let many = |count: usize| {
            let mut many = Violations::default();
            (0..count).for_each(|n| many.push(Violation::new(n.to_string(), "is wrong")));
            many
        };
        for (first, second) in [(0, 2), (2, 0), (30, 30), (50, 1), (60, 70)] {
            let mut both = many(first);
            both.append(many(second));
            assert_eq!((both.len(), both.to_string()), (first + second, many(first + second).to_string()));
            assert_eq!(both.into_iter().count(), (first + second).min(MOST_VIOLATIONS));
        }
    }

    #[test]
    fn a_cause_is_one_line_of_three_hundred_characters() {
        assert_eq!(Cause::new("é".repeat(300)).as_str(), "é".repeat(300));
        assert_eq!(Cause::new("é".repeat(301)).as_str(), "é".repeat(300));
        assert_eq!(Cause::new("two\nlines\u{7}").as_str(), "two lines ");
    }

    #[test]
    fn only_faults_of_the_service_have_a_cause_for_the_log() {
        let cause = || Cause::new("the disk is full");
        for error in [
            Error::Throttled(cause()),
            Error::Unavailable(cause()),
            Error::Undecided(cause()),
            Error::Internal(cause()),
            Error::internal("the disk is full"),
        ] {
            assert_eq!(error.cause().map(Cause::as_str), Some("the disk is full"));
            assert!(!error.to_string().contains("disk"), "and the caller does not: {error}");
        }
        assert!(Error::NotFound.cause().is_none() && Error::Contended.cause().is_none());
    }
}
