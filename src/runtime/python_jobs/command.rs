//! The team's command, and its start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use super::lines::Lines;
use super::shim::SHIM;
use crate::backoff::Backoff;
use crate::config::{
    ChildStart, Isolation, LogFormat, PreloadChoice, PythonSettings, PythonWorkerSettings, Settings,
    environment_for_program,
};
use crate::python::{
    BootError, BootPlan, ChildLimits, Hazards, Hello, Mode, OutputSink, Preload, PreloadPlan, PreloadRound,
    Start, Stream, Zygote,
};

/// The command of a Python worker, and how its processes are used.
#[derive(Clone, Debug)]
pub struct PythonCommand {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// The whole environment of the command.
    pub environment: Vec<(OsString, OsString)>,
    /// The user to run as; `None`: that of this process.
    pub user: Option<String>,
    /// How children come to be.
    pub start: Start,
    /// What the command was found to be when it was started first, where each child is a start of it.
    pub known: Option<Arc<Hello>>,
    /// How children are used.
    pub mode: Mode,
    /// When children that run many jobs leave by themselves.
    pub limits: ChildLimits,
    /// How long the command may take to reach its worker.
    pub boot_timeout: Duration,
    /// How long code that does not yield to its time limit goes on before its process is killed.
    pub kill_after: Duration,
    /// How many bytes a process may have for itself while it runs a job; `None`: any number.
    pub memory_limit: Option<u64>,
    /// How lines of the processes are passed on.
    pub format: LogFormat,
    /// What is imported ahead of jobs.
    pub preload: Preload,
}

/// What a command was found to be, by starting it once.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The worker that was captured.
    pub hello: Hello,
    /// What its process warned of.
    pub warnings: Vec<String>,
    /// What came of the modules that are to be imported ahead.
    pub round: PreloadRound,
}

/// Hears what nobody is to see.
struct Silence;

impl OutputSink for Silence {
    fn line(&self, _: Stream, _: &[u8]) {}
}

impl PythonCommand {
    /// The command as the settings want it run.
    #[must_use]
    pub fn new(command: Vec<OsString>, settings: &Settings) -> Self {
        Self::with(command, &settings.python, settings.log.format)
    }

    /// The command of a worker of `[[python]]`.
    #[must_use]
    pub fn of(worker: &PythonWorkerSettings, settings: &Settings) -> Self {
        let command = worker.command.iter().map(OsString::from).collect();
        Self::with(command, &worker.processes, settings.log.format)
    }

    fn with(command: Vec<OsString>, python: &PythonSettings, format: LogFormat) -> Self {
        let start = match python.start {
            ChildStart::Fork => Start::Fork,
            ChildStart::Spawn => Start::Spawn,
        };
        Self {
            command,
            start,
            known: None,
            environment: environment_for_program(python.user.is_some()),
            user: python.user.clone(),
            mode: match python.isolation {
                Isolation::Job => Mode::Job,
                Isolation::Warm => Mode::Warm,
            },
            limits: ChildLimits {
                jobs: Some(python.jobs_per_process),
                lifetime: Some(python.lifetime.as_secs_f64()),
                memory_growth: Some(python.memory_growth.0),
            },
            boot_timeout: python.boot_timeout,
            kill_after: python.kill_after,
            memory_limit: python.memory_limit.map(|limit| limit.0),
            format,
            preload: Preload::new(match (start, &python.preload) {
                // Nothing is shared with a process that was started by itself.
                (Start::Spawn, _) | (_, PreloadChoice::Off) => PreloadPlan::Off,
                (Start::Fork, PreloadChoice::Learned) => PreloadPlan::Learned,
                (Start::Fork, PreloadChoice::Modules(modules)) => PreloadPlan::Listed(modules.clone()),
            }),
        }
    }

    /// Starts the command until its worker is about to work, and ends it. Nothing is logged. Cancel safe.
    ///
    /// # Errors
    /// The command does not reach a worker, or one that cannot be served.
    pub async fn examine(&self) -> Result<Examined, BootError> {
        let (zygote, hello, round) = self.start(Arc::new(Silence)).await?;
        Ok(Examined { hello, warnings: zygote.warnings(), round })
    }

    /// Starts the command until its worker has reached Redis: RQ's own worker ends where that does not answer.
    pub(super) async fn boot_with_redis(&self, lines: &Lines) -> Result<(Zygote, Hello), BootError> {
        let mut failures = 0;
        loop {
            match self.boot(lines).await {
                Err(error) if error.is_outage_of_redis() => {
                    failures += 1;
                    let delay = Backoff::BATCH.plain(failures);
                    tracing::warn!(
                        error = error.chain(), delay = %humantime::format_duration(delay),
                        "the start waits for redis, which the python worker cannot reach"
                    );
                    tokio::time::sleep(delay).await;
                }
                booted => return booted,
            }
        }
    }

    pub(super) async fn boot(&self, lines: &Lines) -> Result<(Zygote, Hello), BootError> {
        let (zygote, hello, round) = self.start(lines.of_no_job()).await?;
        tell(&zygote, &hello);
        tell_of(&round);
        Ok((zygote, hello))
    }

    async fn start(&self, sink: Arc<dyn OutputSink>) -> Result<(Zygote, Hello, PreloadRound), BootError> {
        let plan = BootPlan {
            command: &self.command,
            shim: &SHIM,
            environment: &self.environment,
            user: self.user.as_deref(),
            sink,
            deadline: self.boot_timeout,
            start: self.start,
            known: self.known.as_deref(),
        };
        let (zygote, hello) = Zygote::boot(plan.clone()).await?;
        let round = self.preload.begin(&zygote, self.boot_timeout).await?;
        if !round.is_spoiled {
            return Ok((zygote, hello, round));
        }
        // What did the harm is left out by now.
        drop(zygote);
        let (zygote, hello) = Zygote::boot(plan).await?;
        let mut again = self.preload.begin(&zygote, self.boot_timeout).await?;
        again.left_out.extend(round.left_out);
        Ok((zygote, hello, again))
    }
}

/// Logs what was captured, and what of it is not as under RQ.
fn tell(zygote: &Zygote, hello: &Hello) {
    let how =
        if zygote.pid().is_some() { "to fork" } else { "and is started anew for each of its processes" };
    tracing::info!(
        pid = zygote.pid(),
        rq = hello.rq,
        python = hello.python,
        worker = hello.worker_class,
        queues = hello.queues.join(","),
        "the python worker is ready {how}"
    );
    if !hello.overrides.is_empty() {
        tracing::warn!(
            worker = hello.worker_class,
            methods = hello.overrides.join(", "),
            "the worker's class replaces methods that are not called here: Tikkun does their work itself"
        );
    }
    tell_of_hazards(&hello.hazards);
}

/// Logs what came of modules that were to be imported ahead.
pub(super) fn tell_of(round: &PreloadRound) {
    if !round.loaded.is_empty() {
        let modules = round.loaded.join(", ");
        tracing::info!(modules, "modules are imported once from here on, and no more by each job");
    }
    for (reason, modules) in by_reason(round) {
        let modules = modules.join(", ");
        tracing::warn!(modules, reason, "not imported ahead of jobs: the jobs that need it do so themselves");
    }
    tell_of_hazards(&round.hazards);
}

/// The modules that were left out for each reason.
fn by_reason(round: &PreloadRound) -> BTreeMap<&str, Vec<&str>> {
    let mut reasons = BTreeMap::<&str, Vec<&str>>::new();
    for (module, why) in &round.left_out {
        reasons.entry(why).or_default().push(module);
    }
    reasons
}

fn tell_of_hazards(hazards: &Hazards) {
    if !hazards.threads.is_empty() {
        let threads = hazards.threads.join(", ");
        tracing::warn!(threads, "threads run in the python worker's process: they are not in its children");
    }
    if !hazards.connections.is_empty() {
        let connections = hazards.connections.join(", ");
        tracing::warn!(
            connections,
            "connections are open in the python worker's process: its children must not use them"
        );
    }
    for (library, reason) in &hazards.libraries {
        tracing::warn!(
            library,
            reason,
            "the python worker's process has a library that does not bear a fork"
        );
    }
}
