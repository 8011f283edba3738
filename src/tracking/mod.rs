//! The rows of `background_jobs`: only [`StatusTracker`] changes their status, heartbeat and progress.

mod journal;
mod requests;
mod status_tracker;
mod tracked_kind;
mod tracker_messages;

pub use journal::Journal;
pub use requests::{RequestFault, Requests, new_queue_job};
pub use status_tracker::StatusTracker;
pub use tracked_kind::TrackedKind;
pub use tracker_messages::{
    AskPerson, BeginAttempt, EndedAttempt, FailUnbegun, Progressed, RequestJob, Revive, Waiting,
};
