//! What a supervisor and those who mind its children say to each other.
//!
//! A life is one run of a child between two restarts; reports of a life that is over are ignored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::failure::{End, Failure};
use super::{ChildSpec, Restart, StartError};

/// To the one who minds a child: an actor's minder, or the supervisor of a branch.
pub(super) enum Order {
    /// Stop it, but keep what is needed to begin again at the same address.
    Park { done: oneshot::Sender<()> },
    /// Begin life number `life`, after a delay.
    Revive { after: Duration, life: u64 },
    /// Stop it for good.
    Stop { done: oneshot::Sender<()> },
}

/// To a supervisor.
pub(super) enum Event {
    /// A child wants a place, before it starts.
    Adopt { child: Box<Child>, accepted: oneshot::Sender<Result<(), StartError>> },
    /// A child had the first turn of a life.
    Up { key: u64, life: u64 },
    /// A life is over.
    Ended { key: u64, life: u64, end: End },
    /// Somebody wants one child stopped for good.
    StopChild { which: Which, done: oneshot::Sender<bool> },
    /// A child's thread is given up.
    Abandon { key: u64, gone: oneshot::Sender<()> },
    /// A child was stopped for good, or given up.
    Removed { key: u64 },
}

/// Which child.
pub(super) enum Which {
    Key(u64),
    Name(String),
}

/// Has a supervisor stop one child for good; false when there is none such.
pub(super) async fn stop_child(events: &mpsc::UnboundedSender<Event>, which: Which) -> bool {
    let (done, stopped) = oneshot::channel();
    let _ = events.send(Event::StopChild { which, done });
    stopped.await.unwrap_or(false)
}

/// A child, as its supervisor keeps it.
pub(super) struct Child {
    pub(super) key: u64,
    pub(super) name: Arc<str>,
    pub(super) restart: Restart,
    /// How long a stop may take; none for a supervisor, whose own children have theirs.
    pub(super) shutdown: Option<Duration>,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    /// The number of its present life.
    pub(super) life: u64,
    /// Crashes in a row.
    pub(super) crashes: u32,
    /// First turn of its present life.
    pub(super) up: Option<Instant>,
    /// Somebody wants it stopped for good.
    pub(super) leaving: bool,
}

impl Child {
    /// An actor's place.
    pub(super) fn actor(key: u64, spec: &ChildSpec, orders: mpsc::UnboundedSender<Order>) -> Self {
        let name = Arc::from(spec.name.as_str());
        Self { shutdown: Some(spec.shutdown), ..Self::branch(key, name, spec.restart, orders) }
    }

    /// A supervisor's place.
    pub(super) fn branch(
        key: u64,
        name: Arc<str>,
        restart: Restart,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        Self { key, name, restart, shutdown: None, orders, life: 0, crashes: 0, up: None, leaving: false }
    }
}

/// A child's line to its supervisor. Dropped without a farewell, it reports the child as lost.
pub(super) struct Reports {
    key: u64,
    events: mpsc::UnboundedSender<Event>,
    /// The life that reports are about.
    pub(super) life: u64,
    said_farewell: bool,
}

impl Reports {
    pub(super) fn new(key: u64, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { key, events, life: 0, said_farewell: false }
    }

    /// The first turn of this life went well.
    pub(super) fn up(&self) {
        let _ = self.events.send(Event::Up { key: self.key, life: self.life });
    }

    /// This life is over.
    pub(super) fn ended(&self, end: End) {
        let _ = self.events.send(Event::Ended { key: self.key, life: self.life, end });
    }

    /// The child stopped as it was told to.
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
