//! What the log says of every change that a person or a program asks for, by whichever way it comes.

use std::net::IpAddr;

use crate::job::JobId;

/// Jobs that one line names at most.
const JOBS: usize = 32;

/// The line that a change leaves in the log, also one whose answer did not come in time: it may have been carried out all
/// the same.
#[derive(Debug)]
pub struct AuditLine {
    who: String,
    what: String,
    peer: Option<IpAddr>,
    /// None while there is no answer.
    status: Option<u16>,
}

impl AuditLine {
    /// The line of a change that begins: `what` is the request, or the command as it is typed.
    #[must_use]
    pub fn begin(who: &str, what: String, peer: Option<IpAddr>) -> Self {
        Self { who: who.to_owned(), what, peer, status: None }
    }

    /// The change was answered, with this status of HTTP or exit code of a command.
    pub fn end(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for AuditLine {
    fn drop(&mut self) {
        let Self { who, what, peer, status } = self;
        match status {
            Some(status) => {
                tracing::info!(target: "tikkun::audit", who, what, status, peer = peer.map(tracing::field::display), "change")
            }
            None => {
                tracing::warn!(target: "tikkun::audit", who, what, peer = peer.map(tracing::field::display), "change without an answer in time")
            }
        }
    }
}

/// Names the jobs that are about to be changed together, before it happens: whatever becomes of the answer, the log knows
/// what was meant.
pub fn audit_bulk(who: &str, action: &str, jobs: &[JobId]) {
    for jobs in jobs.chunks(JOBS) {
        tracing::info!(target: "tikkun::audit", who, action, ?jobs, "bulk change");
    }
}
