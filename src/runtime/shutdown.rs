//! What makes the process leave.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::supervision::{Escalation, StuckThreads};

/// Why the process leaves.
#[derive(Debug)]
pub(super) enum Leave {
    /// It was told to.
    Told(&'static str),
    /// Restarts did not help.
    GaveUp(Escalation),
    /// Threads do not come back.
    Stuck(usize),
}

/// SIGTERM and SIGINT. Listened to from the moment it is made.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Completes when the tree gives up.
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

/// Completes when every slot has been retired.
pub(super) async fn all_retired(mut told: watch::Receiver<bool>) {
    if told.wait_for(|retired| *retired).await.is_err() {
        futures::future::pending().await
    }
}

/// Completes when so many threads are stuck.
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
