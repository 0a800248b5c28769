//! Instants, dates, and the clock they are read from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// A text that is not a date or time. The message may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a date or time like 2026-11-23, 2026-11-23T17:45:00.123Z or 2026-11-23T17:45:00+02:00")]
pub struct InvalidTime;

/// An instant in milliseconds. Its text is RFC 3339 in UTC: `2026-11-23T17:45:00.123Z`.
/// The year always has four digits, so that texts sort like the instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The last instant there is: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = match DateTime::from_timestamp_millis(253_402_300_799_999) {
        Some(time) => Self(time),
        None => panic!("checked when compiled"),
    };

    /// Milliseconds since the start of 1970.
    pub fn millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// The instant this many milliseconds after the start of 1970.
    ///
    /// # Errors
    /// If its year is not 0 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self, InvalidTime> {
        DateTime::from_timestamp_millis(millis)
            .filter(|time| (0..=9999).contains(&time.year()))
            .map(Self)
            .ok_or(InvalidTime)
    }

    /// The year it falls in, in UTC: 0 to 9999.
    pub fn year(self) -> u32 {
        self.0.year().unsigned_abs()
    }

    /// The month of the year, 1 to 12, in UTC.
    pub fn month(self) -> u32 {
        self.0.month()
    }

    /// The instant `duration` later, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_add(millis)).unwrap_or(Self::MAX)
    }

    /// The instant `duration` earlier, or `self` if that would be before year 0.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_sub(millis)).unwrap_or(self)
    }

    /// The timestamp for a change made at `self` to a ticket last changed at `previous`. It is always
    /// later than `previous`, so that `(id, updatedDate)` orders a ticket's changes even if clocks differ.
    #[must_use]
    pub fn after(self, previous: Self) -> Self {
        self.max(previous.plus(Duration::from_millis(1)))
    }

    /// Rounds down to milliseconds.
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

    /// Accepts RFC 3339 with any offset, with or without a colon in it; `YYYY-MM-DDTHH:MM[:SS[.fff]]` as UTC,
    /// also with a space instead of `T`; and `YYYY-MM-DD` as the first instant of the day. The `+` of an
    /// offset may be a space, as in a query string that was not percent-encoded.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        // The code below splits by bytes.
        if !text.is_ascii() {
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
    // chrono would also accept `2026-1-2` and a sign.
    let shape =
        text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    if !shape {
        return Err(InvalidTime);
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| InvalidTime)
}

/// Parses `HH:MM[:SS[.fff…]]`. A leap second (`:60`) is read as the second after it, as most clocks do.
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

/// Parses `Z`, `±HH:MM` or `±HHMM` (as `strftime` writes it) into seconds east of UTC.
fn parse_offset(text: &str) -> Result<i64, InvalidTime> {
    if text.eq_ignore_ascii_case("z") {
        return Ok(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let offset = match text.get(1..).ok_or(InvalidTime)? {
        clock if clock.len() == 5 => parse_time_of_day(clock)?,
        digits if digits.len() == 4 => parse_time_of_day(&format!("{}:{}", &digits[..2], &digits[2..]))?,
        _ => return Err(InvalidTime),
    };
    let midnight = NaiveTime::MIN;
    Ok(sign * (offset - midnight).num_seconds())
}

/// A date or an instant, written in the precision in which it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DateOrTime {
    /// A day, without a time zone.
    Date(NaiveDate),
    Time(Timestamp),
}

impl DateOrTime {
    /// Its first instant, in UTC.
    pub fn begins(self) -> Timestamp {
        match self {
            Self::Date(date) => Timestamp(date.and_time(NaiveTime::MIN).and_utc()),
            Self::Time(time) => time,
        }
    }

    /// Its last instant, in UTC: for a date, the end of the day.
    pub fn ends(self) -> Timestamp {
        match self {
            Self::Date(_) => self.begins().plus(Duration::from_millis(24 * 60 * 60 * 1000 - 1)),
            Self::Time(time) => time,
        }
    }

    /// Whether a text is a date or time exactly as responses write it.
    pub(crate) fn is_written(text: &str) -> bool {
        text.parse::<Self>().is_ok_and(|date| date.to_string() == text)
    }
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

/// Where the time comes from: the system, or a test.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the only place that reads the system's clock")]
        Self::new(|| Timestamp::from_utc(Utc::now()).unwrap_or(Timestamp(DateTime::UNIX_EPOCH)))
    }

    /// A clock that shows what `read` returns.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

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
            ("2026-11-23T17:45:00+0200", "2026-11-23T15:45:00.000Z"),
            ("2026-11-23T17:45:00.123456-0530", "2026-11-23T23:15:00.123Z"),
            ("2026-11-23T17:45:00 02:00", "2026-11-23T15:45:00.000Z"),
            ("2026-11-23T17:45:00 0200", "2026-11-23T15:45:00.000Z"),
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
            "2026-11-23T17_45",
            "2026-11-23T17_45:00",
            "2026-11-23T17:45_00",
            "2026-11-23T17:45:00.",
            "2026-11-23T17:45.5",
            "2026-11-23T17:45:00+2",
            "2026-11-23T17:45:00+020",
            "2026-11-23T17:45:00+02000",
            "2026-11-23T17:45:00+2400",
            "2026-11-23T17:45:00+0260",
            "2026-11-23T17:45:00+2:00",
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
    fn a_leap_second_may_have_a_fraction() {
        assert_eq!(time("2016-12-31T23:59:60.25Z"), "2017-01-01T00:00:00.250Z");
    }

    #[test]
    fn an_instant_is_milliseconds_since_1970_and_knows_its_month() {
        let stamp: Timestamp = "2026-11-30T23:59:59.999Z".parse().unwrap();
        assert_eq!(stamp.millis(), 1_796_083_199_999);
        assert_eq!(Timestamp::from_millis(1_796_083_199_999), Ok(stamp));
        assert_eq!((stamp.year(), stamp.month()), (2026, 11));
        let next = stamp.plus(Duration::from_millis(1));
        assert_eq!((next.to_string().as_str(), next.month()), ("2026-12-01T00:00:00.000Z", 12));
        assert_eq!(serde_json::to_string(&stamp).unwrap(), "\"2026-11-30T23:59:59.999Z\"");
    }

    #[test]
    fn years_have_four_digits() {
        let first: Timestamp = "0000-01-01".parse().unwrap();
        assert_eq!(Timestamp::from_millis(first.millis() - 1), Err(InvalidTime));
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_millis(Timestamp::MAX.millis() + 1), Err(InvalidTime));
    }

    #[test]
    fn adding_to_a_time_stops_at_the_last_instant_and_subtracting_never_fails() {
        let (stamp, far) = (Timestamp::from_millis(1000).unwrap(), Duration::MAX);
        assert_eq!(stamp.plus(Duration::from_millis(5)).millis(), 1005);
        assert_eq!(stamp.minus(Duration::from_millis(5)).millis(), 995);
        assert_eq!(
            (stamp.plus(far), Timestamp::MAX.plus(Duration::from_millis(1))),
            (Timestamp::MAX, Timestamp::MAX)
        );
        assert_eq!(stamp.minus(far), stamp);
    }

    #[test]
    fn a_change_is_stamped_later_than_the_one_before_whatever_the_clock_says() {
        let stamp = |millis| Timestamp::from_millis(millis).unwrap();
        assert_eq!(stamp(2000).after(stamp(1000)), stamp(2000));
        assert_eq!(stamp(1000).after(stamp(1000)), stamp(1001));
        assert_eq!(stamp(500).after(stamp(1000)), stamp(1001));
    }

    #[test]
    fn a_date_ends_with_its_day_and_an_instant_at_once() {
        let (date, instant): (DateOrTime, DateOrTime) =
            ("2026-11-23".parse().unwrap(), "2026-11-23T12:00:00.500Z".parse().unwrap());
        assert_eq!(date.begins().to_string(), "2026-11-23T00:00:00.000Z");
        assert_eq!(date.ends().to_string(), "2026-11-23T23:59:59.999Z");
        assert_eq!((instant.begins(), instant.ends()), (instant.begins(), instant.begins()));
        assert_eq!(instant.begins().to_string(), "2026-11-23T12:00:00.500Z");
    }

    #[test]
    fn a_date_or_time_is_given_back_in_the_precision_it_came_in() {
        for (given, back) in
            [("2026-11-23", "2026-11-23"), ("2026-11-23T17:45+01:00", "2026-11-23T16:45:00.000Z")]
        {
            let parsed: DateOrTime = serde_json::from_value(given.into()).unwrap();
            assert_eq!(parsed, given.parse().unwrap());
            assert_eq!(serde_json::to_value(parsed).unwrap(), back);
            assert_eq!(parsed.to_string(), back);
        }
        assert!(serde_json::from_value::<DateOrTime>("2026-11-31".into()).is_err());
    }

    #[test]
    fn a_clock_shows_the_time_it_is_given_and_the_system_clock_the_present() {
        let clock = Clock::new(|| Timestamp::from_millis(42).unwrap());
        assert_eq!(clock.now().millis(), 42);
        assert_eq!(format!("{clock:?}"), "Clock");
        assert!((2026..2200).contains(&Clock::system().now().year()));
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
        fn a_text_that_resembles_a_time_never_panics(text in "[0-9TZ:+. -]{0,40}") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
    }
}
