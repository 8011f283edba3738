//! What is seen of queues and of those who serve them.

use std::iter::Sum;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::{JobId, JobRecord, JobState, KindName, ProcessId, QueueName};

/// Who a process is, for those who look at the workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// One start of one process.
    pub id: ProcessId,
    /// The host's name.
    pub host: String,
    /// The operating system's process id.
    pub pid: u32,
    /// The queues it listens to, in order.
    pub queues: Vec<QueueName>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Until when its lease holds.
    pub lease_until: DateTime<Utc>,
}

impl ProcessRecord {
    /// Whether it fetches from `queue`.
    #[must_use]
    pub fn listens_to(&self, queue: &QueueName) -> bool {
        self.queues.contains(queue)
    }
}

/// Jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Totals)]
pub struct QueueCounts {
    /// Waiting.
    pub queued: u64,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Running.
    pub started: u64,
    /// Ended well and kept.
    pub finished: u64,
    /// Ended badly and kept.
    pub failed: u64,
    /// Taken out and kept.
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

/// One attempt at a job. Fields that are none are not known, or have not happened yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// Which; rescues and continuations count.
    pub number: Option<u32>,
    /// Who ran it: a process, or one of RQ's workers.
    pub runner: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How.
    pub outcome: AttemptOutcome,
    /// Why it failed, all of it.
    pub error: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptOutcome {
    /// It has not.
    Running,
    /// Well.
    Finished,
    /// With an error.
    Failed,
    /// A person stopped it.
    Stopped,
    /// Its process died under it.
    Lost,
}

/// Which jobs to list. Fields that are none do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this function, as it was enqueued.
    pub kind: Option<KindName>,
    /// Only those whose id or function contains this text; small and capital letters of ASCII are the same.
    pub text: Option<String>,
    /// Only those that are listed after this job, however the list has grown since. A job that is gone
    /// meanwhile ends the list, which then is not complete.
    pub after: Option<JobId>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobsFound {
    /// Newest first.
    pub jobs: Vec<JobRecord>,
    /// Whether it looked as far as it had to; `false`: a search has looked into the newest jobs only, and there are more,
    /// or the job after which the list goes on is gone.
    pub complete: bool,
}

/// What is known of a leadership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeadershipState {
    /// The process that leads.
    pub holder: ProcessId,
    /// Time until it must have renewed; zero when it has run out.
    pub ttl: Duration,
    /// When the leader last did its work.
    pub last_tick: Option<DateTime<Utc>>,
}

impl LeadershipState {
    /// Whether the process leads now, rather than having led once.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.ttl.is_zero()
    }
}
