//! Instants, dates, and the clock they are read from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{
    DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, Timelike, Utc,
};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Why a text is refused as a date or time. The message may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidTime {
    #[error("must be a date or time like 2026-11-23, 2026-11-23T17:45:00.123Z or 2026-11-23T17:45:00+02:00")]
    Form,
    #[error(
        "must have a year from {FIRST_YEAR} on; perhaps a two-digit year, like 24 for 2024, was read wrongly"
    )]
    Year,
    #[error("has a second 60, which only the last minute of June or December (UTC) can have")]
    LeapSecond,
}

/// The first year that a caller may give. Programs that read `24-11-03` as the year 24 send earlier ones, and those
/// whose empty time is in the year 1.
const FIRST_YEAR: u32 = 1000;

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
            .ok_or(InvalidTime::Form)
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

    /// Accepts what [`DateOrTime`] does. A date is the first instant of its day.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        text.parse().map(DateOrTime::begins)
    }
}

fn parse_date(text: &str) -> Result<NaiveDate, InvalidTime> {
    // chrono would also accept `2026-1-2` and a sign.
    let shape =
        text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    if !shape {
        return Err(InvalidTime::Form);
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| InvalidTime::Form)
}

/// A time of day, in some time zone.
struct TimeOfDay {
    /// The leap second `:60` is here `:59`.
    time: NaiveTime,
    is_leap_second: bool,
}

/// Parses `HH:MM[:SS[.fff…]]`. Digits after the milliseconds are cut.
fn parse_time_of_day(text: &str) -> Result<TimeOfDay, InvalidTime> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let millis = match fraction {
        None => 0,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let cut = digits.get(..3).unwrap_or(digits);
            format!("{cut:0<3}").parse().map_err(|_| InvalidTime::Form)?
        }
        Some(_) => return Err(InvalidTime::Form),
    };
    let parts: Vec<_> = clock.split(':').map(two_digits).collect::<Option<_>>().ok_or(InvalidTime::Form)?;
    let (hour, minute, second) = match parts[..] {
        [hour, minute] if fraction.is_none() => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(InvalidTime::Form),
    };
    let is_leap_second = second == 60;
    let time = NaiveTime::from_hms_milli_opt(hour, minute, if is_leap_second { 59 } else { second }, millis);
    Ok(TimeOfDay { time: time.ok_or(InvalidTime::Form)?, is_leap_second })
}

fn two_digits(text: &str) -> Option<u32> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Parses `Z`, `UTC`, `±HH:MM`, `±HHMM` or `±HH` into the time east of UTC. There may be a space before it, as Ruby
/// writes it.
fn parse_offset(text: &str) -> Result<TimeDelta, InvalidTime> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    if text.eq_ignore_ascii_case("z") || text == "UTC" {
        return Ok(TimeDelta::zero());
    }
    let (sign, offset) = match text.split_at_checked(1) {
        Some(("+", offset)) => (1, offset),
        Some(("-", offset)) => (-1, offset),
        _ => return Err(InvalidTime::Form),
    };
    let (hours, minutes) = match offset.len() {
        2 => (offset, "00"),
        4 => offset.split_at(2),
        _ => offset.split_once(':').ok_or(InvalidTime::Form)?,
    };
    match (two_digits(hours), two_digits(minutes)) {
        (Some(hours @ 0..24), Some(minutes @ 0..60)) => {
            Ok(TimeDelta::minutes(sign * i64::from(60 * hours + minutes)))
        }
        _ => Err(InvalidTime::Form),
    }
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
        Self::of_any_year(text).is_ok_and(|date| date.to_string() == text)
    }

    fn of_any_year(text: &str) -> Result<Self, InvalidTime> {
        // Texts are split by bytes.
        if !text.is_ascii() {
            return Err(InvalidTime::Form);
        }
        let (date, rest) = text.split_at_checked(10).ok_or(InvalidTime::Form)?;
        let date = parse_date(date)?;
        if rest.is_empty() {
            return Ok(Self::Date(date));
        }
        let time = rest.strip_prefix(['T', 't', ' ']).ok_or(InvalidTime::Form)?;
        let (time, offset) = match time.find(|c: char| !matches!(c, '0'..='9' | ':' | '.')) {
            Some(at) => (&time[..at], parse_offset(&time[at..])?),
            None => (time, TimeDelta::zero()),
        };
        let TimeOfDay { time, is_leap_second } = parse_time_of_day(time)?;
        let utc = NaiveDateTime::new(date, time).checked_sub_signed(offset).ok_or(InvalidTime::Form)?;
        let instant = Timestamp::from_utc(utc.and_utc())?;
        if !is_leap_second {
            return Ok(Self::Time(instant));
        }
        // RFC 3339, section 5.7. As most clocks do, it is read as the second after it.
        match ((utc.month(), utc.day()), (utc.hour(), utc.minute())) {
            ((6, 30) | (12, 31), (23, 59)) => Ok(Self::Time(instant.plus(Duration::from_secs(1)))),
            _ => Err(InvalidTime::LeapSecond),
        }
    }
}

impl FromStr for DateOrTime {
    type Err = InvalidTime;

    /// Accepts `YYYY-MM-DD`; RFC 3339 with any offset, which may also be `+0200`, `+02` or `UTC` and have a space
    /// before it; and `YYYY-MM-DDTHH:MM[:SS[.fff]]` as UTC. `T` may be a space.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let date = Self::of_any_year(text)?;
        if date.begins().year() < FIRST_YEAR { Err(InvalidTime::Year) } else { Ok(date) }
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

    /// Reads what is stored, also from before a year below 1000 was refused.
    fn try_from(text: String) -> Result<Self, InvalidTime> {
        Self::of_any_year(&text)
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
            ("2026-11-23T17:45:00+02", "2026-11-23T15:45:00.000Z"),
            ("2026-11-28 12:00:00+00", "2026-11-28T12:00:00.000Z"), // PostgreSQL
            ("2026-11-28 12:00:00.123456-05", "2026-11-28T17:00:00.123Z"),
            ("2026-11-28 12:00:00 +0000", "2026-11-28T12:00:00.000Z"), // Ruby
            ("2026-11-28 12:00:00 UTC", "2026-11-28T12:00:00.000Z"),
            ("2026-11-28 12:00:00 -05:30", "2026-11-28T17:30:00.000Z"),
            ("2026-11-28T12:00:00 Z", "2026-11-28T12:00:00.000Z"),
            ("2026-11-23T17:45", "2026-11-23T17:45:00.000Z"),
            ("2026-11-23 17:45:30.5", "2026-11-23T17:45:30.500Z"),
            ("2026-11-23T17:45:00.123999999Z", "2026-11-23T17:45:00.123Z"),
            ("2026-11-23T17:45:00.1239999999Z", "2026-11-23T17:45:00.123Z"),
            ("2026-11-23T17:45:00.99999999999999999999999", "2026-11-23T17:45:00.999Z"),
            ("2026-11-23T23:59+23:59", "2026-11-23T00:00:00.000Z"),
            ("1000-01-01", "1000-01-01T00:00:00.000Z"),
            ("1000-01-01T01:00+01:00", "1000-01-01T00:00:00.000Z"),
            ("2026-11-23", "2026-11-23T00:00:00.000Z"),
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
            "9999-12-31T23:00:00-23:00",
            "２０２６-11-23",
            "2026-11-23T17:45:61",
            "2026-11-23T17:60:00",
            "2026-11-23T17:45:00:00",
            "2026-11-23T+02:00",
            "2026-11-23T17:45:00  +02:00",
            "2026-11-23T17:45:00 +02:00 ",
            "2026-11-23T17:45:00 utc",
            "2026-11-23T17:45:00 EST",
            "2026-11-23T17:45:00 +",
            "2026-11-23T17:45:00+02:0",
            "2026-11-23T17:45:00+0:200",
            // A `+` that was lost, which only a query may mean.
            "2026-11-23T17:45:00 02:00",
            "2026-11-23T17:45:00 0200",
            "2026-11-23 17:45:00 02:00",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime::Form), "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_the_last_one_of_june_or_december_in_utc() {
        for (text, utc) in [
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
            ("2015-06-30T23:59:60", "2015-07-01T00:00:00.000Z"),
            ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000Z"),
            ("2017-01-01T05:29:60.25+05:30", "2017-01-01T00:00:00.250Z"),
        ] {
            assert_eq!(time(text), utc, "{text}");
        }
        for text in [
            "2026-11-28T12:34:60Z",
            "2026-11-28T23:59:60Z",
            "2026-06-30T12:34:60Z",
            "2026-12-31T23:58:60Z",
            "2016-12-31T23:59:60+01:00",
            "2016-12-30T23:59:60Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime::LeapSecond), "{text}");
        }
    }

    #[test]
    fn a_year_below_1000_is_refused_from_a_caller_and_read_from_the_table() {
        for text in ["0000-01-01", "0001-01-01T00:00:00Z", "0024-11-03", "0999-12-31T23:59:59.999Z"] {
            assert_eq!(text.parse::<DateOrTime>(), Err(InvalidTime::Year), "{text}");
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime::Year), "{text}");
            let stored: DateOrTime = serde_json::from_value(text.into()).unwrap();
            assert_eq!(stored.begins().to_string()[..10], text[..10]);
            assert!(!text.ends_with("999Z") || DateOrTime::is_written(text));
        }
        assert_eq!("1000-01-01T00:00:00+00:01".parse::<Timestamp>(), Err(InvalidTime::Year), "in UTC");
        assert!(InvalidTime::Year.to_string().contains("two-digit year"));
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
        let first = Timestamp::from_millis(-62_167_219_200_000).unwrap();
        assert_eq!(first.to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(first.millis() - 1), Err(InvalidTime::Form));
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_millis(Timestamp::MAX.millis() + 1), Err(InvalidTime::Form));
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
        fn what_is_stored_is_read_whatever_its_year(millis in -62_167_219_200_000i64..253_402_300_799_999) {
            let text = Timestamp::from_millis(millis).unwrap().to_string();
            prop_assert!(DateOrTime::is_written(&text) && DateOrTime::is_written(&text[..10]));
        }

        #[test]
        fn a_text_that_resembles_a_time_never_panics(
            text in "[12][0-9]{3}-[01][0-9]-[0-3][0-9][T ]?[0-9:.]{0,14}[UTCZ:+ -]{0,3}[0-9:]{0,6}"
        ) {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
    }
}
