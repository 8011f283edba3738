//! How a process leaves: it drains, then stops its parts in the order of the pipeline.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::Ports;
use super::http_server::RunningServer;
use super::shutdown::Signals;
use super::tree::Tree;
use crate::maintenance::SCHEDULER_ROLE;
use crate::python::Pool;
use crate::queue::ProcessRecord;
use crate::webhooks::WebhookSender;
use crate::worker::Drain;

/// The longest wait for the ends of jobs whose processes were ended.
const END_JOBS: Duration = Duration::from_secs(10);
/// The longest wait for what Python processes do after their jobs.
const AFTER_JOBS: Duration = Duration::from_secs(60);
/// The longest wait for the actors to stop, after the drain. Two that do not stop use up their own limits.
const STOP_ACTORS: Duration = Duration::from_secs(10);
/// The longest wait for the threads of jobs to end after that. Code that yields is dropped at once.
const END_THREADS: Duration = Duration::from_secs(1);
/// The longest wait for the announcement to the broker that this process leaves.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// The longest wait for the broker to end the lease.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to leave, and everything in hand was settled.
    Drained,
    /// It was asked to leave, and some jobs did not stop in time; they are rescued when the lease expires.
    DrainedInPart,
    /// It could not recover; the orchestrator should start a new process.
    GaveUp,
}

/// The parts of a running process.
pub(super) struct AtWork {
    pub ports: Ports,
    pub process: ProcessRecord,
    pub tree: Tree,
    pub webhooks: WebhookSender,
    /// The processes of Python jobs.
    pub pools: Vec<Pool>,
    pub server: Option<RunningServer>,
}

impl AtWork {
    /// Stops fetching, and waits until all jobs in hand are settled; `false` if a signal or a timeout came
    /// first. In the rest of the time webhooks of ended jobs are sent.
    pub(super) async fn drain(&self, longest: Duration, signals: &mut Signals) -> bool {
        let begun = Instant::now();
        let drained = self.settle_all(longest, signals).await;
        if drained {
            self.send_webhooks(longest.saturating_sub(begun.elapsed()), signals).await;
            self.let_python_rest(longest.saturating_sub(begun.elapsed()), signals).await;
        }
        drained
    }

    async fn send_webhooks(&self, longest: Duration, signals: &mut Signals) {
        tokio::select! {
            biased;
            () = self.webhooks.all_sent() => {}
            () = tokio::time::sleep(longest) => {
                tracing::warn!(webhooks = self.webhooks.open(), "webhooks of ended jobs are given up: the time to leave is over");
            }
            signal = signals.next_in_a_drain() => {
                tracing::warn!(signal, webhooks = self.webhooks.open(),
                    "told to leave once more; webhooks of ended jobs are given up");
            }
        }
    }

    /// Waits for what Python processes do after their last jobs: handlers, and what monitoring has to send.
    async fn let_python_rest(&self, longest: Duration, signals: &mut Signals) {
        let all = futures::future::join_all(self.pools.iter().map(Pool::comes_to_rest));
        tokio::select! {
            biased;
            _ = all => {}
            () = tokio::time::sleep(longest.min(AFTER_JOBS)) => {
                tracing::warn!("python processes are not done with what follows their jobs; they are ended");
            }
            signal = signals.next_in_a_drain() => {
                tracing::warn!(signal, "told to leave once more; python processes are ended");
            }
        }
    }

    async fn settle_all(&self, longest: Duration, signals: &mut Signals) -> bool {
        for runners in &self.tree.runners {
            runners.drain();
        }
        let (broker, process) = (&self.ports.broker, &self.process.id);
        let announced = tokio::time::timeout(ANNOUNCE, broker.announce_leave(process));
        let listeners = self.tree.listeners.iter();
        let settled = futures::future::join_all(listeners.map(|listener| listener.send(Drain)));
        let mut drained = pin!(async {
            let (answers, announced) = futures::join!(settled, announced);
            if let Ok(Err(fault)) = announced {
                tracing::warn!(error = fault.chain(), "nobody was told that this process is leaving");
            }
            answers.iter().all(Result::is_ok)
        });
        tokio::select! {
            all = &mut drained => all,
            () = tokio::time::sleep(longest) => {
                tracing::warn!("jobs did not stop within {}; they are handed over",
                    humantime::format_duration(longest));
                false
            }
            signal = signals.next_in_a_drain() => if signals.end_jobs() {
                tracing::warn!(signal, "told to leave once more; the processes of jobs in hand are killed");
                tokio::time::timeout(END_JOBS, drained).await.unwrap_or(false)
            } else {
                tracing::warn!(signal, "told to leave once more; jobs in hand are handed over");
                false
            }
        }
    }

    /// Stops the actors, the last started first, ends the lease and closes the HTTP server. The lease is not
    /// ended while an unsettled job may still run here, so that no other process runs it, too.
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
