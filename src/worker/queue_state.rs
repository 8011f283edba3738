//! What all who serve one queue share: above all the deliveries in hand.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::listener_ports::{ListenerPorts, ListenerSettings};
use super::outage::Outage;
use crate::fault::Fault;
use crate::job::ExecutionId;

/// One queue, as this process serves it.
pub(super) struct QueueState {
    pub(super) ports: ListenerPorts,
    pub(super) settings: ListenerSettings,
    held: Mutex<HashSet<ExecutionId>>,
    held_changed: Notify,
    /// Held while a fetch is under way.
    pub(super) fetching: tokio::sync::Mutex<()>,
    /// Told when there may be unclaimed deliveries: the broker serves the queue again after it did not, or who carried
    /// a job is lost.
    pub(super) unclaimed_look: Notify,
    pub(super) draining: watch::Sender<bool>,
    /// Whether the broker refuses every end, even if it still lends jobs.
    pub(super) ends_refused: watch::Sender<bool>,
}

impl QueueState {
    pub(super) fn new(ports: ListenerPorts, settings: ListenerSettings) -> Self {
        Self {
            ports,
            settings,
            held: Mutex::default(),
            held_changed: Notify::new(),
            fetching: tokio::sync::Mutex::default(),
            unclaimed_look: Notify::new(),
            draining: watch::Sender::new(false),
            ends_refused: watch::Sender::new(false),
        }
    }

    /// What is in hand.
    pub(super) fn held(&self) -> HashSet<ExecutionId> {
        self.held.lock().clone()
    }

    /// Takes it in hand; none when it is already.
    pub(super) fn hold(self: &Arc<Self>, execution: &ExecutionId) -> Option<Held> {
        let new = self.held.lock().insert(execution.clone());
        new.then(|| Held { queue: Arc::clone(self), execution: execution.clone() })
    }

    pub(super) async fn nothing_held(&self) {
        loop {
            let changed = self.held_changed.notified();
            if self.held.lock().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// The broker has answered: after an outage it may have gone back in time.
    pub(super) fn served(&self, outage: &mut Outage) {
        if outage.over(&self.settings.queue) {
            self.unclaimed_look.notify_one();
        }
    }

    pub(super) async fn wait_out(&self, outage: &mut Outage, fault: &Fault) {
        outage.wait(&self.settings.queue, fault, &self.ports.turn).await;
    }
}

/// A delivery in hand, until it is settled. Whoever carries it may be lost in a panic: then it is unclaimed, and goes
/// back to its queue.
pub(super) struct Held {
    pub(super) queue: Arc<QueueState>,
    execution: ExecutionId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.queue.held.lock().remove(&self.execution);
        self.queue.held_changed.notify_waiters();
        if std::thread::panicking() {
            self.queue.unclaimed_look.notify_one();
        }
    }
}
