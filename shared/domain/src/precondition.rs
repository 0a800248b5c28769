//! What `If-Match` and `If-None-Match` ask of a ticket's version, and when a request fails for it (RFC 9110,
//! sections 13.1.1, 13.1.2 and 13.2.2). `tickets_http::etag` reads the headers.

use std::fmt;

use crate::error::{Error, Result, shortened};
use crate::tag::Tag;

/// What a request requires of the ticket it names. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub if_match: IfMatch,
    pub if_none_match: IfNoneMatch,
}

/// Which versions of a ticket a caller means (`If-Match`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// Any version: the caller set no condition, or `*`.
    #[default]
    Any,
    /// One of these.
    OneOf {
        tags: Vec<Tag>,
        /// What else the caller named, which matches no version.
        unusable: Vec<UnusableTag>,
    },
}

/// An entity tag that matches no version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableTag {
    /// The tag as the caller wrote it.
    pub text: String,
    pub is_weak: bool,
    /// The tag that the API had sent, if it can be seen in the text.
    pub meant: Option<Tag>,
}

impl fmt::Display for UnusableTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, is_weak, meant } = self;
        let fault = if *is_weak { "a weak tag, which never matches" } else { "no tag of this API" };
        write!(f, "If-Match names {}: {fault}; send ", shortened(text))?;
        match meant {
            Some(tag) => write!(f, "\"{tag}\", as ETag was before a proxy on the way changed it"),
            None => f.write_str("what ETag says, like \"7-0c5fe1a2\""),
        }
    }
}

/// Which versions of a ticket a caller does not mean, as it has them (`If-None-Match`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// The caller set no condition.
    #[default]
    Nothing,
    /// No version at all: `*`.
    Any,
    /// None of these.
    OneOf(Vec<Tag>),
}

/// Whether to send a ticket to a caller that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The caller has this version.
    NotModified,
    New,
}

impl Preconditions {
    /// Requires this version.
    pub fn version(tag: Tag) -> Self {
        let if_match = IfMatch::OneOf { tags: vec![tag], unusable: Vec::new() };
        Self { if_match, ..Self::default() }
    }

    /// Refuses to change a version that the caller did not mean.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`], [`Error::UnusableTag`], [`Error::VersionExcluded`]
    pub fn check_change(&self, current: Tag) -> Result<()> {
        self.if_match.check(current)?;
        if self.if_none_match.holds(current) { Err(Error::VersionExcluded) } else { Ok(()) }
    }

    /// Whether a caller that asks for a ticket needs to be sent this version.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`], [`Error::UnusableTag`]
    pub fn check_read(&self, current: Tag) -> Result<Freshness> {
        self.if_match.check(current)?;
        Ok(if self.if_none_match.holds(current) { Freshness::NotModified } else { Freshness::New })
    }
}

impl IfMatch {
    fn check(&self, current: Tag) -> Result<()> {
        let Self::OneOf { tags, unusable } = self else { return Ok(()) };
        if tags.contains(&current) {
            return Ok(());
        }
        // Say what is wrong with a tag if reading the ticket again would not help.
        let meant = unusable.iter().find(|unusable| unusable.meant == Some(current));
        let only = unusable.first().filter(|_| tags.is_empty());
        Err(meant.or(only).cloned().map_or(Error::VersionMismatch, Error::UnusableTag))
    }
}

impl IfNoneMatch {
    fn holds(&self, current: Tag) -> bool {
        match self {
            Self::Nothing => false,
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&current),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    fn one_of(tags: &[&str], unusable: &[UnusableTag]) -> Preconditions {
        let if_match =
            IfMatch::OneOf { tags: tags.iter().map(|text| tag(text)).collect(), unusable: unusable.to_vec() };
        Preconditions { if_match, ..Preconditions::default() }
    }

    fn none_of(if_none_match: IfNoneMatch) -> Preconditions {
        Preconditions { if_none_match, ..Preconditions::default() }
    }

    #[test]
    fn a_request_fails_if_the_ticket_is_at_a_version_that_if_match_does_not_name() {
        let current = tag("7-00000001");
        assert!(Preconditions::default().check_change(current).is_ok());
        for named in [Preconditions::version(current), one_of(&["6-00000001", "7-00000001"], &[])] {
            assert!(named.check_change(current).is_ok() && named.check_read(current).is_ok());
            for other in ["8-00000001", "7-00000002"] {
                assert!(matches!(named.check_change(tag(other)), Err(Error::VersionMismatch)), "{other}");
                assert!(matches!(named.check_read(tag(other)), Err(Error::VersionMismatch)), "{other}");
            }
        }
    }

    #[test]
    fn a_tag_that_a_proxy_has_changed_is_told_from_a_ticket_that_has_changed() {
        let current = tag("7-00000001");
        let weak = UnusableTag { text: "W/\"7-00000001\"".into(), is_weak: true, meant: Some(current) };
        let foreign = UnusableTag { text: "\"7\"".into(), is_weak: false, meant: None };
        let told = |named: &Preconditions, current| match named.check_change(current) {
            Err(Error::UnusableTag(tag)) => tag.to_string(),
            other => format!("{other:?}"),
        };
        let only = one_of(&[], std::slice::from_ref(&foreign));
        assert_eq!(
            told(&only, current),
            "If-Match names \"7\": no tag of this API; send what ETag says, like \"7-0c5fe1a2\""
        );
        let both = one_of(&["6-00000001"], &[foreign, weak]);
        assert_eq!(
            told(&both, current),
            "If-Match names W/\"7-00000001\": a weak tag, which never matches; send \"7-00000001\", as ETag was \
             before a proxy on the way changed it"
        );
        assert_eq!(told(&both, tag("8-00000001")), "Err(VersionMismatch)", "it really has changed");
    }

    #[test]
    fn a_caller_that_has_the_version_does_not_get_it_and_does_not_change_it() {
        let current = tag("7-00000001");
        for nothing in [IfNoneMatch::Nothing, IfNoneMatch::OneOf(vec![tag("7-00000002"), tag("6-00000001")])]
        {
            let nothing = none_of(nothing);
            assert!(nothing.check_change(current).is_ok());
            assert_eq!(nothing.check_read(current).unwrap(), Freshness::New);
        }
        for holds in [IfNoneMatch::Any, IfNoneMatch::OneOf(vec![tag("6-00000001"), current])] {
            let holds = none_of(holds);
            assert!(matches!(holds.check_change(current), Err(Error::VersionExcluded)));
            assert_eq!(holds.check_read(current).unwrap(), Freshness::NotModified);
            let first = Preconditions { if_match: one_of(&["6-00000001"], &[]).if_match, ..holds };
            assert!(
                matches!(first.check_read(current), Err(Error::VersionMismatch)),
                "If-Match is asked first"
            );
        }
    }
}
