//! Time zones of Python's libraries: how they are constructed, and their offset from UTC at a moment.

use chrono::{NaiveDateTime, Offset as _, TimeDelta, TimeZone as _};
use chrono_tz::Tz;
use serde_json::{Value, json};

/// The most minutes that clocks ever skipped.
const LONGEST_GAP: i64 = 24 * 60;
/// Microseconds in a second.
const MICROS: i64 = 1_000_000;

/// The constructor of a library's time zone. A value that came with one is written back with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `zoneinfo.ZoneInfo`: the IANA name, and whether Python may use its cache.
    ZoneInfo(Box<str>, bool),
    /// `pytz.timezone`: the IANA name, and the chosen period in it: seconds from UTC, seconds of summer time,
    /// abbreviation. A zone with only one period has none.
    Pytz(Box<str>, Option<(i64, i64, Box<str>)>),
    /// `pytz.utc`.
    PytzUtc,
    /// `pytz.FixedOffset`: minutes from UTC.
    PytzFixed(i64),
    /// `dateutil.tz.tzutc`.
    DateutilUtc,
    /// `dateutil.tz.tzoffset`: a name, and microseconds from UTC.
    DateutilOffset(Option<Box<str>>, i64),
    /// `dateutil.tz.tzfile`: the file, or the IANA name.
    DateutilFile(Box<str>),
}

impl Zone {
    /// Microseconds east of UTC when local clocks show `local`, with `fold` for the second time; `None` if
    /// this machine does not know the zone.
    #[must_use]
    pub fn micros_at(&self, local: NaiveDateTime, fold: bool) -> Option<i64> {
        match self {
            Self::ZoneInfo(name, _) | Self::Pytz(name, None) => of_name(name, local, fold),
            Self::DateutilFile(file) => of_name(name_of_file(file), local, fold),
            fixed => fixed.fixed_micros(),
        }
    }

    /// Microseconds east of UTC, if they are the same at all times.
    #[must_use]
    pub fn fixed_micros(&self) -> Option<i64> {
        match self {
            Self::PytzUtc | Self::DateutilUtc => Some(0),
            Self::PytzFixed(minutes) => minutes.checked_mul(60 * MICROS),
            Self::Pytz(_, Some((seconds, ..))) => seconds.checked_mul(MICROS),
            Self::DateutilOffset(_, micros) => Some(*micros),
            Self::ZoneInfo(..) | Self::Pytz(_, None) | Self::DateutilFile(_) => None,
        }
    }

    /// The name of its class, and its own name.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::ZoneInfo(name, _) => format!("zoneinfo.ZoneInfo({name:?})"),
            Self::Pytz(name, _) => format!("pytz.timezone({name:?})"),
            Self::PytzUtc => "pytz.utc".to_owned(),
            Self::PytzFixed(minutes) => format!("pytz.FixedOffset({minutes})"),
            Self::DateutilUtc => "dateutil.tz.tzutc()".to_owned(),
            Self::DateutilOffset(..) => "dateutil.tz.tzoffset".to_owned(),
            Self::DateutilFile(file) => format!("dateutil.tz.tzfile({file:?})"),
        }
    }

    /// The bytes of its texts.
    #[must_use]
    pub fn text(&self) -> usize {
        match self {
            Self::ZoneInfo(name, _) | Self::Pytz(name, None) | Self::DateutilFile(name) => name.len(),
            Self::Pytz(name, Some((.., abbreviation))) => name.len() + abbreviation.len(),
            Self::DateutilOffset(Some(name), _) => name.len(),
            _ => 0,
        }
    }

    /// Its JSON form, beside the text of a time.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::ZoneInfo(name, cached) => json!(["zoneinfo", name, cached]),
            Self::Pytz(name, None) => json!(["pytz", name]),
            Self::Pytz(name, Some((offset, summer, abbreviation))) => {
                json!(["pytz", name, offset, summer, abbreviation])
            }
            Self::PytzUtc => json!(["pytz.utc"]),
            Self::PytzFixed(minutes) => json!(["pytz.fixed", minutes]),
            Self::DateutilUtc => json!(["dateutil.utc"]),
            Self::DateutilOffset(name, micros) => json!(["dateutil.offset", name, micros]),
            Self::DateutilFile(file) => json!(["dateutil.file", file]),
        }
    }

    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let (kind, parts) = value.as_array()?.split_first()?;
        let text = |value: &Value| value.as_str().map(Box::from);
        Some(match (kind.as_str()?, parts) {
            ("zoneinfo", [name, cached]) => Self::ZoneInfo(text(name)?, cached.as_bool()?),
            ("pytz", [name]) => Self::Pytz(text(name)?, None),
            ("pytz", [name, offset, summer, abbreviation]) => {
                Self::Pytz(text(name)?, Some((offset.as_i64()?, summer.as_i64()?, text(abbreviation)?)))
            }
            ("pytz.utc", []) => Self::PytzUtc,
            ("pytz.fixed", [minutes]) => Self::PytzFixed(minutes.as_i64()?),
            ("dateutil.utc", []) => Self::DateutilUtc,
            ("dateutil.offset", [Value::Null, micros]) => Self::DateutilOffset(None, micros.as_i64()?),
            ("dateutil.offset", [name, micros]) => Self::DateutilOffset(Some(text(name)?), micros.as_i64()?),
            ("dateutil.file", [file]) => Self::DateutilFile(text(file)?),
            _ => return None,
        })
    }
}

/// The zone's name in the path of a time zone file of the system or of a package.
fn name_of_file(file: &str) -> &str {
    file.rsplit_once("zoneinfo/").map_or(file, |(_, name)| name)
}

fn of_name(name: &str, local: NaiveDateTime, fold: bool) -> Option<i64> {
    let zone: Tz = name.parse().ok()?;
    let shown = |minutes| zone.from_local_datetime(&(local + TimeDelta::minutes(minutes)));
    let mut found = shown(0);
    if found == chrono::LocalResult::None {
        // In a gap Python uses the offset from before it, or with `fold` the one from after it.
        let step = if fold { 1 } else { -1 };
        found = (1..=LONGEST_GAP).map(|minutes| shown(step * minutes)).find(|at| at.earliest().is_some())?;
    }
    let at = if fold { found.latest() } else { found.earliest() }?;
    Some(i64::from(at.offset().fix().local_minus_utc()) * MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_as_far_from_utc_as_python_says() {
        let jerusalem = Zone::ZoneInfo("Asia/Jerusalem".into(), true);
        let at = |zone: &Zone, text: &str, fold| {
            zone.micros_at(text.parse().unwrap(), fold).map(|micros| micros / MICROS / 60)
        };
        // The clocks go from 02:00 to 03:00 on 27 March 2026, and from 02:00 to 01:00 on 25 October.
        for (local, fold, minutes) in [
            ("2026-01-01T12:00:00", false, 120),
            ("2026-06-01T12:00:00", true, 180),
            ("2026-03-27T02:30:00", false, 120),
            ("2026-03-27T02:30:00", true, 180),
            ("2026-10-25T01:30:00", false, 180),
            ("2026-10-25T01:30:00", true, 120),
        ] {
            assert_eq!(at(&jerusalem, local, fold), Some(minutes), "{local} {fold}");
            let file = Zone::DateutilFile("/usr/share/zoneinfo/Asia/Jerusalem".into());
            assert_eq!(at(&file, local, fold), Some(minutes), "{local} {fold}");
        }
        let noon = "2026-06-01T12:00:00";
        assert_eq!(at(&Zone::Pytz("Etc/GMT-2".into(), None), noon, false), Some(120));
        assert_eq!(at(&Zone::Pytz("x".into(), Some((8460, 0, "LMT".into()))), noon, false), Some(141));
        assert_eq!(at(&Zone::PytzFixed(-90), noon, false), Some(-90));
        assert_eq!(at(&Zone::ZoneInfo("Mars/Olympus".into(), true), noon, false), None);
        assert_eq!(at(&Zone::DateutilFile("/etc/localtime".into()), noon, false), None);
    }
}
