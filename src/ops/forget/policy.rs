//! Which of several revisions stay, by rules as restic has them.
//!
//! Pure: assumes nothing but an order. Each rule is asked of each revision, from
//! the newest to the oldest; one that any rule keeps stays.

use std::fmt;
use std::str::FromStr;

use crate::ops::images::glob;
use crate::time::{Calendar, Period, Time, Zone};

/// How many a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// As many as there are.
    All,
    /// The newest ones, so many.
    Newest(u32),
}

/// A text that is no limit.
#[derive(Debug, thiserror::Error)]
#[error("expected a number, or `unlimited`")]
pub struct BadLimit;

impl FromStr for Limit {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        match text {
            "-1" | "unlimited" => Ok(Self::All),
            _ => text.parse().map(Self::Newest).map_err(|_| BadLimit),
        }
    }
}

/// The rules. What none of them keeps goes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The newest revisions.
    pub last: Option<Limit>,
    /// The newest revision of each hour that has one; so with the others.
    pub hourly: Option<Limit>,
    /// Of each day.
    pub daily: Option<Limit>,
    /// Of each week, from Monday on.
    pub weekly: Option<Limit>,
    /// Of each month.
    pub monthly: Option<Limit>,
    /// Of each year.
    pub yearly: Option<Limit>,
    /// All that were saved within this time before the newest one.
    pub within: Option<Period>,
    /// All with a tag like one of these.
    pub tags: Vec<String>,
}

/// Why a revision stays.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It must not be removed.
    Pinned,
    /// It is one of the newest.
    Last,
    /// It is the newest of its hour, day, ...
    Newest(Every),
    /// It is the oldest there is, and fewer are kept than might be.
    Oldest(Every),
    /// It is young enough.
    Within(Period),
    /// It has this tag.
    Tag(String),
}

/// What a calendar is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("pinned"),
            Self::Last => f.write_str("last"),
            Self::Newest(every) => f.write_str(every.word()),
            Self::Oldest(every) => write!(f, "oldest {}", every.word()),
            Self::Within(period) => write!(f, "within {period}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
        }
    }
}

impl Every {
    fn word(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// What is the same for all moments of one of these, and for no others.
    fn of(self, at: Calendar) -> (i16, u8, u8, u8) {
        match self {
            Self::Hour => (at.year, at.month, at.day, at.hour),
            Self::Day => (at.year, at.month, at.day, 0),
            Self::Week => (at.week_year, at.week, 0, 0),
            Self::Month => (at.year, at.month, 0, 0),
            Self::Year => (at.year, 0, 0, 0),
        }
    }
}

/// A revision to be judged.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// When it was saved.
    pub saved_at: Time,
    /// Its tags.
    pub tags: Vec<&'a str>,
    /// Whether it must not be removed. Then it uses nothing up.
    pub pinned: bool,
}

/// A rule by the calendar, and how much of it is left.
struct Rule {
    every: Every,
    limit: Limit,
    last: Option<(i16, u8, u8, u8)>,
}

impl Limit {
    fn is_used_up(self) -> bool {
        self == Self::Newest(0)
    }

    fn use_one(&mut self) {
        if let Self::Newest(left) = self {
            *left = left.saturating_sub(1);
        }
    }
}

impl Policy {
    /// Whether no rule could keep anything.
    pub fn is_empty(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.into_iter().flatten().all(Limit::is_used_up)
            && self.within.is_none()
            && self.tags.is_empty()
    }

    /// Why each of these stays, that are given from the newest to the oldest; one
    /// without a reason goes.
    pub fn judge(&self, candidates: &[Candidate<'_>], zone: &Zone) -> Vec<Vec<Reason>> {
        let since = candidates.first().zip(self.within);
        let since = since.map(|(newest, period)| (zone.before(newest.saved_at, period), period));
        let mut last = self.last.unwrap_or(Limit::Newest(0));
        let mut rules: Vec<Rule> = [
            (Every::Hour, self.hourly),
            (Every::Day, self.daily),
            (Every::Week, self.weekly),
            (Every::Month, self.monthly),
            (Every::Year, self.yearly),
        ]
        .into_iter()
        .filter_map(|(every, limit)| Some(Rule { every, limit: limit?, last: None }))
        .collect();
        let oldest = candidates.iter().rposition(|candidate| !candidate.pinned);
        let mut verdicts = Vec::with_capacity(candidates.len());
        for (place, candidate) in candidates.iter().enumerate() {
            let mut reasons = Vec::new();
            if candidate.pinned {
                reasons.push(Reason::Pinned);
            }
            let matching = |tag: &&&str| {
                self.tags.iter().any(|pattern| glob(pattern.as_bytes(), tag.as_bytes()))
            };
            reasons
                .extend(candidate.tags.iter().find(matching).map(|it| Reason::Tag((*it).into())));
            if let Some((_, period)) = since.filter(|(since, _)| candidate.saved_at > *since) {
                reasons.push(Reason::Within(period));
            }
            if !candidate.pinned {
                if !last.is_used_up() {
                    last.use_one();
                    reasons.push(Reason::Last);
                }
                let calendar = zone.calendar(candidate.saved_at);
                let is_oldest = Some(place) == oldest;
                reasons.extend(rules.iter_mut().filter_map(|it| it.judge(calendar, is_oldest)));
            }
            verdicts.push(reasons);
        }
        verdicts
    }
}

impl Rule {
    fn judge(&mut self, calendar: Calendar, is_oldest: bool) -> Option<Reason> {
        if self.limit.is_used_up() {
            return None;
        }
        let this = Some(self.every.of(calendar));
        let same = this == self.last;
        if same && !is_oldest {
            return None;
        }
        self.last = this;
        self.limit.use_one();
        Some(if same { Reason::Oldest(self.every) } else { Reason::Newest(self.every) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: fn() -> Zone = Zone::utc;

    #[expect(clippy::unnecessary_wraps, reason = "as the rules have it")]
    fn newest(count: u32) -> Option<Limit> {
        Some(Limit::Newest(count))
    }

    fn candidate(saved_at: &str) -> Candidate<'static> {
        Candidate { saved_at: saved_at.parse().unwrap(), tags: Vec::new(), pinned: false }
    }

    /// The reasons for each of these times, newest first, as text.
    fn judged(policy: &Policy, times: &[&str]) -> Vec<String> {
        let candidates: Vec<_> = times.iter().map(|time| candidate(time)).collect();
        texts(&policy.judge(&candidates, &UTC()))
    }

    fn texts(verdicts: &[Vec<Reason>]) -> Vec<String> {
        let text = |reasons: &Vec<Reason>| {
            reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        verdicts.iter().map(text).collect()
    }

    #[test]
    fn limits_are_numbers_or_all() {
        assert_eq!("7".parse::<Limit>().unwrap(), Limit::Newest(7));
        for all in ["-1", "unlimited"] {
            assert_eq!(all.parse::<Limit>().unwrap(), Limit::All);
        }
        for bad in ["", "-2", "x", "1.5", "99999999999"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
        assert!(Policy::default().is_empty());
        assert!(Policy { daily: newest(0), ..Policy::default() }.is_empty());
        assert!(!Policy { daily: Some(Limit::All), ..Policy::default() }.is_empty());
    }

    #[test]
    fn the_last_are_counted_one_by_one() {
        let policy = Policy { last: newest(2), ..Policy::default() };
        let times = ["2026-05-01T12:00:02Z", "2026-05-01T12:00:01Z", "2026-05-01T12:00:00Z"];
        assert_eq!(judged(&policy, &times), ["last", "last", ""]);
        let policy = Policy { last: Some(Limit::All), ..Policy::default() };
        assert_eq!(judged(&policy, &times), ["last", "last", "last"]);
    }

    #[test]
    fn of_each_day_that_has_one_the_newest_stays() {
        let policy = Policy { daily: newest(2), ..Policy::default() };
        let times = [
            "2026-05-09T18:00:00Z",
            "2026-05-09T06:00:00Z",
            "2026-05-03T23:59:59Z",
            "2026-05-03T00:00:00Z",
            "2026-05-02T00:00:00Z",
        ];
        assert_eq!(judged(&policy, &times), ["daily", "", "daily", "", ""]);
    }

    #[test]
    fn the_oldest_stays_while_a_count_is_not_used_up() {
        let policy = Policy { daily: newest(3), ..Policy::default() };
        let times = ["2026-05-02T12:00:00Z", "2026-05-01T12:00:00Z", "2026-05-01T06:00:00Z"];
        assert_eq!(judged(&policy, &times), ["daily", "daily", "oldest daily"]);
        let policy = Policy { daily: newest(2), ..policy };
        assert_eq!(judged(&policy, &times), ["daily", "daily", ""]);
        // By itself it is the newest of its day, and no more than that.
        assert_eq!(judged(&policy, &times[2..]), ["daily"]);
    }

    #[test]
    fn weeks_begin_on_monday_and_belong_to_the_year_that_has_most_of_them() {
        let policy = Policy { weekly: newest(9), yearly: newest(9), ..Policy::default() };
        let times = [
            // Friday and Thursday of week 53 of 2026, and the Sunday before it.
            "2027-01-01T12:00:00Z",
            "2026-12-31T12:00:00Z",
            "2026-12-27T12:00:00Z",
            "2026-12-21T12:00:00Z",
            "2026-12-20T12:00:00Z",
        ];
        let expected = ["weekly, yearly", "yearly", "weekly", "", "weekly, oldest yearly"];
        assert_eq!(judged(&policy, &times), expected);
    }

    #[test]
    fn rules_count_on_their_own() {
        let policy =
            Policy { hourly: newest(1), daily: newest(1), monthly: newest(2), ..Policy::default() };
        let times = ["2026-05-02T12:30:00Z", "2026-05-02T12:00:00Z", "2026-04-30T12:00:00Z"];
        assert_eq!(judged(&policy, &times), ["hourly, daily, monthly", "", "monthly"]);
    }

    #[test]
    fn within_counts_from_the_newest() {
        let within = Some("1m1d".parse().unwrap());
        let policy = Policy { within, ..Policy::default() };
        let times = ["2026-05-02T12:00:00Z", "2026-04-01T12:00:01Z", "2026-04-01T12:00:00Z"];
        assert_eq!(judged(&policy, &times), ["within 1m1d", "within 1m1d", ""]);
    }

    #[test]
    fn tags_and_pins_keep_and_pins_use_nothing_up() {
        let mut candidates: Vec<_> = [4, 3, 2, 1]
            .map(|day| candidate(&format!("2026-05-0{day}T12:00:00Z")))
            .into_iter()
            .collect();
        candidates[0].pinned = true;
        candidates[2].tags = vec!["nightly", "v1.2"];
        let policy = Policy { last: newest(1), tags: vec!["v*".to_owned()], ..Policy::default() };
        let verdicts = texts(&policy.judge(&candidates, &UTC()));
        assert_eq!(verdicts, ["pinned", "last", "tag v1.2", ""]);
    }

    #[test]
    fn days_are_those_of_the_time_zone() {
        let policy = Policy { daily: newest(5), ..Policy::default() };
        let candidates = [
            "2026-05-03T10:00:00Z",
            "2026-05-02T21:00:00Z",
            "2026-05-02T20:00:00Z",
            "2026-05-01T23:00:00Z",
        ]
        .map(candidate);
        let verdicts = texts(&policy.judge(&candidates, &UTC()));
        assert_eq!(verdicts, ["daily", "daily", "", "daily"]);
        let verdicts = texts(&policy.judge(&candidates, &Zone::east(3)));
        assert_eq!(verdicts, ["daily", "", "daily", "oldest daily"]);
    }
}
