//! How a supervisor stops its children: one at a time, last first, none waited for longer than it may take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::branch::Branch;
use super::protocol::{Child, Event, Order, Which};
use super::{ChildState, Restart};

/// Beyond a child's own time to stop: for the minder, whose thread may be busy with others.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

impl Branch {
    /// Stops all children, last first; for good, or so that they can begin again.
    pub(super) async fn stop_all(&mut self, for_good: bool) {
        self.standing = false;
        self.revival.clear();
        self.awaited = None;
        let keys: Vec<u64> = self.children.iter().rev().map(|child| child.key).collect();
        for key in keys {
            self.stop_one(key, for_good).await;
        }
        self.table.set(self.key, ChildState::Stopped);
    }

    /// Stops one child and waits for it, but not for ever: its thread may be blocked.
    pub(super) async fn stop_one(&mut self, key: u64, for_good: bool) {
        let Some(child) = self.child(key) else { return };
        let for_good = for_good || child.restart == Restart::Temporary || child.leaving;
        let (permanent, name) = (child.restart == Restart::Permanent, Arc::clone(&child.name));
        // What the life that ends here still has to say is no news any more.
        child.life += 1;
        let (done, stopped) = oneshot::channel();
        let order = if for_good { Order::Stop { done } } else { Order::Park { done } };
        let _ = child.orders.send(order);
        if !in_time(child.shutdown, stopped).await {
            tracing::warn!("actor.name" = &*name, "actor did not answer a stop: its thread is blocked");
        }
        // A permanent child stays in the table of a tree that stops: somebody may want to see how it went.
        if for_good && (self.standing || !permanent) {
            self.forget(key);
        } else {
            self.table.set(key, if self.standing { ChildState::Restarting } else { ChildState::Stopped });
        }
    }

    /// Stops one child for good, without holding up the others.
    pub(super) fn stop_child(&mut self, which: &Which, done: oneshot::Sender<bool>) {
        let wanted = |child: &&mut Child| match which {
            Which::Key(key) => child.key == *key,
            Which::Name(name) => *child.name == **name,
        };
        let Some(child) = self.children.iter_mut().find(wanted) else {
            let _ = done.send(false);
            return;
        };
        child.leaving = true;
        let (key, shutdown) = (child.key, child.shutdown);
        let (stop_done, stopped) = oneshot::channel();
        let _ = child.orders.send(Order::Stop { done: stop_done });
        let events = self.to_self.clone();
        actix_rt::spawn(async move {
            in_time(shutdown, stopped).await;
            let _ = events.send(Event::Removed { key });
            let _ = done.send(true);
        });
        self.revive_next_after(key);
    }

    /// Minds a child no longer whose thread does not come back; its row goes when the child does.
    pub(super) fn abandon(&mut self, key: u64, gone: oneshot::Sender<()>) {
        let Some(index) = self.children.iter().position(|child| child.key == key) else { return };
        let child = self.children.remove(index);
        // Carried out when the thread comes back.
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

    pub(super) async fn leave(&mut self) {
        self.stop_all(true).await;
        if let Some(parent) = self.parent.take() {
            parent.farewell();
        }
    }
}

/// Whether a stop was answered in time. An answer dropped unsent is one: there is nobody left to stop.
async fn in_time(shutdown: Option<Duration>, stopped: oneshot::Receiver<()>) -> bool {
    match shutdown {
        Some(shutdown) => timeout(shutdown.saturating_add(SHUTDOWN_MARGIN), stopped).await.is_ok(),
        None => {
            let _ = stopped.await;
            true
        }
    }
}
