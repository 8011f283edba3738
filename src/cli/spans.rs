//! Durations on the command line.

use std::time::Duration;

use crate::job::Limit;

/// The longest duration, about 100 years. A longer one could overflow dates.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Parses `10s` or `1h 30m`; zero is allowed.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text.trim()).ok().filter(|duration| *duration <= LONGEST);
    parsed.ok_or_else(|| "expected a duration with its unit, such as 200ms, 10s or 5m".to_owned())
}

/// Parses a duration longer than zero.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    let long_enough = duration(text)?;
    if long_enough.is_zero() {
        Err("expected a duration longer than zero".to_owned())
    } else {
        Ok(long_enough)
    }
}

/// Parses `30m` or `never`; zero is allowed.
pub(super) fn keep(text: &str) -> Result<Limit, String> {
    if text.trim().eq_ignore_ascii_case("never") {
        return Ok(Limit::Never);
    }
    let told = |_| "expected `never` or a duration with its unit, such as 30s, 5m or 1day".to_owned();
    duration(text).map(Limit::After).map_err(told)
}

/// Parses `30m` or `never`; zero is refused.
pub(super) fn limit(text: &str) -> Result<Limit, String> {
    match keep(text)? {
        Limit::After(Duration::ZERO) => Err("expected `never` or a duration longer than zero".to_owned()),
        limit => Ok(limit),
    }
}

/// A duration in its two largest units.
pub(super) fn short(seconds: f64) -> String {
    let all = seconds.max(0.0).round() as u64;
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3600 % 24, all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_two_largest_units() {
        let told = [(0.4, "0s"), (61.0, "1m 1s"), (3720.0, "1h 2m"), (93_600.0, "1d 2h"), (-5.0, "0s")];
        for (seconds, words) in told {
            assert_eq!(short(seconds), words);
        }
        assert!(short(f64::NAN).ends_with('s') && short(f64::INFINITY).contains('d'));
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for nonsense in ["", "10", "-1s", "soon", "9999999999years"] {
            assert!(duration(nonsense).unwrap_err().contains("with its unit"), "{nonsense}");
        }
    }

    #[test]
    fn never_has_no_end_and_no_time_at_all_is_no_limit() {
        assert_eq!(limit("Never"), Ok(Limit::Never));
        assert!(limit("0s").is_err() && some_time("0s").is_err());
        assert_eq!(keep("0s"), Ok(Limit::After(Duration::ZERO)));
    }
}
