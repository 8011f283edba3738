//! One attempt at a job, from its arguments to its disposition.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::callback::{Called, Ended};
use super::control::AttemptControl;
use super::disposition::{after_attempt, after_death, bury, cut_off, outcome, timed_out};
use super::fence::Fence;
use super::found::{Found, NotFound, unreadable};
use super::messages::Loss;
use crate::job::{
    Args, Callback, Completion, Control as _, JobContext, JobError, JobResult, JobSettings, KindName,
    QueueEnd, QueueName, Registry, StopReason, Verbatim, own_words,
};
use crate::queue::{Delivery, Disposition, Settlement};
use crate::supervision::catch_panic;
use crate::user_log::USER_LOG;

/// How long a job that a user stopped may take to end; RQ kills it at once.
const ORDERED_GRACE: Duration = Duration::from_secs(1);

/// One attempt at one job.
pub(crate) struct Attempt {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) settings: JobSettings,
    pub(crate) control: Arc<AttemptControl>,
    pub(crate) grace: Duration,
    pub(crate) fence: Fence,
    /// The registered kinds, for the job's callbacks and for forwarding unknown functions.
    pub(crate) registry: Arc<Registry>,
}

/// What becomes of the job, what its record says besides, and its own words, if it is in another language.
type Concluded = (Disposition, Option<String>, Option<Arc<Verbatim>>);

impl Attempt {
    pub(crate) async fn run(&self, found: Result<Found, NotFound>) -> Settlement {
        let concluded = match (found, self.registry.elsewhere(&self.delivery.job.queue)) {
            (Ok(found), _) => self.run_found(&found).await,
            (Err(NotFound::Unknown(_)), Some(queue)) => (Self::forward(queue), None, None),
            (Err(error), _) => self.unknown(error.into_error(), true).await,
        };
        self.settlement(concluded)
    }

    pub(super) fn settlement(&self, (verdict, remark, verbatim): Concluded) -> Settlement {
        Settlement { remark, verbatim, ..Settlement::new(&self.delivery, verdict) }
    }

    /// Ends a job whose runner or thread was lost.
    pub(crate) async fn end_lost(
        &self,
        found: Result<Found, NotFound>,
        loss: Loss,
        tell: bool,
    ) -> Settlement {
        let error = match loss {
            Loss::Thread => {
                let given_up = "; its code never yielded, so its thread was given up";
                timed_out(&self.delivery.job, &self.settings, given_up)
            }
            Loss::Runner => {
                let job = &self.delivery.job;
                let broke = format!("the runner of this job broke under it (attempt {})", job.attempt);
                match after_death(job, &self.settings, &broke, fastrand::f64()) {
                    Disposition::Discard { error, .. } => JobError::permanent(error),
                    Disposition::RetryAt { error, .. } => JobError::retryable(error),
                    again => return Settlement::new(&self.delivery, again),
                }
            }
        };
        let concluded = match found {
            Ok(found) => {
                let ctx = self.context();
                self.conclude(&found, Err(error), tell.then_some(&ctx)).await
            }
            Err(error) => self.unknown(error.into_error(), tell).await,
        };
        self.settlement(concluded)
    }

    /// Polls `work` and records each poll, until the fence falls. After that nothing more is run, and the
    /// answer does not count.
    pub(crate) async fn in_turns(&self, work: impl Future<Output = Settlement>) -> Settlement {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if self.fence.has_fallen() {
                return Poll::Ready(Settlement::given_back(&self.delivery));
            }
            let _turn = self.control.begin_turn();
            work.as_mut().poll(cx)
        })
        .await
    }

    pub(super) async fn unknown(&self, error: JobError, tell: bool) -> Concluded {
        let (ended, remark) = if tell { self.call_back(Err(error)).await } else { (Err(error), None) };
        let error = ended.err().map(|error| error.message).unwrap_or_default();
        self.log_failed(self.delivery.job.id.as_str(), &error, false);
        (bury(&self.delivery.job, &self.settings, error), remark, None)
    }

    fn args(&self) -> Result<&Args, JobError> {
        self.delivery.job.args.as_ref().map_err(|error| unreadable(&self.registry, error))
    }

    fn forward(queue: &QueueName) -> Disposition {
        tracing::info!(to = %queue,
            "this process does not have the job's function; it waits in another queue now");
        Disposition::Forward { queue: queue.clone() }
    }

    pub(super) fn context(&self) -> JobContext {
        let job = &self.delivery.job;
        let control = Arc::clone(&self.control) as _;
        JobContext::new(job.id.clone(), job.queue.clone(), job.kind.clone(), job.attempt, control)
            .made_at(job.created_at)
    }

    async fn run_found(&self, found: &Found) -> Concluded {
        let job = &self.delivery.job;
        tracing::info!(
            target: USER_LOG, { job.id = found.known_as, job.kind = %job.kind, job.attempt = job.attempt, queue.name = %job.queue },
            "🔨 JOB PICKED queue='{}' job_id={} function={}", job.queue, found.known_as, self.function()
        );
        let ctx = self.context();
        let started = tokio::time::Instant::now();
        let ended = self.body(found, &ctx).await;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(duration_ms, "the attempt ended");
        if self.fence.has_fallen() {
            // It held its thread too long: its end has been decided elsewhere.
            return (Disposition::Release { end: QueueEnd::Head }, None, None);
        }
        self.conclude(found, ended, Some(&ctx)).await
    }

    /// What becomes of the job. The callbacks of its enqueuer are called, and its kind after a failure for good. Without `tell` nobody
    /// does: their code has held a thread already. Code in another language has called its callbacks itself.
    async fn conclude(&self, found: &Found, ended: JobResult, tell: Option<&JobContext>) -> Concluded {
        let words = own_words(&ended).cloned();
        let calls = tell.is_some() && words.is_none();
        let (ended, remark) = if calls { self.call_back(ended).await } else { (ended, None) };
        let job = &self.delivery.job;
        let changed = words.as_ref().map(|words| job.clone().changed(&words.changes));
        let verdict = after_attempt(changed.as_ref().unwrap_or(job), &self.settings, ended, fastrand::f64());
        if let Disposition::RunAgain { delay, .. } = &verdict {
            tracing::info!(
                delay = %humantime::format_duration(*delay),
                "the job asked to be run again, and waits for that"
            );
        }
        if let Some(error) = verdict.error() {
            let again = matches!(verdict, Disposition::RetryAt { .. });
            self.log_failed(&found.known_as, error, again);
            if let Some(ctx) = tell.filter(|_| !again) {
                self.tell_kind(found, ctx, error).await;
            }
        }
        (verdict, remark, words)
    }

    /// Calls the enqueuer's callback for this end. If the callback fails, it changes the end as in RQ. If it
    /// takes longer than a drain allows, it is dropped: without a written end, the whole job would run again.
    async fn call_back(&self, mut ended: JobResult) -> (JobResult, Option<String>) {
        let job = &self.delivery.job;
        if job.callbacks.is_empty() {
            return (ended, None);
        }
        let told = Ended { id: &job.id, queue: &job.queue, attempt: job.attempt };
        let mut remark = None;
        if let Ok(Completion::Finished(result)) = &ended {
            let call = Called::after_success(&self.registry, &job.callbacks, told, result);
            let called = self.hook(Called::named(&job.callbacks, None), call).await;
            let called = called.unwrap_or_else(|| Called::dropped(&job.callbacks, None));
            remark = called.remark;
            if let Some(error) = called.error {
                ended = Err(JobError::retryable(error));
            }
        }
        if let Err(error) = &mut ended {
            let call = Called::after_error(&self.registry, &job.callbacks, told, error);
            let called = self.hook(Called::named(&job.callbacks, Some(&*error)), call).await;
            let called = called.unwrap_or_else(|| Called::dropped(&job.callbacks, Some(&*error)));
            remark = called.remark.or(remark);
            error.message = called.error.unwrap_or_else(|| std::mem::take(&mut error.message));
        }
        (ended, remark)
    }

    /// Runs a call with the time limit of the callback.
    async fn hook<T>(&self, callback: Option<&Callback>, call: impl Future<Output = T>) -> Option<T> {
        if let Some(callback) = callback {
            self.control.begin_hook(callback.timeout);
        }
        self.before_leaving(call).await
    }

    /// Runs `work`; `None` if it takes longer than half of the time that a drain reserves for writing ends.
    async fn before_leaving<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.control.drained_for(self.grace + self.grace / 6) => None,
        }
    }

    /// Runs the job's code with its time limit, and catches panics.
    async fn body(&self, found: &Found, ctx: &JobContext) -> JobResult {
        let body = catch_panic(found.job.run(self.args()?, ctx));
        tokio::pin!(body);
        tokio::select! {
            // The body comes first: if it ends in its first poll, no timer is needed.
            biased;
            ended = &mut body => return outcome(ended),
            () = self.control.time_is_up() => self.control.request_stop(StopReason::TimedOut),
            _ = self.control.stopped() => {}
        }
        let stopped = tokio::select! {
            biased;
            ended = &mut body => Some(outcome(ended)),
            () = self.grace_is_over() => None,
        };
        match (stopped, self.control.stop_requested()) {
            (Some(Ok(done @ (Completion::Finished(_) | Completion::Verbatim { retry: None, .. }))), _) => {
                Ok(done)
            }
            // Its own clock was as quick as ours, and it knows where it stood.
            (Some(Err(error)), Some(StopReason::TimedOut)) if error.verbatim.is_some() => Err(error),
            (_, Some(StopReason::TimedOut)) => Err(timed_out(&self.delivery.job, &self.settings, "")),
            (_, Some(reason)) if reason.is_of_a_person() => Err(reason.error()),
            (Some(ended), _) => ended,
            (None, _) => cut_off(&self.settings, self.grace),
        }
    }

    /// Completes when a stopping job has used up its grace period. A user's stop during a drain does not
    /// extend it.
    async fn grace_is_over(&self) {
        let ordered = async {
            self.control.stopped_by_person().await;
            tokio::time::sleep(self.grace.min(ORDERED_GRACE)).await;
        };
        tokio::select! {
            () = tokio::time::sleep(self.grace) => {}
            () = ordered => {}
        }
    }

    /// Notifies the kind, within its time limit, so that it can update its records. A panic is ignored.
    async fn tell_kind(&self, found: &Found, ctx: &JobContext, error: &str) {
        let (error, Ok(args)) = (JobError::permanent(error), self.args()) else { return };
        self.control.begin_hook(self.settings.failed_timeout);
        let told = async {
            tokio::select! {
                biased;
                told = catch_panic(found.job.failed(args, &error, ctx)) => Some(told),
                () = self.control.time_is_up() => None,
            }
        };
        match self.before_leaving(told).await {
            Some(Some(Ok(()))) => {}
            Some(Some(Err(panic))) => {
                tracing::error!(%panic, "the job's own clean-up after its failure panicked");
            }
            Some(None) => {
                tracing::error!(
                    "the job's own clean-up after its failure did not end within {}, and was dropped",
                    humantime::format_duration(self.settings.failed_timeout)
                );
            }
            None => {
                tracing::error!(
                    "the job's own clean-up after its failure did not end before the process had to leave"
                );
            }
        }
    }

    pub(super) fn function(&self) -> String {
        KindName::from(self.delivery.job.kind.as_str()).short().to_owned()
    }

    pub(super) fn log_failed(&self, known_as: &str, error: &str, again: bool) {
        let job = &self.delivery.job;
        #[cfg(feature = "opentelemetry")]
        super::export::failed(error);
        tracing::warn!(error, again, "an attempt failed");
        tracing::error!(
            target: USER_LOG, { job.id = known_as, queue.name = %job.queue, job.kind = %job.kind, job.attempt = job.attempt, again, error },
            "❌ JOB FAILED queue='{}' job_id={known_as} function={}",
            job.queue,
            self.function()
        );
    }
}
