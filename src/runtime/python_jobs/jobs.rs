//! Runs jobs in Python processes, one child at a time for each.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::answers::{ended, person_ended};
use super::clock::Clock;
use super::killed::{Killed, exceeded, told};
use super::last::Last;
use super::lines::Lines;
use crate::backoff::Backoff;
use crate::config::ByteSize;
use crate::job::{
    AbandonedJob, Completion, EndGiven, EndSignal, ForeignJob, ForeignJobs, JobContext, JobError, JobRecord,
    JobResult, JobSettings, QueueEnd, StopReason, Verbatim,
};
use crate::python::{
    CallbackOrder, CallbackReason, Called, Child, Death, OutputSink, Phase, Pool, Ran, RawJob,
};

/// How long a process has to write the stacks of its threads before it is killed.
const STACKS: Duration = Duration::from_millis(300);
/// How long a worker's handler for processes that die may take.
const CALLBACK: Duration = Duration::from_secs(60);

/// The jobs of one captured worker.
pub(super) struct PythonJobs {
    pub(super) pool: Pool,
    pub(super) lines: Lines,
    pub(super) settings: JobSettings,
    /// How long code that does not yield to its time limit goes on before its process is killed.
    pub(super) kill_after: Duration,
    /// How many bytes a process may have for itself before it is killed.
    pub(super) memory_limit: Option<u64>,
    /// The worker has code of its own for processes that die under a job.
    pub(super) handles_deaths: bool,
    /// The worker has code of its own for failures, which RQ calls for jobs that were stopped, too.
    pub(super) handles_stops: bool,
    /// Nothing is logged of a job that ends well.
    pub(super) is_quiet: bool,
    /// What fails for good is listed; RQ's default exception handler is on.
    pub(super) lists_failures: bool,
    /// How much longer than a job its worker's own code may take before the job begins.
    pub(super) before_beginning: Duration,
    /// The worker's handlers of exceptions are called for jobs that were left behind, too, which RQ does since version 2.
    pub(super) handles_failures: bool,
    pub(super) last: Last,
    /// Becomes true when the processes of running jobs are to end.
    pub(super) end: watch::Receiver<bool>,
}

impl ForeignJobs for PythonJobs {
    fn settings(&self) -> JobSettings {
        self.settings.clone()
    }

    fn lists_failures(&self) -> bool {
        self.lists_failures
    }

    fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    fn run<'a>(&'a self, job: ForeignJob<'a>, ctx: &'a JobContext) -> BoxFuture<'a, JobResult> {
        Box::pin(async move {
            if !self.last.one_more() {
                return Ok(Completion::Continue(QueueEnd::Head));
            }
            let raw = raw(job);
            let JobRecord { id, kind, queue, .. } = job.record;
            let sink = self.lines.of(id, Some(kind), queue);
            loop {
                let child = match self.child(ctx).await {
                    Ok(child) => child,
                    Err(StopReason::Draining) => return Ok(Completion::Continue(QueueEnd::Head)),
                    Err(reason) => return Err(person_ended(reason)),
                };
                if let Some(ended) = self.run_in(child, (&raw, &sink), job, ctx).await {
                    return ended;
                }
            }
        })
    }

    fn abandoned<'a>(&'a self, job: AbandonedJob<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if job.on_failure.is_none() && !self.handles_failures {
                return;
            }
            // Read anew where it is called: its end is written.
            let raw = RawJob { id: job.id.to_string(), queue: job.queue.to_string(), ..RawJob::default() };
            let sink = self.lines.of(job.id, None, job.queue);
            let may_take = job.on_failure.map_or(CALLBACK, |callback| callback.timeout);
            self.call((CallbackReason::Abandoned, None), may_take, (&raw, &sink)).await;
        })
    }
}

impl PythonJobs {
    /// Waits for a child, through failed forks and the start of another zygote, which is an outage and no failure of
    /// the job; or until the job should stop.
    async fn child(&self, ctx: &JobContext) -> Result<Child, StopReason> {
        let mut failures = 0;
        loop {
            let taken = tokio::select! {
                biased;
                taken = self.pool.take() => taken,
                reason = ctx.stopped() => return Err(reason),
            };
            let fault = match taken {
                Ok(child) => return Ok(child),
                Err(fault) => fault,
            };
            failures += 1;
            if failures == 1 {
                tracing::warn!(error = fault.chain(), "a job waits for a python process");
            }
            ctx.sleep(Backoff::RESTART.delay(failures, fastrand::f64())).await?;
        }
    }

    /// Runs the job in this child; `None` when the child left before it began.
    async fn run_in(
        &self,
        mut child: Child,
        (raw, sink): (&RawJob<'_>, &Arc<dyn OutputSink>),
        job: ForeignJob<'_>,
        ctx: &JobContext,
    ) -> Option<JobResult> {
        let limit = job.record.time_limit(&self.settings).duration();
        let (ran, killed) = self.watched(&mut child, (raw, sink), limit, ctx).await;
        match ran {
            Ran::Answered(result) => {
                let (is_waited_for, (signal, given)) = (result.attributes.synchronous, EndSignal::new());
                let ended = ended(*result, is_waited_for.then_some(signal));
                self.let_go(child, is_waited_for.then_some(given));
                Some(ended)
            }
            Ran::Declined(reason) => {
                tracing::debug!(reason, "a python process left before the job began; another takes it");
                None
            }
            Ran::Died(death) => Some(self.after_death(&death, killed, (raw, sink), job).await),
        }
    }

    /// Runs the job to its end, or kills its process when there is a reason to.
    async fn watched(
        &self,
        child: &mut Child,
        (raw, sink): (&RawJob<'_>, &Arc<dyn OutputSink>),
        limit: Option<Duration>,
        ctx: &JobContext,
    ) -> (Ran, Option<Killed>) {
        let (clock, killer) = (Clock::new(), child.killer());
        // Until the job itself begins, which sets its own.
        let before = if child.begins_at_once() { Duration::ZERO } else { self.before_beginning };
        clock.set(limit.map(|limit| limit + before));
        let memory = self.memory_limit.map(|limit| child.memory_watch(limit));
        let mut on_phase = |phase: Phase| clock.set(phase.may_take);
        let mut running = pin!(child.run(raw, Arc::clone(sink), &mut on_phase));
        let killed = tokio::select! {
            biased;
            ran = &mut running => return (ran, None),
            () = clock.is_up(self.kill_after) => {
                killer.ask_for_stacks();
                if let Ok(ran) = tokio::time::timeout(STACKS, &mut running).await {
                    return (ran, Some(Killed::Overdue));
                }
                Killed::Overdue
            }
            bytes = exceeded(memory.as_ref()) => Killed::TooLarge(bytes),
            reason = ctx.stopped_by_person() => Killed::ByPerson(reason),
            () = told(&self.end) => Killed::AtOnce,
        };
        killer.kill();
        (running.await, Some(killed))
    }

    /// Gives a child back; one that waits for that is told first whether its job's end was written, and is done then with
    /// what follows, as if RQ's worker ran it.
    fn let_go(&self, mut child: Child, waits: Option<EndGiven>) {
        let pool = self.pool.clone();
        let Some(written) = waits else {
            pool.give_back(child, ());
            return;
        };
        self.pool.spawn(async move {
            let (counts, until_over) =
                written.await.map_or((false, None), |(counts, over)| (counts, Some(over)));
            match child.settled(counts).await {
                Ok(()) => pool.give_back(child, until_over),
                Err(fault) => {
                    tracing::debug!(error = fault.chain(), "a python process was gone at the end of its job")
                }
            }
        });
    }

    /// What the death of its process means for a job.
    async fn after_death(
        &self,
        death: &Death,
        killed: Option<Killed>,
        (raw, sink): (&RawJob<'_>, &Arc<dyn OutputSink>),
        job: ForeignJob<'_>,
    ) -> JobResult {
        let is_stopped = matches!(killed, Some(Killed::ByPerson(StopReason::Stopped)));
        if self.handles_deaths && !is_stopped {
            self.call((CallbackReason::Killed, Some(death)), CALLBACK, (raw, sink)).await;
        }
        match killed {
            Some(Killed::Overdue) => {
                let limit = job.record.time_limit(&self.settings).duration().unwrap_or_default().as_secs();
                Err(JobError::retryable(format!(
                    "Task exceeded maximum timeout value ({limit} seconds); killed {} later, for its code did not yield",
                    humantime::format_duration(self.kill_after)
                )))
            }
            Some(Killed::ByPerson(reason @ StopReason::Stopped)) => {
                let callback = job.record.callbacks.stopped.as_ref().map(|callback| callback.timeout);
                if let Some(may_take) = callback.or(self.handles_stops.then_some(CALLBACK)) {
                    self.call((CallbackReason::Stopped, None), may_take, (raw, sink)).await;
                }
                Err(person_ended(reason))
            }
            // As RQ has it, the command that kills a job's process leaves its end to who waits for the process.
            None | Some(Killed::ByPerson(_) | Killed::AtOnce | Killed::TooLarge(_)) => {
                let why = killed.and_then(|killed| self.beyond_limit(killed)).unwrap_or_default();
                let traceback = Some(death.words() + &why);
                Err(JobError::in_own_words(Verbatim { traceback, ..Verbatim::default() }))
            }
        }
    }

    /// The limit of memory and how much there was, of a process that was killed for that.
    fn beyond_limit(&self, killed: Killed) -> Option<String> {
        let (Killed::TooLarge(bytes), Some(limit)) = (killed, self.memory_limit) else { return None };
        let (mib, limit) = (bytes.div_ceil(1 << 20), ByteSize(limit));
        Some(format!(
            "; it had {mib} MiB of memory for itself alone, and `python.memory_limit` allows {limit}"
        ))
    }

    /// Has another process run what RQ's worker runs itself when a job's process is gone. That it fails is logged and
    /// changes nothing, as under RQ.
    async fn call(
        &self,
        (reason, death): (CallbackReason, Option<&Death>),
        may_take: Duration,
        (raw, sink): (&RawJob<'_>, &Arc<dyn OutputSink>),
    ) {
        let (order, clock) = (CallbackOrder { reason, death, job: raw }, Clock::new());
        clock.set(Some(may_take));
        let mut on_phase = |phase: Phase| clock.set(phase.may_take);
        let called = async {
            let (mut child, mut failures) = (self.pool.take().await, 0);
            while child.is_err() {
                failures += 1;
                tokio::time::sleep(Backoff::RESTART.delay(failures, fastrand::f64())).await;
                child = self.pool.take().await;
            }
            let mut child = child.map_err(|fault| fault.chain())?;
            match child.callback(&order, Arc::clone(sink), &mut on_phase).await {
                Called::Answered(error) => {
                    self.pool.give_back(child, ());
                    error.map_or(Ok(()), Err)
                }
                Called::Died(death) => Err(death.words()),
            }
        };
        let called = tokio::select! {
            called = called => called,
            () = clock.is_up(self.kill_after) => Err("it took too long, and was killed".to_owned()),
        };
        if let Err(error) = called {
            tracing::error!(
                job.id = raw.id,
                error,
                "what was to be called after a job's process was gone failed"
            );
        }
    }
}

fn raw(job: ForeignJob<'_>) -> RawJob<'_> {
    RawJob {
        id: job.record.id.to_string(),
        queue: job.record.queue.to_string(),
        execution: job.execution.to_string(),
        worker: job.worker.to_owned(),
        hash: job.fields.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use crate::job::{Args, JobRecord, Limit, NewJob, Rehearsal};
    use crate::python::stand_in::{LONG, boot_with};
    use crate::python::{ChildLimits, Hello, Mode, PoolPlan};

    #[tokio::test]
    async fn a_worker_s_own_code_before_a_job_begins_has_its_time_too() {
        let (zygote, _) = boot_with(&[]).await;
        let plan = PoolPlan {
            mode: Mode::Job,
            ready: 1,
            limits: ChildLimits::default(),
            fork_deadline: LONG,
            leave_grace: LONG,
        };
        let jobs = PythonJobs {
            pool: Pool::new(zygote, plan),
            lines: Lines::new(LogFormat::Text),
            settings: JobSettings::default(),
            kill_after: Duration::ZERO,
            memory_limit: None,
            handles_deaths: false,
            handles_failures: false,
            handles_stops: false,
            is_quiet: false,
            lists_failures: true,
            before_beginning: Duration::from_millis(50),
            last: Last::new(&Hello::default()),
            end: watch::Sender::new(false).subscribe(),
        };
        let timeout = Some(Limit::After(Duration::from_millis(50)));
        let new = NewJob { timeout, ..NewJob::new("j", "q", "k", Args::default()) };
        let record = JobRecord::of(new, chrono::DateTime::UNIX_EPOCH);
        let fields = [(b"before".to_vec(), b"time.sleep(1000)".to_vec())];
        let job = ForeignJob { record: &record, execution: &"e".into(), worker: "w", fields: &fields };
        let ended = tokio::time::timeout(LONG, jobs.run(job, &Rehearsal::new().context("k"))).await;
        let error = ended.expect("it is not waited for").unwrap_err();
        assert!(error.message.starts_with("Task exceeded maximum timeout value"), "{error:?}");
    }
}
