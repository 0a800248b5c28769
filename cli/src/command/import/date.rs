//! Dates and times as other systems write them.

use std::fmt::Write;

use chrono::format::{Fixed, Item, Parsed, StrftimeItems, parse};
use chrono::{
    DateTime, Datelike, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta,
    TimeZone,
};
use chrono_tz::Tz;
use tickets_domain::ticket::{FieldKind, TEXT_FIELDS};

/// Formats that are tried if the map names none. A time with a zone needs none: the service reads it.
const USUAL: [&str; 5] =
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"];
/// The names of zones that mean one offset everywhere. `IST` is the time of India, of Israel, or of Ireland in summer.
const UTC: [&str; 2] = ["UTC", "GMT"];
/// Earlier years are two digits that were read as a whole year.
const FIRST_YEAR: i32 = 1000;

/// Whether a field is a date or a time.
pub(super) fn is_date(field: &str) -> bool {
    may_be_a_day(field) || ["createdDate", "updatedDate", "deletedDate"].contains(&field)
}

/// Whether a field may be a date without a time.
fn may_be_a_day(field: &str) -> bool {
    TEXT_FIELDS.iter().any(|(name, kind)| *name == field && *kind == FieldKind::DateOrTime)
}

/// What a text says.
#[derive(Debug, PartialEq)]
enum Moment {
    Day(NaiveDate),
    /// In the zone of the map.
    Local(NaiveDateTime),
    Instant(DateTime<FixedOffset>),
}

/// A format of dates, as for `strftime`.
#[derive(Debug)]
pub(super) struct DateFormat {
    text: String,
    /// The format; one for each name of a zone if it has `%Z`.
    variants: Vec<Vec<Item<'static>>>,
    /// Whether the format itself says that times are in UTC: `%H:%M UTC`, `%SZ`.
    is_utc: bool,
}

impl DateFormat {
    /// # Errors
    /// If it is no format, or if it leaves out a part of the date, or of the time that it begins.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let not_understood = |_| format!("the format {text:?} is not understood");
        let items = StrftimeItems::new(text).parse_to_owned().map_err(not_understood)?;
        let zone = Item::Fixed(Fixed::TimezoneName);
        let with_zone = |name: &'static str| -> Vec<Item<'static>> {
            let named = |item: &Item<'static>| if *item == zone { Item::Literal(name) } else { item.clone() };
            items.iter().map(named).collect()
        };
        let variants = if items.contains(&zone) { UTC.map(with_zone).to_vec() } else { vec![items] };
        let is_utc = variants.iter().flatten().any(|item| match item {
            Item::Literal(text) => names_utc(text),
            Item::OwnedLiteral(text) => names_utc(text),
            Item::Space(_) | Item::OwnedSpace(_) | Item::Numeric(..) | Item::Fixed(_) | Item::Error => false,
        });
        let format = Self { text: text.to_owned(), variants, is_utc };
        if format.says_what_it_writes() {
            return Ok(format);
        }
        Err(format!(
            "the format {text:?} does not say a whole date, or a date and a time of day (%I needs %p beside it)"
        ))
    }

    /// Whether a time that is written in this format can be read again. Of a format without a time this is the day.
    fn says_what_it_writes(&self) -> bool {
        // 16:05 on 2001-02-03: no two numbers are equal, and 16 is no hour of twelve.
        let sample = (DateTime::UNIX_EPOCH + TimeDelta::seconds(981_216_300)).fixed_offset();
        self.variants.iter().all(|items| {
            let mut written = String::new();
            let time = match write!(written, "{}", sample.format_with_items(items.iter())) {
                Ok(()) => self.read(&written),
                Err(_) => None,
            };
            match time {
                Some(Moment::Day(day)) => day == sample.date_naive(),
                Some(Moment::Local(time)) => time == sample.naive_utc(),
                Some(Moment::Instant(time)) => time == sample,
                None => false,
            }
        })
    }

    fn read(&self, text: &str) -> Option<Moment> {
        self.variants.iter().find_map(|items| {
            let mut parsed = Parsed::new();
            parse(&mut parsed, text, items.iter()).ok()?;
            if let Ok(time) = parsed.to_datetime() {
                return Some(Moment::Instant(time));
            }
            if let Ok(time) = parsed.to_naive_datetime_with_offset(0) {
                let instant = || Moment::Instant(time.and_utc().fixed_offset());
                return Some(if self.is_utc { instant() } else { Moment::Local(time) });
            }
            // Half a time is no day: it would become midnight.
            let parts = [parsed.hour_div_12(), parsed.hour_mod_12(), parsed.minute(), parsed.second()];
            if parts.iter().any(Option::is_some) {
                return None;
            }
            parsed.to_naive_date().ok().map(Moment::Day)
        })
    }
}

/// Whether the words of a format say UTC.
fn names_utc(literal: &str) -> bool {
    literal.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Z" || UTC.contains(&word))
}

/// Reads dates of columns.
pub(super) struct Dates {
    /// The zone of times that do not say theirs.
    zone: Tz,
    usual: Vec<DateFormat>,
}

impl Dates {
    /// # Errors
    /// If there is no such zone.
    pub(super) fn in_zone(name: &str) -> Result<Self, String> {
        let zone = name.parse().map_err(|_| format!("zone: there is no time zone {name}"))?;
        let usual = USUAL.into_iter().map(DateFormat::new).collect::<Result<_, _>>()?;
        Ok(Self { zone, usual })
    }

    /// A date or time in a form that the service accepts.
    ///
    /// # Errors
    /// If it is not in the format, or never was.
    pub(super) fn read(
        &self,
        field: &str,
        text: &str,
        format: Option<&DateFormat>,
    ) -> Result<String, String> {
        let moment = match format {
            Some(format) => format.read(text).ok_or_else(|| not_in_format(format, text))?,
            None => match self.usual.iter().find_map(|format| format.read(text)) {
                Some(moment) => moment,
                // Either it has a zone, or the service refuses it with a reason.
                None => return Ok(text.to_owned()),
            },
        };
        let year = match &moment {
            Moment::Day(day) => day.year(),
            Moment::Local(time) => time.year(),
            Moment::Instant(time) => time.year(),
        };
        if year < FIRST_YEAR {
            return Err(format!(
                "{text:?} is in the year {year}; a `format` with %y reads years of two digits"
            ));
        }
        match moment {
            Moment::Instant(time) => Ok(time.to_rfc3339()),
            Moment::Local(time) => self.instant(time),
            Moment::Day(day) if may_be_a_day(field) => Ok(day.to_string()),
            Moment::Day(day) => self.instant(day.and_time(NaiveTime::MIN)),
        }
    }

    fn instant(&self, time: NaiveDateTime) -> Result<String, String> {
        match self.zone.from_local_datetime(&time) {
            MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => Ok(time.to_rfc3339()),
            MappedLocalTime::None => Err(format!("there was no {time} in {}", self.zone)),
        }
    }
}

fn not_in_format(format: &DateFormat, text: &str) -> String {
    let hint = match format.variants.as_slice() {
        [_] => "",
        _ => " (%Z reads UTC and GMT only, for other names of zones mean several)",
    };
    format!("must be written like {}{hint}: {text:?}", format.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Result<String, String> {
        let format = if format.is_empty() { None } else { Some(DateFormat::new(format).unwrap()) };
        Dates::in_zone("Europe/Berlin").unwrap().read("ticketFollowupDate", text, format.as_ref())
    }

    #[test]
    fn a_time_is_local_unless_it_or_its_format_says_otherwise() {
        for (format, text, instant) in [
            ("%d.%m.%Y %H:%M", "01.07.2024 14:20", "2024-07-01T14:20:00+02:00"),
            ("%d.%m.%Y %H:%M %z", "01.07.2024 14:20 -0500", "2024-07-01T14:20:00-05:00"),
            ("%d.%m.%Y %H:%M UTC", "01.07.2024 14:20 UTC", "2024-07-01T14:20:00+00:00"),
            ("%Y-%m-%dT%H:%M:%SZ", "2024-07-01T14:20:00Z", "2024-07-01T14:20:00+00:00"),
            ("%d.%m.%Y %H:%M (GMT)", "01.07.2024 14:20 (GMT)", "2024-07-01T14:20:00+00:00"),
            ("%s", "1719843600", "2024-07-01T14:20:00+00:00"),
            ("%m/%d/%y %I:%M %p", "07/01/24 02:20 PM", "2024-07-01T14:20:00+02:00"),
            ("%d.%m.%Y", "01.07.2024", "2024-07-01"),
            ("", "2024-07-01 14:20", "2024-07-01T14:20:00+02:00"),
            ("", "2024-07-01T14:20:11.5", "2024-07-01T14:20:11.500+02:00"),
            ("", "2024-07-01", "2024-07-01"),
            ("", "2024-07-01T14:20:11Z", "2024-07-01T14:20:11Z"),
        ] {
            assert_eq!(read(format, text).as_deref(), Ok(instant), "{format} {text}");
        }
    }

    #[test]
    fn of_the_names_of_zones_only_utc_and_gmt_are_read() {
        for format in ["%Y-%m-%d %H:%M:%S %Z", "%Z %Y-%m-%d %H:%M:%S"] {
            let text =
                |zone: &str| format.replace("%Z", zone).replace("%Y-%m-%d %H:%M:%S", "2024-11-03 14:20:11");
            for zone in ["UTC", "GMT"] {
                assert_eq!(read(format, &text(zone)).as_deref(), Ok("2024-11-03T14:20:11+00:00"));
            }
            for zone in ["EST", "IST", "CET", "UT", "UTC+1", "utc", ""] {
                let refused = read(format, &text(zone)).unwrap_err();
                assert!(refused.contains("%Z reads UTC and GMT only"), "{zone}: {refused}");
            }
        }
    }

    #[test]
    fn a_year_of_two_digits_is_not_read_as_a_whole_year() {
        for (format, text) in
            [("%d.%m.%Y", "03.11.24"), ("%d.%m.%Y", "03.11.999"), ("", "24-11-03 14:20"), ("", "24-11-03")]
        {
            let refused = read(format, text).unwrap_err();
            assert!(refused.contains("in the year ") && refused.contains("%y"), "{refused}");
        }
        assert_eq!(read("%d.%m.%Y", "03.11.1000").as_deref(), Ok("1000-11-03"));
        assert_eq!(read("%d.%m.%y", "03.11.24").as_deref(), Ok("2024-11-03"));
        assert!(read("%d.%m.%y", "03.11.2024").is_err());
    }

    #[test]
    fn a_format_says_a_whole_date_and_no_half_of_a_time() {
        for format in
            ["%d.%m. %H:%M", "%H:%M", "%Y-%m-%d %I:%M", "%Y-%m-%d %H", "%Y-%m", "%d.%m.%Y %p", "", "%%Z"]
        {
            let refused = DateFormat::new(format).unwrap_err();
            assert!(refused.contains("does not say a whole date"), "{format}: {refused}");
        }
        for format in ["%Q", "%"] {
            assert!(DateFormat::new(format).unwrap_err().contains("is not understood"), "{format}");
        }
        for format in [
            "%D %T",
            "%c",
            "%+",
            "%v",
            "%F %R",
            "%Y%m%d%H%M",
            "%a, %e %b %Y %k:%M",
            "%G-W%V-%u",
            "%Y-%j",
            "%x %r",
        ] {
            DateFormat::new(format).unwrap();
        }
    }

    #[test]
    fn a_local_time_that_never_was_is_refused() {
        let refused = read("", "2024-03-31 02:30").unwrap_err();
        assert_eq!(refused, "there was no 2024-03-31 02:30:00 in Europe/Berlin");
    }
}
