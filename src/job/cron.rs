//! When a schedule is due: five cron fields in one time zone.
//!
//! A rule whose minutes and hours are numbers, lists or ranges has fixed times of day. If clocks go forward,
//! a fixed time in the gap is due right after it; if they go back, a fixed time is due once, the first time.
//! A rule with `*` or `*/n` for minutes or hours is an interval: it follows elapsed hours.

use std::{fmt, iter};

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Timelike, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// The most minutes that clocks ever skipped: Samoa left out a day when it crossed the date line.
const LONGEST_GAP: i64 = 24 * 60;

/// Five cron fields and their time zone.
#[derive(Clone, Debug)]
pub struct CronRule {
    cron: Cron,
    text: String,
    zone: Tz,
}

impl CronRule {
    /// Parses the fields; `None` if they are invalid or match no date.
    #[must_use]
    pub fn parse(text: &str, zone: Tz) -> Option<Self> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let rule = Self { cron: parser.parse(text).ok()?, text: text.trim().to_owned(), zone };
        rule.next_after(DateTime::UNIX_EPOCH).is_some().then_some(rule)
    }

    /// The fields as they were given.
    #[must_use]
    pub fn fields(&self) -> &str {
        &self.text
    }

    /// The time zone.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first due time after `moment`; `None` past the end of the calendar.
    #[must_use]
    pub fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = whole_seconds(moment).with_timezone(&self.zone);
        if !self.is_fixed() {
            let next = self.cron.find_next_occurrence(&from, false).ok()?;
            return Some(next.with_timezone(&Utc));
        }
        let mut wall = from.naive_local();
        loop {
            wall = self.cron.find_next_occurrence(&wall.and_utc(), false).ok()?.naive_utc();
            // When an hour repeats, times before `wall` were due in its first occurrence.
            if let Some(due) = self.due(wall).filter(|due| *due > moment) {
                return Some(due);
            }
        }
    }

    /// The last `most` due times after `after`, up to and including `until`, in order.
    #[must_use]
    pub fn latest(&self, after: DateTime<Utc>, until: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
        let back: Box<dyn Iterator<Item = DateTime<Utc>>> = if self.is_fixed() {
            Box::new(self.fixed_back(until))
        } else {
            Box::new(self.passing_back(until))
        };
        let mut found: Vec<_> = back.take_while(|time| *time > after).take(most).collect();
        found.reverse();
        found
    }

    /// Due times of an interval, backwards from `until`.
    fn passing_back(&self, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let from = whole_seconds(until).with_timezone(&self.zone);
        let last = self.cron.find_previous_occurrence(&from, true).ok();
        iter::successors(last, |time| self.cron.find_previous_occurrence(time, false).ok())
            .map(|time| time.with_timezone(&Utc))
    }

    /// Fixed due times, backwards from `until`. Those of one gap are due together, as one.
    fn fixed_back(&self, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let from = whole_seconds(until).with_timezone(&self.zone);
        let wall = match self.zone.from_local_datetime(&from.naive_local()) {
            // When an hour repeats, all its times were due in its first occurrence.
            LocalResult::Ambiguous(first, second) if second == from => from.naive_local() + (second - first),
            _ => from.naive_local(),
        };
        let before = |wall: NaiveDateTime, inclusive| {
            self.cron.find_previous_occurrence(&wall.and_utc(), inclusive).ok().map(|time| time.naive_utc())
        };
        let mut last = None;
        iter::successors(before(wall, true), move |wall| before(*wall, false))
            .filter_map(|wall| self.due(wall))
            .filter(move |due| *due <= until && last.replace(*due) != Some(*due))
    }

    /// When a fixed time is due that the zone's clocks show once, twice or never.
    fn due(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let shown = |minutes| self.zone.from_local_datetime(&(wall + TimeDelta::minutes(minutes))).earliest();
        (0..=LONGEST_GAP).find_map(shown).map(|time| time.with_timezone(&Utc))
    }

    /// Whether the rule has fixed times of day.
    fn is_fixed(&self) -> bool {
        let mut fields = self.text.split_whitespace();
        match fields.next() {
            Some(name) if name.starts_with('@') => !name.eq_ignore_ascii_case("@hourly"),
            minutes => minutes.into_iter().chain(fields.next()).all(|field| !field.contains(['*', '?'])),
        }
    }
}

/// Two rules with the same text and zone are equal.
impl PartialEq for CronRule {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.zone) == (&other.text, other.zone)
    }
}

impl fmt::Display for CronRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone.name())
    }
}

fn whole_seconds(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.with_nanosecond(0).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Asia::Jerusalem;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The due times in this span, as local times.
    fn due(fields: &str, after: &str, until: &str) -> Vec<String> {
        let rule = CronRule::parse(fields, Jerusalem).unwrap();
        let (after, until) = (at(after), at(until));
        let back = rule.latest(after, until, 1000);
        let mut forth = Vec::new();
        let mut next = rule.next_after(after);
        while let Some(time) = next.filter(|time| *time <= until) {
            forth.push(time);
            next = rule.next_after(time);
        }
        assert_eq!(back, forth, "looking back finds what looking forward finds");
        forth.iter().map(|time| time.with_timezone(&Jerusalem).format("%d %H:%M %Z").to_string()).collect()
    }

    // In 2026 Israel's clocks go from 02:00 to 03:00 on 27 March, and from 02:00 to 01:00 on 25 October.

    #[test]
    fn a_fixed_time_in_the_gap_comes_due_right_after_it() {
        let spring = |fields| due(fields, "2026-03-25T22:00:00Z", "2026-03-28T10:00:00Z");
        assert_eq!(spring("30 2 * * *"), ["26 02:30 IST", "27 03:00 IDT", "28 02:30 IDT"]);
        assert_eq!(spring("30 3 * * *"), ["26 03:30 IST", "27 03:30 IDT", "28 03:30 IDT"]);
    }

    #[test]
    fn a_fixed_time_that_passes_twice_comes_due_once() {
        let autumn = |fields| due(fields, "2026-10-23T22:00:00Z", "2026-10-26T10:00:00Z");
        assert_eq!(autumn("30 1 * * *"), ["24 01:30 IDT", "25 01:30 IDT", "26 01:30 IST"]);
    }

    #[test]
    fn lists_and_ranges_are_fixed_times_too() {
        let spring = |fields| due(fields, "2026-03-26T21:59:00Z", "2026-03-27T20:00:00Z");
        assert_eq!(spring("0 2,14 * * *"), ["27 03:00 IDT", "27 14:00 IDT"]);
        assert_eq!(spring("0,30 2 * * *"), ["27 03:00 IDT"], "what the gap held comes due once");
        assert_eq!(spring("0 1-3 * * *"), ["27 01:00 IST", "27 03:00 IDT"]);
        assert_eq!(spring("30 2-4/2 * * *"), ["27 03:00 IDT", "27 04:30 IDT"]);
        let autumn = |fields| due(fields, "2026-10-24T20:59:00Z", "2026-10-25T20:00:00Z");
        assert_eq!(autumn("30 1,13 * * *"), ["25 01:30 IDT", "25 13:30 IST"]);
        assert_eq!(autumn("0 1-3 * * *"), ["25 01:00 IDT", "25 02:00 IST", "25 03:00 IST"]);
        assert_eq!(autumn("0 0,12 * * *"), ["25 00:00 IDT", "25 12:00 IST"]);
    }

    #[test]
    fn midnight_is_a_fixed_time_where_clocks_change_at_midnight() {
        let rule = |fields| CronRule::parse(fields, chrono_tz::Asia::Beirut).unwrap();
        for fields in ["0 0,12 * * *", "@daily"] {
            let due = rule(fields).next_after(at("2026-03-28T20:00:00Z"));
            assert_eq!(due, Some(at("2026-03-28T22:00:00Z")), "{fields}: 01:00 follows 23:59 there");
        }
    }

    #[test]
    fn steps_follow_the_hours_as_they_pass() {
        let spring = due("*/30 * * * *", "2026-03-26T23:00:00Z", "2026-03-27T00:30:00Z");
        assert_eq!(spring, ["27 01:30 IST", "27 03:00 IDT", "27 03:30 IDT"]);
        let autumn = due("*/30 * * * *", "2026-10-24T22:00:00Z", "2026-10-25T00:00:00Z");
        assert_eq!(autumn, ["25 01:30 IDT", "25 01:00 IST", "25 01:30 IST", "25 02:00 IST"]);
    }

    #[test]
    fn the_latest_are_those_nearest_to_the_end_and_the_end_counts() {
        let rule = CronRule::parse("* * * * *", Tz::UTC).unwrap();
        let year_ago = at("2025-06-01T00:00:00Z");
        let latest = rule.latest(year_ago, at("2026-06-01T12:00:00.5Z"), 2);
        assert_eq!(latest, [at("2026-06-01T11:59:00Z"), at("2026-06-01T12:00:00Z")]);
        let none = rule.latest(at("2026-06-01T12:00:00Z"), at("2026-06-01T12:00:59Z"), 2);
        assert!(none.is_empty(), "the beginning does not count: {none:?}");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let table = ["", "* * * *", "* * * * * *", "61 * * * *", "0 24 * * *", "a b c d e", "0 0 30 2 *"];
        for text in table {
            assert!(CronRule::parse(text, Tz::UTC).is_none(), "{text}");
        }
        for text in ["@daily", "0 0 29 2 *", "0 9-17/2 * * sun-thu", " 5 4 * * * "] {
            assert!(CronRule::parse(text, Tz::UTC).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn back_and_forth_agree_around_every_change_of_the_clock(
            minutes in "[0-9]|[1-5][0-9]|0,30|5-7|\\*/20",
            hours in "[0-4]|0,12|1-3|2,14|\\*|\\*/2",
            start in 1_770_000_000i64..1_795_000_000,
        ) {
            let rule = CronRule::parse(&format!("{minutes} {hours} * * *"), Jerusalem).unwrap();
            let after = DateTime::from_timestamp(start, 0).unwrap();
            let until = after + TimeDelta::days(30);
            let mut forth = Vec::new();
            let mut next = rule.next_after(after);
            while let Some(time) = next.filter(|time| *time <= until) {
                forth.push(time);
                next = rule.next_after(time);
            }
            prop_assert_eq!(rule.latest(after, until, 10_000), forth);
        }
    }
}
