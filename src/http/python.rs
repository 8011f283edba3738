//! The Python processes of this process, for its health, the page and the API.

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::views::time;
use crate::job::QueueName;
use crate::operations::Hindered;
use crate::python::{Mode, Pool, PoolSnapshot, Preload, PreloadSnapshot, ProcessRow};

/// Reads the Python processes.
pub struct PythonReader {
    /// The workers whose jobs are run; at least one.
    pub workers: Vec<PythonWorkerReader>,
    /// Whether jobs in Rust are run, too.
    pub beside_rust: bool,
}

/// Reads the processes of one worker.
pub struct PythonWorkerReader {
    /// The queues of the worker.
    pub queues: Vec<QueueName>,
    /// The processes that run its jobs.
    pub pool: Pool,
    /// Why none of its jobs can be run now.
    pub hindrance: watch::Receiver<Option<String>>,
    /// What is imported ahead of jobs.
    pub preload: Preload,
}

/// The Python processes in which this process runs jobs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct PythonState {
    /// How far jobs are kept apart: `job` or `warm`; `mixed` where workers differ.
    #[schema(example = "warm")]
    pub isolation: &'static str,
    /// The process that has imported the application of the first worker, and from which its others are forked;
    /// `null` where each is started by itself.
    pub zygote: Option<u32>,
    /// Why jobs cannot be run now, in a sentence for each worker; with its queues, if other jobs can.
    pub hindrance: Option<String>,
    /// Processes forked since the start.
    pub started: u64,
    /// Forks that failed since the start.
    pub fork_failures: u64,
    /// The workers whose jobs are run.
    pub workers: Vec<PythonWorkerState>,
    /// The processes that there are, by worker and process id.
    pub processes: Vec<PythonProcess>,
}

/// One Python worker whose jobs are run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct PythonWorkerState {
    /// Its queues, separated by commas.
    #[schema(example = "high,default")]
    pub queues: String,
    /// How far its jobs are kept apart: `job` or `warm`.
    #[schema(example = "warm")]
    pub isolation: &'static str,
    /// The process that has imported its application, and from which the others are forked; `null` where each is
    /// started by itself.
    pub zygote: Option<u32>,
    /// Why none of its jobs can be run now, in a sentence.
    pub hindrance: Option<String>,
    /// The modules that are imported once, and no more by each job.
    pub preload: PythonPreload,
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
    /// The queues of its worker, separated by commas.
    #[schema(example = "high,default")]
    pub worker: String,
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
    /// Which jobs cannot be run now.
    pub(in crate::http) fn hindered(&self) -> Hindered {
        let hindered = self.workers.iter().filter(|worker| worker.hindrance.borrow().is_some()).count();
        match hindered {
            0 => Hindered::No,
            all if all == self.workers.len() && !self.beside_rust => Hindered::Wholly,
            _ => Hindered::InPart,
        }
    }

    /// Snapshots of all processes.
    pub(in crate::http) fn snapshots(&self) -> Vec<PoolSnapshot> {
        self.workers.iter().map(|worker| worker.pool.snapshot()).collect()
    }

    /// The processes as they are now, with their memory as it was at the last look.
    pub(in crate::http) fn state(&self) -> PythonState {
        let (mut workers, mut processes, mut hindrances) = (Vec::new(), Vec::new(), Vec::new());
        let (mut started, mut fork_failures) = (0, 0);
        let is_alone = self.workers.len() == 1 && !self.beside_rust;
        for worker in &self.workers {
            let PoolSnapshot { zygote, mode, children, counts } = worker.pool.snapshot();
            let queues = joined(&worker.queues);
            let hindrance = worker.hindrance.borrow().clone();
            hindrances.extend(hindrance.iter().map(|why| match is_alone {
                true => why.clone(),
                false => format!("jobs of {queues} wait: {why}"),
            }));
            started += counts.forked;
            fork_failures += counts.fork_failures;
            processes.extend(children.into_iter().map(|row| process(&queues, mode, row)));
            let preload = preload(worker.preload.snapshot());
            workers.push(PythonWorkerState { queues, isolation: mode.as_str(), zygote, hindrance, preload });
        }
        let (isolation, zygote) = workers.first().map_or(("", None), |first| (first.isolation, first.zygote));
        let is_mixed = workers.iter().any(|worker| worker.isolation != isolation);
        PythonState {
            isolation: if is_mixed { "mixed" } else { isolation },
            zygote,
            hindrance: (!hindrances.is_empty()).then(|| hindrances.join("; ")),
            started,
            fork_failures,
            workers,
            processes,
        }
    }
}

fn preload(PreloadSnapshot { mode, modules, left_out }: PreloadSnapshot) -> PythonPreload {
    let left_out = left_out.into_iter().map(|(module, reason)| LeftOutModule { module, reason });
    PythonPreload { mode, modules, left_out: left_out.collect() }
}

fn joined(queues: &[QueueName]) -> String {
    queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(",")
}

fn process(worker: &str, mode: Mode, row: ProcessRow) -> PythonProcess {
    PythonProcess {
        pid: row.pid,
        worker: worker.to_owned(),
        state: row.state.as_str(),
        mode: mode.as_str(),
        jobs: row.jobs,
        job_id: row.job,
        since: time(row.since),
        memory: row.memory.map(|memory| memory.private),
    }
}
