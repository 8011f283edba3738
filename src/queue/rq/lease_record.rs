//! The record of a process in its lease on the server.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind};
use crate::queue::incarnation;
use crate::queue::seen::{Overdue, ProcessRecord};

/// The stored form of the record.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    #[serde(flatten)]
    pub(super) process: ProcessRecord,
    /// The mark by which other processes on its host see at once that it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
    /// The duration of its lease in milliseconds; 0 if unknown, as from older versions.
    #[serde(default)]
    pub(super) ttl_ms: u64,
    /// Changes with each renewal; `None` from older versions.
    #[serde(default)]
    pub(super) renewal: Option<i64>,
}

impl Written {
    /// Whether it ran on this host and is certainly dead.
    pub(super) fn is_gone(&self) -> bool {
        self.incarnation.as_ref().is_some_and(|mark| incarnation::is_gone(self.process.pid, mark))
    }

    /// The process, its lease having run out, unless it is known to be dead.
    pub(super) fn overdue(self) -> Option<Overdue> {
        Overdue::unless_gone(self.process, self.incarnation.as_deref())
    }
}

/// The record of a process that renews its lease for `ttl_ms`.
pub(super) fn written(process: &ProcessRecord, ttl_ms: u64) -> Result<String, Fault> {
    let incarnation = incarnation::mark(process.pid);
    let written = Written { process: process.clone(), incarnation, ttl_ms, renewal: Some(fastrand::i64(..)) };
    serde_json::to_string(&written)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write down a process").because(error))
}
