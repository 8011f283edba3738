//! Takes jobs from one queue for free slots, hands them to runners, and alone settles what they end with.
//!
//! What survives a restart: everything on its [`Desk`], that is the deliveries this process holds and
//! the settlements not written yet. Each delivery is carried by a future of its own that outlives the
//! listener and asks again until its settlement is acknowledged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture, Supervised, WrapFuture,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tracing::Instrument as _;

use super::attempt_span::attempt_span;
use super::backlog::Backlog;
use super::carrier::carry_out;
use super::deadline::answer_in;
use super::outage::{OUTAGE, Outage};
use super::settling::{Unsettled, settle_loop};
use super::strays::watch_for_strays;
use super::tally;
use super::unfolding::unfolded;
use super::{JobEnded, Slot, SlotPool};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::{ExecutionId, ProcessId, QueueName};
use crate::measure::{AttemptEnd, QueueMeter};
use crate::queue::{Broker, Delivery, Settled, Settlement};
use crate::supervision::Turn;

/// The most jobs in the first fetch after a wait; one that is full is followed by a whole batch.
const AFTER_A_WAIT: u32 = 8;

/// What a listener needs of the process.
#[derive(Clone)]
pub struct ListenerPorts {
    /// Where the jobs wait.
    pub broker: Arc<dyn Broker>,
    /// Where they may run.
    pub slots: Arc<SlotPool>,
    /// Under whose lease.
    pub process: ProcessId,
    /// Whether that lease is held: nothing is fetched before it is.
    pub leased: watch::Receiver<bool>,
    /// Told at each turn of the fetch loop.
    pub turn: Turn,
    /// Counts the attempts.
    pub meter: Arc<QueueMeter>,
}

/// What a listener is told by configuration.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Its queue.
    pub queue: QueueName,
    /// The queue's place in the order; 0 is served first.
    pub rank: usize,
    /// The most jobs in one fetch.
    pub batch: u32,
    /// Longest wait for work before the loop turns all the same.
    pub patience: Duration,
    /// Longest wait for one answer of the broker.
    pub deadline: Duration,
    /// Time between looks for jobs that are lent to this process and that nobody here carries.
    pub stray_interval: Duration,
}

/// The actor: a shell around its desk.
pub struct QueueListener {
    /// Outlives the actor's restarts.
    desk: Arc<Desk>,
    /// Given to carriers, so that they can hand in settlements.
    me: Option<Recipient<Settle>>,
}

/// What a listener works on.
pub(super) struct Desk {
    pub(super) ports: ListenerPorts,
    pub(super) settings: ListenerSettings,
    held: Mutex<HashSet<ExecutionId>>,
    held_changed: Notify,
    /// What has ended and is not settled.
    pub(super) backlog: Backlog,
    /// Held while a fetch is under way.
    pub(super) fetching: tokio::sync::Mutex<()>,
    /// Told when there may be strays: the broker serves the queue again after it did not, or who carried a job is lost.
    pub(super) stray_look: Notify,
    pub(super) unsettled: Mutex<Vec<Unsettled>>,
    pub(super) unsettled_changed: Notify,
    pub(super) draining: watch::Sender<bool>,
}

/// Asks to settle a delivery; the answer comes after the broker has written it.
#[derive(Clone, Message)]
#[rtype(result = "Option<Settled>")]
pub struct Settle(pub Settlement);

/// Asks to take no more jobs; the answer comes when every job that was taken is settled.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Drain;

impl QueueListener {
    /// A listener for one queue.
    #[must_use]
    pub fn new(ports: ListenerPorts, settings: ListenerSettings) -> Self {
        let desk = Desk {
            ports,
            settings,
            held: Mutex::default(),
            held_changed: Notify::new(),
            backlog: Backlog::default(),
            fetching: tokio::sync::Mutex::default(),
            stray_look: Notify::new(),
            unsettled: Mutex::default(),
            unsettled_changed: Notify::new(),
            draining: watch::Sender::new(false),
        };
        Self { desk: Arc::new(desk), me: None }
    }
}

impl Actor for QueueListener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let me = ctx.address().recipient();
        self.me = Some(me.clone());
        ctx.spawn(fetch_loop(Arc::clone(&self.desk), me.clone()).into_actor(self));
        ctx.spawn(watch_for_strays(Arc::clone(&self.desk), me).into_actor(self));
        ctx.spawn(settle_loop(Arc::clone(&self.desk)).into_actor(self));
        failpoint::reach("queue_listener.started");
    }
}

impl Supervised for QueueListener {}

impl Handler<Settle> for QueueListener {
    type Result = ResponseFuture<Option<Settled>>;

    fn handle(&mut self, Settle(settlement): Settle, _: &mut Self::Context) -> Self::Result {
        failpoint::reach("queue_listener.settle");
        let (settled, answer) = oneshot::channel();
        self.desk.unsettled.lock().push((settlement, settled));
        self.desk.unsettled_changed.notify_one();
        Box::pin(async move { answer.await.ok() })
    }
}

impl Handler<Drain> for QueueListener {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.desk.draining.send_replace(true);
        let desk = Arc::clone(&self.desk);
        Box::pin(async move { desk.nothing_held().await })
    }
}

/// Waits for the lease, for work, for slots; takes as many jobs as slots were granted.
async fn fetch_loop(desk: Arc<Desk>, me: Recipient<Settle>) {
    let mut draining = desk.draining.subscribe();
    let stop = draining.wait_for(|draining| *draining);
    let turns = async {
        desk.wait_for_lease().await;
        // It gets the first slots, so nothing but the broker keeps it from fetching.
        if desk.settings.rank == 0 {
            desk.ports.turn.begins();
        }
        desk.give_back_unknown(&me).await;
        // The first look is a fetch; the queues below wait for it.
        let (mut looked, mut refused, mut more_waits, mut outage) = (false, false, false, Outage::default());
        loop {
            // A fetch that was refused is repeated: the queue may be empty now, and then no work would ever end the
            // outage.
            if looked && !more_waits && !outage.is_on() {
                desk.ports.slots.looked(desk.settings.rank);
                desk.wait_for_work().await;
            }
            desk.wait_for_settlements().await;
            // Single jobs are the rule after a wait: slots that are asked for in vain cost time.
            let most = if more_waits { desk.settings.batch } else { desk.settings.batch.min(AFTER_A_WAIT) };
            // Whether there is a slot says nothing of the broker.
            if refused {
                desk.ports.turn.waits();
            }
            let slots = desk.granted_slots(most, looked).await;
            if refused {
                desk.ports.turn.begins();
            }
            let wanted = slots.len();
            let fetched = desk.fetch_for(slots, &me).await;
            match &fetched {
                Ok(_) => desk.ports.turn.succeeds(),
                Err(_) => desk.ports.turn.begins(),
            }
            refused = fetched.is_err();
            let first = !looked;
            looked |= !matches!(&fetched, Err(fault) if fault.kind() == FaultKind::Unavailable);
            if fetched.is_ok() {
                desk.served(&mut outage);
            }
            match fetched {
                Ok(0) if first => {}
                // Work was announced, but it was another's, or it is not to be had now.
                Ok(0) => tokio::time::sleep(OUTAGE.delay(1, fastrand::f64())).await,
                Ok(fetched) => {
                    more_waits = fetched == wanted;
                    continue;
                }
                // A broker that answers reads may still refuse every fetch.
                Err(fault) => {
                    desk.wait_out(&mut outage, &fault).await;
                    desk.give_back_unknown(&me).await;
                }
            }
            more_waits = false;
        }
    };
    tokio::select! {
        // It ends on purpose: nobody waits for its next turn.
        _ = stop => desk.ports.turn.retire(),
        () = turns => {}
    }
}

impl Desk {
    /// Fetches for these slots, and says how many jobs came.
    async fn fetch_for(self: &Arc<Self>, slots: Vec<Slot>, me: &Recipient<Settle>) -> Result<usize, Fault> {
        let want = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let _fetching = self.fetching.lock().await;
        let fetched = self.ports.broker.fetch(&self.settings.queue, want, &self.ports.process);
        let deliveries = answer_in(self.settings.deadline, "fetch", fetched).await?;
        let fetched = deliveries.len();
        for (delivery, slot) in deliveries.into_iter().zip(slots) {
            let Some(held) = self.hold(&delivery.execution) else { continue };
            let span = attempt_span(&delivery.job);
            actix_rt::spawn(carry(held, delivery, slot, me.clone()).instrument(span));
        }
        if fetched > 0 {
            failpoint::reach("queue_listener.fetched");
        }
        Ok(fetched)
    }

    /// What is in hand.
    pub(super) fn held(&self) -> HashSet<ExecutionId> {
        self.held.lock().clone()
    }

    /// Takes it in hand; none when it is already.
    pub(super) fn hold(self: &Arc<Self>, execution: &ExecutionId) -> Option<Held> {
        let new = self.held.lock().insert(execution.clone());
        new.then(|| Held { desk: Arc::clone(self), execution: execution.clone() })
    }

    /// The broker has answered: after an outage it may have gone back in time.
    pub(super) fn served(&self, outage: &mut Outage) {
        if outage.over(&self.settings.queue) {
            self.stray_look.notify_one();
        }
    }

    pub(super) async fn wait_out(&self, outage: &mut Outage, fault: &Fault) {
        outage.wait(&self.settings.queue, fault, &self.ports.turn).await;
    }

    async fn nothing_held(&self) {
        loop {
            let changed = self.held_changed.notified();
            if self.held.lock().is_empty() {
                return;
            }
            changed.await;
        }
    }
}

/// A delivery in hand, until it is settled. Whoever carries it may be lost in a panic: then it is a stray, which goes
/// back to its queue.
pub(super) struct Held {
    desk: Arc<Desk>,
    execution: ExecutionId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.desk.held.lock().remove(&self.execution);
        self.desk.held_changed.notify_waiters();
        if std::thread::panicking() {
            self.desk.stray_look.notify_one();
        }
    }
}

/// Carries one delivery through its runner to its settlement, through restarts of either.
async fn carry(held: Held, delivery: Delivery, slot: Slot, me: Recipient<Settle>) {
    let mut under_way = tally::begin(&held.desk.ports.meter, &delivery.job);
    let ended = match unfolded(&held.desk, &slot, delivery).await {
        Ok((delivery, _room)) => carry_out(&slot, delivery).await,
        Err(ended) => ended,
    };
    failpoint::reach("queue_listener.carried");
    drop(slot);
    under_way.ended();
    under_way.settled(hand_in(held, ended, me).await);
}

/// Has an end written down, however often that must be asked for, and says what it came to.
pub(super) async fn hand_in(held: Held, JobEnded(settlement): JobEnded, me: Recipient<Settle>) -> AttemptEnd {
    let (_message, _waits) = (held.desk.ports.meter.message(), held.desk.backlog.enter());
    loop {
        let settled = me.send(Settle(settlement.clone())).instrument(tracing::debug_span!("settle"));
        match settled.await {
            Ok(Some(settled)) => {
                if settled == Settled::NotOurs {
                    tracing::warn!(job.id = %settlement.job, queue.name = %settlement.queue,
                        "the job was taken from this process before it ended; its end is not counted");
                }
                break tally::end_of(&settlement.verdict, settled);
            }
            Ok(None) | Err(_) => tokio::time::sleep(OUTAGE.delay(1, fastrand::f64())).await,
        }
    }
}
