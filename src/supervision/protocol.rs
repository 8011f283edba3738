//! The messages between a supervisor and those who run its children.
//!
//! A life is one run of a child between two restarts; reports of an earlier life are ignored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::failure::{End, Failure};
use super::{ChildSpec, Restart, StartError};

/// A message to an actor's minder or to the supervisor of a branch.
pub(super) enum Order {
    /// Stop the child, but keep what a restart at the same address needs.
    Park { done: oneshot::Sender<()> },
    /// Begin life number `life`, after a delay.
    Revive { after: Duration, life: u64 },
    /// Stop the child for good.
    Stop { done: oneshot::Sender<()> },
}

/// A message to a supervisor.
pub(super) enum Event {
    /// Add a child before it starts.
    Adopt { child: Box<Child>, accepted: oneshot::Sender<Result<(), StartError>> },
    /// A life had its first poll.
    Up { key: u64, life: u64 },
    /// A life ended.
    Ended { key: u64, life: u64, end: End },
    /// Stop one child for good.
    StopChild { which: Which, done: oneshot::Sender<bool> },
    /// Give up a child's thread.
    Abandon { key: u64, gone: oneshot::Sender<()> },
    /// A child was stopped for good, or given up.
    Removed { key: u64 },
}

/// Identifies a child.
pub(super) enum Which {
    Key(u64),
    Name(String),
}

/// Asks a supervisor to stop one child for good; `false` if there is no such child.
pub(super) async fn stop_child(events: &mpsc::UnboundedSender<Event>, which: Which) -> bool {
    let (done, stopped) = oneshot::channel();
    let _ = events.send(Event::StopChild { which, done });
    stopped.await.unwrap_or(false)
}

/// A supervisor's record of a child.
pub(super) struct Child {
    pub(super) key: u64,
    pub(super) name: Arc<str>,
    pub(super) restart: Restart,
    /// The time limit of a stop; `None` for a supervisor, whose own children have theirs.
    pub(super) shutdown: Option<Duration>,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    /// The number of its current life.
    pub(super) life: u64,
    /// The number of crashes in a row.
    pub(super) crashes: u32,
    /// The time of the first poll of its current life.
    pub(super) up: Option<Instant>,
    /// Whether it is being stopped for good.
    pub(super) leaving: bool,
}

impl Child {
    /// The record of an actor.
    pub(super) fn actor(key: u64, spec: &ChildSpec, orders: mpsc::UnboundedSender<Order>) -> Self {
        let name = Arc::from(spec.name.as_str());
        Self { shutdown: Some(spec.shutdown), ..Self::branch(key, name, spec.restart, orders) }
    }

    /// The record of a supervisor.
    pub(super) fn branch(
        key: u64,
        name: Arc<str>,
        restart: Restart,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        Self { key, name, restart, shutdown: None, orders, life: 0, crashes: 0, up: None, leaving: false }
    }
}

/// Sends a child's reports to its supervisor. If dropped without `farewell`, the child is reported as lost.
pub(super) struct Reports {
    key: u64,
    events: mpsc::UnboundedSender<Event>,
    /// The life that the reports concern.
    pub(super) life: u64,
    said_farewell: bool,
}

impl Reports {
    pub(super) fn new(key: u64, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { key, events, life: 0, said_farewell: false }
    }

    /// The first poll of this life succeeded.
    pub(super) fn up(&self) {
        let _ = self.events.send(Event::Up { key: self.key, life: self.life });
    }

    /// This life ended.
    pub(super) fn ended(&self, end: End) {
        let _ = self.events.send(Event::Ended { key: self.key, life: self.life, end });
    }

    /// The child stopped as ordered.
    pub(super) fn farewell(mut self) {
        self.said_farewell = true;
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        if !self.said_farewell {
            self.ended(End::Crash(Failure::Lost(None)));
        }
    }
}
