//! The trait you implement: a job's identity and its body.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{JobContext, JobError, JobResult, Limit, RetryPolicy};

/// A kind of job: who it is, how it is treated, what it does.
///
/// ```
/// use serde::Deserialize;
/// use tikkun::job::{Completion, Job, JobContext, JobResult, JobSettings, RetryPolicy};
///
/// struct SendReceipt;
///
/// #[derive(Deserialize)]
/// struct SendReceiptArgs {
///     receipt_id: i64,
/// }
///
/// impl Job for SendReceipt {
///     const NAME: &'static str = "shop.jobs.send_receipt";
///     type Args = SendReceiptArgs;
///
///     fn settings(&self) -> JobSettings {
///         JobSettings { retry: RetryPolicy::exponential(5), ..JobSettings::default() }
///     }
///
///     async fn run(&self, args: SendReceiptArgs, ctx: &JobContext) -> JobResult {
///         if ctx.stop_requested().is_some() {
///             return Ok(Completion::Continue(tikkun::job::QueueEnd::Head));
///         }
///         Ok(Completion::Finished(serde_json::json!({ "sent": args.receipt_id })))
///     }
/// }
/// ```
pub trait Job: Send + Sync + 'static {
    /// The dotted function name it is enqueued under; its last part is accepted too.
    const NAME: &'static str;
    /// Names of the arguments in their order, needed only when callers mix positions and names.
    const PARAMETERS: &'static [&'static str] = &[];
    /// The arguments.
    type Args: DeserializeOwned + Send;

    /// How the runtime treats it.
    fn settings(&self) -> JobSettings {
        JobSettings::default()
    }

    /// The id people know this job by in log lines, when it is not the queue's own.
    fn known_as(&self, args: &Self::Args) -> Option<String> {
        let _ = args;
        None
    }

    /// One attempt. It may be repeated after a crash: keep effects idempotent, or checkpoint them.
    /// Dropped at its next await when it ignores its timeout.
    fn run(&self, args: Self::Args, ctx: &JobContext) -> impl Future<Output = JobResult> + Send;

    /// Called when the job has failed for good, however that came about (error, panic, timeout, too many
    /// crashes), before the queue is told: once, and again only when the process dies before that. Bring your own
    /// records in line here. It has [its time](JobSettings::failed_timeout), and is
    /// dropped after that.
    fn failed(
        &self,
        args: Self::Args,
        error: &JobError,
        ctx: &JobContext,
    ) -> impl Future<Output = ()> + Send {
        let _ = (args, error, ctx);
        async {}
    }
}

/// How the runtime treats a kind of job. What was enqueued with the job itself goes first.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// Queue for jobs that are enqueued without one.
    pub queue: &'static str,
    /// Time for one attempt.
    pub timeout: Limit,
    /// Time for [`Job::failed`]. What it does [without a clock](JobContext::without_clock) does not count.
    pub failed_timeout: Duration,
    /// Whether an attempt that ran out of time has failed for good, whatever retries are left.
    pub final_timeout: bool,
    /// What happens after a failed attempt.
    pub retry: RetryPolicy,
    /// How long results and failures are kept.
    pub retention: Retention,
    /// What happens when the process that ran it dies.
    pub orphan: OrphanPolicy,
}

/// How long ended jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// After success.
    pub result: Limit,
    /// After failure.
    pub failure: Limit,
}

/// RQ's own defaults: 500 s and a year.
impl Default for Retention {
    fn default() -> Self {
        Self {
            result: Limit::After(Duration::from_secs(500)),
            failure: Limit::After(Duration::from_secs(31_536_000)),
        }
    }
}

/// What happens to a job whose process died in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanPolicy {
    /// Run again from its checkpoint; costs no retry.
    RunAgain {
        /// After so many deaths under it, it is treated as a failure.
        at_most: u32,
    },
    /// As after a failed attempt: again if a retry is left, else failed.
    AsFailure,
}

impl Default for JobSettings {
    /// RQ's own defaults: 180 s, a minute for what follows a failure, no retry, results kept 500 s, failures a year.
    fn default() -> Self {
        Self {
            queue: "default",
            timeout: Limit::After(Duration::from_secs(180)),
            failed_timeout: Duration::from_secs(60),
            final_timeout: false,
            retry: RetryPolicy::NEVER,
            retention: Retention::default(),
            orphan: OrphanPolicy::AsFailure,
        }
    }
}
