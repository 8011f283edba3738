//! A recurring job.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{Args, CronRule, JobId, KindName, Limit, NewJob, QueueName, Retries};

/// How to treat due times that passed while no scheduler was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Enqueue nothing.
    Skip,
    /// Enqueue one job for all of them.
    Once,
    /// Enqueue a job for each of them, up to a limit.
    All,
}

/// A job and its due times.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its unique name: letters, digits, `_` and `-`.
    pub name: String,
    /// The rule for its due times.
    pub rule: CronRule,
    /// The function.
    pub kind: KindName,
    /// Its arguments.
    pub args: Args,
    /// The queue of its jobs.
    pub queue: QueueName,
    /// The time limit of an attempt; `None`: that of the kind.
    pub timeout: Option<Limit>,
    /// Its retries; `None`: those of the kind.
    pub retries: Option<Retries>,
    /// Each job is delayed by a part of this, so that not all schedules of one minute start at once.
    pub jitter: Duration,
    /// How to treat due times that passed while no scheduler was running.
    pub missed: Missed,
}

impl Schedule {
    /// The leader lease of those who have schedules of these names; `None` without any.
    #[must_use]
    pub fn role_of(schedules: &[Self]) -> Option<String> {
        let mut names: Vec<_> = schedules.iter().map(|schedule| schedule.name.as_str()).collect();
        names.sort_unstable();
        (!names.is_empty()).then(|| format!("schedules-{:08x}", hash(&names.join(","))))
    }

    /// The id of the job for one due time; the same for every process that enqueues it.
    #[must_use]
    pub fn id_at(&self, time: DateTime<Utc>) -> JobId {
        JobId::from(format!("cron-{}-{}", self.name, time.format("%Y%m%dT%H%M%SZ")))
    }

    /// The job for one due time.
    #[must_use]
    pub fn job_at(&self, time: DateTime<Utc>) -> NewJob {
        let id = self.id_at(time);
        let delay = self.jitter.mul_f64(share(id.as_str()));
        let due = time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        NewJob {
            timeout: self.timeout,
            retries: self.retries.clone(),
            delay: (!delay.is_zero()).then_some(delay),
            meta: Map::from_iter([
                ("schedule".to_owned(), Value::from(self.name.as_str())),
                ("due".to_owned(), Value::from(due)),
            ]),
            ..NewJob::new(id, self.queue.clone(), self.kind.clone(), self.args.clone())
        }
    }
}

/// A number from 0 to 1 that looks random and is the same for the same text.
fn share(text: &str) -> f64 {
    f64::from(hash(text)) / f64::from(u32::MAX)
}

/// FNV-1a, with its constants.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    fn schedule(jitter: Duration) -> Schedule {
        Schedule {
            name: "nightly_report-2".to_owned(),
            rule: CronRule::parse("0 3 * * *", Tz::UTC).unwrap(),
            kind: "shop.jobs.report".into(),
            args: Args::positional([Value::from(27)]),
            queue: "low".into(),
            timeout: Some(Limit::After(Duration::from_secs(60))),
            retries: None,
            jitter,
            missed: Missed::Once,
        }
    }

    #[test]
    fn a_time_has_one_job_with_a_safe_id() {
        let time = "2026-03-27T03:00:00Z".parse().unwrap();
        let job = schedule(Duration::ZERO).job_at(time);
        assert_eq!(job.id.as_str(), "cron-nightly_report-2-20260327T030000Z");
        assert!(job.id.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)));
        assert_eq!(job, schedule(Duration::ZERO).job_at(time));
        assert_eq!((job.delay, job.queue.as_str()), (None, "low"));
        assert_eq!(job.meta.get("due"), Some(&Value::from("2026-03-27T03:00:00Z")));
    }

    #[test]
    fn jitter_spreads_jobs_within_its_bound() {
        let jitter = Duration::from_secs(600);
        let day = |n| DateTime::UNIX_EPOCH + chrono::TimeDelta::days(n);
        let delays: Vec<_> =
            (0..100).map(|n| schedule(jitter).job_at(day(n)).delay.unwrap_or_default()).collect();
        assert!(delays.iter().all(|delay| *delay <= jitter));
        let early = delays.iter().filter(|delay| **delay < jitter / 2).count();
        assert!((20..80).contains(&early), "{early} of 100 in the first half");
    }
}
