//! Pauses, budgets and schedules of a broker, its risks, and abandoned jobs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::job::{Callback, JobId, NewJob, QueueName, WebhookRequest};

/// A paused queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedQueue {
    /// The name of the user who paused it, as given.
    pub by: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// The most ended jobs that a queue keeps; zero keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The most succeeded jobs.
    pub finished: u64,
    /// The most failed jobs, and the most cancelled ones.
    pub failed: u64,
}

/// The position of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleMark {
    /// The rule that it followed; with another rule it starts over.
    pub rule: String,
    /// Due times up to here are decided. Whole milliseconds.
    pub until: DateTime<Utc>,
    /// The last due time with a job. Whole milliseconds.
    pub last: Option<DateTime<Utc>>,
}

/// One step of a schedule: enqueues jobs and moves the mark, both or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleStep {
    /// The schedule.
    pub name: String,
    /// The mark on which the step is based; `None`: there was none.
    pub from: Option<ScheduleMark>,
    /// The mark afterwards.
    pub to: ScheduleMark,
    /// The jobs that became due in between.
    pub jobs: Vec<NewJob>,
}

/// How the broker may lose jobs, or keep them waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Risk {
    /// When its memory is full it drops keys, whatever they hold.
    Evicts {
        /// The name of its policy.
        policy: String,
    },
    /// It writes nothing to disk, so a restart loses everything.
    Forgets,
    /// What jobs need does not hold what it should: nothing is taken from the queue, or no end is written.
    Misused {
        /// The queue; `None` concerns all.
        queue: Option<QueueName>,
        /// The key, what it holds, and what it should hold.
        what: String,
    },
}

/// What happened to a job that a foreign worker abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It had not begun, and is at the head of its queue.
    Returned,
    /// It is retried, which uses up a retry.
    Retried,
    /// It has failed.
    Failed,
}

/// A job that a foreign worker abandoned, and that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// What happened to it.
    pub fate: Fate,
    /// Its callback for a failed attempt.
    pub on_failure: Option<Callback>,
    /// The HTTP requests to make for its failure.
    pub webhooks: Vec<WebhookRequest>,
}
