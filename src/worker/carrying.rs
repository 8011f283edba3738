//! Takes fetched deliveries in hand, and carries each through its runner to its settlement.

use std::sync::Arc;

use chrono::Utc;
use tracing::Instrument as _;

use super::attempt::attempt_span;
use super::attempt_metrics;
use super::completer::Completer;
use super::dispatch::carry_out;
use super::payloads::Room;
use super::queue_state::{Held, QueueState};
use super::slots::{Claim, Slot};
use super::unfolding::unfolded;
use crate::failpoint;
use crate::queue::{Delivery, Settled, Settlement, webhook_requests};

/// The result of a fetch.
pub(super) struct Fetched {
    pub(super) jobs: usize,
    /// If there was a job for each slot, more may wait. Made before the jobs run, which may end at once; else their slots
    /// would go to queues of lower rank.
    pub(super) claim: Option<Claim>,
}

/// Begins to carry these deliveries, each in a slot, and the first with the room that it has. During a drain they go back.
pub(super) fn take_in_hand(
    queue: &Arc<QueueState>,
    completer: &Arc<Completer>,
    deliveries: Vec<Delivery>,
    (slots, mut room): (Vec<Slot>, Option<Room>),
) -> Fetched {
    if *queue.draining.borrow() {
        give_back(queue, completer, deliveries);
        return Fetched { jobs: 0, claim: None };
    }
    let jobs = deliveries.len();
    let claim = (jobs == slots.len()).then(|| queue.ports.slots.claim(queue.settings.rank));
    for (delivery, slot) in deliveries.into_iter().zip(slots) {
        let Some(held) = queue.hold(&delivery.execution) else { continue };
        let span = attempt_span(&delivery.job);
        let place = (slot, room.take());
        actix_rt::spawn(carry(held, delivery, place, Arc::clone(completer)).instrument(span));
    }
    Fetched { jobs, claim }
}

fn give_back(queue: &Arc<QueueState>, completer: &Arc<Completer>, deliveries: Vec<Delivery>) {
    let held: Vec<_> = deliveries.iter().filter_map(|delivery| queue.hold(&delivery.execution)).collect();
    let completer = Arc::clone(completer);
    actix_rt::spawn(async move {
        // In reverse order, so that the first is at the head again.
        for delivery in deliveries.iter().rev() {
            completer.complete(&Settlement::given_back(delivery), None).await;
        }
        drop(held);
    });
}

/// Takes one delivery through its runner to its settlement, across restarts of the runner and the listener. Then its
/// webhooks are sent.
async fn carry(
    held: Held,
    delivery: Delivery,
    (slot, room): (Slot, Option<Room>),
    completer: Arc<Completer>,
) {
    let mut under_way = attempt_metrics::begin(&held.queue.ports.meter, &delivery.job);
    let webhooks = delivery.job.webhook_job();
    // The broker remembers what it has lent until the end is written, so the room is kept until then.
    let (ended, _room) = match unfolded(&held.queue, delivery, room).await {
        Ok((delivery, room)) => (carry_out(&slot, delivery).await, room),
        Err(given_back) => (given_back, None),
    };
    failpoint::reach("queue_listener.carried");
    under_way.ended();
    let ended_at = Utc::now();
    let (settled, instead) = completer.write(&ended, Some(slot)).await;
    let written = instead.as_ref().unwrap_or(&ended);
    under_way.settled(attempt_metrics::end_of(&written.verdict, settled));
    if let Some(job) = webhooks.filter(|_| settled == Settled::Done) {
        held.queue.ports.webhooks.send(webhook_requests(&job, written, ended_at));
    }
}
