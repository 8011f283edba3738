//! The state shared by all parts that serve one queue, most of all its current deliveries.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::listener_ports::{ListenerPorts, ListenerSettings};
use super::outage::Outage;
use crate::fault::Fault;
use crate::job::ExecutionId;

/// One queue of this process.
pub(super) struct QueueState {
    pub(super) ports: ListenerPorts,
    pub(super) settings: ListenerSettings,
    held: Mutex<HashSet<ExecutionId>>,
    held_changed: Notify,
    /// Held during a fetch.
    pub(super) fetching: Arc<tokio::sync::Mutex<()>>,
    /// Notified when there may be unclaimed deliveries: after an outage of the broker, or after the task of a
    /// job was lost.
    pub(super) unclaimed_look: Notify,
    pub(super) draining: watch::Sender<bool>,
    /// Whether the broker refuses all settlements, even if it still lends jobs.
    pub(super) ends_refused: watch::Sender<bool>,
}

impl QueueState {
    pub(super) fn new(ports: ListenerPorts, settings: ListenerSettings) -> Self {
        Self {
            ports,
            settings,
            held: Mutex::default(),
            held_changed: Notify::new(),
            fetching: Arc::default(),
            unclaimed_look: Notify::new(),
            draining: watch::Sender::new(false),
            ends_refused: watch::Sender::new(false),
        }
    }

    /// The current deliveries.
    pub(super) fn held(&self) -> HashSet<ExecutionId> {
        self.held.lock().clone()
    }

    /// Adds a delivery; `None` if it is there already.
    pub(super) fn hold(self: &Arc<Self>, execution: &ExecutionId) -> Option<Held> {
        let new = self.held.lock().insert(execution.clone());
        let _in_hand = new.then(|| self.ports.slots.take_in_hand())?;
        Some(Held { queue: Arc::clone(self), execution: execution.clone(), _in_hand })
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

    /// For one part of the listener.
    pub(super) fn outage(&self) -> Outage {
        Outage::of(self.settings.queue.clone(), self.ports.outages.clone())
    }

    /// The broker has answered. After an outage it may have restored an older state.
    pub(super) fn served(&self, outage: &mut Outage) {
        if outage.over() {
            self.unclaimed_look.notify_one();
        }
    }

    /// Waits after a call without which no job can be taken.
    pub(super) async fn wait_out(&self, outage: &mut Outage, fault: &Fault) {
        outage.wait(fault, true, &self.ports.turn).await;
    }
}

/// A current delivery, until it is settled. If its task panics, it becomes unclaimed and goes back to its
/// queue.
pub(super) struct Held {
    pub(super) queue: Arc<QueueState>,
    execution: ExecutionId,
    _in_hand: Arc<()>,
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
