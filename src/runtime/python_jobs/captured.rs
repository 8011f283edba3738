//! A Python worker that was captured, with all that serves its jobs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::command::PythonCommand;
use super::jobs::PythonJobs;
use super::keeper::Keeper;
use super::last::Last;
use super::lines::Lines;
use crate::config::{QueueOrder, WorkerSettings};
use crate::job::{ForeignJobs, JobSettings, Limit, QueueName, Retention};
use crate::python::{BootError, ChildLimits, Hello, Mode, Pool, PoolPlan, Preload, Start};
use crate::runtime::ForeignSignals;
use crate::runtime::service_manager::while_starting;
use crate::supervision::Turn;

/// How long a child may take from its fork, or from where its worker began to work, until it is ready.
const FORK: Duration = Duration::from_secs(30);
/// How much longer than a job its worker's own code may take before the job begins.
const BEFORE_BEGINNING: Duration = Duration::from_secs(60);
/// How long a child may go on after its job, for what monitoring has to send: as long as RQ grants a job beyond its time.
const LEAVE: Duration = Duration::from_secs(60);

/// A Python worker that was captured.
pub struct PythonWorker {
    command: PythonCommand,
    lines: Lines,
    pool: Pool,
    hello: Hello,
    signals: ForeignSignals,
    last: Last,
    hindrance: watch::Sender<Option<String>>,
}

impl PythonWorker {
    /// Starts the command and waits until its worker is about to work. `slots` children are kept ready; without it as
    /// many as the captured worker asks for. Cancel safe: dropped, it leaves no process behind.
    ///
    /// # Errors
    /// The command does not reach a worker, or one that cannot be served.
    pub async fn boot(mut command: PythonCommand, slots: Option<usize>) -> Result<Self, BootError> {
        let lines = Lines::new(command.format);
        let (zygote, mut hello) = while_starting(command.boot_with_redis(&lines)).await?;
        if command.start == Start::Spawn {
            command.known = Some(Arc::new(hello.clone()));
        }
        let slots = slots.or(hello.slots).unwrap_or(1).max(1);
        hello.slots = Some(slots);
        let limits = match command.mode {
            Mode::Warm => command.limits,
            // It leaves after its job.
            Mode::Job => ChildLimits::default(),
        };
        let plan =
            PoolPlan { mode: command.mode, ready: slots, limits, fork_deadline: FORK, leave_grace: LEAVE };
        let pool = Pool::new(zygote, plan);
        let last = Last::new(&hello);
        let hindrance = watch::Sender::new(None);
        Ok(Self { command, lines, pool, hello, signals: ForeignSignals::default(), last, hindrance })
    }

    /// What was captured; `slots` is how many jobs are to run at once.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// What it serves: its queues in its order, with its slots. The rest is as in `usual`.
    #[must_use]
    pub fn served(&self, usual: &WorkerSettings) -> WorkerSettings {
        let queues = queues(&self.hello);
        WorkerSettings {
            known_queues: queues.clone(),
            queues,
            queues_as_given: self.hello.queues.join(","),
            order: match self.hello.work.dequeue_strategy.as_deref() {
                Some("round_robin") => QueueOrder::InTurn,
                Some("random") => QueueOrder::Random,
                _ => QueueOrder::AsListed,
            },
            slots: self.hello.slots.unwrap_or(1),
            // Runners only wait for their job's process.
            threads: 0,
            ..usual.clone()
        }
    }

    /// Its processes.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.pool.clone()
    }

    /// What is imported ahead of its jobs.
    #[must_use]
    pub fn preload(&self) -> Preload {
        self.command.preload.clone()
    }

    /// What signals ask of it: new processes, for which the command is started once more while jobs that run end where
    /// they are; or the end of all jobs that run.
    #[must_use]
    pub fn signals(&self) -> ForeignSignals {
        self.signals.clone()
    }

    /// Says when the worker is to leave by itself.
    #[must_use]
    pub fn last(&self) -> Last {
        self.last.clone()
    }

    /// Why its jobs cannot be run now; `None`: they can.
    #[must_use]
    pub fn hindrance(&self) -> watch::Receiver<Option<String>> {
        self.hindrance.subscribe()
    }

    /// What runs its jobs.
    #[must_use]
    pub fn jobs(&self) -> Arc<dyn ForeignJobs> {
        let kept = |seconds: f64| Duration::try_from_secs_f64(seconds).map_or(Limit::Never, Limit::After);
        let usual = Retention::default();
        let retention = Retention {
            result: self.hello.default_result_ttl.map_or(usual.result, kept),
            failure: usual.failure,
        };
        Arc::new(PythonJobs {
            pool: self.pool.clone(),
            lines: self.lines.clone(),
            settings: JobSettings { retention, ..JobSettings::default() },
            kill_after: self.command.kill_after,
            memory_limit: self.command.memory_limit,
            handles_deaths: self.hello.horse_killed_handler || self.hello.own_failures,
            handles_stops: self.hello.own_failures,
            is_quiet: self.hello.is_quiet,
            lists_failures: !self.hello.disable_default_exception_handler,
            before_beginning: BEFORE_BEGINNING,
            handles_failures: !self.hello.exception_handlers.is_empty() && !self.hello.rq.starts_with("1."),
            last: self.last.clone(),
            end: self.signals.end_jobs.subscribe(),
        })
    }

    /// The loop that replaces its process.
    pub(in crate::runtime) fn keeper(&self, turn: Turn) -> Keeper {
        Keeper {
            command: self.command.clone(),
            lines: self.lines.clone(),
            pool: self.pool.clone(),
            renew: Arc::clone(&self.signals.renew),
            hindrance: self.hindrance.clone(),
            turn,
        }
    }
}

/// The worker's queues, each once: RQ takes a repeat, which changes nothing.
fn queues(hello: &Hello) -> Vec<QueueName> {
    let mut queues = Vec::new();
    for queue in hello.queues.iter().map(QueueName::from) {
        if !queues.contains(&queue) {
            queues.push(queue);
        }
    }
    queues
}
