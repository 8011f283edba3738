//! The disposition of a job after an attempt or a death: pure rules.

use std::time::Duration;

use serde_json::Value;

use crate::job::{
    Completion, JobError, JobErrorKind, JobRecord, JobResult, JobSettings, Limit, OrphanPolicy, QueueEnd,
};
use crate::queue::Disposition;
use crate::supervision::Panic;

/// The deepest result that is kept. JSON readers fail at 128 levels, SQLite at 1000, and an unreadable result
/// would hide the other jobs in its list.
const DEEPEST_RESULT: usize = 100;

fn is_deeper(value: &Value, limit: usize) -> bool {
    let mut inner: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => return false,
    };
    limit == 0 || inner.any(|inner| is_deeper(inner, limit - 1))
}

/// The result of an attempt; a panic is a failure with its text and place.
pub(super) fn outcome(ended: Result<JobResult, Panic>) -> JobResult {
    ended.unwrap_or_else(|panic| Err(JobError::retryable(format!("the job panicked: {panic}"))))
}

/// The error of a timeout, in RQ's own words, which users and tools know, followed by `more`.
pub(super) fn timed_out(job: &JobRecord, settings: &JobSettings, more: &str) -> JobError {
    let limit = job.time_limit(settings).duration().unwrap_or_default().as_secs();
    let message = format!("Task exceeded maximum timeout value ({limit} seconds){more}");
    if settings.final_timeout { JobError::permanent(message) } else { JobError::retryable(message) }
}

/// The result of a job that did not end within the `grace` of a drain; it follows the policy for a death.
pub(super) fn cut_off(settings: &JobSettings, grace: Duration) -> JobResult {
    match settings.orphan {
        OrphanPolicy::RunAgain { .. } => Ok(Completion::Continue(QueueEnd::Head)),
        OrphanPolicy::AsFailure => Err(JobError::retryable(format!(
            "its process had to leave, and the job did not end within the {} that it was left",
            humantime::format_duration(grace)
        ))),
    }
}

/// The disposition of a job after its attempt. `chance` is a random number from 0 to 1.
pub(crate) fn after_attempt(
    job: &JobRecord,
    settings: &JobSettings,
    ended: JobResult,
    chance: f64,
) -> Disposition {
    match ended {
        Ok(Completion::Finished(result)) if is_deeper(&result, DEEPEST_RESULT) => bury(
            job,
            settings,
            format!(
                "the job ended well, but its result is nested more than {DEEPEST_RESULT} deep and cannot be kept; \
                 expected a flatter one"
            ),
        ),
        Ok(Completion::Finished(result)) => finished(job, settings, result),
        Ok(Completion::Continue(end)) => Disposition::Release { end },
        Ok(Completion::Retry(asked) | Completion::Verbatim { retry: Some(asked), .. }) => {
            let keep = failure_ttl(job, settings);
            match asked.delay(job.retries_asked) {
                Some(delay) => Disposition::RunAgain { delay, asked, keep },
                None => Disposition::Exhaust { asked, keep },
            }
        }
        Ok(Completion::Verbatim { retry: None, words }) => {
            let told = |payload: &Vec<u8>| format!("({} bytes in another language)", payload.len()).into();
            finished(job, settings, words.payload.as_ref().map_or(Value::Null, told))
        }
        Err(error) => after_failure(job, settings, error, chance),
    }
}

fn finished(job: &JobRecord, settings: &JobSettings, result: Value) -> Disposition {
    Disposition::Ack { result, keep: job.result_ttl.unwrap_or(settings.retention.result) }
}

fn after_failure(job: &JobRecord, settings: &JobSettings, error: JobError, chance: f64) -> Disposition {
    let delay = match error.kind {
        JobErrorKind::Retryable => job.retry_delay(settings, chance),
        JobErrorKind::Permanent => None,
        JobErrorKind::Stopped => {
            return Disposition::Stop { error: error.message, keep: failure_ttl(job, settings) };
        }
    };
    match delay {
        Some(delay) => Disposition::RetryAt { delay, error: error.message },
        None => bury(job, settings, error.message),
    }
}

/// The disposition of a job that no retry can help.
pub(crate) fn bury(job: &JobRecord, settings: &JobSettings, error: String) -> Disposition {
    Disposition::Discard { error, keep: failure_ttl(job, settings) }
}

fn failure_ttl(job: &JobRecord, settings: &JobSettings) -> Limit {
    job.failure_ttl.unwrap_or(settings.retention.failure)
}

/// The disposition of a job whose process died.
pub(crate) fn after_death(job: &JobRecord, settings: &JobSettings, died: &str, chance: f64) -> Disposition {
    match settings.orphan {
        OrphanPolicy::RunAgain { at_most } if job.orphaned < at_most => Disposition::Rescue,
        OrphanPolicy::RunAgain { at_most } => bury(
            job,
            settings,
            format!("{died}; it is the {}th time, and {at_most} are allowed", job.orphaned + 1),
        ),
        OrphanPolicy::AsFailure => after_failure(job, settings, JobError::retryable(died), chance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Args, NewJob, QueueEnd, Retries, RetryAsked, RetryPolicy, StopReason};
    use std::time::Duration;

    fn job() -> JobRecord {
        JobRecord::of(NewJob::new("j", "q", "k", Args::default()), chrono::DateTime::UNIX_EPOCH)
    }

    #[test]
    fn what_came_with_the_job_goes_before_its_kind() {
        let mut job = job();
        job.result_ttl = Some(Limit::Never);
        let verdict = after_attempt(&job, &JobSettings::default(), Ok(Completion::done()), 0.5);
        assert_eq!(verdict, Disposition::Ack { result: Value::Null, keep: Limit::Never });
    }

    #[test]
    fn a_continuation_costs_no_retry() {
        let ended = Ok(Completion::Continue(QueueEnd::Tail));
        let verdict = after_attempt(&job(), &JobSettings::default(), ended, 0.5);
        assert_eq!(verdict, Disposition::Release { end: QueueEnd::Tail });
    }

    #[test]
    fn a_job_that_asks_is_run_again_until_its_maximum_whatever_retries_are_left() {
        let mut job = job();
        job.retries = Some(Retries { left: 0, intervals: vec![] });
        let asked = RetryAsked::at_most(1).after([Duration::from_secs(7)]);
        let end = |job: &JobRecord| {
            after_attempt(job, &JobSettings::default(), Ok(Completion::Retry(asked.clone())), 0.5)
        };
        let keep = JobSettings::default().retention.failure;
        let (delay, asked) = (Duration::from_secs(7), asked.clone());
        assert_eq!(end(&job), Disposition::RunAgain { delay, asked: asked.clone(), keep });
        job.retries_asked = 1;
        assert_eq!(end(&job), Disposition::Exhaust { asked, keep });
    }

    #[test]
    fn a_permanent_error_is_not_tried_again() {
        let mut job = job();
        job.retries = Some(Retries { left: 3, intervals: vec![] });
        let again = after_attempt(&job, &JobSettings::default(), Err(JobError::retryable("x")), 0.5);
        assert_eq!(again, Disposition::RetryAt { delay: Duration::ZERO, error: "x".into() });
        let never = after_attempt(&job, &JobSettings::default(), Err(JobError::permanent("x")), 0.5);
        assert!(matches!(never, Disposition::Discard { .. }));
    }

    #[test]
    fn a_stopped_job_is_not_tried_again_and_known_as_stopped() {
        let mut job = job();
        job.retries = Some(Retries { left: 3, intervals: vec![] });
        let end = |error| after_attempt(&job, &JobSettings::default(), Err(error), 0.5);
        assert!(matches!(end(StopReason::Stopped.error()), Disposition::Stop { .. }));
        assert!(matches!(end(StopReason::Killed.error()), Disposition::RetryAt { .. }));
    }

    #[test]
    fn a_result_that_nobody_could_read_back_buries_the_job_in_words() {
        let nested = |depth| (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let end = |depth| {
            let ended = Ok(Completion::Finished(nested(depth)));
            after_attempt(&job(), &JobSettings::default(), ended, 0.5)
        };
        assert!(matches!(end(DEEPEST_RESULT), Disposition::Ack { .. }));
        let Disposition::Discard { error, .. } = end(DEEPEST_RESULT + 1) else { panic!("it was kept") };
        assert!(error.contains("nested more than 100 deep"), "{error}");
        let kept = serde_json::to_string(&nested(DEEPEST_RESULT)).unwrap();
        assert!(serde_json::from_str::<Value>(&kept).is_ok(), "what is kept can be read");
    }

    #[test]
    fn an_orphan_runs_again_as_often_as_its_kind_allows() {
        let orphan = OrphanPolicy::RunAgain { at_most: 2 };
        let settings = JobSettings { orphan, ..JobSettings::default() };
        let mut job = job();
        assert_eq!(after_death(&job, &settings, "died", 0.5), Disposition::Rescue);
        job.orphaned = 2;
        assert!(matches!(after_death(&job, &settings, "died", 0.5), Disposition::Discard { .. }));
    }

    #[test]
    fn an_orphan_without_checkpoint_is_a_failed_attempt() {
        let settings = JobSettings { retry: RetryPolicy::exponential(1), ..JobSettings::default() };
        let mut job = job();
        assert!(matches!(after_death(&job, &settings, "died", 0.5), Disposition::RetryAt { .. }));
        job.failures = 1;
        assert!(matches!(after_death(&job, &settings, "died", 0.5), Disposition::Discard { .. }));
    }
}
