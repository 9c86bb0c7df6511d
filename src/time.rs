//! Points in time, as records keep them and people read them.
//!
//! Owns the date crate, and with it the system's time zone. It deliberately reads
//! no clock: callers pass the time in.

use std::fmt;
use std::str::FromStr;

/// A point in time in nanoseconds since 1970, UTC; prints in RFC 3339 with nine
/// digits of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(jiff::Timestamp);

/// A text that is no point in time.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a date and time such as 2026-05-01T12:00:00Z")]
pub struct ParseTimeError {
    /// What was found.
    pub text: String,
}

impl Time {
    /// From the system's clock reading.
    pub fn from_system(time: std::time::SystemTime) -> Option<Self> {
        jiff::Timestamp::try_from(time).ok().map(Self)
    }

    /// Reads a date, a date and time, or a point in time; the first two in the
    /// time zone of the system. A date alone is its first moment, or with
    /// `day_end` its last.
    pub fn parse_local(text: &str, day_end: bool) -> Option<Self> {
        if let Ok(time) = text.parse() {
            return Some(time);
        }
        let zone = jiff::tz::TimeZone::system();
        let moment = if day_end { jiff::civil::Time::MAX } else { jiff::civil::Time::MIN };
        let civil: jiff::civil::DateTime = match text.parse::<jiff::civil::Date>() {
            Ok(date) if text.len() <= 10 => date.to_datetime(moment),
            _ => text.parse().ok()?,
        };
        Some(Self(zone.to_timestamp(civil).ok()?))
    }

    /// From whole nanoseconds since 1970.
    pub fn from_nanos(nanos: i64) -> Self {
        // Every i64 of nanoseconds lies between the years 1677 and 2262.
        Self(jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default())
    }

    /// Whole nanoseconds since 1970, between the years 1677 and 2262.
    pub fn nanos(self) -> i64 {
        let limit = if self.0.as_second() < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(self.0.as_nanosecond()).unwrap_or(limit)
    }

    /// Seconds from this time to `later`; negative if that is before.
    pub fn seconds_to(self, later: Self) -> i64 {
        later.0.as_second() - self.0.as_second()
    }

    /// One second later, if there is one: the last year is 9999.
    #[must_use]
    pub fn next_second(self) -> Self {
        let second = jiff::SignedDuration::from_secs(1);
        Self(self.0.checked_add(second).unwrap_or(jiff::Timestamp::MAX))
    }
}

/// Reads a length of time as people write it, from seconds to hours: `90s`, `30m`,
/// `1h30m`.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    text.trim().parse::<jiff::SignedDuration>().ok()?.try_into().ok()
}

/// A time zone.
#[derive(Debug, Clone)]
pub struct Zone(jiff::tz::TimeZone);

/// A point in time as a calendar and a clock on the wall show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// The year.
    pub year: i16,
    /// From 1 on.
    pub month: u8,
    /// Of the month, from 1 on.
    pub day: u8,
    /// From 0 on.
    pub hour: u8,
    /// The year that the week belongs to, by ISO 8601.
    pub week_year: i16,
    /// From 1 on.
    pub week: u8,
}

impl Zone {
    /// That of the system.
    pub fn system() -> Self {
        Self(jiff::tz::TimeZone::system())
    }

    /// Universal time.
    pub fn utc() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }

    /// So many hours east of it.
    pub fn east(hours: i8) -> Self {
        let offset = jiff::tz::Offset::from_hours(hours);
        Self(offset.map_or(jiff::tz::TimeZone::UTC, jiff::tz::TimeZone::fixed))
    }

    /// What calendars show at this time.
    pub fn calendar(&self, time: Time) -> Calendar {
        let local = self.0.to_datetime(time.0);
        let week = local.date().iso_week_date();
        Calendar {
            year: local.year(),
            month: local.month().unsigned_abs(),
            day: local.day().unsigned_abs(),
            hour: local.hour().unsigned_abs(),
            week_year: week.year(),
            week: week.week().unsigned_abs(),
        }
    }

    /// A time for people, to the minute.
    pub fn shown(&self, time: Time) -> String {
        let local = self.0.to_datetime(time.0);
        format!("{} {:02}:{:02}", local.date(), local.hour(), local.minute())
    }

    /// The time so long before another, by the calendar.
    pub fn before(&self, time: Time, period: Period) -> Time {
        let back = || {
            let days = jiff::Span::new()
                .try_years(period.years)?
                .try_months(period.months)?
                .try_days(period.days)?;
            let hours = jiff::SignedDuration::from_hours(period.hours.into());
            let day = self.0.to_datetime(time.0).checked_sub(days)?;
            self.0.to_timestamp(day)?.checked_sub(hours)
        };
        Time(back().unwrap_or(jiff::Timestamp::MIN))
    }
}

/// A length of time by the calendar, such as `1y5m7d2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    years: u32,
    months: u32,
    days: u32,
    hours: u32,
}

/// A text that is no length of time.
#[derive(Debug, thiserror::Error)]
#[error("expected years, months, days and hours such as 1y5m7d2h")]
pub struct ParsePeriodError;

impl FromStr for Period {
    type Err = ParsePeriodError;

    fn from_str(text: &str) -> Result<Self, ParsePeriodError> {
        let mut period = Self { years: 0, months: 0, days: 0, hours: 0 };
        let mut digits = String::new();
        for letter in text.chars() {
            if letter.is_ascii_digit() {
                digits.push(letter);
                continue;
            }
            let count = digits.parse().map_err(|_| ParsePeriodError)?;
            digits.clear();
            match letter {
                'y' => period.years = count,
                'm' => period.months = count,
                'd' => period.days = count,
                'h' => period.hours = count,
                _ => return Err(ParsePeriodError),
            }
        }
        if text.is_empty() || !digits.is_empty() { Err(ParsePeriodError) } else { Ok(period) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        let mut shown = parts.into_iter().filter(|(count, _)| *count > 0).peekable();
        if shown.peek().is_none() {
            return f.write_str("0h");
        }
        shown.try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        text.parse().map(Self).map_err(|_| ParseTimeError { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nine_digits_and_parses() {
        let time = Time::from_nanos(1_700_000_000_000_000_000);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.000000000Z");
        assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        assert_eq!("2023-11-14T23:13:20+01:00".parse::<Time>().unwrap(), time);
        assert_eq!(time.next_second().nanos(), 1_700_000_001_000_000_000);
        assert!("yesterday".parse::<Time>().is_err());
    }

    #[test]
    fn reads_lengths_of_time() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("1h", Some(3600)),
            (" 1h30m ", Some(5400)),
            ("2 hours", Some(7200)),
            ("-1h", None),
            ("1", None),
            ("soon", None),
            ("", None),
        ] {
            let duration = parse_duration(text);
            assert_eq!(duration.map(|duration| duration.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn the_last_second_of_all_has_no_next() {
        let last = Time(jiff::Timestamp::MAX);
        assert_eq!(last.to_string().parse::<Time>().unwrap(), last);
        assert_eq!(last.next_second(), last);
    }

    #[test]
    fn periods_go_back_by_the_calendar() {
        let period: Period = "1y5m7d2h".parse().unwrap();
        assert_eq!(period.to_string(), "1y5m7d2h");
        let time: Time = "2026-06-08T03:00:00Z".parse().unwrap();
        let before = Zone::utc().before(time, period);
        assert_eq!(before.to_string(), "2025-01-01T01:00:00.000000000Z");
        assert_eq!("90d".parse::<Period>().unwrap().to_string(), "90d");
        for bad in ["", "7", "d", "7x", "7d3", "-7d", "99999999999d"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
        // Longer than there are years.
        let ages = Zone::utc().before(time, "4000000000y".parse().unwrap());
        assert!(ages < time);
    }

    #[test]
    fn calendars_are_those_of_the_zone() {
        let time: Time = "2027-01-01T22:30:00Z".parse().unwrap();
        let calendar = Zone::utc().calendar(time);
        assert_eq!((calendar.year, calendar.month, calendar.day, calendar.hour), (2027, 1, 1, 22));
        assert_eq!((calendar.week_year, calendar.week), (2026, 53));
        let calendar = Zone::east(2).calendar(time);
        assert_eq!((calendar.day, calendar.hour), (2, 0));
    }
}
