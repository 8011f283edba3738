//! What the answer of a Python process means for its job.

use std::time::Duration;

use crate::job::{
    Completion, EndSignal, JobChanges, JobError, JobResult, Limit, RetryAsked, StopReason, Verbatim,
};
use crate::python::{JobOutcome, JobResult as Answer, ResultAttributes, ReturnedRetry};

/// The end of a job that answered. `written` is told later whether that end counts.
pub(super) fn ended(answer: Answer, written: Option<EndSignal>) -> JobResult {
    let Answer { attributes, payload, exc_string, changed } = answer;
    let words = Verbatim {
        payload: (!attributes.none).then_some(payload),
        traceback: None,
        changes: JobChanges { fields: changed, ..changes(&attributes) },
        written,
        unlisted: false,
    };
    match attributes.outcome {
        JobOutcome::Ok => Ok(Completion::in_own_words(None, words)),
        JobOutcome::Retry => Ok(Completion::in_own_words(attributes.retry.as_ref().map(asked), words)),
        JobOutcome::Failed => {
            let traceback = Some(String::from_utf8_lossy(&exc_string).into_owned());
            Err(JobError::in_own_words(Verbatim { payload: None, traceback, ..words }))
        }
    }
}

/// The error of a job that a person ended.
pub(super) fn person_ended(reason: StopReason) -> JobError {
    reason.error()
}

fn asked(retry: &ReturnedRetry) -> RetryAsked {
    let asked = RetryAsked::at_most(whole(retry.max).unwrap_or(0)).after(seconds(&retry.intervals));
    if retry.at_front { asked.at_front() } else { asked }
}

fn changes(attributes: &ResultAttributes) -> JobChanges {
    JobChanges {
        result_ttl: attributes.result_ttl.map(limit),
        failure_ttl: attributes.failure_ttl.map(limit),
        retries_left: attributes.retries_left.and_then(whole),
        retry_intervals: attributes.retry_intervals.as_deref().map(seconds),
        at_front_on_retry: attributes.enqueue_at_front_on_retry,
        repeats_left: attributes.repeats_left.and_then(whole),
        repeat_intervals: attributes.repeat_intervals.as_deref().map(seconds),
        fields: Vec::new(),
    }
}

/// Negative is without end, as in RQ.
fn limit(seconds: i64) -> Limit {
    u64::try_from(seconds).map_or(Limit::Never, |seconds| Limit::After(Duration::from_secs(seconds)))
}

fn whole(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn seconds(all: &[i64]) -> Vec<Duration> {
    all.iter().map(|one| Duration::from_secs(u64::try_from(*one).unwrap_or(0))).collect()
}
