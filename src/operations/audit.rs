//! The audit lines for every change that a user or a program requests, by whichever interface.

use std::net::IpAddr;

use crate::job::JobId;

/// The most jobs named in one line.
const JOBS: usize = 32;

/// The audit line of a change. It is logged even if no response was sent in time, because the change may have
/// been made.
#[derive(Debug)]
pub struct AuditLine {
    who: String,
    what: String,
    peer: Option<IpAddr>,
    /// `None` while there is no response.
    status: Option<u16>,
}

impl AuditLine {
    /// Begins the line of a change; `what` is the request, or the command as typed.
    #[must_use]
    pub fn begin(who: &str, what: String, peer: Option<IpAddr>) -> Self {
        Self { who: who.to_owned(), what, peer, status: None }
    }

    /// Records the response: an HTTP status, or the exit code of a command.
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

/// Logs the jobs that are about to be changed together. It is done before the change, so that the log has
/// them even if no response follows.
pub fn audit_bulk(who: &str, action: &str, jobs: &[JobId]) {
    for jobs in jobs.chunks(JOBS) {
        tracing::info!(target: "tikkun::audit", who, action, ?jobs, "bulk change");
    }
}
