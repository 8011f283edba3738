//! What the StatusTracker is asked and told.

use actix::Message;

use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, Progress};
use crate::store::{Begin, Begun, EndAttempt, NewRequest, Person, Requested};

/// Asks to begin an attempt.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Begun, Fault>")]
pub struct BeginAttempt(pub Begin);

/// Tells that an attempt ended; the answer is whether it was still the newest of a running row.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<bool, Fault>")]
pub struct EndedAttempt {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt.
    pub attempt: u32,
    /// How.
    pub end: EndAttempt,
}

/// Asks to bring a row back that the web application's stale rule failed while it was alive.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<bool, Fault>")]
pub struct Revive {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt that is alive.
    pub attempt: u32,
}

/// Asks for a new row.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Requested, Fault>")]
pub struct RequestJob(pub NewRequest);

/// Tells that a new row could not be enqueued.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<bool, Fault>")]
pub struct FailUnqueued {
    /// The row.
    pub id: BackgroundJobId,
    /// Why.
    pub error: String,
}

/// Asks to carry out what a person asked for.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Option<Result<BackgroundJob, Status>>, Fault>")]
pub struct AskPerson(pub Person);

/// Tells what has been committed; the latest wins.
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

/// Tells what a job waits for, or that it waits no more.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Waiting {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt that waits.
    pub attempt: u32,
    /// What for; none: it goes on.
    pub waiting_for: Option<String>,
}
