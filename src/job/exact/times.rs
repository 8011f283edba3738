//! Python's `datetime` types, to the microsecond.

use std::fmt;

use chrono::{NaiveDateTime, NaiveTime};

use super::zone::Zone;

/// Microseconds in a second.
const MICROS: i64 = 1_000_000;
/// An offset is strictly between minus and plus one day.
const DAY: i64 = 86_400 * MICROS;
/// The longest `timedelta`, in days.
const MOST_DAYS: i64 = 999_999_999;

/// A `datetime.datetime`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The local date and time.
    pub local: NaiveDateTime,
    /// Whether it is the second of two equal times, when clocks go back.
    pub fold: bool,
    /// `None`: naive.
    pub offset: Option<Offset>,
}

/// A `datetime.time`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The local time.
    pub local: NaiveTime,
    /// Whether it is the second of two equal times, when clocks go back.
    pub fold: bool,
    /// `None`: naive.
    pub offset: Option<Offset>,
}

/// A `datetime.timezone`: a fixed offset from UTC; or the offset of a library's zone at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    micros: i64,
    name: Option<Box<str>>,
    zone: Option<Box<Zone>>,
}

impl Offset {
    /// An offset in microseconds, with an optional name; `None` if it is a day or more.
    #[must_use]
    pub fn new(micros: i64, name: Option<&str>) -> Option<Self> {
        (-DAY < micros && micros < DAY).then(|| Self { micros, name: name.map(Box::from), zone: None })
    }

    /// An offset with its library's zone, which is written back with the value.
    #[must_use]
    pub fn of_zone(micros: i64, zone: Zone) -> Option<Self> {
        Self::new(micros, None).map(|offset| Self { zone: Some(Box::new(zone)), ..offset })
    }

    /// The library's zone.
    #[must_use]
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_deref()
    }

    /// The bytes of its texts.
    #[must_use]
    pub fn text(&self) -> usize {
        self.name().map_or(0, str::len) + self.zone().map_or(0, Zone::text)
    }

    /// Microseconds east of UTC.
    #[must_use]
    pub fn micros(&self) -> i64 {
        self.micros
    }

    /// Its own name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The offset as a `timedelta`.
    #[must_use]
    pub fn span(&self) -> Span {
        let days = self.micros.div_euclid(DAY);
        let rest = self.micros.rem_euclid(DAY);
        Span { days, seconds: rest / MICROS, micros: rest % MICROS }
    }
}

/// A `datetime.timedelta`, in Python's normal form: only the days can be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    days: i64,
    seconds: i64,
    micros: i64,
}

impl Span {
    /// A `timedelta`; `None` if it is not in normal form or longer than Python allows.
    #[must_use]
    pub fn new(days: i64, seconds: i64, micros: i64) -> Option<Self> {
        let fits = (-MOST_DAYS..=MOST_DAYS).contains(&days)
            && (0..86_400).contains(&seconds)
            && (0..MICROS).contains(&micros);
        fits.then_some(Self { days, seconds, micros })
    }

    /// Days, seconds, microseconds.
    #[must_use]
    pub fn parts(&self) -> [i64; 3] {
        [self.days, self.seconds, self.micros]
    }

    /// The total in microseconds; `None` if it exceeds 64 bits.
    #[must_use]
    pub fn total_micros(&self) -> Option<i64> {
        self.days.checked_mul(DAY)?.checked_add(self.seconds * MICROS + self.micros)
    }

    /// The total in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds as a float are as exact as Python's own")]
    pub fn total_seconds(&self) -> f64 {
        (self.days * 86_400 + self.seconds) as f64 + self.micros as f64 / MICROS as f64
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { '-' } else { '+' };
        let (seconds, micros) = (self.micros.abs() / MICROS, self.micros.abs() % MICROS);
        write!(f, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)?;
        if seconds % 60 != 0 || micros != 0 {
            write!(f, ":{:02}", seconds % 60)?;
        }
        if micros != 0 { write!(f, ".{micros:06}") } else { Ok(()) }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T", self.local.date())?;
        clock(self.local.time(), self.offset.as_ref(), f)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        clock(self.local, self.offset.as_ref(), f)
    }
}

/// As Python's `isoformat`: fraction and offset only if there are any.
fn clock(time: NaiveTime, offset: Option<&Offset>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use chrono::Timelike as _;
    write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
    let micros = time.nanosecond() / 1000;
    if micros != 0 {
        write!(f, ".{micros:06}")?;
    }
    offset.map_or(Ok(()), |offset| write!(f, "{offset}"))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes) = (self.seconds / 3600, self.seconds / 60 % 60);
        if self.days != 0 {
            write!(f, "{}d ", self.days)?;
        }
        write!(f, "{hours}:{minutes:02}:{:02}", self.seconds % 60)?;
        if self.micros != 0 { write!(f, ".{:06}", self.micros) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_show_no_more_than_they_have() {
        let shown = |micros| Offset::new(micros, None).unwrap().to_string();
        assert_eq!(shown(0), "+00:00");
        assert_eq!(shown(-5_400 * MICROS), "-01:30");
        assert_eq!(shown(3_601 * MICROS), "+01:00:01");
        assert_eq!(shown(1), "+00:00:00.000001");
        assert_eq!(Offset::new(DAY, None), None);
    }

    #[test]
    fn an_offset_west_is_a_span_in_normal_form() {
        let west = Offset::new(-1, None).unwrap().span();
        assert_eq!(west.parts(), [-1, 86_399, 999_999]);
        assert_eq!(west.total_micros(), Some(-1));
        assert_eq!(Span::new(0, 86_400, 0), None);
    }
}
