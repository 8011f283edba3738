//! What people and the clock ask of a broker: pauses, budgets, schedules; and what to fear from it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::job::{Callback, JobId, NewJob, QueueName};

/// Why nothing comes from a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedQueue {
    /// Who paused it, in that person's own words.
    pub by: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// How many ended jobs a queue keeps at most; zero keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Of those that ended well.
    pub finished: u64,
    /// Of those that failed, and of those that were taken out.
    pub failed: u64,
}

/// How far a schedule has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleMark {
    /// The rule it followed; under another rule it begins anew.
    pub rule: String,
    /// What was due up to here is decided. Whole milliseconds.
    pub until: DateTime<Utc>,
    /// The last time it enqueued a job for. Whole milliseconds.
    pub last: Option<DateTime<Utc>>,
}

/// One step of a schedule: jobs come in and the mark moves, both or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleStep {
    /// The schedule.
    pub name: String,
    /// The mark that the step was decided on; none: there was none.
    pub from: Option<ScheduleMark>,
    /// The mark afterwards.
    pub to: ScheduleMark,
    /// What came due in between.
    pub jobs: Vec<NewJob>,
}

/// How the place where jobs wait may lose them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Risk {
    /// When its memory is full it drops keys, whatever they hold.
    Evicts {
        /// The name of the rule by which it does so.
        policy: String,
    },
    /// It writes nothing to a disk: a restart loses everything.
    Forgets,
}

/// What became of a job that a worker of somebody else had left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It had not begun, and waits at the head of its queue.
    Returned,
    /// It is tried again; that costs a retry.
    Retried,
    /// It has failed.
    Failed,
}

/// A job that a worker of somebody else had left behind, and that was looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// What became of it.
    pub fate: Fate,
    /// What its enqueuer wants to be called after a failed attempt.
    pub on_failure: Option<Callback>,
}
