//! A job's calls to the [`StatusTracker`]: they are repeated until it answers.

use std::time::Duration;

use actix::{Addr, Handler, MailboxError, Message};
use tracing::Instrument as _;

use crate::fault::{Fault, FaultKind};
use crate::job::{Backoff, Completion, JobContext, JobError, JobResult, QueueEnd, RetryAsked, StopReason};
use crate::measure::Unanswered;
use crate::store::cannot_end;
use crate::tracking::StatusTracker;
use crate::user_log::USER_LOG;

/// Calls the tracker.
#[derive(Clone)]
pub(super) struct TrackerLine(pub(super) Addr<StatusTracker>);

/// Why an attempt stops without an answer.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The job was asked to stop first.
    Asked(StopReason),
    /// The fault is permanent.
    Fault(Fault),
}

impl Stopped {
    /// The result of the attempt.
    pub(super) fn into_result(self) -> JobResult {
        match self {
            Self::Asked(StopReason::Draining) => Ok(Completion::Continue(QueueEnd::Head)),
            Self::Asked(StopReason::TimedOut) => Err(timed_out()),
            Self::Asked(reason) => Err(reason.error()),
            // A queue job that failed would leave its row to one queue job after another.
            Self::Fault(fault) if cannot_end(&fault) => {
                let waits = (1..=9).map(|power| Duration::from_secs(1 << power));
                Ok(Completion::Retry(RetryAsked::at_most(u32::MAX).after(waits)))
            }
            Self::Fault(fault) => Err(JobError::from(fault)),
        }
    }
}

/// The error of a timeout. The row has failed, so no retry could continue it.
pub(super) fn timed_out() -> JobError {
    JobError::permanent(StopReason::TimedOut)
}

/// What the log lines of the deletion of receipts begin with.
pub(super) const LABEL: &str = "RECEIPTS_DELETE";

/// How long a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until the job is asked to stop.
    Asked,
    /// Until the process drains, even if the job's time is over.
    Drained,
}

/// Repeats a call until there is an answer. Meanwhile the job waits, and its time limits are suspended. Log lines begin
/// with `label`.
pub(super) async fn patiently<T, F: Future<Output = Result<T, Fault>>>(
    (ctx, label): (&JobContext, &str),
    until: Until,
    ask: impl Fn() -> F,
) -> Result<T, Stopped> {
    let mut failures = 0;
    loop {
        let fault = match ctx.without_clock(ask()).await {
            Ok(answer) => return Ok(answer),
            Err(fault) if fault.is_retryable() => fault,
            Err(fault) => return Err(Stopped::Fault(fault)),
        };
        failures += 1;
        let delay = Backoff::BATCH.plain(failures);
        log_backoff(label, (delay, failures), &fault);
        // A stopping job still makes the call, but does not wait for a late answer.
        match until {
            Until::Asked => ctx.without_clock(ctx.sleep(delay)).await.map_err(Stopped::Asked)?,
            Until::Drained if ctx.stop_requested() == Some(StopReason::Draining) => {
                return Err(Stopped::Asked(StopReason::Draining));
            }
            Until::Drained => ctx.without_clock(tokio::time::sleep(delay)).await,
        }
    }
}

impl TrackerLine {
    /// Calls the tracker until it answers or the job is asked to stop.
    pub(super) async fn ask<M, T>(&self, ctx: &JobContext, message: impl Fn() -> M) -> Result<T, Stopped>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
        StatusTracker: Handler<M>,
    {
        patiently((ctx, LABEL), Until::Asked, || self.send(message())).await
    }

    /// Calls the tracker until it answers, even if the job's time is over.
    pub(super) async fn insist<M, T>(&self, ctx: &JobContext, message: impl Fn() -> M) -> Result<T, Stopped>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
        StatusTracker: Handler<M>,
    {
        patiently((ctx, LABEL), Until::Drained, || self.send(message())).await
    }

    async fn send<M, T>(&self, message: M) -> Result<T, Fault>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
        StatusTracker: Handler<M>,
    {
        let _message = Unanswered::at("status_tracker");
        let answer = self.0.send(message).instrument(tracing::debug_span!("tracker"));
        answer.await.unwrap_or_else(|lost| Err(restarting(lost)))
    }
}

/// The tracker or the batch actor restarted: the call is repeated.
pub(super) fn restarting(lost: MailboxError) -> Fault {
    Fault::new(FaultKind::Retryable, "an actor restarted while it worked on this").because(lost)
}

/// Logs the delay, for users, while a batch fails.
pub(super) fn log_backoff(label: &str, (delay, failures): (Duration, u32), fault: &Fault) {
    tracing::warn!(error = fault.chain(), "a batch cannot be deleted now");
    tracing::warn!(
        target: USER_LOG, { delay_s = delay.as_secs(), failures },
        "⏳ [{label}] Backing off {}s after {failures} failures", delay.as_secs()
    );
}
