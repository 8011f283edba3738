//! The callbacks of a job, as RQ's `on_success`, `on_failure` and `on_stopped`.

use std::time::Duration;

use serde::Serialize;

use super::KindName;

/// A function to call.
///
/// It must be a kind of job that this process has registered; it is called directly and not enqueued. Its
/// positional arguments are the id of the ended job and then the result or the error text; for a stopped job
/// only the id. So its `Args` are `(String, serde_json::Value)`, `(String, String)` or `(String,)`.
///
/// After an attempt it may be called twice: it is called before the end is written, and if the process dies
/// in between, another process ends the job. For a job whose process died it is called at most once, after
/// the end is written. A drain drops a callback that takes too long, and the job still ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Callback {
    /// Its name.
    pub function: KindName,
    /// How long it may take.
    pub timeout: Duration,
}

/// The callbacks for each end of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Callbacks {
    /// Called after success. If it fails, so does the job.
    pub success: Option<Callback>,
    /// Called after each failed attempt. If it fails, its error replaces that of the attempt.
    pub failure: Option<Callback>,
    /// Called after a user stopped the job. Its failure is only logged.
    pub stopped: Option<Callback>,
}

impl Callbacks {
    /// Whether there are no callbacks, as for most jobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.success.is_none() && self.failure.is_none() && self.stopped.is_none()
    }
}
