//! The progress of a job, its rate and its remaining time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The counters of a job, in items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// All items; 0 if unknown.
    pub total: i64,
    /// Items handled, successfully or not.
    pub processed: i64,
    /// Items handled successfully.
    pub succeeded: i64,
    /// Items set aside.
    pub failed: i64,
}

impl Progress {
    /// The progress that a job has saved for people as a value of its own: `{"done": 3, "total": 10}`, a share with a
    /// decimal point from 0.0 to 1.0, or a percentage from 0 to 100. `None`: it is none of these.
    #[must_use]
    pub fn of_saved(saved: &Value) -> Option<Self> {
        let (processed, total) = match saved {
            Value::Object(counts) => {
                let count = |name: &str| counts.get(name)?.as_i64().filter(|count| *count >= 0);
                (count("done")?, count("total").filter(|total| *total > 0)?)
            }
            Value::Number(number) => {
                let value = number.as_f64().filter(|value| (0.0..=100.0).contains(value))?;
                let is_share = number.is_f64() && value <= 1.0;
                ((if is_share { value * 100.0 } else { value }).round() as i64, 100)
            }
            _ => return None,
        };
        Some(Self { total, processed: processed.min(total), ..Self::default() })
    }

    /// The share of handled items, 0 to 100, with one decimal; 0 if the total is unknown, never above 100.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.total <= 0 {
            return 0.0;
        }
        let tenths = (self.processed as f64 * 1000.0 / self.total as f64).round();
        tenths.clamp(0.0, 1000.0) / 10.0
    }
}

/// Rate and remaining time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Items per second.
    pub rate: f64,
    /// The time until all is done; `None` if the total is unknown.
    pub eta: Option<Duration>,
}

/// The weight of the newest sample in the moving average: a compromise between smooth and current.
const ALPHA: f64 = 0.4;

/// A moving average over progress samples. The caller passes the time, since any fixed start.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateMeter {
    last: Option<(Duration, i64)>,
    rate: Option<f64>,
}

impl RateMeter {
    /// Adds a sample: `processed` items at time `at`. Samples that do not move forward are ignored.
    pub fn sample(&mut self, at: Duration, processed: i64) {
        if let Some((then, before)) = self.last {
            let (seconds, items) = (at.saturating_sub(then).as_secs_f64(), processed - before);
            if seconds <= 0.0 || items < 0 {
                return;
            }
            let now = items as f64 / seconds;
            self.rate = Some(self.rate.map_or(now, |rate| rate + ALPHA * (now - rate)));
        }
        self.last = Some((at, processed));
    }

    /// Rate and remaining time for `progress`; `None` before two samples.
    #[must_use]
    pub fn estimate(&self, progress: &Progress) -> Option<Estimate> {
        let rate = self.rate?;
        let left = (progress.total - progress.processed).max(0) as f64;
        let eta = (progress.total > 0 && rate > 0.0)
            .then(|| Duration::try_from_secs_f64(left / rate).ok())
            .flatten();
        Some(Estimate { rate, eta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_has_one_decimal_and_no_division_by_zero() {
        let progress = |total, processed| Progress { total, processed, ..Progress::default() };
        assert_eq!(progress(0, 5).percent(), 0.0);
        assert_eq!(progress(1000, 50).percent(), 5.0);
        assert_eq!(progress(3, 1).percent(), 33.3);
        assert_eq!(progress(10, 12).percent(), 100.0);
    }

    #[test]
    fn saved_progress_is_a_share_a_percentage_or_two_counts() {
        use serde_json::json;
        let of = |saved| Progress::of_saved(&saved).map(|progress| (progress.processed, progress.total));
        for (saved, expected) in [
            (json!(0), (0, 100)),
            (json!(0.25), (25, 100)),
            (json!(1.0), (100, 100)),
            (json!(1), (1, 100)),
            (json!(42.6), (43, 100)),
            (json!(100), (100, 100)),
            (json!({ "done": 3, "total": 10 }), (3, 10)),
            (json!({ "done": 12, "total": 10 }), (10, 10)),
        ] {
            assert_eq!(of(saved.clone()), Some(expected), "{saved}");
        }
        let others = [json!(-1), json!(101), json!("50"), json!(null), json!({ "done": 3 }), json!([1, 2])];
        for saved in others.into_iter().chain([json!({ "done": 0, "total": 0 })]) {
            assert_eq!(of(saved.clone()), None, "{saved}");
        }
    }

    #[test]
    fn rate_follows_samples_and_gives_time_left() {
        let mut meter = RateMeter::default();
        meter.sample(Duration::from_secs(0), 0);
        meter.sample(Duration::from_secs(1), 50);
        let progress = Progress { total: 150, processed: 50, ..Progress::default() };
        let estimate = meter.estimate(&progress).unwrap();
        assert_eq!(estimate.rate, 50.0);
        assert_eq!(estimate.eta, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_stalled_job_has_no_time_left() {
        let mut meter = RateMeter::default();
        meter.sample(Duration::from_secs(0), 0);
        meter.sample(Duration::from_secs(1), 0);
        assert_eq!(meter.estimate(&Progress { total: 5, ..Progress::default() }).unwrap().eta, None);
    }
}
