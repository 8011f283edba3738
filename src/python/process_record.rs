//! What the page and the metrics show of one child, kept by the child itself.

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::Serialize;

use super::memory::Memory;
use super::messages::Mode;

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    /// It waits for a job.
    Ready,
    /// It was taken for a job, or runs one.
    Busy,
    /// It is about to end.
    Leaving,
}

impl ProcessState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Busy, Self::Leaving];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Leaving => "leaving",
        }
    }
}

/// A child as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessRow {
    /// Process id.
    pub pid: u32,
    /// What it is doing.
    pub state: ProcessState,
    /// How it is used.
    pub mode: Mode,
    /// Id of the job that it runs.
    pub job: Option<String>,
    /// How many jobs it has run.
    pub jobs: u64,
    /// When it was forked.
    pub since: DateTime<Utc>,
    /// Its memory when it was last looked at.
    pub memory: Option<Memory>,
    /// Why it said that it leaves.
    pub bye: Option<String>,
}

/// The record of one child.
#[derive(Debug)]
pub(super) struct ProcessRecord(Mutex<ProcessRow>);

impl ProcessRecord {
    pub(super) fn new(pid: u32, mode: Mode) -> Self {
        let since = Utc::now();
        Self(Mutex::new(ProcessRow {
            pid,
            state: ProcessState::Ready,
            mode,
            job: None,
            jobs: 0,
            since,
            memory: None,
            bye: None,
        }))
    }

    pub(super) fn row(&self) -> ProcessRow {
        self.0.lock().clone()
    }

    pub(super) fn enter(&self, state: ProcessState) {
        self.0.lock().state = state;
    }

    /// Notes the first reason that the child gave for leaving.
    pub(super) fn says_why(&self, reason: &str) {
        self.0.lock().bye.get_or_insert_with(|| reason.to_owned());
    }

    pub(super) fn bye(&self) -> Option<String> {
        self.0.lock().bye.clone()
    }

    pub(super) fn begin(&self, job: &str) {
        let mut row = self.0.lock();
        (row.state, row.job) = (ProcessState::Busy, Some(job.to_owned()));
    }

    pub(super) fn end_job(&self) {
        let mut row = self.0.lock();
        row.job = None;
        row.jobs += 1;
    }

    pub(super) fn weigh(&self, memory: Memory) {
        self.0.lock().memory = Some(memory);
    }
}
