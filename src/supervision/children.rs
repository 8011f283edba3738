//! The children of one supervisor. They restart one after the other, and stop one at a time, last first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::failure::{End, Failure};
use super::protocol::{Child, Event, Order, Reports, Which};
use super::{ChildState, HealthTable, Restart, StartError};

/// Added to a child's shutdown time, because the minder's thread may be busy with other children.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

/// The children, and what their supervisor needs to stop and restart them.
pub(super) struct Children {
    /// The supervisor's key.
    key: u64,
    /// The supervisor's name.
    name: Arc<str>,
    pub(super) table: HealthTable,
    /// In the order of their start.
    list: Vec<Child>,
    /// Children to restart, one after the other.
    revival: VecDeque<u64>,
    /// The child whose first poll the next restart waits for.
    awaited: Option<u64>,
    /// `false` after a stop or after giving up, until the parent restarts the children.
    pub(super) standing: bool,
    to_supervisor: mpsc::UnboundedSender<Event>,
    /// The supervisor's reports to its parent; `None` at the top.
    pub(super) parent: Option<Reports>,
}

impl Children {
    pub(super) fn new(
        (key, name): (u64, Arc<str>),
        table: HealthTable,
        to_supervisor: mpsc::UnboundedSender<Event>,
        parent: Option<Reports>,
    ) -> Self {
        let (list, revival) = (Vec::new(), VecDeque::new());
        Self { key, name, table, list, revival, awaited: None, standing: true, to_supervisor, parent }
    }

    /// Adds a child before it starts.
    pub(super) fn adopt(&mut self, child: Child) -> Result<(), StartError> {
        if !self.standing {
            return Err(StartError::NotRunning);
        }
        if self.list.iter().any(|other| other.name == child.name) {
            return Err(StartError::NameTaken(child.name.to_string()));
        }
        self.table.enter(child.key, &child.name, Some((self.key, &self.name)));
        self.list.push(child);
        Ok(())
    }

    /// A child's life had its first poll.
    pub(super) fn is_up(&mut self, key: u64, life: u64) {
        let Some(child) = self.child(key).filter(|child| child.life == life && !child.leaving) else {
            return;
        };
        child.up.get_or_insert_with(Instant::now);
        self.table.set(key, ChildState::Running);
        self.revive_next_after(key);
    }

    /// Stops the children started after `key`, and restarts them once it is up.
    pub(super) async fn take_along_those_after(&mut self, key: u64) {
        let after = self.list.iter().position(|child| child.key == key).map_or(0, |index| index + 1);
        let keys: Vec<u64> = self.list.iter().skip(after).map(|child| child.key).collect();
        self.awaited = Some(key);
        for key in keys.iter().rev() {
            self.stop_one(*key, false).await;
        }
        self.revival = keys.into_iter().filter(|key| self.child(*key).is_some()).collect();
    }

    /// Restarts all children, in the order of their start.
    pub(super) fn revive_all(&mut self, after: Duration, life: u64) {
        self.standing = true;
        if let Some(parent) = &mut self.parent {
            parent.life = life;
        }
        self.revival = self.list.iter().map(|child| child.key).collect();
        self.revive_next(after);
    }

    fn revive_next_after(&mut self, key: u64) {
        if self.awaited == Some(key) {
            self.revive_next(Duration::ZERO);
        }
    }

    fn revive_next(&mut self, after: Duration) {
        self.awaited = self.revival.pop_front();
        match self.awaited {
            Some(key) => {
                self.revive(key, after);
            }
            None => self.are_up(),
        }
    }

    /// Every child is up, and so is their supervisor.
    pub(super) fn are_up(&self) {
        self.table.set(self.key, ChildState::Running);
        if let Some(parent) = &self.parent {
            parent.up();
        }
    }

    /// Restarts one child; returns its number of restarts.
    pub(super) fn revive(&mut self, key: u64, after: Duration) -> u64 {
        let Some(child) = self.child(key) else { return 0 };
        child.life += 1;
        child.up = None;
        let life = child.life;
        if child.orders.send(Order::Revive { after, life }).is_err() {
            let lost = End::Crash(Failure::Lost(None));
            let _ = self.to_supervisor.send(Event::Ended { key, life, end: lost });
        }
        self.table.restarting(key)
    }

    pub(super) fn order_stop(&mut self, key: u64) {
        if let Some(child) = self.child(key) {
            let _ = child.orders.send(Order::Stop { done: oneshot::channel().0 });
        }
    }

    pub(super) fn forget(&mut self, key: u64) {
        self.list.retain(|child| child.key != key);
        self.table.remove(key);
        self.revival.retain(|next| *next != key);
        self.revive_next_after(key);
    }

    pub(super) fn child(&mut self, key: u64) -> Option<&mut Child> {
        self.list.iter_mut().find(|child| child.key == key)
    }

    /// A child failed once too often, and its supervisor fails with it.
    pub(super) fn have_failed(&self, key: u64) {
        self.table.set(key, ChildState::Failed);
        self.table.set(self.key, ChildState::Failed);
    }

    /// Running children go on; one that fails from now on is not restarted.
    pub(super) fn revive_no_more(&mut self) {
        self.standing = false;
        self.revival.clear();
        self.awaited = None;
    }

    /// Stops all children, last first, for good or for a later restart.
    pub(super) async fn stop_all(&mut self, for_good: bool) {
        self.revive_no_more();
        let keys: Vec<u64> = self.list.iter().rev().map(|child| child.key).collect();
        for key in keys {
            self.stop_one(key, for_good).await;
        }
        self.table.set(self.key, ChildState::Stopped);
    }

    /// Stops one child and waits for it for a limited time, because its thread may be blocked.
    async fn stop_one(&mut self, key: u64, for_good: bool) {
        let Some(child) = self.child(key) else { return };
        let for_good = for_good || child.restart == Restart::Temporary || child.leaving;
        let (permanent, name) = (child.restart == Restart::Permanent, Arc::clone(&child.name));
        // Later reports of the life that ends here are ignored.
        child.life += 1;
        let (done, stopped) = oneshot::channel();
        let order = if for_good { Order::Stop { done } } else { Order::Park { done } };
        let _ = child.orders.send(order);
        if !in_time(child.shutdown, stopped).await {
            tracing::warn!("actor.name" = &*name, "actor did not answer a stop: its thread is blocked");
        }
        // A permanent child stays in the table of a stopping tree, so that its last state can be read.
        if for_good && (self.standing || !permanent) {
            self.forget(key);
        } else {
            self.table.set(key, if self.standing { ChildState::Restarting } else { ChildState::Stopped });
        }
    }

    /// Stops one child for good without delaying the others.
    pub(super) fn stop_child(&mut self, which: &Which, done: oneshot::Sender<bool>) {
        let wanted = |child: &&mut Child| match which {
            Which::Key(key) => child.key == *key,
            Which::Name(name) => *child.name == **name,
        };
        let Some(child) = self.list.iter_mut().find(wanted) else {
            let _ = done.send(false);
            return;
        };
        child.leaving = true;
        let (key, shutdown) = (child.key, child.shutdown);
        let (stop_done, stopped) = oneshot::channel();
        let _ = child.orders.send(Order::Stop { done: stop_done });
        let events = self.to_supervisor.clone();
        actix_rt::spawn(async move {
            in_time(shutdown, stopped).await;
            let _ = events.send(Event::Removed { key });
            let _ = done.send(true);
        });
        self.revive_next_after(key);
    }

    /// Gives up a child whose thread is blocked; its row is removed when the child ends.
    pub(super) fn abandon(&mut self, key: u64, gone: oneshot::Sender<()>) {
        let Some(index) = self.list.iter().position(|child| child.key == key) else { return };
        let child = self.list.remove(index);
        // Carried out if the thread returns.
        let _ = child.orders.send(Order::Stop { done: oneshot::channel().0 });
        self.table.abandon(key);
        let table = self.table.clone();
        actix_rt::spawn(async move {
            child.orders.closed().await;
            table.remove(key);
            let _ = gone.send(());
        });
        self.revival.retain(|next| *next != key);
        self.revive_next_after(key);
    }

    /// Stops all children for good, and reports to the parent that the supervisor is gone.
    pub(super) async fn leave(&mut self) {
        self.stop_all(true).await;
        if let Some(parent) = self.parent.take() {
            parent.farewell();
        }
    }
}

/// Whether a stop was answered in time. A dropped answer counts, since the child is gone then.
async fn in_time(shutdown: Option<Duration>, stopped: oneshot::Receiver<()>) -> bool {
    match shutdown {
        Some(shutdown) => timeout(shutdown.saturating_add(SHUTDOWN_MARGIN), stopped).await.is_ok(),
        None => {
            let _ = stopped.await;
            true
        }
    }
}
