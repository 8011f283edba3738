//! Starts the team's command again when its process is gone or is to be renewed, for as long as the service runs.
//!
//! Its state is the pool's: a restart of the loop finds the process of that time there.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::command::{PythonCommand, tell_of};
use super::lines::Lines;
use crate::backoff::Backoff;
use crate::python::{BootError, Mode, Pool, Start, Zygote};
use crate::supervision::Turn;

/// Time between two signs of life, and between two looks at the memory of the processes.
const LOOK: Duration = Duration::from_secs(5);

/// The loop that keeps a zygote there.
#[derive(Clone)]
pub(in crate::runtime) struct Keeper {
    pub(super) command: PythonCommand,
    pub(super) lines: Lines,
    pub(super) pool: Pool,
    pub(super) renew: Arc<Notify>,
    /// Why no job can be run now.
    pub(super) hindrance: watch::Sender<Option<String>>,
    /// Its sign of life, also while the command starts.
    pub(super) turn: Turn,
}

impl Keeper {
    /// Runs as long as the process.
    pub(in crate::runtime) async fn keep(self) {
        loop {
            self.turn.beat();
            let zygote = self.pool.zygote();
            tokio::select! {
                end = zygote.gone() => self.replace(&zygote, &end.words).await,
                () = self.renew.notified() => {
                    self.command.preload.forgive();
                    self.renew(&zygote).await;
                }
                () = self.command.preload.is_due(&zygote) => self.learn(&zygote).await,
                () = tokio::time::sleep(LOOK) => self.pool.measure().await,
            }
        }
    }

    /// Goes over to a new process; the old one stays if there is no new one.
    async fn renew(&self, old: &Zygote) {
        tracing::info!("new python processes are started; running jobs go on in the old ones");
        let booted = tokio::select! {
            booted = self.boot() => booted,
            // The loop finds that it is gone.
            _ = old.gone() => return,
        };
        match booted {
            Ok(zygote) => self.pool.renew(zygote),
            Err(error) => tracing::error!(
                error = error.chain(),
                "the python worker cannot be started anew; the old processes go on"
            ),
        }
    }

    /// Has modules that jobs have imported imported ahead of the next ones.
    async fn learn(&self, zygote: &Zygote) {
        let round = match self.alive(self.command.preload.learn(zygote)).await {
            Ok(round) => round,
            Err(fault) => {
                tracing::debug!(error = fault.chain(), "modules are imported ahead of jobs later");
                return;
            }
        };
        tell_of(&round);
        if round.is_spoiled {
            self.renew(zygote).await;
        } else if !round.loaded.is_empty() && self.command.mode == Mode::Job {
            // Those that run many jobs import once, too.
            self.pool.refresh();
        }
    }

    /// Starts the command until its worker is there. Until then no job is fetched.
    async fn replace(&self, old: &Zygote, end: &str) {
        let what = match self.command.start {
            Start::Fork => "the python worker's process is gone",
            Start::Spawn => "a process of the python worker could not be started",
        };
        tracing::error!(pid = old.pid(), end, "{what}; another is started");
        self.hinder(format!("{what} ({end}); another is being started"));
        let mut failures = 0;
        loop {
            match self.boot().await {
                Ok(zygote) => {
                    self.pool.renew(zygote);
                    self.hindrance.send_replace(None);
                    return;
                }
                Err(error) => {
                    failures += 1;
                    let (error, delay) = (error.chain(), Backoff::RESTART.delay(failures, fastrand::f64()));
                    tracing::error!(
                        error, failures, delay = %humantime::format_duration(delay),
                        "the python worker cannot be started; jobs wait"
                    );
                    self.hinder(format!("the python worker cannot be started: {error}"));
                    self.alive(tokio::time::sleep(delay)).await;
                }
            }
        }
    }

    async fn boot(&self) -> Result<Zygote, BootError> {
        self.alive(self.command.boot(&self.lines)).await.map(|(zygote, _)| zygote)
    }

    fn hinder(&self, why: String) {
        self.hindrance.send_replace(Some(why));
    }

    /// Gives signs of life while `work` takes its time.
    async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.turn.beat();
            if let Ok(done) = timeout(LOOK, &mut work).await {
                return done;
            }
        }
    }
}
