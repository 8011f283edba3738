//! The port: what Tikkun needs of a place where jobs wait.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::delivery::{Delivery, Enqueued, Order, Orphan, Requeued, Settled, Settlement, StopAsked};
use super::seen::{AttemptRecord, JobFilter, JobsFound, LeadershipState, ProcessRecord, QueueCounts};
use super::upkeep::{Abandoned, Budget, PausedQueue, Risk, ScheduleMark, ScheduleStep};
use crate::fault::Fault;
use crate::job::{Args, ArgsError, JobId, JobRecord, JobState, KindName, NewJob, ProcessId, QueueName};

/// A place where jobs wait.
///
/// Time is the broker's own. Every call may be dropped at an await: a change that was already sent
/// may still happen, so callers repeat what they did not see acknowledged; each change is safe to
/// repeat. Faults are [`Unavailable`](crate::fault::FaultKind::Unavailable) while the broker is out
/// of reach.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Puts jobs into their queues, all or none, in this order: of several for the head the last one
    /// comes first. One whose id is there, or whose unique key is held, is passed over.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Fault>;

    /// Completes with `true` when there may be something to fetch from `queue`, for a paused queue not
    /// before it is resumed; with `false` after `patience`. Takes nothing. Cancel safe.
    async fn wait(&self, queue: &QueueName, patience: Duration) -> Result<bool, Fault>;

    /// Takes up to `max` jobs from the head of `queue`, fewer where their payloads are too much for one answer, registers
    /// them as started under the lease of `process`, and counts the attempt: one atomic step. Empty when nothing waits or
    /// the queue is paused. A process without a live lease gets nothing. Heavy arguments stay
    /// [folded](JobRecord::folded). Cancel safe: what it took for a caller who no longer listens goes back to the head by
    /// itself.
    async fn fetch(&self, queue: &QueueName, max: u32, process: &ProcessId) -> Result<Vec<Delivery>, Fault>;

    /// The arguments of a delivery that stayed [folded](JobRecord::folded), or why they cannot be read.
    async fn unfold(&self, delivery: &Delivery) -> Result<Result<Args, ArgsError>, Fault> {
        let gone = || ArgsError::undecodable("of a job", "its entry is gone from the queue");
        Ok(self.job(&delivery.job.id).await?.map_or_else(|| Err(gone()), |job| job.args))
    }

    /// Deliveries from `queue` that `process` holds by the broker's own record: finds those whose fetch
    /// was carried out but never answered. Takes nothing. Where their payloads are too much for one answer, some come
    /// without anything but their ids.
    async fn held(&self, queue: &QueueName, process: &ProcessId) -> Result<Vec<Delivery>, Fault>;

    /// Ends deliveries, in one atomic step, each only if that execution still holds its job. The
    /// answers are in the order of `settlements`. One that is told again because the answer was lost, through the
    /// same broker, changes nothing and is answered as it would have been.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault>;

    /// Makes or renews the lease of a process, for `ttl` from now. `false`: its lease had run out
    /// before and another saw it, so its deliveries may have been rescued (the lease lives again all the
    /// same).
    async fn renew_lease(&self, process: &ProcessRecord, ttl: Duration) -> Result<bool, Fault>;

    /// What people ask of `process`, as soon as there is something; empty after `patience`. An order that was not
    /// received may be lost.
    async fn orders(&self, process: &ProcessId, patience: Duration) -> Result<Vec<Order>, Fault>;

    /// Asks whoever runs a job to stop it for good; it may end otherwise before that is received.
    async fn stop(&self, id: &JobId) -> Result<StopAsked, Fault>;

    /// Tells those who look at the workers that `process` takes nothing more, and leaves once what it holds is
    /// settled. Where nobody looks, does nothing.
    async fn announce_leave(&self, process: &ProcessId) -> Result<(), Fault> {
        let _ = process;
        Ok(())
    }

    /// Ends the lease of a process that settles nothing any more.
    async fn end_lease(&self, process: &ProcessId) -> Result<(), Fault>;

    /// Processes that hold a lease.
    async fn processes(&self) -> Result<Vec<ProcessRecord>, Fault>;

    /// Up to `max` unsettled deliveries of processes whose lease has run out. Takes nothing: whoever
    /// settles one first decides. It may have to watch a lease for as long as that lasts, so call it at
    /// least three times in one lease. Processes with nothing left are forgotten.
    async fn orphans(&self, max: u32) -> Result<Vec<Orphan>, Fault>;

    /// Looks after jobs and entries that workers which are none of ours left behind, about `max` of each sort;
    /// says which jobs it moved. Where nobody else works there are none.
    async fn tend(&self, max: u32) -> Result<Vec<Abandoned>, Fault> {
        let _ = max;
        Ok(Vec::new())
    }

    /// Puts up to `max` scheduled and retried jobs that are due into their queues; says how many.
    async fn promote_due(&self, max: u32) -> Result<u32, Fault>;

    /// Drops up to `max` ended jobs whose time has passed; says how many.
    async fn expire(&self, max: u32) -> Result<u32, Fault>;

    /// Drops up to `max` ended jobs, the oldest first, from queues that keep more than `budget`; says how
    /// many.
    async fn trim(&self, budget: Budget, max: u32) -> Result<u32, Fault>;

    /// Lets nothing be fetched from `queue` until it is resumed, by whichever process; what runs goes on.
    /// `false`: it was paused already, and stays as it was.
    async fn pause(&self, queue: &QueueName, by: &str) -> Result<bool, Fault>;

    /// Lets `queue` go on, and wakes who waits for it. `false`: it was not paused.
    async fn resume(&self, queue: &QueueName) -> Result<bool, Fault>;

    /// The queues that are paused.
    async fn paused(&self) -> Result<BTreeMap<QueueName, PausedQueue>, Fault>;

    /// How far each schedule has come, by name.
    async fn schedule_marks(&self) -> Result<BTreeMap<String, ScheduleMark>, Fault>;

    /// Enqueues what a schedule has due and moves its mark, in one atomic step, if the mark still is as
    /// the step says. `false`: another has moved it, and nothing was changed.
    async fn mark_schedule(&self, step: &ScheduleStep) -> Result<bool, Fault>;

    /// Takes or renews the leadership `role` for `ttl` and notes a tick. `false`: another leads. A leader
    /// whose lease is found to be over, or was ended, leads no more, whatever is left of its `ttl`.
    async fn lead(&self, role: &str, process: &ProcessId, ttl: Duration) -> Result<bool, Fault>;

    /// Gives the leadership up, if `process` has it.
    async fn resign(&self, role: &str, process: &ProcessId) -> Result<(), Fault>;

    /// Who leads; none when nobody ever did.
    async fn leadership(&self, role: &str) -> Result<Option<LeadershipState>, Fault>;

    /// One job.
    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Fault>;

    /// The newest attempts at a job, newest first. One that gave its job back unfinished leaves no entry.
    async fn attempts(&self, id: &JobId) -> Result<Vec<AttemptRecord>, Fault>;

    /// Jobs by filter, newest first, [folded](JobRecord::folded).
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, Fault> {
        self.search(filter).await.map(|found| found.jobs)
    }

    /// The same, and whether every job was looked at. A text that is a job's whole id always finds it.
    async fn search(&self, filter: &JobFilter) -> Result<JobsFound, Fault>;

    /// Those of these jobs that are queued, scheduled or started. Costs as much as there are `ids`, however long
    /// the queues are.
    async fn open_of(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, Fault> {
        let mut open = Vec::new();
        for id in ids {
            open.extend(self.job(id).await?.filter(|job| job.state.is_open()).map(JobRecord::folded));
        }
        Ok(open)
    }

    /// Jobs of a function that are queued, scheduled or started, under either of its names; `kind` is
    /// the full one. A search: it may have to read every queue. They come [folded](JobRecord::folded).
    async fn open_jobs(&self, kind: &KindName) -> Result<Vec<JobRecord>, Fault>;

    /// Takes a queued or scheduled job out. The state it is in afterwards; none: no such job.
    async fn cancel(&self, id: &JobId) -> Result<Option<JobState>, Fault>;

    /// Puts failed and canceled jobs back at the tail of their queues, in one atomic step. Each has one
    /// attempt more: retries that were spent are not given back, and its last error stays on record
    /// until it ends again. The answers are in the order of `ids`.
    async fn requeue(&self, ids: &[JobId]) -> Result<Vec<Requeued>, Fault>;

    /// Jobs by queue and state, for every queue ever used.
    async fn counts(&self) -> Result<BTreeMap<QueueName, QueueCounts>, Fault>;

    /// The mark of a memory that has lost what it held, until that is [brought back](Self::brought_back); none where
    /// nothing was lost. Jobs that a live process runs come back by themselves, under the executions that they have.
    async fn forgotten(&self) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    /// Notes that all that is known elsewhere is back in this memory.
    async fn brought_back(&self, memory: &str) -> Result<(), Fault> {
        let _ = memory;
        Ok(())
    }

    /// How jobs may be lost here, as far as it says.
    async fn risks(&self) -> Result<Vec<Risk>, Fault> {
        Ok(Vec::new())
    }

    /// Completes when the broker answers: one round trip that proves that it can be written to.
    async fn check(&self) -> Result<(), Fault>;

    /// Completes when the broker does all that jobs need, tried on nothing that is a job's: what it refuses after that
    /// has its reason in the one job that it is asked for. A permanent fault says in one sentence why it can never
    /// carry jobs as it is: its version, what this user may do.
    async fn prove(&self) -> Result<(), Fault> {
        self.check().await
    }
}
