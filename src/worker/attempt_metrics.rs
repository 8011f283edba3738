//! The metrics of an attempt, from the fetch to the settlement.

use std::time::Duration;

use crate::job::JobRecord;
use crate::measure::{AttemptEnd, QueueMeter, UnderWay};
use crate::queue::{Disposition, Settled};

/// Counts the beginning of an attempt.
pub(super) fn begin(meter: &QueueMeter, job: &JobRecord) -> UnderWay {
    meter.begin(job.kind.as_str(), waited(job))
}

/// How long a fetched job waited in its queue; 0 if clocks differ and it would be negative.
fn waited(job: &JobRecord) -> Option<Duration> {
    let waited = job.started_at? - job.enqueued_at?;
    Some(waited.to_std().unwrap_or_default())
}

/// The counted end of an attempt after its settlement.
pub(super) fn end_of(verdict: &Disposition, settled: Settled) -> AttemptEnd {
    match (settled, verdict) {
        (Settled::NotOurs, _) => AttemptEnd::Fenced,
        (Settled::Done, Disposition::Ack { .. }) => AttemptEnd::Finished,
        (Settled::Done, Disposition::RetryAt { .. } | Disposition::RunAgain { .. }) => AttemptEnd::Retried,
        (Settled::Done, Disposition::Discard { .. } | Disposition::Exhaust { .. }) => AttemptEnd::Failed,
        (Settled::Done, Disposition::Stop { .. }) => AttemptEnd::Stopped,
        (Settled::Done, Disposition::Forward { .. }) => AttemptEnd::Forwarded,
        (Settled::Done, Disposition::Release { .. } | Disposition::Rescue) => AttemptEnd::Returned,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::job::{Args, NewJob};

    #[test]
    fn a_wait_goes_from_the_queue_to_the_start_and_is_never_negative() {
        let now = DateTime::UNIX_EPOCH;
        let mut job = JobRecord::of(NewJob::new("a", "q", "k", Args::default()), now);
        assert_eq!(waited(&job), None, "it has not started");
        job.started_at = Some(now + TimeDelta::seconds(3));
        assert_eq!(waited(&job), Some(Duration::from_secs(3)));
        job.started_at = Some(now - TimeDelta::seconds(3));
        assert_eq!(waited(&job), Some(Duration::ZERO));
    }
}
