//! The handle of a child.

use std::fmt;
use std::sync::Arc;

use actix::{Actor, Addr};
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Event, Which, stop_child};

/// A started child: its address, and the means to stop it.
///
/// The address stays the same through every restart.
pub struct ChildHandle<A: Actor> {
    key: u64,
    name: Arc<str>,
    address: Addr<A>,
    events: mpsc::UnboundedSender<Event>,
    owned: bool,
}

impl<A: Actor> ChildHandle<A> {
    pub(super) fn new(key: u64, name: &str, address: Addr<A>, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { key, name: Arc::from(name), address, events, owned: false }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Addr<A> {
        self.address.clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the child stop for good when this handle is dropped.
    #[must_use]
    pub fn owned(mut self) -> Self {
        self.owned = true;
        self
    }

    /// Undoes [`owned`](Self::owned).
    #[must_use]
    pub fn lent(mut self) -> Self {
        self.owned = false;
        self
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    /// Stops the child for good, within its shutdown time; `false` if it is gone already. Cancel safe: the
    /// child is stopped in any case.
    pub async fn stop(&self) -> bool {
        stop_child(&self.events, Which::Key(self.key)).await
    }
}

impl<A: Actor> Drop for ChildHandle<A> {
    fn drop(&mut self) {
        if self.owned {
            let _ = self
                .events
                .send(Event::StopChild { which: Which::Key(self.key), done: oneshot::channel().0 });
        }
    }
}

impl<A: Actor> fmt::Debug for ChildHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildHandle")
            .field("name", &self.name)
            .field("owned", &self.owned)
            .finish_non_exhaustive()
    }
}
