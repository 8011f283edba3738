//! The input of the diagnosis: values only, so that it can be tested on made-up ones.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::job::background::BackgroundJob;
use crate::job::{JobId, JobRecord, KindName, QueueName};
use crate::operations::{Elsewhere, StuckAfter};
use crate::queue::{LeadershipState, Overdue, PausedQueue, ProcessRecord, QueueCounts, Risk};
use crate::store::{ExaminedDeletion, OutboxSummary};

/// The facts at one moment. A back end that cannot be reached is represented by its error.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The time of the examination.
    pub now: DateTime<Utc>,
    /// The limits beyond which something counts as wrong.
    pub rules: Rules,
    /// Warnings about the configuration.
    pub warnings: Vec<String>,
    /// The clean-up outbox, read after a test write to the database.
    pub database: Result<OutboxSummary, String>,
    /// Triggers, policies and the like in the database that may prevent our changes.
    pub hindrances: Vec<String>,
    /// The described deletions, compared with the tables.
    pub deletions: Result<Vec<ExaminedDeletion>, String>,
    /// The queues.
    pub queues: Result<Queues, Unserved>,
    /// Whether the storage can be reached, and if so, its error for bulk deletions, if it refuses them.
    pub attachments: Result<Option<String>, String>,
    /// The storage, if it has none of the objects that it should have.
    pub elsewhere: Option<Elsewhere>,
    /// The job in question; `None` to examine the whole service.
    pub asked: Option<String>,
    /// The jobs to examine: the one in question, or every active background job up to a limit.
    pub patients: Vec<Patient>,
}

/// Why the state of the queues is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unserved {
    /// The error in words.
    pub why: String,
    /// Whether the broker answers and refuses, instead of not answering.
    pub refuses: bool,
}

/// The settings that the diagnosis uses.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The queue of deletions.
    pub deletion_queue: QueueName,
    /// The queues of this configuration.
    pub own_queues: Vec<QueueName>,
    /// When a deletion without progress, or a waiting job, counts as stuck.
    pub stuck_after: StuckAfter,
    /// How long an object may wait to be deleted; `None` if `deletion.storage_delete` is off.
    pub cleanup_age: Option<Duration>,
    /// How long a row may be without its queue job.
    pub reconcile_grace: Duration,
    /// How long after its time limit a job counts as one that does not yield.
    pub stuck_grace: Duration,
    /// Schedules of this configuration whose function is not registered in this build.
    pub foreign_schedules: Vec<ForeignSchedule>,
}

/// A schedule with an unregistered function.
#[derive(Clone, Debug)]
pub(super) struct ForeignSchedule {
    /// The schedule's name.
    pub name: String,
    /// The function.
    pub function: KindName,
    /// The queue of its jobs.
    pub queue: QueueName,
}

/// The state of the broker.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    /// Processes with a live lease.
    pub processes: Vec<ProcessRecord>,
    /// Processes whose lease has run out without a sign of their death.
    pub overdue: Vec<Silent>,
    /// Paused queues.
    pub paused: BTreeMap<QueueName, PausedQueue>,
    /// Jobs by queue and state.
    pub counts: BTreeMap<QueueName, QueueCounts>,
    /// The process that holds or last held the leader lease of the Scheduler.
    pub scheduler: Option<LeadershipState>,
    /// Waiting jobs with an unregistered function, among those that were read.
    pub unknown: Vec<UnknownFunction>,
    /// Started jobs that neither a live process nor one of `overdue` holds.
    pub lost: Vec<JobRecord>,
    /// Jobs that live processes hold under their leases, in the queues of the examined jobs.
    pub held: HashSet<JobId>,
    /// How the broker may lose jobs.
    pub risks: Vec<Risk>,
}

/// Waiting jobs with an unregistered function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownFunction {
    /// Their queue.
    pub queue: QueueName,
    /// Their function.
    pub function: KindName,
    /// How many were found.
    pub jobs: usize,
}

/// A process whose lease has run out without a sign of its death.
#[derive(Clone, Debug)]
pub(super) struct Silent {
    /// The process.
    pub overdue: Overdue,
    /// The jobs that it holds.
    pub jobs: Vec<JobId>,
}

/// A job under examination.
#[derive(Clone, Debug, Default)]
pub(super) struct Patient {
    /// Its row, if it is a background job.
    pub row: Option<BackgroundJob>,
    /// Its queue job, if there is one.
    pub entry: Option<JobRecord>,
    /// Whether this build has registered the queue job's function.
    pub registered: bool,
}

impl Queues {
    /// Whether a live process fetches from `queue`.
    pub(super) fn listened_to(&self, queue: &QueueName) -> bool {
        self.processes.iter().any(|process| process.listens_to(queue))
    }

    /// Whether a process listens to `queue` that may live and only be unable to renew its lease.
    pub(super) fn is_awaited(&self, queue: &QueueName) -> bool {
        self.overdue.iter().any(|silent| silent.overdue.process.listens_to(queue))
    }

    /// Whether such a process holds this job.
    pub(super) fn is_held_in_silence(&self, job: &JobId) -> bool {
        self.overdue.iter().any(|silent| silent.jobs.contains(job))
    }

    /// Whether such a process held the leader lease of the Scheduler last.
    pub(super) fn is_led_in_silence(&self) -> bool {
        let led = |leader: &LeadershipState| self.overdue.iter().any(|silent| silent.leads(leader));
        self.scheduler.as_ref().is_some_and(led)
    }

    /// The number of jobs that wait in `queue`, due or not.
    pub(super) fn waiting(&self, queue: &QueueName) -> u64 {
        self.counts.get(queue).map_or(0, |counts| counts.queued + counts.scheduled)
    }
}

impl Silent {
    /// Whether it held this leader lease last, and that has run out.
    pub(super) fn leads(&self, leader: &LeadershipState) -> bool {
        !leader.is_held() && leader.holder == self.overdue.process.id
    }
}

impl Patient {
    /// The queue of the job, else that of deletions.
    pub(super) fn queue(&self, rules: &Rules) -> QueueName {
        self.entry.as_ref().map_or_else(|| rules.deletion_queue.clone(), |entry| entry.queue.clone())
    }
}
