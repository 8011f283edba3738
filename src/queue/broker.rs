//! The port for a broker: what Tikkun needs of a job queue.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::delivery::{Delivery, Enqueued, Order, Orphan, Requeued, Settled, Settlement, StopAsked};
use super::seen::{
    AttemptRecord, JobFilter, JobsFound, LeadershipState, Overdue, ProcessRecord, QueueCounts,
};
use super::upkeep::{Abandoned, Budget, PausedQueue, Risk, ScheduleMark, ScheduleStep};
use crate::fault::Fault;
use crate::job::{
    Args, ArgsError, ExecutionId, JobId, JobRecord, JobState, KindName, NewJob, ProcessId, QueueName,
};

/// The length of a result in bytes that every server accepts; what is longer may be refused for its length.
pub const EVERY_LENGTH: usize = 512 << 10;

/// A broker: it stores jobs and delivers them to processes.
///
/// All times are of the broker's clock. Every call may be dropped at an await; a change that was already sent
/// may still happen, so callers repeat calls without an answer, and each change is safe to repeat. Faults are
/// [`Unavailable`](crate::fault::FaultKind::Unavailable) while the broker cannot be reached.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Enqueues jobs in this order, all or none; of several for the head, the last one comes first. A job is
    /// skipped if its id exists or its unique key is held.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Fault>;

    /// Returns `true` when there may be jobs to fetch from `queue` and it is not paused, and `false` after
    /// `patience`. It takes no job. Cancel safe.
    async fn wait(&self, queue: &QueueName, patience: Duration) -> Result<bool, Fault>;

    /// Takes up to `max` jobs from the head of `queue`, fewer if their payloads are too large for one answer. Where payloads
    /// travel with their jobs, one that is heavier than [`LIGHT`](crate::job::LIGHT) is left, and those behind it, see [`left`](Self::left).
    /// In one atomic step it registers them as started under the lease of `process` and counts the attempt.
    /// It returns no jobs if the queue is empty or paused, or if the process has no valid lease. Heavy
    /// arguments stay [folded](JobRecord::folded). Cancel safe: jobs taken for a dropped call go back to the
    /// head by themselves.
    async fn fetch(&self, queue: &QueueName, max: u32, process: &ProcessId) -> Result<Vec<Delivery>, Fault>;

    /// [Fetches](Self::fetch) the first job of `queue` if it has this weight, which was told when it was [left](Self::left).
    async fn fetch_heavy(
        &self,
        queue: &QueueName,
        weight: usize,
        process: &ProcessId,
    ) -> Result<Vec<Delivery>, Fault> {
        let _ = weight;
        self.fetch(queue, 1, process).await
    }

    /// The bytes of the payload of the first job in `queue`, if the last fetch left it for that; without a queue, of the
    /// largest orphan that the last look left, and that the next one brings.
    fn left(&self, queue: Option<&QueueName>) -> usize {
        let _ = queue;
        0
    }

    /// Loads the [folded](JobRecord::folded) arguments of a delivery, or returns why they cannot be read.
    async fn unfold(&self, delivery: &Delivery) -> Result<Result<Args, ArgsError>, Fault> {
        let gone = || ArgsError::undecodable("of a job", "its entry is gone from the queue");
        Ok(self.job(&delivery.job.id).await?.map_or_else(|| Err(gone()), |job| job.args))
    }

    /// The deliveries from `queue` that `process` holds according to the broker, including those of a fetch
    /// whose answer was lost. It takes nothing. If their payloads are too large for one answer, some have
    /// only their ids.
    async fn held(&self, queue: &QueueName, process: &ProcessId) -> Result<Vec<Delivery>, Fault>;

    /// Settles deliveries in one atomic step, each only if that execution still holds its job. The answers
    /// are in the order of `settlements`. A settlement that is repeated through the same broker, because its
    /// answer was lost, changes nothing and gets the answer of the first time.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault>;

    /// [Settles](Self::settle) deliveries, and then [fetches](Self::fetch), in one atomic step and one round trip. If the
    /// settlements are refused, nothing is fetched. After a fault either half may be done and both are safe to repeat: the
    /// settlements through [`settle`](Self::settle), and jobs that nobody received go back by themselves.
    async fn exchange(
        &self,
        settlements: &[Settlement],
        queue: &QueueName,
        max: u32,
        process: &ProcessId,
    ) -> Result<(Vec<Settled>, Vec<Delivery>), Fault>;

    /// Creates or renews the lease of a process, for `ttl` from now. `false`: its lease had expired and
    /// another process noticed, so its deliveries may have been rescued. The lease is valid again in any
    /// case.
    async fn renew_lease(&self, process: &ProcessRecord, ttl: Duration) -> Result<bool, Fault>;

    /// The requests to `process`, as soon as there are any; empty after `patience`. A request that was not
    /// received may be lost.
    async fn orders(&self, process: &ProcessId, patience: Duration) -> Result<Vec<Order>, Fault>;

    /// Asks the process that runs a job to stop it for good; the job may end otherwise before that.
    async fn stop(&self, id: &JobId) -> Result<StopAsked, Fault>;

    /// Marks `process` as leaving in the list of workers: it takes no more jobs, and ends once its jobs are
    /// settled. Does nothing if the broker has no such list.
    async fn announce_leave(&self, process: &ProcessId) -> Result<(), Fault> {
        let _ = process;
        Ok(())
    }

    /// Ends the lease of a process that will settle nothing more.
    async fn end_lease(&self, process: &ProcessId) -> Result<(), Fault>;

    /// The processes with a valid lease.
    async fn processes(&self) -> Result<Vec<ProcessRecord>, Fault>;

    /// The processes whose lease has run out, until they are declared lost, without those known to be dead: they may
    /// live, and be unable to write here.
    async fn overdue(&self) -> Result<Vec<Overdue>, Fault>;

    /// Up to `max` unsettled deliveries of processes whose lease has expired. It takes nothing: the first to
    /// settle one decides. The broker may have to watch a lease for its whole duration, so call this at least
    /// three times per lease. Processes without deliveries are forgotten. Large ones come one at a time.
    async fn orphans(&self, max: u32) -> Result<Vec<Orphan>, Fault>;

    /// Leaves these orphans to other processes: [`orphans`](Self::orphans) need not bring them again.
    fn leave_orphans(&self, executions: Vec<ExecutionId>) {
        let _ = executions;
    }

    /// Takes care of jobs and entries that foreign workers abandoned, about `max` of each kind; returns the
    /// jobs that it moved. Brokers without foreign workers return none.
    async fn tend(&self, max: u32) -> Result<Vec<Abandoned>, Fault> {
        let _ = max;
        Ok(Vec::new())
    }

    /// Moves up to `max` due jobs (scheduled or to be retried) to their queues; returns how many.
    async fn promote_due(&self, max: u32) -> Result<u32, Fault>;

    /// Deletes up to `max` ended jobs that have expired; returns how many. Those that were enqueued again meanwhile do not
    /// expire any more, so call this every few seconds.
    async fn expire(&self, max: u32) -> Result<u32, Fault>;

    /// Deletes up to `max` ended jobs, the oldest first, from queues that keep more than `budget`; returns
    /// how many. Also deletes what is left of jobs that others ended or deleted.
    async fn trim(&self, budget: Budget, max: u32) -> Result<u32, Fault>;

    /// Pauses `queue` until it is resumed: no process can fetch from it, and running jobs go on. `false`: it
    /// was paused already, and is unchanged.
    async fn pause(&self, queue: &QueueName, by: &str) -> Result<bool, Fault>;

    /// Resumes `queue`, and wakes those who wait for it. `false`: it was not paused.
    async fn resume(&self, queue: &QueueName) -> Result<bool, Fault>;

    /// The paused queues.
    async fn paused(&self) -> Result<BTreeMap<QueueName, PausedQueue>, Fault>;

    /// The marks of all schedules, by name.
    async fn schedule_marks(&self) -> Result<BTreeMap<String, ScheduleMark>, Fault>;

    /// Enqueues the due jobs of a schedule and moves its mark in one atomic step, if the mark is as the step
    /// expects. `false`: another process has moved it, and nothing was changed.
    async fn mark_schedule(&self, step: &ScheduleStep) -> Result<bool, Fault>;

    /// Takes or renews the leader lease `role` for `ttl`, and records a tick. `false`: another process leads.
    /// If the process lease of a leader has expired or was ended, it loses the role, whatever is left of
    /// `ttl`.
    async fn lead(&self, role: &str, process: &ProcessId, ttl: Duration) -> Result<bool, Fault>;

    /// Gives up the leader lease, if `process` has it.
    async fn resign(&self, role: &str, process: &ProcessId) -> Result<(), Fault>;

    /// The state of a leader lease; `None` if nobody has ever led.
    async fn leadership(&self, role: &str) -> Result<Option<LeadershipState>, Fault>;

    /// One job.
    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Fault>;

    /// The latest attempts at a job, newest first. An attempt that released its job leaves no entry.
    async fn attempts(&self, id: &JobId) -> Result<Vec<AttemptRecord>, Fault>;

    /// Jobs that match a filter, newest first, [folded](JobRecord::folded).
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, Fault> {
        self.search(filter).await.map(|found| found.jobs)
    }

    /// The same, with whether the search was complete. A text that is a whole job id always finds that job.
    async fn search(&self, filter: &JobFilter) -> Result<JobsFound, Fault>;

    /// Those of these jobs that are queued, scheduled or started. The cost depends on the number of `ids`
    /// only.
    async fn open_of(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, Fault> {
        let mut open = Vec::new();
        for id in ids {
            open.extend(self.job(id).await?.filter(|job| job.state.is_open()).map(JobRecord::folded));
        }
        Ok(open)
    }

    /// The queued, scheduled and started jobs of a function, under either of its names; `kind` is the full
    /// one. This is a search that may read every queue. The jobs are [folded](JobRecord::folded).
    async fn open_jobs(&self, kind: &KindName) -> Result<Vec<JobRecord>, Fault>;

    /// Cancels a queued or scheduled job. Returns its state afterwards; `None`: no such job.
    async fn cancel(&self, id: &JobId) -> Result<Option<JobState>, Fault>;

    /// Puts failed and cancelled jobs back at the tail of their queues, in one atomic step. Each gets one
    /// more attempt: used retries are not given back, and its last error is kept until it ends again. The
    /// answers are in the order of `ids`.
    async fn requeue(&self, ids: &[JobId]) -> Result<Vec<Requeued>, Fault>;

    /// The number of jobs by queue and state, for every queue ever used.
    async fn counts(&self) -> Result<BTreeMap<QueueName, QueueCounts>, Fault>;

    /// The mark of a server memory that has lost its data, until that is [brought back](Self::brought_back);
    /// `None` if nothing was lost. Jobs that a live process runs are restored by that process.
    async fn forgotten(&self) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    /// Records that all data known elsewhere is restored in this memory.
    async fn brought_back(&self, memory: &str) -> Result<(), Fault> {
        let _ = memory;
        Ok(())
    }

    /// How the broker may lose jobs, as far as it tells, and what keeps it from serving these queues.
    async fn risks(&self, queues: &[QueueName]) -> Result<Vec<Risk>, Fault> {
        let _ = queues;
        Ok(Vec::new())
    }

    /// Returns `Ok` if the broker answers and accepts writes, in one round trip.
    async fn check(&self) -> Result<(), Fault>;

    /// Returns `Ok` if the broker does everything that jobs need, tried without any job. What it refuses
    /// afterwards has its cause in the single job. A permanent fault says in one sentence why it can never
    /// carry jobs: its version, or the permissions of this user.
    async fn prove(&self) -> Result<(), Fault> {
        self.check().await
    }

    /// The same for a request of [`EVERY_LENGTH`], if what is longer may be refused, or its connection closed, for its
    /// length alone. `Ok(false)`: nothing is; a length that can never be taken is a permanent fault.
    async fn prove_length(&self) -> Result<bool, Fault> {
        Ok(false)
    }

    /// Returns `Ok` if new jobs find room. Those that are there may go on where they do not.
    async fn takes_jobs(&self) -> Result<(), Fault> {
        Ok(())
    }
}
