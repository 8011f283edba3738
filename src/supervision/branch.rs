//! One supervisor at work: hears how its children fare and decides, one event at a time.
//!
//! A branch minds children and obeys its parent by the same protocol an actor's minder obeys it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::failure::{End, Escalation, Failure, Verdict};
use super::limit::RestartHistory;
use super::protocol::{Child, Event, Order, Reports};
use super::{ChildState, HealthTable, StartError, Strategy, SupervisorSpec};

/// The state behind a supervisor.
pub(super) struct Branch {
    pub(super) key: u64,
    pub(super) name: Arc<str>,
    pub(super) spec: SupervisorSpec,
    pub(super) table: HealthTable,
    pub(super) history: RestartHistory,
    /// In the order they were started.
    pub(super) children: Vec<Child>,
    /// Children to begin again, one after the other.
    pub(super) revival: VecDeque<u64>,
    /// The child whose first turn the revival waits for.
    pub(super) awaited: Option<u64>,
    /// False once stopped or given up, until the parent has it begin again.
    pub(super) standing: bool,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    pub(super) to_self: mpsc::UnboundedSender<Event>,
    /// The line to the parent; none at the top.
    pub(super) parent: Option<Reports>,
    /// Where the top tells that it gave up.
    pub(super) gave_up: watch::Sender<Option<Escalation>>,
}

impl Branch {
    /// Works until stopped for good, or until nobody is left to order that.
    pub(super) async fn run(mut self) {
        self.table.set(self.key, ChildState::Running);
        if let Some(parent) = &self.parent {
            parent.up();
        }
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Park { done }) => {
                        self.stop_all(false).await;
                        let _ = done.send(());
                    }
                    Some(Order::Revive { after, life }) => self.revive_all(after, life),
                    Some(Order::Stop { done }) => {
                        self.leave().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return self.leave().await,
                },
                Some(event) = self.events.recv() => self.hear(event).await,
            }
        }
    }

    async fn hear(&mut self, event: Event) {
        match event {
            Event::Adopt { child, accepted } => {
                let _ = accepted.send(self.adopt(*child));
            }
            Event::Up { key, life } => self.is_up(key, life),
            Event::Ended { key, life, end } => self.ended(key, life, end).await,
            Event::StopChild { which, done } => self.stop_child(&which, done),
            Event::Abandon { key, gone } => self.abandon(key, gone),
            Event::Removed { key } => self.forget(key),
        }
    }

    fn adopt(&mut self, child: Child) -> Result<(), StartError> {
        if !self.standing {
            return Err(StartError::NotRunning);
        }
        if self.children.iter().any(|other| other.name == child.name) {
            return Err(StartError::NameTaken(child.name.to_string()));
        }
        self.table.enter(child.key, &child.name, Some((self.key, &self.name)));
        self.children.push(child);
        Ok(())
    }

    fn is_up(&mut self, key: u64, life: u64) {
        let Some(child) = self.child(key).filter(|child| child.life == life && !child.leaving) else {
            return;
        };
        child.up.get_or_insert_with(Instant::now);
        self.table.set(key, ChildState::Running);
        self.revive_next_after(key);
    }

    async fn ended(&mut self, key: u64, life: u64, end: End) {
        if let End::Crash(failure) = &end {
            self.table.failed(key, failure);
        }
        let Some(child) = self.child(key) else { return };
        // Whoever is lost stays lost, whichever life it was.
        let lost = matches!(end, End::Crash(Failure::Lost(_)));
        let stale = child.leaving || (child.life != life && !lost);
        let name = Arc::clone(&child.name);
        let verdict = child.restart.verdict(&end);
        if stale || !self.standing {
            if let End::Crash(failure) = end {
                tracing::error!("actor.name" = &*name, %failure, "actor failed while it was being stopped");
            }
            return;
        }
        match verdict {
            Verdict::Forget => {
                if let End::Crash(failure) = end {
                    tracing::error!("actor.name" = &*name, %failure, "actor failed; it is not restarted");
                }
                self.order_stop(key);
                self.forget(key);
            }
            Verdict::Restart(failure) if self.history.spend(Instant::now()) => {
                self.restart(key, &name, &failure).await;
            }
            Verdict::Restart(failure) | Verdict::Escalate(failure) => self.give_up(key, &name, failure).await,
        }
    }

    async fn restart(&mut self, key: u64, name: &str, failure: &Failure) {
        let window = self.spec.limit.window;
        let Some(child) = self.child(key) else { return };
        let steady = child.up.is_some_and(|up| up.elapsed() > window);
        child.crashes = if steady { 1 } else { child.crashes.saturating_add(1) };
        let crashes = child.crashes;
        let after = self.spec.backoff.delay(crashes, fastrand::f64());
        if self.spec.strategy == Strategy::RestForOne {
            self.take_along_those_after(key).await;
        }
        let restarts = self.revive(key, after);
        let (panic, place) = failure
            .panic()
            .map_or_else(|| (failure.to_string(), ""), |panic| (panic.message.clone(), panic.place.as_str()));
        tracing::error!(
            "actor.name" = name,
            "restart.count" = restarts,
            panic,
            place,
            after = ?after,
            "actor failed; it begins again"
        );
    }

    /// Parks the children started after `key`, and has them begin again once it is up.
    async fn take_along_those_after(&mut self, key: u64) {
        let after = self.children.iter().position(|child| child.key == key).map_or(0, |index| index + 1);
        let keys: Vec<u64> = self.children.iter().skip(after).map(|child| child.key).collect();
        self.awaited = Some(key);
        for key in keys.iter().rev() {
            self.stop_one(*key, false).await;
        }
        self.revival = keys.into_iter().filter(|key| self.child(*key).is_some()).collect();
    }

    /// Over the limit: all children stop, last first, and the parent decides. The top has none: it tells
    /// whoever watches, restarts nobody any more, and leaves the others at work until it is stopped, so
    /// that what they have in hand can be brought to an end.
    async fn give_up(&mut self, key: u64, name: &str, failure: Failure) {
        tracing::error!(
            "actor.name" = name,
            supervisor = &*self.name,
            %failure,
            "actor failed once too often; its supervisor gives up"
        );
        self.table.set(key, ChildState::Failed);
        self.table.set(self.key, ChildState::Failed);
        let supervisor = self.name.to_string();
        let escalation = Escalation { supervisor, child: name.to_owned(), cause: failure };
        if self.parent.is_none() {
            self.standing = false;
            self.revival.clear();
            self.awaited = None;
            self.gave_up.send_replace(Some(escalation));
            return;
        }
        self.stop_all(false).await;
        if let Some(parent) = &self.parent {
            parent.ended(End::Crash(Failure::Escalated(Box::new(escalation))));
        }
    }

    /// Begins again with all children, in the order they were started.
    fn revive_all(&mut self, after: Duration, life: u64) {
        self.standing = true;
        self.history.clear();
        if let Some(parent) = &mut self.parent {
            parent.life = life;
        }
        self.revival = self.children.iter().map(|child| child.key).collect();
        self.revive_next(after);
    }

    pub(super) fn revive_next_after(&mut self, key: u64) {
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
            None => self.revived(),
        }
    }

    /// Every child is up: so is this branch.
    fn revived(&self) {
        self.table.set(self.key, ChildState::Running);
        if let Some(parent) = &self.parent {
            parent.up();
        }
    }

    /// Has one child begin another life; returns how many times it has.
    fn revive(&mut self, key: u64, after: Duration) -> u64 {
        let Some(child) = self.child(key) else { return 0 };
        child.life += 1;
        child.up = None;
        let life = child.life;
        if child.orders.send(Order::Revive { after, life }).is_err() {
            let lost = End::Crash(Failure::Lost(None));
            let _ = self.to_self.send(Event::Ended { key, life, end: lost });
        }
        self.table.restarting(key)
    }

    fn order_stop(&mut self, key: u64) {
        if let Some(child) = self.child(key) {
            let _ = child.orders.send(Order::Stop { done: oneshot::channel().0 });
        }
    }

    pub(super) fn forget(&mut self, key: u64) {
        self.children.retain(|child| child.key != key);
        self.table.remove(key);
        self.revival.retain(|next| *next != key);
        self.revive_next_after(key);
    }

    pub(super) fn child(&mut self, key: u64) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.key == key)
    }
}
