//! Decides which receipts a row of the web application covers, because such a row names no last receipt.
//!
//! Ids grow with time, so the highest id when a Tikkun process first looks at the request is an upper bound.
//! Creation times are more exact if their clock can be compared with the clock of the request; but a column
//! may be in the database's own zone, null, or set by hand. If they cannot be compared, an early first look
//! decides alone, and after a late one every receipt is kept that may be newer than the request.

use chrono::{DateTime, TimeDelta, Utc};

use crate::job::background::FirstLook;

/// A first look this soon after the request decides alone. Clocks of hosts may differ by as much.
const SOON: TimeDelta = TimeDelta::seconds(60);
/// A column without fractions of a second rounds a time up by less than this.
const ROUNDING: TimeDelta = TimeDelta::seconds(1);
/// The largest offset of any time zone from UTC.
const ZONE: TimeDelta = TimeDelta::hours(14);
/// Longer than any time span in use: without a clock to compare it with, a creation time says nothing.
const EVER: TimeDelta = TimeDelta::days(365_000);
/// No session of the application uses an id so long after it was given out. A receipt that was dated further
/// ahead by hand was there.
const LONG: TimeDelta = TimeDelta::days(30);
/// Zones other than UTC are at least this far behind it (by whole or half hours) or ahead of it.
const HOUR: TimeDelta = TimeDelta::hours(1);
/// Offsets of zones are multiples of a quarter of an hour, in seconds.
const QUARTER: i64 = 900;

/// Facts about the clocks behind the columns `created_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    /// Receipts and job rows are both in UTC, by the column type or by its default.
    pub(super) comparable: bool,
    /// Job rows may be in the database's time zone: their column has no zone and the database fills it.
    pub(super) row_in_zone: bool,
    /// Receipts have only the day of their creation, by their column or its default.
    pub(super) by_day: bool,
}

impl Clocks {
    /// All times are in UTC.
    pub(super) const IN_UTC: Self = Self { comparable: true, row_in_zone: false, by_day: false };
}

/// The known facts about a request.
pub(super) struct Known {
    pub(super) look: FirstLook,
    /// When its queue job was created, in UTC; `None` if unknown, or if Tikkun enqueued it.
    pub(super) entry: Option<DateTime<Utc>>,
    /// When its row was created, by an unknown clock.
    pub(super) row: Option<DateTime<Utc>>,
    pub(super) clocks: Clocks,
}

/// How to interpret the creation times of the receipts that existed at the first look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// A receipt with a later time, up to `clock_until`, is newer than the request, and so are all higher
    /// ids. `None`: times do not tell this.
    pub(super) after: Option<DateTime<Utc>>,
    /// A later time, up to `possible`, shows that receipts use another clock.
    pub(super) clock_until: DateTime<Utc>,
    /// At the first look, no clock of any zone showed a later time. A receipt with one was dated by hand, and
    /// is left alone unless it is dated `beyond`.
    pub(super) possible: DateTime<Utc>,
    /// Whether receipts without a time are covered.
    pub(super) undated: bool,
    /// Receipts dated by hand later than this are covered; `None`: none.
    pub(super) beyond: Option<DateTime<Utc>>,
    /// The time of the request on the clock that is ahead, if receipts use two clocks. A later time shows that a receipt
    /// is newer than the request. A time between `clock_until` and this one shows that a receipt is older, and so are all
    /// lower ids.
    pub(super) other: Option<DateTime<Utc>>,
}

/// A range of ids.
pub(super) type Ids = std::ops::RangeInclusive<i64>;

/// What a query with a [`Reading`] finds among the tenant's live receipts with some ids, up to that of the first look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The number of these receipts.
    pub(super) live: i64,
    /// The lowest id that is newer than the request.
    pub(super) first_after: Option<i64>,
    /// The highest id below that one.
    pub(super) before: Option<i64>,
    /// Whether their times come from another clock.
    pub(super) other_clock: bool,
    /// The number of receipts that were dated by hand.
    pub(super) by_hand: i64,
    /// The latest time that was not given by hand.
    pub(super) latest: Option<DateTime<Utc>>,
}

/// How a row's creation time compares with that of its queue job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowTime {
    /// The row has none.
    Missing,
    /// Both were created at the same moment; the row's clock is ahead of UTC by this much.
    Ahead(TimeDelta),
    /// The row may be older than the queue job.
    Older,
}

impl Reading {
    /// For a request made now: it covers all receipts that exist. Other clocks, such as those of the application's
    /// hosts, may be ahead.
    pub(super) fn of_request_at(now: DateTime<Utc>) -> Self {
        Self { after: None, clock_until: now, possible: now + SOON, undated: true, beyond: None, other: None }
    }
}

impl Known {
    fn row_time(&self, entry: DateTime<Utc>) -> RowTime {
        let Some(row) = self.row else { return RowTime::Missing };
        let ahead = row - entry;
        let quarters = (ahead.num_seconds() + QUARTER / 2).div_euclid(QUARTER);
        let zone = TimeDelta::seconds(quarters * QUARTER);
        let fits = (ahead - zone).abs() <= SOON && zone.abs() <= ZONE;
        let behind = zone <= -HOUR && (quarters % 2) == 0;
        // A row that seems hours older really is, unless the database wrote the time of its own zone.
        if fits && (zone >= TimeDelta::zero() || (behind && self.clocks.row_in_zone)) {
            RowTime::Ahead(zone)
        } else {
            RowTime::Older
        }
    }

    /// `Some` if the first look came soon after the request.
    fn soon(&self) -> Option<RowTime> {
        let entry = self.entry.filter(|entry| (self.look.at - *entry).abs() <= SOON)?;
        Some(self.row_time(entry)).filter(|time| *time != RowTime::Older)
    }

    /// Whether the row seems to have been made after the first look at it.
    fn seems_unmade(&self) -> bool {
        self.row.is_some_and(|row| row > self.look.at + ROUNDING)
    }

    /// The row's time, if receipts use the same clock. No row is made long after its queue job: if it seems so, the
    /// application wrote the time of another zone, whatever the column says. Nor is one made after the first look,
    /// which the database's own clock dates: if it seems so, that clock was set back, or the row has that of another host.
    pub(super) fn one_clock(&self) -> Option<DateTime<Utc>> {
        let latest = self.entry.map(|entry| entry + (HOUR - SOON));
        let in_time = |row: &DateTime<Utc>| latest.is_none_or(|latest| *row <= latest);
        self.row.filter(in_time).filter(|_| self.clocks.comparable && !self.seems_unmade())
    }

    /// Whether the row seems older than its queue job by whole hours, as with the time of another zone.
    pub(super) fn seems_behind(&self) -> bool {
        matches!(self.soon(), Some(RowTime::Ahead(zone)) if zone < TimeDelta::zero())
    }

    /// How much earlier than the true time a receipt's time may be.
    fn rounded(&self) -> TimeDelta {
        if self.clocks.by_day { TimeDelta::days(1) } else { TimeDelta::zero() }
    }

    /// The latest possible time of the request.
    fn requested_by(&self) -> DateTime<Utc> {
        [self.entry, self.row].into_iter().flatten().fold(self.look.at, DateTime::min)
    }

    pub(super) fn reading(&self) -> Reading {
        let (at, soon) = (self.look.at, self.soon());
        let possible = at + ZONE + SOON;
        let (undated, beyond) = (soon.is_some(), soon.is_some().then(|| at + LONG));
        match (self.one_clock(), soon) {
            (Some(row), _) => {
                let until = at + SOON;
                Reading {
                    after: Some(row),
                    clock_until: until,
                    possible: until,
                    undated,
                    beyond,
                    other: None,
                }
            }
            (None, Some(RowTime::Ahead(zone))) => {
                let clock_until = at + zone + SOON;
                Reading { after: self.row, clock_until, possible, undated, beyond, other: None }
            }
            (None, Some(_)) => {
                let ever = at + EVER;
                Reading { after: None, clock_until: ever, possible: ever, undated, beyond, other: None }
            }
            (None, None) => Reading {
                after: Some(self.requested_by() - ZONE - self.rounded()),
                clock_until: possible,
                possible,
                undated,
                beyond,
                other: None,
            },
        }
    }

    /// How to interpret times of two clocks: that of the request, and one that is ahead of it by the zone of which the
    /// latest receipt tells at least.
    pub(super) fn of_two_clocks(&self, reading: Reading, latest: DateTime<Utc>) -> Reading {
        let Some((row, RowTime::Ahead(zone))) = self.row.zip(self.soon()) else { return reading };
        let seconds = (latest - self.look.at - SOON).num_seconds();
        let ahead = TimeDelta::seconds((seconds + QUARTER - 1).div_euclid(QUARTER) * QUARTER);
        Reading { other: Some(row - zone + ahead), ..reading }
    }

    /// Why receipts are left alone, as text for users.
    pub(super) fn because(&self, reading: &Reading, seen: &Seen) -> String {
        let minutes = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M UTC");
        if reading.undated {
            let row = self.row.map(|at| format!(" ({})", minutes(at))).unwrap_or_default();
            let ahead = match seen.by_hand {
                0 => "",
                _ => ", or are dated ahead, so that a request covers them once that time has come",
            };
            return format!("because they came after the request{row}{ahead}");
        }
        let when = if self.seems_unmade() { "before its own time" } else { "late after it was made" };
        format!(
            "because they may have come after the request: it was first seen at {}, {when}, and they have no creation time, \
             one after {}, or a higher id than such a receipt",
            minutes(self.look.at),
            minutes(reading.after.unwrap_or(self.look.at)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time this many minutes after noon.
    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(12) + TimeDelta::minutes(minutes)
    }

    const UNKNOWN: Clocks = Clocks { comparable: false, ..Clocks::IN_UTC };

    /// A request of noon that was first seen this many minutes later, on clocks that cannot be compared.
    fn known(seen: i64) -> Known {
        let look = FirstLook { newest_id: 100, at: at(seen), before_id: None };
        Known { look, entry: Some(at(0)), row: Some(at(0)), clocks: UNKNOWN }
    }

    #[test]
    fn soon_look_covers_what_it_saw_but_for_what_the_rows_own_clock_shows_to_be_later() {
        let reading = known(1).reading();
        let expected = Reading {
            after: Some(at(0)),
            clock_until: at(2),
            possible: at(14 * 60 + 2),
            undated: true,
            beyond: Some(at(30 * 24 * 60 + 1)),
            other: None,
        };
        assert_eq!(reading, expected);
    }

    #[test]
    fn late_look_leaves_whatever_may_have_come_after_the_request_in_any_zone() {
        let expected = |after: i64, seen: i64| Reading {
            after: Some(at(after - 14 * 60)),
            clock_until: at(seen + 14 * 60 + 1),
            possible: at(seen + 14 * 60 + 1),
            undated: false,
            beyond: None,
            other: None,
        };
        assert_eq!(known(2).reading(), expected(0, 2));
        let carried_by_another = Known { entry: None, ..known(0) };
        assert_eq!(carried_by_another.reading(), expected(0, 0), "nobody tells when the request was made");
        let older_row = Known { row: Some(at(-180)), ..known(0) };
        assert_eq!(older_row.reading(), expected(-180, 0), "its entry was made anew hours later");
        let days = Known { clocks: Clocks { by_day: true, ..UNKNOWN }, ..known(2) };
        assert_eq!(days.reading().after, Some(at(-38 * 60)), "a day may have begun 24 hours before");
        let looked_at_before = Known { entry: Some(at(30)), row: None, ..known(0) };
        assert_eq!(looked_at_before.reading(), expected(0, 0), "the look was before the entry");
    }

    #[test]
    fn row_in_a_zone_of_its_own_is_compared_on_its_own_clock() {
        let ahead = Known { row: Some(at(120)), ..known(0) };
        assert_eq!((ahead.reading().after, ahead.reading().clock_until), (Some(at(120)), at(121)));
        let behind = Known { row: Some(at(-300)), ..known(0) };
        assert!(!behind.reading().undated, "it may be five hours old");
        let half_an_hour =
            Known { row: Some(at(-30)), clocks: Clocks { row_in_zone: true, ..UNKNOWN }, ..known(0) };
        assert!(!half_an_hour.reading().undated, "no zone is half an hour behind UTC");
        let by_the_database = Known { clocks: Clocks { row_in_zone: true, ..UNKNOWN }, ..behind };
        let reading = by_the_database.reading();
        assert_eq!((reading.after, reading.clock_until, reading.undated), (Some(at(-300)), at(-299), true));
        let odd = Known { row: Some(at(7)), ..known(0) };
        assert!(!odd.reading().undated, "no zone is seven minutes from UTC");
    }

    #[test]
    fn latest_receipt_tells_the_zone_of_the_clock_that_is_ahead() {
        let soon = known(1);
        let other = |latest| soon.of_two_clocks(soon.reading(), latest).other;
        assert_eq!(other(at(121)), Some(at(120)), "made at the first look");
        assert_eq!(other(at(119)), Some(at(120)), "made a minute before the request");
        assert_eq!(other(at(181) + TimeDelta::seconds(30)), Some(at(180)), "its host is half a minute ahead");
        let row_ahead = Known { row: Some(at(180)), ..known(1) };
        assert_eq!(row_ahead.of_two_clocks(row_ahead.reading(), at(300)).other, Some(at(300)));
        let late = known(2);
        assert_eq!(late.of_two_clocks(late.reading(), at(121)).other, None);
    }

    #[test]
    fn row_without_a_time_is_bounded_by_a_soon_look_alone() {
        let reading = Known { row: None, ..known(1) }.reading();
        assert_eq!((reading.after, reading.undated), (None, true));
        assert!(!Known { row: None, ..known(2) }.reading().undated);
    }

    #[test]
    fn clocks_that_are_both_in_utc_decide_however_late_the_look_is() {
        let clocks = Clocks::IN_UTC;
        let reading = Known { clocks, ..known(600) }.reading();
        let expected = Reading {
            after: Some(at(0)),
            clock_until: at(601),
            possible: at(601),
            undated: false,
            beyond: None,
            other: None,
        };
        assert_eq!(reading, expected);
        assert!(Known { clocks, ..known(1) }.reading().undated, "without a time the look decides");
        let ahead = Known { clocks, row: Some(at(180)), ..known(120) };
        assert_eq!(ahead.reading().after, Some(at(-14 * 60)), "the row has the time of a zone");
        let long_ago = Known { entry: None, ..ahead };
        assert_eq!(long_ago.one_clock(), None, "an hour after it was seen");
        let set_back = Known { clocks, entry: Some(at(10)), row: Some(at(10)), ..known(1) };
        let reading = set_back.reading();
        assert_eq!(
            (set_back.one_clock(), reading.after, reading.undated),
            (None, Some(at(1 - 14 * 60)), false)
        );
        let rounded = Known { clocks, row: Some(at(1) + TimeDelta::milliseconds(500)), ..known(1) };
        assert_eq!(rounded.one_clock(), rounded.row, "half a second is rounded up");
        let host_behind = Known { clocks, row: Some(at(5)), ..known(120) };
        assert_eq!(host_behind.one_clock(), Some(at(5)), "no zone differs by so little");
        let undated_row = Known { clocks, row: None, ..known(600) }.reading();
        assert_eq!(undated_row.after, Some(at(-14 * 60)), "there is nothing to compare");
    }
}
