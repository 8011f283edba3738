//! Runs a job's code alone, without queue, worker or clock, for tests of your own jobs.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{Control, Job, JobContext, JobResult, Progress, StopReason};

/// A replacement for the runtime. Sleeps end at once and are added up; progress reports are recorded.
///
/// ```
/// # use tikkun::job::{Completion, Job, JobContext, JobResult, Progress, QueueEnd, Rehearsal, StopReason};
/// # use std::time::Duration;
/// struct Count;
///
/// impl Job for Count {
///     const NAME: &'static str = "shop.count";
///     type Args = (i64,);
///
///     async fn run(&self, (total,): (i64,), ctx: &JobContext) -> JobResult {
///         for processed in 1..=total {
///             if ctx.sleep(Duration::from_secs(60)).await.is_err() {
///                 return Ok(Completion::Continue(QueueEnd::Head));
///             }
///             ctx.report(Progress { total, processed, succeeded: processed, failed: 0 });
///         }
///         Ok(Completion::done())
///     }
/// }
///
/// # tikkun::runtime::System::new().block_on(async {
/// let alone = Rehearsal::new();
/// assert_eq!(alone.run(&Count, (3,)).await, Ok(Completion::done()));
/// assert_eq!(alone.slept(), Duration::from_secs(180));
///
/// let told_to_stop = Rehearsal::new().stop_after(Duration::from_secs(60), StopReason::Draining);
/// assert_eq!(told_to_stop.run(&Count, (3,)).await, Ok(Completion::Continue(QueueEnd::Head)));
/// assert_eq!(told_to_stop.reported().last().map(|progress| progress.processed), Some(1));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Rehearsal {
    attempt: u32,
    stop: Option<(Duration, StopReason)>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    slept: Duration,
    reported: Vec<Progress>,
}

impl Default for Rehearsal {
    fn default() -> Self {
        Self { attempt: 1, stop: None, seen: Arc::default() }
    }
}

impl Rehearsal {
    /// A first attempt without a request to stop.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of the attempt; they count from 1.
    #[must_use]
    pub fn attempt(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

    /// Asks the job to stop after it has slept for this long; zero: from the start.
    #[must_use]
    pub fn stop_after(self, slept: Duration, reason: StopReason) -> Self {
        Self { stop: Some((slept, reason)), ..self }
    }

    /// Runs one attempt and returns its result. A panic reaches the test.
    ///
    /// # Errors
    /// The job's own error.
    pub async fn run<J: Job>(&self, job: &J, args: J::Args) -> JobResult {
        job.run(args, &self.context(J::NAME)).await
    }

    /// The context for the job: the job and its queue are both named `rehearsal`.
    #[must_use]
    pub fn context(&self, kind: &str) -> JobContext {
        let name = "rehearsal";
        JobContext::new(name.into(), name.into(), kind.into(), self.attempt, Arc::new(self.clone()))
    }

    /// The total time that it slept.
    #[must_use]
    pub fn slept(&self) -> Duration {
        self.seen.lock().slept
    }

    /// Its progress reports, in order.
    #[must_use]
    pub fn reported(&self) -> Vec<Progress> {
        self.seen.lock().reported.clone()
    }
}

impl Control for Rehearsal {
    fn stop_requested(&self) -> Option<StopReason> {
        self.stop.filter(|(after, _)| self.slept() >= *after).map(|(_, reason)| reason)
    }

    fn stopped(&self) -> BoxFuture<'_, StopReason> {
        match self.stop_requested() {
            Some(reason) => Box::pin(std::future::ready(reason)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.seen.lock().slept += duration })
    }

    fn report(&self, progress: Progress) {
        self.seen.lock().reported.push(progress);
    }

    fn set_waiting(&self, _: bool) {}

    /// `None`, as for a job without a timeout.
    fn time_left(&self) -> Option<Duration> {
        None
    }
}
