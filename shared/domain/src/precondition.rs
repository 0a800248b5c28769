//! What `If-Match` and `If-None-Match` ask of a ticket's version, and when a request fails for it (RFC 9110,
//! sections 13.1.1 and 13.1.2). `tickets_http::etag` reads the headers.

use crate::error::{Error, Result};
use crate::id::Version;

/// Which versions of a ticket a caller is willing to change (`If-Match`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Any version: the caller set no condition.
    None,
    /// One of these versions. Empty if the caller only named tags that no version can have.
    OneOf(Vec<Version>),
}

impl Precondition {
    /// Refuses to change a version that the caller did not name.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`]
    pub fn check(&self, current: Version) -> Result<()> {
        match self {
            Self::OneOf(versions) if !versions.contains(&current) => Err(Error::VersionMismatch),
            Self::None | Self::OneOf(_) => Ok(()),
        }
    }
}

/// Which versions of a ticket a caller already has (`If-None-Match`), and need not be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachedVersions {
    /// The caller named none.
    None,
    /// Whatever the version is: `*`.
    Any,
    /// These versions.
    OneOf(Vec<Version>),
}

impl CachedVersions {
    /// Whether the caller has the current version.
    pub fn include(&self, current: Version) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&current),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_refused_if_the_ticket_is_at_a_version_that_was_not_named() {
        let (first, second) = (Version::FIRST, Version::FIRST.next());
        assert!(Precondition::None.check(first).is_ok() && Precondition::None.check(second).is_ok());
        let named = Precondition::OneOf(vec![second, Version::new(7)]);
        assert!(named.check(second).is_ok() && named.check(Version::new(7)).is_ok());
        assert!(matches!(named.check(first), Err(Error::VersionMismatch)));
        let foreign = Precondition::OneOf(Vec::new());
        assert!(matches!(foreign.check(first), Err(Error::VersionMismatch)), "no version has such a tag");
    }

    #[test]
    fn a_caller_has_the_versions_it_names() {
        let (first, second) = (Version::FIRST, Version::FIRST.next());
        assert!(!CachedVersions::None.include(first) && CachedVersions::Any.include(first));
        let named = CachedVersions::OneOf(vec![second]);
        assert!(named.include(second) && !named.include(first));
    }
}
