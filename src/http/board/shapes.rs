//! What the board shows, section by section.

use serde::Serialize;
use utoipa::ToSchema;

use super::eta::DeletionRow;
use crate::http::views::time;
use crate::operations::{QueueFacts, Reason};
use crate::queue::QueueCounts;
use crate::supervision::{ChildStatus, PanicRecord, RoleStatus, TreeStatus};

/// Everything at one moment.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct Snapshot {
    /// Health and totals.
    pub overview: Overview,
    /// Every known or used queue, in the worker's order; as it was last seen while the broker does not answer.
    pub queues: Vec<QueueState>,
    /// Processes that hold a lease.
    pub workers: Vec<WorkerState>,
    /// What runs in this process.
    pub running: Vec<RunningState>,
    /// Active and recent deletions, newest first; as they were last seen while the database does not answer.
    pub deletions: Vec<DeletionRow>,
    /// The actors of this process.
    pub tree: SupervisionTree,
    /// Whether the database said what the deletions are; otherwise it is what it said before.
    #[serde(skip)]
    pub deletions_known: bool,
}

/// Health and totals.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct Overview {
    /// `healthy`, `degraded`, `warning` or `unhealthy`, as `/api/jobs/health` says it.
    #[schema(example = "healthy")]
    pub status: &'static str,
    /// Why, worst first; also what is worth knowing while all is well.
    pub reasons: Vec<Reason>,
    /// All queues together.
    pub totals: QueueCounts,
    /// Jobs that ended in the last minute.
    pub per_minute: u64,
    /// Which process runs the scheduler.
    pub scheduler: SchedulerState,
    /// Objects that storage still owes; none while the database does not answer.
    pub cleanup: Option<CleanupState>,
    /// The process that answers.
    pub process: ProcessState,
}

/// Which process runs the scheduler.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct SchedulerState {
    /// Whether anybody does.
    pub lock_held: bool,
    /// The process.
    pub holder: Option<String>,
    /// When it last did.
    pub last_tick: Option<String>,
}

/// Objects that storage still owes.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct CleanupState {
    /// How many.
    pub pending: u64,
    /// How long the oldest has waited.
    pub oldest_seconds: Option<u64>,
    /// Those that storage refuses.
    pub refused: u64,
    /// Those that a person has set aside.
    pub parked: u64,
    /// Whether somebody should look.
    pub alarm: bool,
    /// The newest error.
    pub last_error: Option<String>,
}

/// The process that answers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct ProcessState {
    /// Its id.
    pub id: String,
    /// What it is there for.
    #[schema(example = "all")]
    pub role: String,
    /// Its version.
    pub version: &'static str,
    /// When it started.
    pub started_at: String,
    /// Jobs it runs at the same time; 0 where it runs none.
    pub slots: u64,
    /// Whether the page changes nothing.
    pub read_only: bool,
    /// Receipts in one batch.
    pub batch: u32,
    /// The rest between two batches.
    pub throttle_ms: u64,
    /// How often this is read.
    pub interval_ms: u64,
}

/// One queue.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct QueueState {
    /// Its name.
    pub name: String,
    /// Its jobs.
    #[serde(flatten)]
    pub counts: QueueCounts,
    /// Live processes that fetch from it.
    pub workers: usize,
    /// Whether nothing is fetched.
    pub paused: bool,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Since when.
    pub paused_since: Option<String>,
    /// Jobs that ended in the last minute that was looked at.
    pub per_minute: u64,
    /// Waiting jobs, a value every two seconds, oldest first.
    pub depth: Vec<u64>,
    /// Jobs that ended in each of those spans.
    pub done: Vec<u64>,
}

impl QueueState {
    /// What is judged of it.
    pub(super) fn facts(&self) -> QueueFacts<'_> {
        let Self { name, counts, paused, workers, .. } = self;
        QueueFacts { name, counts: *counts, paused: *paused, listeners: Some(*workers) }
    }
}

/// One process that holds a lease.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct WorkerState {
    /// One start of one process.
    pub id: String,
    /// The host.
    pub host: String,
    /// The operating system's number.
    pub pid: u32,
    /// The queues it listens to, in order.
    pub queues: Vec<String>,
    /// When it started.
    pub started_at: String,
    /// Whether it is the one that answers.
    pub here: bool,
}

/// One job in hand.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct RunningState {
    /// The queue's id of the job.
    pub job_id: String,
    /// Its function.
    pub function: String,
    /// Its queue.
    pub queue: String,
    /// Which attempt.
    pub attempt: u32,
    /// Since when.
    pub since: String,
    /// Items in all, where the job told.
    pub total: Option<i64>,
    /// Items handled, where the job told.
    pub processed: Option<i64>,
    /// Lines that it has logged here.
    pub lines: u64,
}

/// The actors of this process.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionTree {
    /// In the order they were first started.
    pub children: Vec<SupervisionChild>,
    /// Children past and present by what they are there for.
    pub roles: Vec<SupervisionRole>,
    /// Threads that do not come back.
    pub stuck_threads: usize,
}

/// One supervised actor, or a supervisor.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionChild {
    /// Its name.
    pub name: String,
    /// The supervisor it belongs to.
    pub supervisor: Option<String>,
    /// What it does.
    #[schema(example = "running")]
    pub state: String,
    /// Times it began again.
    pub restarts: u64,
    /// When it entered its state.
    pub since: String,
    /// What last went wrong.
    pub last_panic: Option<SupervisionPanic>,
}

/// Children past and present whose names begin alike.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionRole {
    /// The name.
    pub role: String,
    /// In the table now.
    pub present: u64,
    /// Ever started.
    pub started: u64,
    /// Times any began again.
    pub restarts: u64,
    /// Panics and hangs.
    pub panics: u64,
    /// The latest.
    pub last_panic: Option<SupervisionPanic>,
}

/// A panic, or a hang.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionPanic {
    /// What it said.
    pub message: String,
    /// File, line and column.
    pub place: String,
    /// When it was noticed.
    pub at: String,
}

impl From<TreeStatus> for SupervisionTree {
    fn from(tree: TreeStatus) -> Self {
        Self {
            children: tree.children.into_iter().map(Into::into).collect(),
            roles: tree.roles.into_iter().map(Into::into).collect(),
            stuck_threads: tree.stuck_threads,
        }
    }
}

impl From<ChildStatus> for SupervisionChild {
    fn from(child: ChildStatus) -> Self {
        let state = serde_json::to_value(child.state).ok();
        Self {
            name: child.name,
            supervisor: child.supervisor,
            state: state.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default(),
            restarts: child.restarts,
            since: time(child.since),
            last_panic: child.last_panic.map(Into::into),
        }
    }
}

impl From<RoleStatus> for SupervisionRole {
    fn from(role: RoleStatus) -> Self {
        let RoleStatus { role, present, started, restarts, panics, last_panic } = role;
        Self { role, present, started, restarts, panics, last_panic: last_panic.map(Into::into) }
    }
}

impl From<PanicRecord> for SupervisionPanic {
    fn from(PanicRecord { message, place, at }: PanicRecord) -> Self {
        Self { message, place, at: time(at) }
    }
}
