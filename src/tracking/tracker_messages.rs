//! The messages of the StatusTracker.

use actix::Message;

use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, Progress};
use crate::store::{Begin, Begun, EndAttempt, NewRequest, Person, Requested};

/// Begins an attempt.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Begun, Fault>")]
pub struct BeginAttempt(pub Begin);

/// Reports the end of an attempt; the answer is whether it was still the newest of a running row.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<bool, Fault>")]
pub struct EndedAttempt {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt.
    pub attempt: u32,
    /// How it ended.
    pub end: EndAttempt,
}

/// Revives a row that the web application's stale rule failed although its attempt is alive.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<bool, Fault>")]
pub struct Revive {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt that is alive.
    pub attempt: u32,
}

/// Creates a row.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Requested, Fault>")]
pub struct RequestJob(pub NewRequest);

/// Reports that no attempt at a row can begin.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<bool, Fault>")]
pub struct FailUnbegun {
    /// The row.
    pub id: BackgroundJobId,
    /// The reason.
    pub error: String,
}

/// Applies a user's request.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Option<Result<BackgroundJob, Status>>, Fault>")]
pub struct AskPerson(pub Person);

/// Reports committed counters; the latest message counts.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Progressed {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt that committed it.
    pub attempt: u32,
    /// The counters after the commit.
    pub progress: Progress,
}

/// Reports what a job waits for, or that it has stopped waiting.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Waiting {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt that waits.
    pub attempt: u32,
    /// What it waits for; `None`: it has stopped waiting.
    pub waiting_for: Option<String>,
}
