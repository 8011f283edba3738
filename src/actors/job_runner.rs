//! Runs one job at a time and says how it ended. Nothing survives a restart: a job in hand when the
//! runner itself breaks goes back to its queue unharmed.

use std::sync::Arc;
use std::time::Duration;

use actix::ActorFutureExt as _;
use actix::{Actor, Context, Handler, Message, ResponseActFuture, Supervised, WrapFuture};

use super::Running;
use super::attempt_control::AttemptControl;
use super::verdict::{after_attempt, bury};
use crate::failpoint;
use crate::job::{
    Args, ArgsError, BoxedJob, Completion, Control as _, JobContext, JobError, JobRecord, JobResult,
    JobSettings, KindName, QueueEnd, Registry, StopReason,
};
use crate::queue::{Delivery, Settlement, Verdict};
use crate::story::STORY;
use crate::supervision::{Panic, catch_panic};

/// The actor.
pub struct JobRunner {
    /// What it can run.
    registry: Arc<Registry>,
    /// How long a job that was asked to stop may take to do so.
    grace: Duration,
    /// The attempt in hand.
    current: Option<Arc<AttemptControl>>,
    /// Where the job in hand is shown.
    running: Running,
    /// Set for good by [`StopForDrain`].
    draining: bool,
}

/// Asks to run a job; the answer is how it ended.
#[derive(Message)]
#[rtype(result = "JobEnded")]
pub struct RunJob {
    /// The job, and the delivery it came with.
    pub delivery: Box<Delivery>,
}

/// How a job ended, ready to be settled.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEnded(pub Settlement);

/// Asks the job in hand, and each that still comes, to stop at its next safe point.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StopForDrain;

impl JobEnded {
    fn new(delivery: &Delivery, verdict: Verdict) -> Self {
        Self(Settlement {
            job: delivery.job.id.clone(),
            queue: delivery.job.queue.clone(),
            execution: delivery.execution.clone(),
            verdict,
        })
    }

    /// The job goes back to the head of its queue as if it had never left.
    #[must_use]
    pub fn given_back(delivery: &Delivery) -> Self {
        Self::new(delivery, Verdict::GiveBack { end: QueueEnd::Head })
    }
}

impl JobRunner {
    /// A runner for the kinds of `registry`; a job that was asked to stop has `grace` to do so.
    #[must_use]
    pub fn new(registry: Arc<Registry>, grace: Duration, running: Running) -> Self {
        Self { registry, grace, current: None, running, draining: false }
    }
}

impl Actor for JobRunner {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        failpoint::reach("job_runner.started");
    }
}

impl Supervised for JobRunner {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.current = None;
    }
}

impl Handler<RunJob> for JobRunner {
    type Result = ResponseActFuture<Self, JobEnded>;

    fn handle(&mut self, RunJob { delivery }: RunJob, _: &mut Self::Context) -> Self::Result {
        let found = find(&self.registry, &delivery.job);
        let settings = found.as_ref().map(|found| found.job.settings()).unwrap_or_default();
        let control = Arc::new(AttemptControl::new(delivery.job.time_limit(&settings)));
        if self.draining {
            control.request_stop(StopReason::Draining);
        }
        self.current = Some(Arc::clone(&control));
        failpoint::reach("job_runner.run");
        let in_hand = self.running.take_in_hand(&delivery, &control);
        let attempt = Attempt { delivery: *delivery, settings, control, grace: self.grace };
        let ended = async move {
            let _in_hand = in_hand;
            attempt.run(found).await
        };
        Box::pin(ended.into_actor(self).map(|ended, runner, _| {
            runner.current = None;
            ended
        }))
    }
}

impl Handler<StopForDrain> for JobRunner {
    type Result = ();

    fn handle(&mut self, _: StopForDrain, _: &mut Self::Context) {
        self.draining = true;
        if let Some(control) = &self.current {
            control.request_stop(StopReason::Draining);
        }
    }
}

/// A kind of job, with arguments that it can read.
struct Found {
    job: Arc<dyn BoxedJob>,
    args: Args,
    known_as: String,
}

/// Looks the function up and reads its arguments.
fn find(registry: &Registry, record: &JobRecord) -> Result<Found, JobError> {
    let job = registry.find(&record.kind).map_err(JobError::permanent)?;
    let args = record.args.clone().map_err(|error| unreadable(registry, &error))?;
    let known_as = job.known_as(&args).map_err(|error| unreadable(registry, &error))?;
    let known_as = known_as.unwrap_or_else(|| record.id.to_string());
    Ok(Found { job: Arc::clone(job), args, known_as })
}

fn unreadable(registry: &Registry, error: &ArgsError) -> JobError {
    JobError::permanent(format!("{error}; registered: {}", registry.names().collect::<Vec<_>>().join(", ")))
}

/// One attempt at one job.
struct Attempt {
    delivery: Delivery,
    settings: JobSettings,
    control: Arc<AttemptControl>,
    grace: Duration,
}

impl Attempt {
    async fn run(self, found: Result<Found, JobError>) -> JobEnded {
        let verdict = match found {
            Ok(found) => self.run_found(&found).await,
            Err(error) => {
                self.log_failed(self.delivery.job.id.as_str(), &error.message, false);
                bury(&self.delivery.job, &self.settings, error.message)
            }
        };
        JobEnded::new(&self.delivery, verdict)
    }

    async fn run_found(&self, found: &Found) -> Verdict {
        let job = &self.delivery.job;
        tracing::info!(
            target: STORY, { job.id = found.known_as, job.kind = %job.kind, job.attempt = job.attempt, queue.name = %job.queue },
            "🔨 JOB PICKED queue='{}' job_id={} function={}", job.queue, found.known_as, self.function()
        );
        let ctx = JobContext::new(
            job.id.clone(),
            job.queue.clone(),
            job.kind.clone(),
            job.attempt,
            Arc::clone(&self.control) as _,
        );
        let started = tokio::time::Instant::now();
        let ended = self.body(found, &ctx).await;
        let verdict = after_attempt(job, &self.settings, ended, fastrand::f64());
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(job.id = %job.id, job.kind = %job.kind, duration_ms, "the attempt ended");
        match &verdict {
            Verdict::Bury { error, .. } => {
                self.log_failed(&found.known_as, error, false);
                self.tell_kind(found, &ctx, error).await;
            }
            Verdict::RetryAt { error, .. } => self.log_failed(&found.known_as, error, true),
            _ => {}
        }
        verdict
    }

    /// The body, within its time, with its panics caught.
    async fn body(&self, found: &Found, ctx: &JobContext) -> JobResult {
        let body = catch_panic(found.job.run(&found.args, ctx));
        tokio::pin!(body);
        tokio::select! {
            ended = &mut body => return outcome(ended),
            () = self.control.time_is_up() => self.control.request_stop(StopReason::TimedOut),
            _ = self.control.stopped() => {}
        }
        let stopped = tokio::time::timeout(self.grace, &mut body).await;
        match (stopped.map(outcome), self.control.stop_requested()) {
            (Ok(Ok(Completion::Finished(result))), _) => Ok(Completion::Finished(result)),
            (Ok(Err(error)), Some(StopReason::TimedOut)) => {
                Err(JobError { message: self.timed_out(), kind: error.kind })
            }
            (_, Some(StopReason::TimedOut)) => Err(JobError::retryable(self.timed_out())),
            (Ok(ended), _) => ended,
            (Err(_), _) => Ok(Completion::Continue(QueueEnd::Head)),
        }
    }

    /// RQ's own words, which its users know and its tools look for.
    fn timed_out(&self) -> String {
        let limit = self.delivery.job.time_limit(&self.settings).duration().unwrap_or_default();
        format!("Task exceeded maximum timeout value ({} seconds)", limit.as_secs())
    }

    /// Gives the kind a chance to bring its own records in line. A panic in there changes nothing.
    async fn tell_kind(&self, found: &Found, ctx: &JobContext, error: &str) {
        let error = JobError::permanent(error);
        if let Err(panic) = catch_panic(found.job.failed(&found.args, &error, ctx)).await {
            tracing::error!(job.id = %ctx.job, %panic, "the job's own clean-up after its failure panicked");
        }
    }

    fn function(&self) -> String {
        KindName::from(self.delivery.job.kind.as_str()).short().to_owned()
    }

    fn log_failed(&self, known_as: &str, error: &str, again: bool) {
        let job = &self.delivery.job;
        tracing::warn!(job.id = known_as, error, again, "an attempt failed");
        tracing::error!(
            target: STORY, { job.id = known_as, queue.name = %job.queue, job.kind = %job.kind, job.attempt = job.attempt, again, error },
            "❌ JOB FAILED queue='{}' job_id={known_as} function={}",
            job.queue,
            self.function()
        );
    }
}

/// A panic is a failed attempt with its text and place.
fn outcome(ended: Result<JobResult, Panic>) -> JobResult {
    ended.unwrap_or_else(|panic| Err(JobError::retryable(format!("the job panicked: {panic}"))))
}
