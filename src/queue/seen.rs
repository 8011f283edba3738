//! The observable state of queues, processes, attempts and lists of jobs.

use std::iter::Sum;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::incarnation;
use crate::job::{JobId, JobRecord, JobState, KindName, ProcessId, QueueName};

/// A process, for lists of workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// The id of this start of the process.
    pub id: ProcessId,
    /// The host's name.
    pub host: String,
    /// The operating system's process id.
    pub pid: u32,
    /// The queues it listens to, in order.
    pub queues: Vec<QueueName>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When its lease expires.
    pub lease_until: DateTime<Utc>,
}

impl ProcessRecord {
    /// Whether it fetches from `queue`.
    #[must_use]
    pub fn listens_to(&self, queue: &QueueName) -> bool {
        self.queues.contains(queue)
    }
}

/// A process whose lease has run out, while nobody has declared it lost and it is not known to be dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The process.
    pub process: ProcessRecord,
    /// Whether it certainly lives, and so cannot renew its lease. If not, it is on another host or in another
    /// container, of which nothing is known.
    pub lives: bool,
}

impl Overdue {
    /// `None` if the process, which had this mark, is known to be dead.
    pub(super) fn unless_gone(process: ProcessRecord, mark: Option<&str>) -> Option<Self> {
        let is = |judged: fn(u32, &str) -> bool| mark.is_some_and(|mark| judged(process.pid, mark));
        let (gone, lives) = (is(incarnation::is_gone), is(incarnation::lives));
        (!gone).then_some(Self { process, lives })
    }
}

/// The number of jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Totals)]
pub struct QueueCounts {
    /// Waiting in their queue.
    pub queued: u64,
    /// Scheduled for later.
    pub scheduled: u64,
    /// Running.
    pub started: u64,
    /// Succeeded and kept.
    pub finished: u64,
    /// Failed and kept.
    pub failed: u64,
    /// Cancelled and kept.
    pub canceled: u64,
}

impl QueueCounts {
    /// The count of one state.
    pub fn of_mut(&mut self, state: JobState) -> &mut u64 {
        match state {
            JobState::Queued => &mut self.queued,
            JobState::Scheduled => &mut self.scheduled,
            JobState::Started => &mut self.started,
            JobState::Finished => &mut self.finished,
            JobState::Failed => &mut self.failed,
            JobState::Canceled => &mut self.canceled,
        }
    }
}

impl Sum for QueueCounts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, mut counts| {
            JobState::ALL.into_iter().for_each(|state| *sum.of_mut(state) += *counts.of_mut(state));
            sum
        })
    }
}

/// One attempt at a job. Fields that are `None` are unknown, or have not happened yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// Its number; rescues and continuations are counted.
    pub number: Option<u32>,
    /// The process, or the RQ worker, that ran it.
    pub runner: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The complete error.
    pub error: Option<String>,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptOutcome {
    /// It has not ended.
    Running,
    /// It succeeded.
    Finished,
    /// It failed with an error.
    Failed,
    /// A user stopped it.
    Stopped,
    /// Its process died.
    Lost,
    /// It asked to be run again.
    Retried,
}

/// A filter for lists of jobs. Fields that are `None` do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this function, by the name under which it was enqueued.
    pub kind: Option<KindName>,
    /// Only those whose id or function contains this text; ASCII letters match in either case.
    pub text: Option<String>,
    /// Only those listed after this job, even if the list has grown since. If the job is gone, the list ends
    /// and is not complete.
    pub after: Option<JobId>,
    /// The most jobs, newest first.
    pub limit: u32,
}

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobsFound {
    /// Newest first.
    pub jobs: Vec<JobRecord>,
    /// Whether the search was complete. `false`: it read only the newest jobs and there are more, or the job
    /// in `after` is gone.
    pub complete: bool,
}

/// The state of a leader lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeadershipState {
    /// The leader.
    pub holder: ProcessId,
    /// The remaining time of the lease; zero when it has expired.
    pub ttl: Duration,
    /// When the leader last did its work.
    pub last_tick: Option<DateTime<Utc>>,
}

impl LeadershipState {
    /// Whether the process leads now; if not, it led earlier.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.ttl.is_zero()
    }
}
