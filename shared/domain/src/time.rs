//! Instants, dates, months, expiry, and the clock they are read from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Why a text is no date or time. Its message is fit for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a date or time like 2026-11-23, 2026-11-23T17:45:00.123Z or 2026-11-23T17:45:00+02:00")]
pub struct InvalidTime;

/// An instant in milliseconds, as in JSON: RFC 3339 UTC, `2026-11-23T17:45:00.123Z`.
/// Its year has four digits, so that its text sorts as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The last instant there is: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = match DateTime::from_timestamp_millis(253_402_300_799_999) {
        Some(time) => Self(time),
        None => panic!("checked when compiled"),
    };

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// The instant so many milliseconds after 1970.
    ///
    /// # Errors
    /// Where its year would not have four digits.
    pub fn from_millis(millis: i64) -> Result<Self, InvalidTime> {
        DateTime::from_timestamp_millis(millis)
            .filter(|time| (0..=9999).contains(&time.year()))
            .map(Self)
            .ok_or(InvalidTime)
    }

    /// The month it falls in.
    pub fn month(self) -> Month {
        Month { year: self.0.year(), month: self.0.month() }
    }

    /// This much later, or the last instant there is.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_add(millis)).unwrap_or(self)
    }

    /// This much earlier, or this instant where there is no earlier one.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_sub(millis)).unwrap_or(self)
    }

    /// The stamp of a change made now to something last changed at `previous`: never the same and
    /// never earlier, so that `(id, updatedDate)` orders a ticket's changes even when clocks differ.
    #[must_use]
    pub fn after(self, previous: Self) -> Self {
        self.max(previous.plus(Duration::from_millis(1)))
    }

    /// Cuts to milliseconds, downwards.
    fn from_utc(time: DateTime<Utc>) -> Result<Self, InvalidTime> {
        Self::from_millis(time.timestamp_millis())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    /// Accepts RFC 3339 with any offset; `YYYY-MM-DDTHH:MM[:SS[.fff]]`, or with a space instead of
    /// `T`, as UTC; `YYYY-MM-DD` as its first instant. An offset's `+` may have become a space, as
    /// it does in a query string that was not percent-encoded.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        // Only ASCII, and no longer than any form with nanoseconds: what follows may cut by bytes.
        if !text.is_ascii() || text.len() > 40 {
            return Err(InvalidTime);
        }
        let Some((date, rest)) = text.split_at_checked(10) else { return Err(InvalidTime) };
        let date = parse_date(date)?;
        let Some(time) = rest.strip_prefix(['T', 't', ' ']) else {
            return if rest.is_empty() {
                Self::from_utc(date.and_time(NaiveTime::MIN).and_utc())
            } else {
                Err(InvalidTime)
            };
        };
        let (time, offset_seconds) = match time.find(['Z', 'z', '+', '-', ' ']) {
            Some(at) => (&time[..at], parse_offset(&time[at..])?),
            None => (time, 0),
        };
        let local = NaiveDateTime::new(date, parse_time_of_day(time)?);
        let utc = local.checked_sub_signed(chrono::TimeDelta::seconds(offset_seconds)).ok_or(InvalidTime)?;
        Self::from_utc(utc.and_utc())
    }
}

fn parse_date(text: &str) -> Result<NaiveDate, InvalidTime> {
    // chrono would also take `2026-1-2` and a sign.
    let shape =
        text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    if !shape {
        return Err(InvalidTime);
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| InvalidTime)
}

/// `HH:MM[:SS[.fff…]]`; a leap second (`:60`) is the instant after it, as for most clocks.
fn parse_time_of_day(text: &str) -> Result<NaiveTime, InvalidTime> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let digits = |at: usize| {
        let pair = clock.get(at..at + 2).filter(|pair| pair.bytes().all(|b| b.is_ascii_digit()));
        pair.and_then(|pair| pair.parse::<u32>().ok()).ok_or(InvalidTime)
    };
    let colon = |at: usize| clock.as_bytes().get(at) == Some(&b':');
    let nanos = match fraction {
        None => 0,
        Some(fraction)
            if (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit()) =>
        {
            format!("{fraction:0<9}").parse().map_err(|_| InvalidTime)?
        }
        Some(_) => return Err(InvalidTime),
    };
    let seconds = match clock.len() {
        5 if fraction.is_none() => 0,
        8 if colon(5) => digits(6)?,
        _ => return Err(InvalidTime),
    };
    if !colon(2) {
        return Err(InvalidTime);
    }
    match seconds {
        60 => NaiveTime::from_hms_nano_opt(digits(0)?, digits(3)?, 59, 1_000_000_000 + nanos),
        _ => NaiveTime::from_hms_nano_opt(digits(0)?, digits(3)?, seconds, nanos),
    }
    .ok_or(InvalidTime)
}

/// `Z` or `±HH:MM`, in seconds east of UTC.
fn parse_offset(text: &str) -> Result<i64, InvalidTime> {
    if text.eq_ignore_ascii_case("z") {
        return Ok(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let offset = parse_time_of_day(text.get(1..).filter(|rest| rest.len() == 5).ok_or(InvalidTime)?)?;
    let midnight = NaiveTime::MIN;
    Ok(sign * (offset - midnight).num_seconds())
}

/// A date, or an instant: given back in the precision it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DateOrTime {
    /// A day, wherever the reader is.
    Date(NaiveDate),
    /// An instant.
    Time(Timestamp),
}

impl FromStr for DateOrTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if text.len() == 10 { parse_date(text).map(Self::Date) } else { text.parse().map(Self::Time) }
    }
}

impl fmt::Display for DateOrTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(date) => date.fmt(f),
            Self::Time(time) => time.fmt(f),
        }
    }
}

impl TryFrom<String> for DateOrTime {
    type Error = InvalidTime;

    fn try_from(text: String) -> Result<Self, InvalidTime> {
        text.parse()
    }
}

impl From<DateOrTime> for String {
    fn from(value: DateOrTime) -> String {
        value.to_string()
    }
}

/// A calendar month in UTC, as text `2026-11`: the partition of the index on updated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    year: i32,
    month: u32,
}

impl Month {
    fn first_day(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(self.year, self.month, 1).unwrap_or(NaiveDate::MIN)
    }

    /// The month after this one.
    #[must_use]
    pub fn next(self) -> Self {
        let day = self.first_day().checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        Self { year: day.year(), month: day.month() }
    }

    /// The month before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        let day = self.first_day().checked_sub_days(Days::new(1)).unwrap_or(NaiveDate::MIN);
        Self { year: day.year(), month: day.month() }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl TryFrom<String> for Month {
    type Error = InvalidTime;

    fn try_from(text: String) -> Result<Self, InvalidTime> {
        let day = parse_date(&format!("{text}-01"))?;
        Ok(Self { year: day.year(), month: day.month() })
    }
}

impl From<Month> for String {
    fn from(month: Month) -> String {
        month.to_string()
    }
}

/// When DynamoDB may remove an item: whole seconds since 1970, as its TTL wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expiry(i64);

impl Expiry {
    /// So long after `time`, rounded down to the second.
    pub fn after(time: Timestamp, keep: Duration) -> Self {
        Self(time.plus(keep).millis().div_euclid(1000))
    }

    /// Whether it has passed. TTL removes items late, so readers have to ask.
    pub fn has_passed(self, now: Timestamp) -> bool {
        self.0.saturating_mul(1000) <= now.millis()
    }
}

/// Where the time comes from: the system, or a test.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
        Self::new(|| Timestamp::from_utc(Utc::now()).unwrap_or(Timestamp(DateTime::UNIX_EPOCH)))
    }

    /// A clock that shows what `read` returns.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> String {
        text.parse::<Timestamp>().map_or_else(|e| panic!("{text}: {e}"), |t| t.to_string())
    }

    #[test]
    fn every_documented_form_is_read_as_utc() {
        for (text, utc) in [
            ("2026-11-23T17:45:00.123Z", "2026-11-23T17:45:00.123Z"),
            ("2026-11-23t17:45:00z", "2026-11-23T17:45:00.000Z"),
            ("2026-11-23T17:45:00+02:00", "2026-11-23T15:45:00.000Z"),
            ("2026-11-23T17:45:00-05:30", "2026-11-23T23:15:00.000Z"),
            ("2026-11-23T17:45:00 02:00", "2026-11-23T15:45:00.000Z"),
            ("2026-11-23 17:45:00 02:00", "2026-11-23T15:45:00.000Z"),
            ("2026-11-23T17:45", "2026-11-23T17:45:00.000Z"),
            ("2026-11-23 17:45:30.5", "2026-11-23T17:45:30.500Z"),
            ("2026-11-23T17:45:00.123999999Z", "2026-11-23T17:45:00.123Z"),
            ("2026-11-23", "2026-11-23T00:00:00.000Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(text), utc, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "now",
            "1700000000",
            "2026-1-2",
            "2026-13-01",
            "2026-02-30",
            "2026-11-23T",
            "2026-11-23T25:00",
            "2026-11-23T17",
            "2026-11-23T17:45:",
            "2026-11-23T17:45:00.",
            "2026-11-23T17:45.5",
            "2026-11-23T17:45:00+2",
            "2026-11-23T17:45:00+0200",
            "2026-11-23T17:45:00+02:00Z",
            "2026-11-23X17:45",
            "+2026-11-23",
            "2026-11-23Z",
            "0000-01-01T00:00:00+23:00",
            "9999-12-31T23:00:00-23:00",
            "２０２６-11-23",
            "2026-11-23T17:45:00.1234567890Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn months_follow_each_other_over_the_year() {
        let month = |text: &str| Month::try_from(text.to_owned()).unwrap();
        assert_eq!(month("2025-12").next(), month("2026-01"));
        assert_eq!(month("2026-01").previous(), month("2025-12"));
        assert_eq!(month("2026-03").to_string(), "2026-03");
    }

    proptest! {
        #[test]
        fn a_timestamp_survives_its_own_text(millis in 0i64..253_402_300_799_999) {
            let stamp = Timestamp::from_millis(millis).unwrap();
            prop_assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }

        #[test]
        fn text_sorts_as_time_does(a in 0i64..253_402_300_799_999, b in 0i64..253_402_300_799_999) {
            let (a, b) = (Timestamp::from_millis(a).unwrap(), Timestamp::from_millis(b).unwrap());
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,45}") {
            let _ = text.parse::<Timestamp>();
            let _ = text.parse::<DateOrTime>();
        }

        #[test]
        fn almost_times_never_panic(text in "[0-9TZ:+. -]{0,40}") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
    }
}
