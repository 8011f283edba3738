//! Parses the texts of dates, times and offsets.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use serde_json::{Map, Value};

use super::times::{Clock, Moment, Offset};
use super::zone::Zone;

/// The additional data of a text.
#[derive(Default)]
struct Beside {
    fold: bool,
    name: Option<String>,
    zone: Option<Zone>,
}

/// Parses a datetime; `None` if it is invalid.
pub fn moment(content: &Value) -> Option<Moment> {
    let (text, beside) = parts(content)?;
    let (date, time) = text.split_once('T')?;
    let (time, offset) = time_of_day(time, beside.name.as_deref())?;
    let offset = in_zone(offset, beside.zone)?;
    Some(Moment { local: NaiveDateTime::new(day(date)?, time), fold: beside.fold, offset })
}

/// Parses a time of day.
pub fn clock(content: &Value) -> Option<Clock> {
    let (text, beside) = parts(content)?;
    let (local, offset) = time_of_day(text, beside.name.as_deref())?;
    let offset = in_zone(offset, beside.zone)?;
    Some(Clock { local, fold: beside.fold, offset })
}

/// Parses a time zone.
pub fn offset(content: &Value) -> Option<Offset> {
    let (text, beside) = parts(content)?;
    if beside.fold || beside.zone.is_some() { None } else { distance(text, beside.name.as_deref()) }
}

/// Parses a date, within Python's range of years.
pub fn day(text: &str) -> Option<NaiveDate> {
    let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let day = text.parse::<NaiveDate>().ok().filter(|_| plain)?;
    (1..=9999).contains(&chrono::Datelike::year(&day)).then_some(day)
}

/// A text, with its additional data if there is any.
pub fn written(text: String, fold: bool, offset: Option<&Offset>) -> Value {
    let mut beside = Map::new();
    if fold {
        beside.insert("fold".into(), Value::Bool(true));
    }
    if let Some(name) = offset.and_then(Offset::name) {
        beside.insert("name".into(), name.into());
    }
    if let Some(zone) = offset.and_then(Offset::zone) {
        beside.insert("zone".into(), zone.to_json());
    }
    if beside.is_empty() { text.into() } else { Value::Array(vec![text.into(), Value::Object(beside)]) }
}

fn parts(content: &Value) -> Option<(&str, Beside)> {
    match content {
        Value::String(text) => Some((text, Beside::default())),
        Value::Array(both) => match both.as_slice() {
            [Value::String(text), Value::Object(beside)] => Some((text, self::beside(beside)?)),
            _ => None,
        },
        _ => None,
    }
}

fn beside(given: &Map<String, Value>) -> Option<Beside> {
    let mut read = Beside::default();
    for (key, value) in given {
        match (key.as_str(), value) {
            ("fold", Value::Bool(fold)) => read.fold = *fold,
            ("name", Value::String(name)) => read.name = Some(name.clone()),
            ("zone", zone) => read.zone = Some(Zone::from_json(zone)?),
            _ => return None,
        }
    }
    Some(read)
}

/// The offset together with its zone. The outer `None`: there is a zone without an offset.
#[expect(clippy::option_option, reason = "naive, aware, or neither")]
fn in_zone(offset: Option<Offset>, zone: Option<Zone>) -> Option<Option<Offset>> {
    match (offset, zone) {
        (offset, None) => Some(offset),
        (Some(offset), Some(zone)) => Offset::of_zone(offset.micros(), zone).map(Some),
        (None, Some(_)) => None,
    }
}

/// Parses `03:04:05.000006+02:00`; fraction and offset are optional.
fn time_of_day(text: &str, name: Option<&str>) -> Option<(NaiveTime, Option<Offset>)> {
    let (clock, rest) = match text.find(['+', '-', 'Z']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let offset = match rest {
        "" if name.is_some() => return None,
        "" => None,
        "Z" => Some(Offset::new(0, name)?),
        rest => Some(distance(rest, name)?),
    };
    let time = clock.parse::<NaiveTime>().ok()?;
    let exact = time.nanosecond() < 1_000_000_000 && time.nanosecond() % 1000 == 0;
    exact.then_some((time, offset))
}

/// Parses `+02:00`; seconds and their fraction are optional.
fn distance(text: &str, name: Option<&str>) -> Option<Offset> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let mut time = text.get(1..)?.to_owned();
    if time.len() == 5 {
        time.push_str(":00");
    }
    let (time, none) = time_of_day(&time, None)?;
    let micros =
        i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1000);
    if none.is_some() { None } else { Offset::new(sign * micros, name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_read_back_as_written() {
        for text in [
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.000006",
            "0001-01-01T00:00:00+00:00",
            "9999-12-31T23:59:59.999999-23:59:59.999999",
        ] {
            assert_eq!(moment(&json!(text)).unwrap().to_string(), text);
        }
        assert_eq!(moment(&json!("2026-01-02T03:04:05Z")).unwrap().to_string(), "2026-01-02T03:04:05+00:00");
        let named = json!(["03:04:05+02:00", { "fold": true, "name": "IST" }]);
        let clock = clock(&named).unwrap();
        assert_eq!(written(clock.to_string(), clock.fold, clock.offset.as_ref()), named);
    }

    #[test]
    fn texts_that_are_no_times_are_none() {
        for text in
            ["", "T", "2026-01-02", "2026-01-02T25:00:00", "2026-01-02T03:04:05+24:00", "2026-1-2T03:04:05"]
        {
            assert_eq!(moment(&json!(text)), None, "{text}");
        }
        assert_eq!(moment(&json!("2026-01-02T03:04:60")), None, "Python has no leap seconds");
        assert_eq!(moment(&json!("2026-01-02T03:04:05.000000001")), None, "nor nanoseconds");
        assert_eq!(day("+12026-01-02"), None);
        assert_eq!(offset(&json!("+0200")), None);
    }
}
