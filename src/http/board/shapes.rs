//! The sections of the board.

use serde::Serialize;
use utoipa::ToSchema;

use super::eta::DeletionRow;
use crate::http::python::PythonState;
use crate::http::views::time;
use crate::operations::{QueueFacts, Reason};
use crate::queue::QueueCounts;
use crate::supervision::{ChildStatus, PanicRecord, RoleStatus, TreeStatus};

/// The state of the service at one moment.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct Snapshot {
    /// Health and totals.
    pub overview: Overview,
    /// Every known or used queue, in the worker's order; the last known state if the broker is silent.
    pub queues: Vec<QueueState>,
    /// Processes that hold a lease, or live on this host and cannot renew theirs.
    pub workers: Vec<WorkerState>,
    /// The jobs that run in this process.
    pub running: Vec<RunningState>,
    /// Active and recent deletions, newest first; the last known state while the database does not answer.
    pub deletions: Vec<DeletionRow>,
    /// The Python processes of this process, if it runs jobs in them.
    pub python: Option<PythonState>,
    /// The actors of this process.
    pub tree: SupervisionTree,
    /// Whether the deletions are current; `false`: they are the last known ones.
    #[serde(skip)]
    pub deletions_known: bool,
}

/// Health and totals.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct Overview {
    /// `healthy`, `degraded`, `warning` or `unhealthy`, as in `/api/jobs/health`.
    #[schema(example = "healthy")]
    pub status: &'static str,
    /// The reasons, worst first; some do not affect the status.
    pub reasons: Vec<Reason>,
    /// The totals of all queues.
    pub totals: QueueCounts,
    /// Jobs that ended in the last minute.
    pub per_minute: u64,
    /// The process that runs the scheduler.
    pub scheduler: SchedulerState,
    /// Objects that are still to be deleted from storage; empty while the database does not answer.
    pub cleanup: Option<CleanupState>,
    /// The process that answers.
    pub process: ProcessState,
}

/// The process that runs the scheduler.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct SchedulerState {
    /// Whether a process does.
    pub lock_held: bool,
    /// The process.
    pub holder: Option<String>,
    /// When it last checked for due jobs.
    pub last_tick: Option<String>,
}

/// Objects that are still to be deleted from storage.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct CleanupState {
    /// Their number.
    pub pending: u64,
    /// How long the oldest has waited, in seconds.
    pub oldest_seconds: Option<u64>,
    /// Those that the storage refuses to delete.
    pub refused: u64,
    /// Those that a user has parked.
    pub parked: u64,
    /// Whether they need attention: the oldest is overdue, or the storage refuses some.
    pub alarm: bool,
    /// The newest error.
    pub last_error: Option<String>,
}

/// The process that answers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct ProcessState {
    /// Its id.
    pub id: String,
    /// Its role.
    #[schema(example = "all")]
    pub role: String,
    /// Its version.
    pub version: &'static str,
    /// When it started.
    pub started_at: String,
    /// Jobs that it runs at the same time; 0 if it runs none.
    pub slots: u64,
    /// Whether the page refuses all changes.
    pub read_only: bool,
    /// Receipts per batch.
    pub batch: u32,
    /// The pause between two batches.
    pub throttle_ms: u64,
    /// How often the board is read.
    pub interval_ms: u64,
}

/// One queue.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct QueueState {
    /// Its name.
    pub name: String,
    /// The number of its jobs by state.
    #[serde(flatten)]
    pub counts: QueueCounts,
    /// Live processes that listen to it.
    pub workers: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Since when it is paused.
    pub paused_since: Option<String>,
    /// Jobs that ended in the last minute.
    pub per_minute: u64,
    /// Waiting jobs, one value per two seconds, oldest first.
    pub depth: Vec<u64>,
    /// Jobs that ended in each of those intervals.
    pub done: Vec<u64>,
}

impl QueueState {
    /// The facts from which the status is judged.
    pub(super) fn facts(&self) -> QueueFacts<'_> {
        let Self { name, counts, paused, workers, .. } = self;
        QueueFacts { name, counts: *counts, paused: *paused, listeners: Some(*workers) }
    }
}

/// One process that holds a lease, or lives on this host and cannot renew its.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct WorkerState {
    /// An id for this start of the process.
    pub id: String,
    /// The host.
    pub host: String,
    /// Its process id on the host.
    pub pid: u32,
    /// The queues it listens to, in order.
    pub queues: Vec<String>,
    /// When it started.
    pub started_at: String,
    /// Whether it is the process that answers.
    pub here: bool,
}

/// One running job.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct RunningState {
    /// Its id.
    pub job_id: String,
    /// Its function.
    pub function: String,
    /// Its queue.
    pub queue: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// When the attempt started.
    pub since: String,
    /// The number of items, if the job reports it.
    pub total: Option<i64>,
    /// The number of items handled, if the job reports it.
    pub processed: Option<i64>,
    /// The number of lines that it has logged in this process.
    pub lines: u64,
}

/// The actors of this process.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionTree {
    /// In the order of their first start.
    pub children: Vec<SupervisionChild>,
    /// Present and past children, grouped by role.
    pub roles: Vec<SupervisionRole>,
    /// Threads that are stuck in job code.
    pub stuck_threads: usize,
}

/// One supervised actor or supervisor.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionChild {
    /// Its name.
    pub name: String,
    /// Its supervisor.
    pub supervisor: Option<String>,
    /// Its state.
    #[schema(example = "running")]
    pub state: String,
    /// How many times it was restarted.
    pub restarts: u64,
    /// When it entered this state.
    pub since: String,
    /// Its last panic or hang.
    pub last_panic: Option<SupervisionPanic>,
}

/// Present and past children with the same role.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionRole {
    /// The name of the role.
    pub role: String,
    /// How many there are now.
    pub present: u64,
    /// How many were ever started.
    pub started: u64,
    /// How many times they were restarted.
    pub restarts: u64,
    /// How many panics and hangs they had.
    pub panics: u64,
    /// The latest of those.
    pub last_panic: Option<SupervisionPanic>,
}

/// A panic, or a hang.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct SupervisionPanic {
    /// The message.
    pub message: String,
    /// File, line and column.
    pub place: String,
    /// When it was detected.
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
