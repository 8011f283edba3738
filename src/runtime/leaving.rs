//! How a process leaves: it drains, and takes down what is at work in the order of the pipeline.

use std::time::Duration;

use super::Ports;
use super::http_server::RunningServer;
use super::shutdown::Signals;
use super::tree::Tree;
use crate::maintenance::SCHEDULER_ROLE;
use crate::queue::ProcessRecord;
use crate::worker::Drain;

/// Longest wait for the actors to stop, after the drain: two that refuse use up their time to stop.
const STOP_ACTORS: Duration = Duration::from_secs(10);
/// Longest wait for the threads of jobs to end after that: what yields is dropped at once.
const END_THREADS: Duration = Duration::from_secs(1);
/// Longest wait until those who look at the workers are told that this one leaves.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// Longest wait until the broker has taken the lease back.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to leave, and everything in hand was settled.
    Drained,
    /// It was told to leave, and some jobs did not stop in time; their leases hand them over.
    DrainedInPart,
    /// It could not heal itself; the orchestrator should start a fresh one.
    GaveUp,
}

/// What is at work in a process until it leaves.
pub(super) struct AtWork {
    pub ports: Ports,
    pub process: ProcessRecord,
    pub tree: Tree,
    pub server: Option<RunningServer>,
}

impl AtWork {
    /// Takes no more jobs, and waits until those in hand are settled; `false` when time ran out first.
    pub(super) async fn drain(&self, longest: Duration, signals: &mut Signals) -> bool {
        if let Some(runners) = &self.tree.runners {
            runners.drain();
        }
        let (broker, process) = (&self.ports.broker, &self.process.id);
        let announced = tokio::time::timeout(ANNOUNCE, broker.announce_leave(process));
        let listeners = self.tree.listeners.iter();
        let settled = futures::future::join_all(listeners.map(|listener| listener.send(Drain)));
        let drained = async {
            let (answers, announced) = futures::join!(settled, announced);
            if let Ok(Err(fault)) = announced {
                tracing::warn!(error = fault.chain(), "nobody was told that this process is leaving");
            }
            answers
        };
        tokio::select! {
            answers = drained => answers.iter().all(Result::is_ok),
            () = tokio::time::sleep(longest) => {
                tracing::warn!("jobs did not stop within {}; they are handed over",
                    humantime::format_duration(longest));
                false
            }
            signal = signals.next_in_a_drain() => {
                tracing::warn!(signal, "told to leave once more; jobs in hand are handed over");
                false
            }
        }
    }

    /// Stops the actors, last started first, gives the lease back and closes the HTTP server. While a job that is not
    /// settled may still run here, the lease stays: nobody is to run it beside this process.
    pub(super) async fn close(mut self, drained: bool) {
        let bounded = tokio::time::timeout(STOP_ACTORS, self.tree.top.stop());
        if bounded.await.is_err() {
            tracing::warn!("actors did not stop in time");
        }
        let ended = self.tree.end_threads(END_THREADS).await;
        if !drained && !ended {
            tracing::warn!("code of a job still runs; the lease is not given back, it runs out by itself");
        }
        let farewell = async {
            self.ports.broker.resign(SCHEDULER_ROLE, &self.process.id).await?;
            match drained || ended {
                true => self.ports.broker.end_lease(&self.process.id).await,
                false => Ok(()),
            }
        };
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                tracing::warn!(error = fault.chain(), "the lease is not given back; it runs out by itself")
            }
            Err(_) => tracing::warn!("the lease is not given back in time; it runs out by itself"),
        }
        if let Some(server) = &self.server {
            server.close().await;
        }
        tracing::info!("tikkun has left");
    }
}
