//! The reasons why a process leaves.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::supervision::{Escalation, StuckThreads};

/// A second signal within this time is no second request: a terminal or a supervisor may send one to a whole group of
/// processes besides the one that is passed on. RQ's worker has the same rule.
const TWICE: Duration = Duration::from_secs(1);

/// Why the process leaves.
#[derive(Debug)]
pub(super) enum Leave {
    /// It was asked to.
    Told(&'static str),
    /// Restarts did not help.
    GaveUp(Escalation),
    /// Threads are stuck.
    Stuck(usize),
}

impl Leave {
    /// Logs why the process leaves.
    pub(super) fn tell(&self) {
        match self {
            Self::Told(how) => {
                tracing::info!(how, "draining: no new jobs, and those in hand stop at their next safe point")
            }
            Self::GaveUp(escalation) => {
                tracing::error!(?escalation, "restarts do not help; this process leaves")
            }
            Self::Stuck(threads) => {
                tracing::error!(threads, "threads do not come back; this process leaves")
            }
        }
    }
}

/// The signals of a user, a terminal or an orchestrator. They are caught from the moment this is created.
///
/// A hangup that was ignored when the process started, as under `nohup`, stays ignored.
#[derive(Debug)]
pub struct Signals {
    leave: [(&'static str, Option<Signal>); 4],
    ignored: [(&'static str, Option<Signal>); 2],
    /// What signals ask for where jobs run in another program.
    foreign: Option<ForeignSignals>,
    /// When one asked to leave first.
    asked: Option<Instant>,
}

/// What signals ask for in a process whose jobs run in another program.
#[derive(Clone, Debug, Default)]
pub struct ForeignSignals {
    /// A hangup asks for new processes, not to leave.
    pub renew: Arc<Notify>,
    /// The second signal to leave ends the processes of running jobs. Becomes true once.
    pub end_jobs: watch::Sender<bool>,
}

impl Signals {
    /// Starts to listen. Must be called inside an actix system.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        let hangup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            leave: [
                ("SIGTERM", Some(signal(SignalKind::terminate())?)),
                ("SIGINT", Some(signal(SignalKind::interrupt())?)),
                ("SIGQUIT", Some(signal(SignalKind::quit())?)),
                ("SIGHUP", hangup),
            ],
            ignored: [
                ("SIGUSR1", Some(signal(SignalKind::user_defined1())?)),
                ("SIGUSR2", Some(signal(SignalKind::user_defined2())?)),
            ],
            foreign: None,
            asked: None,
        })
    }

    /// The same in a process whose jobs run in another program.
    #[must_use]
    pub fn with_foreign_jobs(self, foreign: ForeignSignals) -> Self {
        Self { foreign: Some(foreign), ..self }
    }

    /// The next signal that asks to leave; others are logged. Cancel safe.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                asked = first_of(&mut self.leave) => match &self.foreign {
                    Some(foreign) if asked == "SIGHUP" => foreign.renew.notify_one(),
                    _ => {
                        self.asked.get_or_insert_with(Instant::now);
                        return asked;
                    }
                },
                other = first_of(&mut self.ignored) => {
                    tracing::info!(signal = other, "a signal without a meaning here; it is ignored");
                }
            }
        }
    }

    /// The next signal that asks to leave at once, during a drain. SIGHUP does not count: a terminal that
    /// closes sends it twice, and a service manager may send it along with its request. Cancel safe.
    pub(super) async fn next_in_a_drain(&mut self) -> &'static str {
        loop {
            match self.next().await {
                "SIGHUP" => tracing::info!(signal = "SIGHUP", "the process leaves already"),
                asked if self.is_repeated() => {
                    tracing::info!(
                        signal = asked,
                        "a signal that came twice within a second; it counts once"
                    );
                }
                asked => return asked,
            }
        }
    }

    /// Whether the last signal is a repeat of the first one, and no request of its own.
    fn is_repeated(&self) -> bool {
        self.foreign.is_some() && self.asked.is_some_and(|first| first.elapsed() < TWICE)
    }

    /// Ends the processes of running jobs, so that these end soon; `false` where jobs run in this process.
    pub(super) fn end_jobs(&self) -> bool {
        self.foreign.as_ref().is_some_and(|foreign| {
            foreign.end_jobs.send_replace(true);
            true
        })
    }
}

/// The first of these that arrives. Cancel safe.
async fn first_of(signals: &mut [(&'static str, Option<Signal>)]) -> &'static str {
    std::future::poll_fn(|cx| {
        for (name, signal) in signals.iter_mut() {
            if signal.as_mut().is_some_and(|signal| signal.poll_recv(cx).is_ready()) {
                return Poll::Ready(*name);
            }
        }
        Poll::Pending
    })
    .await
}

/// Keeps SIGUSR1 and SIGUSR2 from ending a command that runs no service.
///
/// # Errors
/// If the operating system refuses.
pub fn survive_user_signals() -> std::io::Result<()> {
    // Once tokio has caught a signal, it never ends the process again.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for kind in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// Whether SIGHUP was ignored when the process started, by the bit mask in `/proc`.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Completes when the top supervisor gives up.
pub(super) async fn gave_up(mut told: watch::Receiver<Option<Escalation>>) -> Escalation {
    loop {
        if let Some(escalation) = told.borrow_and_update().clone() {
            return escalation;
        }
        if told.changed().await.is_err() {
            return futures::future::pending().await;
        }
    }
}

/// Completes when every slot of every pool has been retired; without a pool never.
pub(super) async fn all_retired(pools: Vec<watch::Receiver<bool>>) {
    let none = pools.is_empty();
    for mut told in pools {
        if told.wait_for(|retired| *retired).await.is_err() {
            return futures::future::pending().await;
        }
    }
    if none {
        futures::future::pending().await
    }
}

/// Completes when at least `most` threads are stuck; returns how many.
pub(super) async fn too_many_stuck(mut told: watch::Receiver<StuckThreads>, most: usize) -> usize {
    loop {
        let stuck = told.borrow_and_update().threads;
        if stuck >= most {
            return stuck;
        }
        if told.changed().await.is_err() {
            return futures::future::pending().await;
        }
    }
}
