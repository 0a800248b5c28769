//! Calendar months: the partitions of the indexes by time.

use std::fmt;

use serde::Deserialize;
use tickets_domain::Timestamp;
use tickets_domain::time::InvalidTime;

/// A calendar month in UTC, as text `2026-11`. Counts months since the year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Month(u32);

impl Month {
    /// The month an instant falls in.
    pub(crate) fn of(time: Timestamp) -> Self {
        Self(time.year() * 12 + time.month() - 1)
    }

    /// Its first instant.
    pub(crate) fn begins(self) -> Timestamp {
        // Only the month after the last one that there is has none.
        format!("{self}-01").parse().unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

impl TryFrom<String> for Month {
    type Error = InvalidTime;

    fn try_from(text: String) -> Result<Self, InvalidTime> {
        format!("{text}-01").parse().map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_over_the_year() {
        let month = |text: &str| Month::try_from(text.to_owned()).unwrap();
        assert_eq!(month("2025-12").next(), month("2026-01"));
        assert_eq!(month("2026-01").previous(), month("2025-12"));
        assert_eq!(month("2026-03").to_string(), "2026-03");
        assert_eq!(Month::of("2026-11-30T23:59:59.999Z".parse().unwrap()), month("2026-11"));
        assert!(Month::try_from("2026-13".to_owned()).is_err());
        assert_eq!(month("2026-03").begins(), "2026-03-01T00:00:00Z".parse().unwrap());
        assert_eq!(month("9999-12").next().begins(), Timestamp::MAX);
    }
}
