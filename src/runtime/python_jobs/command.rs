//! The team's command, and its start.

use std::ffi::OsString;
use std::time::Duration;

use super::lines::Lines;
use super::shim::SHIM;
use crate::backoff::Backoff;
use crate::config::{
    Isolation, LogFormat, PythonSettings, PythonWorkerSettings, Settings, environment_for_program,
};
use crate::python::{BootError, BootPlan, ChildLimits, Hello, Mode, Zygote};

/// The command of a Python worker, and how its processes are used.
#[derive(Clone, Debug)]
pub struct PythonCommand {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// The whole environment of the command.
    pub environment: Vec<(OsString, OsString)>,
    /// How children are used.
    pub mode: Mode,
    /// When children that run many jobs leave by themselves.
    pub limits: ChildLimits,
    /// How long the command may take to reach its worker.
    pub boot_timeout: Duration,
    /// How long code that does not yield to its time limit goes on before its process is killed.
    pub kill_after: Duration,
    /// How lines of the processes are passed on.
    pub format: LogFormat,
}

/// What a command was found to be, by starting it once.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The worker that was captured.
    pub hello: Hello,
    /// What its process warned of.
    pub warnings: Vec<String>,
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
        Self {
            command,
            environment: environment_for_program(),
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
            format,
        }
    }

    /// Starts the command until its worker is about to work, and ends it. Cancel safe.
    ///
    /// # Errors
    /// The command does not reach a worker, or one that cannot be served.
    pub async fn examine(&self) -> Result<Examined, BootError> {
        let (zygote, hello) = self.boot(&Lines::new(self.format)).await?;
        Ok(Examined { hello, warnings: zygote.warnings() })
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
        let plan = BootPlan {
            command: &self.command,
            shim: &SHIM,
            environment: &self.environment,
            sink: lines.of_no_job(),
            deadline: self.boot_timeout,
        };
        let (zygote, hello) = Zygote::boot(plan).await?;
        tracing::info!(
            pid = zygote.pid(),
            rq = hello.rq,
            python = hello.python,
            worker = hello.worker_class,
            queues = hello.queues.join(","),
            "the python worker is ready to fork"
        );
        for warning in zygote.warnings() {
            tracing::warn!(pid = zygote.pid(), "{warning}");
        }
        if !hello.overrides.is_empty() {
            tracing::warn!(
                worker = hello.worker_class,
                methods = hello.overrides.join(", "),
                "the worker's class replaces methods that are not called here: Tikkun does their work itself"
            );
        }
        if !hello.threads.is_empty() {
            tracing::warn!(
                threads = hello.threads.join(", "),
                "threads ran in the python worker when it began to work: they are not in its children"
            );
        }
        Ok((zygote, hello))
    }
}
