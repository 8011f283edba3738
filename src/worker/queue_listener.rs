//! Takes jobs from one queue for free slots, passes them to runners, and has their ends written.
//!
//! A restart keeps its [`QueueState`], with the deliveries of this process, and the settlements that its
//! [`Completer`] has accepted but not begun to write. Each delivery has its own task, which outlives the
//! listener and repeats its request until the settlement is acknowledged.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, Supervised, WrapFuture};

use super::calls::Calls;
use super::carrying::{Fetched, take_in_hand};
use super::completer::Completer;
use super::listener_ports::{ListenerPorts, ListenerSettings};
use super::outage::{OUTAGE, Outage};
use super::payloads::Room;
use super::queue_state::QueueState;
use super::reclaimer::Reclaimer;
use super::slots::{Claim, Slot};
use super::waiting::{granted_slots, may_fetch, wait_for_lease, wait_for_work};
use crate::deadline::{answer_in, time_for};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};

/// The most jobs in the first fetch after a wait; after a full one, whole batches are fetched.
const AFTER_A_WAIT: u32 = 8;

/// The actor of one queue; its state outlives restarts.
pub struct QueueListener {
    queue: Arc<QueueState>,
    calls: Arc<Calls>,
}

/// Stops taking jobs; the answer comes when every taken job is settled.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Drain;

impl QueueListener {
    /// A listener for one queue.
    #[must_use]
    pub fn new(ports: ListenerPorts, settings: ListenerSettings) -> Self {
        let queue = Arc::new(QueueState::new(ports, settings));
        Self { calls: Arc::new(Calls::new(Arc::clone(&queue))), queue }
    }

    /// Through which the queue's deliveries are settled as long as the listener lives.
    #[must_use]
    pub fn completer(&self) -> Arc<Completer> {
        self.calls.completer()
    }
}

impl Actor for QueueListener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (queue, calls) = (Arc::clone(&self.queue), Arc::clone(&self.calls));
        let reclaimer = Reclaimer { queue: Arc::clone(&queue), completer: calls.completer() };
        let fetcher = Fetcher { queue, reclaimer: reclaimer.clone(), calls };
        ctx.spawn(fetcher.fetch_until_drain().into_actor(self));
        ctx.spawn(reclaimer.watch().into_actor(self));
        // Behind the fetcher: after each wake of both, the call takes what the fetcher wants along.
        ctx.spawn(Arc::clone(&self.calls).call_always().into_actor(self));
        failpoint::reach("queue_listener.started");
    }
}

impl Supervised for QueueListener {}

impl Handler<Drain> for QueueListener {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.queue.draining.send_replace(true);
        let queue = Arc::clone(&self.queue);
        Box::pin(async move {
            // A fetch that takes long gives back what it brings.
            drop(queue.fetching.lock().await);
            queue.nothing_held().await;
        })
    }
}

/// The loop that takes jobs for free slots.
#[derive(Clone)]
struct Fetcher {
    queue: Arc<QueueState>,
    reclaimer: Reclaimer,
    calls: Arc<Calls>,
}

impl Fetcher {
    async fn fetch_until_drain(self) {
        let mut draining = self.queue.draining.subscribe();
        tokio::select! {
            // It ends on purpose, and no further sign of life is expected.
            _ = draining.wait_for(|draining| *draining) => self.queue.ports.turn.retire(),
            () = self.fetch_always() => {}
        }
    }

    /// Waits for the lease, for work and for slots; takes as many jobs as slots were granted.
    async fn fetch_always(&self) {
        let queue = &*self.queue;
        wait_for_lease(queue).await;
        // It gets the first slots, so only the broker can keep it from fetching.
        if queue.settings.rank == 0 {
            queue.ports.turn.begins();
        }
        self.reclaimer.reclaim().await;
        // The first check is a fetch; queues of lower rank wait for it.
        let (mut looked, mut outage) = (false, queue.outage());
        // As long as more jobs wait, queues of lower rank are to have no slots.
        let mut claim: Option<Claim> = None;
        loop {
            // A refused fetch is repeated. Otherwise an outage would never end if the queue is empty by now.
            let waits = looked && claim.is_none() && !outage.is_on() && self.left() == 0;
            if waits {
                queue.ports.slots.looked(queue.settings.rank);
                wait_for_work(queue).await;
            }
            // After a wait there is usually a single job, and unused slots cost time.
            let most =
                if claim.is_some() { queue.settings.batch } else { queue.settings.batch.min(AFTER_A_WAIT) };
            let granted = granted_slots(queue, &mut claim, most, looked);
            let slots =
                if outage.is_on() { self.in_doubt(&mut outage, granted).await } else { granted.await };
            let Some(fetched) = self.fetch(slots, most, &mut claim).await.transpose() else { continue };
            looked |= !matches!(&fetched, Err(fault) if fault.kind() == FaultKind::Unavailable);
            if fetched.is_ok() {
                queue.ports.turn.succeeds();
                queue.served(&mut outage);
            }
            match fetched {
                Ok(fetched) => {
                    claim = fetched.claim;
                    if fetched.jobs == 0
                        && self.left() == 0
                        && let Some(rest) = rest_after_none(waits)
                    {
                        tokio::time::sleep(rest).await;
                    }
                }
                // A broker that answers reads may still refuse every fetch.
                Err(fault) => {
                    claim = None;
                    queue.wait_out(&mut outage, &fault).await;
                    self.reclaimer.reclaim().await;
                }
            }
        }
    }

    /// Waits for slots after a refused fetch. If that lasts, nobody knows whether the next one would be refused.
    async fn in_doubt(&self, outage: &mut Outage, granted: impl Future<Output = Vec<Slot>>) -> Vec<Slot> {
        let mut granted = pin!(granted);
        if let Ok(slots) = tokio::time::timeout(OUTAGE.cap, &mut granted).await {
            return slots;
        }
        outage.is_in_doubt();
        self.queue.ports.turn.waits();
        let slots = granted.await;
        self.queue.ports.turn.begins();
        slots
    }

    /// `None` if nothing may be fetched now.
    async fn fetch(
        &self,
        slots: Vec<Slot>,
        most: u32,
        claim: &mut Option<Claim>,
    ) -> Result<Option<Fetched>, Fault> {
        let fetched = match self.left() {
            0 => self.calls.fetch(slots, most).await?,
            weight => {
                // Others are not kept waiting for a heavy job.
                *claim = None;
                self.fetch_heavy(slots, weight).await?
            }
        };
        if fetched.as_ref().is_some_and(|fetched| fetched.jobs > 0) {
            failpoint::reach("queue_listener.fetched");
        }
        Ok(fetched)
    }

    /// The weight of the first job if it was left for that.
    fn left(&self) -> usize {
        self.queue.ports.broker.left(Some(&self.queue.settings.queue))
    }

    /// Waits for room for the first job, which has this weight, and fetches it alone. `None` if nothing may be fetched now.
    async fn fetch_heavy(&self, mut slots: Vec<Slot>, weight: usize) -> Result<Option<Fetched>, Fault> {
        let queue = &self.queue;
        slots.truncate(1);
        let mut room = pin!(queue.ports.slots.payloads().room(weight));
        loop {
            // Without room in time, others may have taken it meanwhile, and what is first now may be light.
            let granted = tokio::time::timeout(queue.settings.patience, &mut room).await;
            let granted = granted.ok().map(|room| (weight, room));
            queue.ports.turn.beat();
            if !may_fetch(queue) {
                return Ok(None);
            }
            let is_last_look = granted.is_some();
            // Its job is lent long before it is here. A drain does not cut it off, for nobody would have it then.
            let under_way = actix_rt::spawn(self.clone().fetch_first(slots, granted));
            let died = |died| Fault::new(FaultKind::Retryable, "fetch").because(died);
            match under_way.await.map_err(died)?? {
                Ok(fetched) => return Ok(Some(fetched)),
                Err(unused) => slots = unused,
            }
            if is_last_look || self.left() != weight {
                return Ok(Some(Fetched { jobs: 0, claim: None }));
            }
        }
    }

    /// Fetches the first job, for which no settlement shall wait: the one of this weight, for which there is this room, or
    /// else a light one. Returns the slots if it is another.
    async fn fetch_first(
        self,
        slots: Vec<Slot>,
        heavy: Option<(usize, Option<Room>)>,
    ) -> Result<Result<Fetched, Vec<Slot>>, Fault> {
        let (queue, ports, name) = (&self.queue, &self.queue.ports, &self.queue.settings.queue);
        let _fetching = queue.fetching.lock().await;
        let (weight, room) = heavy.map_or((0, None), |(weight, room)| (weight, room));
        let fetched = match weight {
            0 => ports.broker.fetch(name, 1, &ports.process),
            weight => ports.broker.fetch_heavy(name, weight, &ports.process),
        };
        let fetched = answer_in(queue.settings.deadline + time_for(weight), "fetch", fetched);
        let deliveries = ports.turn.beating(fetched).await?;
        if deliveries.is_empty() {
            return Ok(Err(slots));
        }
        Ok(Ok(take_in_hand(queue, &self.calls.completer(), deliveries, (slots, room))))
    }
}

/// How long to rest after a fetch that brought nothing.
fn rest_after_none(was_announced: bool) -> Option<Duration> {
    // Another process took the work, or it is not available now. A fetch that only tried, such as one after a fetch
    // that filled all slots, says nothing but that it is time to wait for work.
    was_announced.then(|| OUTAGE.delay(1, fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_was_announced_and_is_gone_is_a_reason_to_rest() {
        assert_eq!(rest_after_none(false), None);
        assert!(rest_after_none(true).is_some_and(|rest| !rest.is_zero()));
    }
}
