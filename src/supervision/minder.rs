//! Runs one actor on its own thread: polls it, and carries out its supervisor's orders.
//!
//! The mailbox is kept across restarts of the actor.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix::dev::channel::AddressReceiver;
use actix::{Actor, Addr, Supervised};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::failure::{End, Failure};
use super::heart::{Beat, Heart};
use super::protocol::{Order, Reports};
use super::pulse::Pulse;
use super::shell::Shell;

/// What a minder needs on its thread.
pub(super) struct MinderContext<A: Actor> {
    pub(super) name: Arc<str>,
    /// Kept so that the mailbox stays connected when there is no other address.
    pub(super) address: Addr<A>,
    pub(super) mailbox: AddressReceiver<A>,
    pub(super) shutdown: Duration,
    pub(super) pulse: Option<Arc<Pulse>>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) reports: Reports,
}

/// An actor, with the state to supervise it.
struct Minder<A: Supervised + Actor<Context = actix::Context<A>>> {
    name: Arc<str>,
    _address: Addr<A>,
    shell: Shell<A>,
    shutdown: Duration,
    pulse: Option<Arc<Pulse>>,
    heart: Option<Heart>,
    orders: mpsc::UnboundedReceiver<Order>,
    reports: Reports,
    /// Whether the first poll of this life was reported to the supervisor.
    up: bool,
}

/// Why polling stops for now.
enum Pause {
    Ended(End),
    Ordered(Order),
    Orphaned,
}

/// Builds the actor here and minds it until its supervisor stops it.
pub(super) async fn mind<A>(context: MinderContext<A>, make: impl FnOnce() -> A)
where
    A: Supervised + Actor<Context = actix::Context<A>>,
{
    let MinderContext { name, address, mailbox, shutdown, pulse, orders, reports } = context;
    match Shell::new(mailbox, make) {
        Ok(shell) => {
            let heart = pulse.as_ref().and_then(|pulse| pulse.deadline()).map(Heart::new);
            let up = false;
            Minder { name, _address: address, shell, shutdown, pulse, heart, orders, reports, up }
                .run()
                .await;
        }
        Err(panic) => {
            reports.ended(End::Crash(Failure::Lost(Some(panic))));
            reports.farewell();
        }
    }
}

impl<A: Supervised + Actor<Context = actix::Context<A>>> Minder<A> {
    async fn run(mut self) {
        let mut pause = self.live().await;
        loop {
            pause = match pause {
                Pause::Ended(end) => {
                    self.rest();
                    self.reports.ended(end);
                    self.next_order().await
                }
                Pause::Ordered(Order::Park { done }) => {
                    self.halt().await;
                    self.rest();
                    let _ = done.send(());
                    self.next_order().await
                }
                Pause::Ordered(Order::Revive { after, life }) => self.revive(after, life).await,
                Pause::Ordered(Order::Stop { done }) => {
                    self.leave().await;
                    let _ = done.send(());
                    return;
                }
                Pause::Orphaned => return self.leave().await,
            };
        }
    }

    /// Polls the actor until it ends or an order arrives.
    async fn live(&mut self) -> Pause {
        poll_fn(|cx| self.poll_live(cx)).await
    }

    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<Pause> {
        if let Poll::Ready(order) = self.orders.poll_recv(cx) {
            return Poll::Ready(order.map_or(Pause::Orphaned, Pause::Ordered));
        }
        loop {
            if let Poll::Ready(turn) = self.poll_turn(cx) {
                return Poll::Ready(Pause::Ended(turn));
            }
            if !self.up {
                self.up = true;
                self.reports.up();
            }
            match self.heart.as_mut().map(|heart| heart.poll(cx)) {
                Some(Poll::Ready(Beat::Ask(question))) => {
                    let answer = Rc::clone(&question);
                    self.shell.spawn(async move { answer.set(true) });
                }
                Some(Poll::Ready(Beat::Missed(deadline))) => {
                    return Poll::Ready(Pause::Ended(End::Crash(Failure::Hung(deadline))));
                }
                Some(Poll::Pending) | None => return Poll::Pending,
            }
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Some(pulse) = &self.pulse {
            pulse.begin_turn(Instant::now());
        }
        let turn = self.shell.poll(cx);
        if let Some(pulse) = &self.pulse {
            pulse.end_turn(Instant::now());
        }
        turn.map(|end| match end {
            Ok(()) => End::Normal,
            Err(panic) => End::Crash(Failure::Panicked(panic)),
        })
    }

    async fn next_order(&mut self) -> Pause {
        self.orders.recv().await.map_or(Pause::Orphaned, Pause::Ordered)
    }

    /// Begins another life. The old life's futures are cancelled at once, so that callers get `Closed` now;
    /// the first poll is after the delay, unless an order comes first.
    async fn revive(&mut self, after: Duration, life: u64) -> Pause {
        self.reports.life = life;
        self.up = false;
        if let Err(panic) = self.shell.restart() {
            return Pause::Ended(End::Crash(Failure::Panicked(panic)));
        }
        if !after.is_zero() {
            tokio::select! {
                biased;
                order = self.orders.recv() => return order.map_or(Pause::Orphaned, Pause::Ordered),
                () = sleep(after) => {}
            }
        }
        if let Some(heart) = &mut self.heart {
            heart.reset();
        }
        self.live().await
    }

    /// Asks the actor to stop and polls it until it has stopped, has panicked, or its time is over.
    async fn halt(&mut self) {
        if !self.shell.is_alive() {
            return;
        }
        self.shell.ask_to_stop();
        match timeout(self.shutdown, poll_fn(|cx| self.poll_turn(cx))).await {
            Ok(End::Normal) => {}
            Ok(End::Crash(failure)) => {
                tracing::error!("actor.name" = &*self.name, %failure, "actor failed while it stopped");
            }
            Err(_) => {
                self.shell.give_up();
                tracing::warn!("actor.name" = &*self.name, waited = ?self.shutdown, "actor did not stop in time");
            }
        }
    }

    /// Stops the actor for good.
    async fn leave(mut self) {
        self.halt().await;
        self.rest();
        if let Err(panic) = self.shell.discard() {
            tracing::error!("actor.name" = &*self.name, %panic, "actor panicked while it was dropped");
        }
        self.reports.farewell();
    }

    fn rest(&self) {
        if let Some(pulse) = &self.pulse {
            pulse.rest();
        }
    }
}
