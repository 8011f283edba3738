//! The trait to implement: a job's name, settings and work.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{JobContext, JobError, JobResult, Limit, RetryPolicy};

/// A kind of job: its name, its settings, and its work.
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
    /// The dotted function name for enqueueing; its last part is accepted too.
    const NAME: &'static str;
    /// The names of the arguments in order, needed only if callers mix positional and named ones.
    const PARAMETERS: &'static [&'static str] = &[];
    /// The arguments.
    type Args: DeserializeOwned + Send;

    /// Its settings.
    fn settings(&self) -> JobSettings {
        JobSettings::default()
    }

    /// The id of the job for log lines, if it is not the id of the queue job.
    fn known_as(&self, args: &Self::Args) -> Option<String> {
        let _ = args;
        None
    }

    /// Runs one attempt. It may be repeated after a crash: make effects idempotent, or use checkpoints. If it
    /// ignores its timeout, it is dropped at its next await.
    fn run(&self, args: Self::Args, ctx: &JobContext) -> impl Future<Output = JobResult> + Send;

    /// Called when the job has failed for good, for any reason (error, panic, timeout, too many crashes),
    /// before the queue records it: once, and again only if the process dies before that. Update your own
    /// records here. It has [its own time limit](JobSettings::failed_timeout), and is dropped after that.
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

/// The settings of a kind of job. Settings that were enqueued with a job take precedence.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// The queue for jobs that are enqueued without one.
    pub queue: &'static str,
    /// The time limit of an attempt.
    pub timeout: Limit,
    /// The time limit of [`Job::failed`], without time spent [without a clock](JobContext::without_clock).
    pub failed_timeout: Duration,
    /// Whether a timeout is a final failure, whatever retries are left.
    pub final_timeout: bool,
    /// The retries after a failed attempt.
    pub retry: RetryPolicy,
    /// How long results and failures are kept.
    pub retention: Retention,
    /// What happens when its process dies.
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

/// What happens to a job whose process died during an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanPolicy {
    /// Run again from its checkpoint, without using up a retry.
    RunAgain {
        /// After this many deaths it is treated as a failed attempt.
        at_most: u32,
    },
    /// Treat it as a failed attempt: retried if a retry is left, else failed.
    AsFailure,
}

impl Default for JobSettings {
    /// RQ's defaults: 180 s, no retry, results kept for 500 s, failures for a year; plus 60 s for `failed`.
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
