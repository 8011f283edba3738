//! What an examination looks at: values only, so that the diagnosis can be tested on made-up ones.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::job::background::BackgroundJob;
use crate::job::{JobId, JobRecord, KindName, QueueName};
use crate::operations::StuckAfter;
use crate::queue::{LeadershipState, PausedQueue, ProcessRecord, QueueCounts, Risk};
use crate::store::OutboxSummary;

/// Everything known at one moment. A back end that cannot be reached is its own error's text.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When it was looked at.
    pub now: DateTime<Utc>,
    /// From when on something counts as wrong.
    pub rules: Rules,
    /// What the configuration says that was probably not meant.
    pub warnings: Vec<String>,
    /// The clean-up outbox, read after the database had been written to.
    pub database: Result<OutboxSummary, String>,
    /// What in the database may keep our changes from being made.
    pub hindrances: Vec<String>,
    /// The queues.
    pub queues: Result<Queues, Unserved>,
    /// Whether attachments can be reached; if so, with which words their store refuses bulk deletions.
    pub attachments: Result<Option<String>, String>,
    /// The job that was asked for; none: the whole service is examined.
    pub asked: Option<String>,
    /// The jobs under examination: the one asked for, or every active background job up to a limit.
    pub patients: Vec<Patient>,
}

/// Why nothing is known of the queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unserved {
    /// In words.
    pub why: String,
    /// It answers, and refuses.
    pub refuses: bool,
}

/// Settings that say what is wrong.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Where deletions wait.
    pub deletion_queue: QueueName,
    /// The queues of this configuration.
    pub own_queues: Vec<QueueName>,
    /// A deletion that does not move for longer is stuck, and so is a job that waits for longer.
    pub stuck_after: StuckAfter,
    /// An object that waits longer to be deleted is old; none while objects stay on purpose.
    pub cleanup_age: Option<Duration>,
    /// How long a row may be without its entry.
    pub reconcile_grace: Duration,
    /// A job that is out of time for longer does not yield.
    pub stuck_grace: Duration,
    /// Schedules of this configuration whose function this build does not have.
    pub foreign_schedules: Vec<ForeignSchedule>,
}

/// A schedule of somebody else's function.
#[derive(Clone, Debug)]
pub(super) struct ForeignSchedule {
    /// What it is called.
    pub name: String,
    /// What it calls.
    pub function: KindName,
    /// Where its jobs wait.
    pub queue: QueueName,
}

/// What the broker says.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    /// Processes with a live lease.
    pub processes: Vec<ProcessRecord>,
    /// Paused queues.
    pub paused: BTreeMap<QueueName, PausedQueue>,
    /// Jobs by queue and state.
    pub counts: BTreeMap<QueueName, QueueCounts>,
    /// Who holds the scheduler's lock, or held it last.
    pub scheduler: Option<LeadershipState>,
    /// Waiting functions that this build does not have, as far as was looked.
    pub unknown: Vec<UnknownFunction>,
    /// Jobs that are lent to no live process.
    pub lost: Vec<JobRecord>,
    /// Jobs that live processes hold under their leases, of the queues that matter.
    pub held: HashSet<JobId>,
    /// How jobs may be lost with the broker.
    pub risks: Vec<Risk>,
}

/// Waiting jobs of a function that nobody registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownFunction {
    /// Where they wait.
    pub queue: QueueName,
    /// What they ask for.
    pub function: KindName,
    /// How many were seen.
    pub jobs: usize,
}

/// A job under examination.
#[derive(Clone, Debug, Default)]
pub(super) struct Patient {
    /// Its row, if it is a background job.
    pub row: Option<BackgroundJob>,
    /// Its job in a queue.
    pub entry: Option<JobRecord>,
    /// Whether this build has the entry's function.
    pub registered: bool,
}

impl Queues {
    /// Whether a live process fetches from `queue`.
    pub(super) fn listened_to(&self, queue: &QueueName) -> bool {
        self.processes.iter().any(|process| process.listens_to(queue))
    }

    /// Jobs that wait in `queue`, due or not.
    pub(super) fn waiting(&self, queue: &QueueName) -> u64 {
        self.counts.get(queue).map_or(0, |counts| counts.queued + counts.scheduled)
    }
}

impl Patient {
    /// The queue it depends on.
    pub(super) fn queue(&self, rules: &Rules) -> QueueName {
        self.entry.as_ref().map_or_else(|| rules.deletion_queue.clone(), |entry| entry.queue.clone())
    }
}
