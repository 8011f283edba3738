//! Times and lists, as the fields of RQ's hashes hold them.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

use super::refusal::{Refusal, shown};

/// `2026-11-23T19:10:30.202204Z`: six digits, or readers raise.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Reads a timestamp; none when the field is empty. More forms are read than are written.
///
/// # Errors
/// When it is no time.
pub fn parse_timestamp(text: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .or_else(|_| text.parse::<NaiveDateTime>().map(|at| at.and_utc()))
        .map(Some)
        .map_err(|_| Refusal::new(format!("`{}` is no time like 2026-01-02T03:04:05.000006Z", shown(text))))
}

/// Seconds since 1970 with six digits of fraction.
#[must_use]
pub fn epoch(at: DateTime<Utc>) -> String {
    format!("{}.{:06}", at.timestamp(), at.timestamp_subsec_micros())
}

/// Reads seconds since 1970, with a fraction or without.
///
/// # Errors
/// When it is no number or no time.
pub fn parse_epoch(text: &str) -> Result<DateTime<Utc>, Refusal> {
    let read = || {
        let seconds =
            text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && seconds.abs() < 1e12)?;
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        DateTime::from_timestamp_micros((seconds * 1e6).round() as i64)
    };
    read().ok_or_else(|| Refusal::new(format!("`{}` is no number of seconds since 1970", shown(text))))
}

/// `[10, 30, 60]`: whole seconds.
#[must_use]
pub fn write_intervals(intervals: &[Duration]) -> String {
    let seconds: Vec<_> = intervals.iter().map(|one| one.as_secs().to_string()).collect();
    format!("[{}]", seconds.join(", "))
}

/// Reads a list of seconds.
///
/// # Errors
/// When it is no list of numbers, or one of them is negative.
pub fn parse_intervals(text: &str) -> Result<Vec<Duration>, Refusal> {
    let told = || Refusal::new(format!("`{}` is no list of seconds like [10, 30, 60]", shown(text)));
    let seconds: Vec<f64> = serde_json::from_str(text).map_err(|_| told())?;
    seconds.into_iter().map(|one| Duration::try_from_secs_f64(one).map_err(|_| told())).collect()
}

/// Reads a list of texts, such as `dependency_ids`.
///
/// # Errors
/// When it is no list of texts.
pub fn parse_texts(text: &str) -> Result<Vec<String>, Refusal> {
    serde_json::from_str(text).map_err(|_| Refusal::new(format!("`{}` is no list of texts", shown(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_six_digits_and_a_z() {
        let at = parse_timestamp("2026-11-23T19:10:30.202204Z").unwrap().unwrap();
        assert_eq!(timestamp(at), "2026-11-23T19:10:30.202204Z");
        let whole = parse_timestamp("2026-11-23T19:10:30Z").unwrap().unwrap();
        assert_eq!(timestamp(whole), "2026-11-23T19:10:30.000000Z");
        for same in ["2026-11-23T19:10:30", "2026-11-23T21:10:30.000+02:00", "2026-11-23T19:10:30.000000000Z"]
        {
            assert_eq!(parse_timestamp(same).unwrap(), Some(whole), "{same}");
        }
        assert_eq!(parse_timestamp("").unwrap(), None);
        assert!(parse_timestamp("soon").unwrap_err().to_string().starts_with("`soon` is no time"));
    }

    #[test]
    fn epochs_keep_their_microseconds() {
        let at = parse_epoch("1795461208.882521").unwrap();
        assert_eq!(
            (timestamp(at).as_str(), epoch(at).as_str()),
            ("2026-11-23T19:13:28.882521Z", "1795461208.882521")
        );
        assert_eq!(epoch(parse_epoch("1795461208").unwrap()), "1795461208.000000");
        for bad in ["", "nan", "1e300", "x"] {
            assert!(parse_epoch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_read_back_as_written() {
        let intervals = parse_intervals("[10, 30, 60]").unwrap();
        assert_eq!(write_intervals(&intervals), "[10, 30, 60]");
        assert_eq!(parse_intervals("[0.5]").unwrap(), [Duration::from_millis(500)]);
        assert!(parse_intervals("[-1]").is_err() && parse_intervals("10").is_err());
        assert_eq!(parse_texts(r#"["a", "b"]"#).unwrap(), ["a", "b"]);
    }
}
