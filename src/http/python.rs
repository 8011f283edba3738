//! The Python processes of this process, for its health, the page and the API.

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::views::time;
use crate::python::{Mode, Pool, PoolSnapshot, Preload, PreloadSnapshot, ProcessRow};

/// Reads the Python processes.
pub struct PythonReader {
    /// The processes that run jobs.
    pub pool: Pool,
    /// Why no job can be run now.
    pub hindrance: watch::Receiver<Option<String>>,
    /// What is imported ahead of jobs.
    pub preload: Preload,
}

/// The Python processes in which this process runs jobs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct PythonState {
    /// How far jobs are kept apart: `job` or `warm`.
    #[schema(example = "warm")]
    pub isolation: &'static str,
    /// The process that has imported the application, and from which the others are forked.
    pub zygote: u32,
    /// Why no job can be run now, in a sentence.
    pub hindrance: Option<String>,
    /// Processes forked since the start.
    pub started: u64,
    /// Forks that failed since the start.
    pub fork_failures: u64,
    /// The modules that are imported once, and no more by each job.
    pub preload: PythonPreload,
    /// The processes that there are, by process id.
    pub processes: Vec<PythonProcess>,
}

/// The modules that the process from which the others are forked has imported ahead of jobs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct PythonPreload {
    /// Where their names are from: `learned`, `list` or `off`.
    #[schema(example = "learned")]
    pub mode: &'static str,
    /// Their names; others came along with them.
    pub modules: Vec<String>,
    /// The modules that jobs import by themselves, since it would do harm to import them ahead.
    pub left_out: Vec<LeftOutModule>,
}

/// A module that is not imported ahead of jobs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct LeftOutModule {
    /// Its name.
    #[schema(example = "shop.metrics")]
    pub module: String,
    /// Why.
    #[schema(example = "it starts threads: reporter")]
    pub reason: String,
}

/// One Python process.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct PythonProcess {
    /// Its process id.
    pub pid: u32,
    /// `ready`, `busy` or `leaving`.
    #[schema(example = "busy")]
    pub state: &'static str,
    /// Whether it runs one `job` or stays `warm` for the next.
    #[schema(example = "warm")]
    pub mode: &'static str,
    /// How many jobs it has run.
    pub jobs: u64,
    /// The job that it runs.
    pub job_id: Option<String>,
    /// When it was forked.
    pub since: String,
    /// The memory in bytes that it has for itself alone; not known before the first look.
    pub memory: Option<u64>,
}

impl PythonReader {
    /// Why no job can be run now.
    pub(in crate::http) fn hindrance(&self) -> Option<String> {
        self.hindrance.borrow().clone()
    }

    /// The processes as they are now, with their memory as it was at the last look.
    pub(in crate::http) fn state(&self) -> PythonState {
        let PoolSnapshot { zygote, mode, children, counts } = self.pool.snapshot();
        PythonState {
            isolation: mode.as_str(),
            zygote,
            hindrance: self.hindrance(),
            started: counts.forked,
            fork_failures: counts.fork_failures,
            preload: preload(self.preload.snapshot()),
            processes: children.into_iter().map(|row| process(mode, row)).collect(),
        }
    }
}

fn preload(PreloadSnapshot { mode, modules, left_out }: PreloadSnapshot) -> PythonPreload {
    let left_out = left_out.into_iter().map(|(module, reason)| LeftOutModule { module, reason });
    PythonPreload { mode, modules, left_out: left_out.collect() }
}

fn process(mode: Mode, row: ProcessRow) -> PythonProcess {
    PythonProcess {
        pid: row.pid,
        state: row.state.as_str(),
        mode: mode.as_str(),
        jobs: row.jobs,
        job_id: row.job,
        since: time(row.since),
        memory: row.memory.map(|memory| memory.private),
    }
}
