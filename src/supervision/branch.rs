//! A running supervisor: it receives the events of its children and handles them one at a time.
//!
//! A branch supervises its children, and is itself supervised by the protocol that an actor's minder uses.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::children::Children;
use super::failure::{End, Escalation, Failure, Verdict};
use super::limit::RestartHistory;
use super::protocol::{Event, Order};
use super::{Strategy, SupervisorSpec};

/// The state of a running supervisor.
pub(super) struct Branch {
    pub(super) spec: SupervisorSpec,
    pub(super) history: RestartHistory,
    pub(super) children: Children,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    /// The top publishes here that it gave up.
    pub(super) gave_up: watch::Sender<Option<Escalation>>,
}

impl Branch {
    /// Runs until stopped for good, or until no handle is left that could stop it.
    pub(super) async fn run(mut self) {
        self.children.are_up();
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Park { done }) => {
                        self.children.stop_all(false).await;
                        let _ = done.send(());
                    }
                    Some(Order::Revive { after, life }) => {
                        self.history.clear();
                        self.children.revive_all(after, life);
                    }
                    Some(Order::Stop { done }) => {
                        self.children.leave().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return self.children.leave().await,
                },
                Some(event) = self.events.recv() => self.hear(event).await,
            }
        }
    }

    async fn hear(&mut self, event: Event) {
        match event {
            Event::Adopt { child, accepted } => {
                let _ = accepted.send(self.children.adopt(*child));
            }
            Event::Up { key, life } => self.children.is_up(key, life),
            Event::Ended { key, life, end } => self.ended(key, life, end).await,
            Event::StopChild { which, done } => self.children.stop_child(&which, done),
            Event::Abandon { key, gone } => self.children.abandon(key, gone),
            Event::Removed { key } => self.children.forget(key),
        }
    }

    async fn ended(&mut self, key: u64, life: u64, end: End) {
        if let End::Crash(failure) = &end {
            self.children.table.failed(key, failure);
        }
        let Some(child) = self.children.child(key) else { return };
        // A lost child cannot be restarted, whichever of its lives reported it.
        let lost = matches!(end, End::Crash(Failure::Lost(_)));
        let stale = child.leaving || (child.life != life && !lost);
        let name = Arc::clone(&child.name);
        let verdict = end.verdict(child.restart);
        if stale || !self.children.standing {
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
                self.children.order_stop(key);
                self.children.forget(key);
            }
            Verdict::Restart(failure) if self.history.spend(Instant::now()) => {
                self.restart(key, &name, &failure).await;
            }
            Verdict::Restart(failure) | Verdict::Escalate(failure) => self.give_up(key, &name, failure).await,
        }
    }

    async fn restart(&mut self, key: u64, name: &str, failure: &Failure) {
        let window = self.spec.limit.window;
        let Some(child) = self.children.child(key) else { return };
        let steady = child.up.is_some_and(|up| up.elapsed() > window);
        child.crashes = if steady { 1 } else { child.crashes.saturating_add(1) };
        let crashes = child.crashes;
        let after = self.spec.backoff.delay(crashes, fastrand::f64());
        if self.spec.strategy == Strategy::RestForOne {
            self.children.take_along_those_after(key).await;
        }
        let restarts = self.children.revive(key, after);
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

    /// Over the limit: all children stop, last first, and the parent decides. The top has no parent: it
    /// reports that it gave up and restarts nothing any more. Its other children run until it is stopped, so
    /// that they can finish their work.
    async fn give_up(&mut self, key: u64, name: &str, failure: Failure) {
        tracing::error!(
            "actor.name" = name,
            supervisor = &*self.spec.name,
            %failure,
            "actor failed once too often; its supervisor gives up"
        );
        self.children.have_failed(key);
        let supervisor = self.spec.name.clone();
        let escalation = Escalation { supervisor, child: name.to_owned(), cause: failure };
        if self.children.parent.is_none() {
            self.children.revive_no_more();
            self.gave_up.send_replace(Some(escalation));
            return;
        }
        self.children.stop_all(false).await;
        if let Some(parent) = &self.children.parent {
            parent.ended(End::Crash(Failure::Escalated(Box::new(escalation))));
        }
    }
}
