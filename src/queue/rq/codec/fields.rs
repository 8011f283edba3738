//! Times and lists in the form of RQ's hash fields.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::refusal::{Refusal, shown};

/// Parses a timestamp; `None` for an empty field. More forms are accepted than are written.
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

/// Writes intervals as `[10, 30, 60]`, in whole seconds.
#[must_use]
pub fn write_intervals(intervals: &[Duration]) -> String {
    let seconds: Vec<_> = intervals.iter().map(|one| one.as_secs().to_string()).collect();
    format!("[{}]", seconds.join(", "))
}

/// Parses a list of seconds.
///
/// # Errors
/// When it is no list of numbers, or one of them is negative.
pub fn parse_intervals(text: &str) -> Result<Vec<Duration>, Refusal> {
    let told = || Refusal::new(format!("`{}` is no list of seconds like [10, 30, 60]", shown(text)));
    let seconds: Vec<f64> = serde_json::from_str(text).map_err(|_| told())?;
    seconds.into_iter().map(|one| Duration::try_from_secs_f64(one).map_err(|_| told())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_with_any_digits_and_offsets() {
        let at = parse_timestamp("2026-11-23T19:10:30.202204Z").unwrap().unwrap();
        assert_eq!(at.timestamp_micros(), 1_795_461_030_202_204);
        let whole = parse_timestamp("2026-11-23T19:10:30Z").unwrap().unwrap();
        for same in ["2026-11-23T19:10:30", "2026-11-23T21:10:30.000+02:00", "2026-11-23T19:10:30.000000000Z"]
        {
            assert_eq!(parse_timestamp(same).unwrap(), Some(whole), "{same}");
        }
        assert_eq!(parse_timestamp("").unwrap(), None);
        assert!(parse_timestamp("soon").unwrap_err().to_string().starts_with("`soon` is no time"));
    }

    #[test]
    fn lists_read_back_as_written() {
        let intervals = parse_intervals("[10, 30, 60]").unwrap();
        assert_eq!(write_intervals(&intervals), "[10, 30, 60]");
        assert_eq!(parse_intervals("[0.5]").unwrap(), [Duration::from_millis(500)]);
        assert!(parse_intervals("[-1]").is_err() && parse_intervals("10").is_err());
    }
}
