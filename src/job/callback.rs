//! What an enqueuer wants to be called when its job has ended, as RQ's `on_success`, `on_failure` and `on_stopped`.

use std::time::Duration;

use serde::Serialize;

use super::KindName;

/// A function to call.
///
/// Here it is a kind of job that this process has registered, called in place and not enqueued. It gets by
/// position the id of the job that has ended and, after that, what it returned or the text of its error; with a stopped
/// job the id alone. So its `Args` are `(String, serde_json::Value)`, `(String, String)` or `(String,)`.
///
/// After an attempt it may be called twice: it is called before the end is written, and a process that dies in between
/// leaves the end to another. For a job whose process died it is called at most once, after that is written. A drain
/// drops one that outlasts it, and the end of the job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Callback {
    /// Its name.
    pub function: KindName,
    /// How long it may take.
    pub timeout: Duration,
}

/// What to call at each end of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Callbacks {
    /// After it ended well. When this fails, so does the job.
    pub success: Option<Callback>,
    /// After each attempt that failed. When this fails, its error takes the place of the attempt's.
    pub failure: Option<Callback>,
    /// After a person stopped it. When this fails, that is only logged.
    pub stopped: Option<Callback>,
}

impl Callbacks {
    /// Whether nobody is to be called, as with most jobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.success.is_none() && self.failure.is_none() && self.stopped.is_none()
    }
}
