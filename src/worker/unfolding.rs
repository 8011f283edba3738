//! Expands the heavy arguments of a job once there is room for them, and for its hash where that came whole, among those of all
//! jobs in hand.

use std::sync::Arc;

use super::payloads::Room;
use super::queue_state::QueueState;
use crate::deadline::answer_in;
use crate::fault::FaultKind;
use crate::job::{Args, ArgsError, LIGHT};
use crate::queue::{Delivery, Settlement};

/// Returns the delivery with its arguments and their reserved memory; it may have `room` for what is stored of it. If the
/// process drains meanwhile, the job is released.
pub(super) async fn unfolded(
    queue: &QueueState,
    mut delivery: Delivery,
    room: Option<Room>,
) -> Result<(Arc<Delivery>, Option<Room>), Settlement> {
    let folded = delivery.job.args.as_ref().err().and_then(ArgsError::weight_folded);
    // What is light travels without being counted.
    let whole = delivery.hash.as_ref().map_or(0, |hash| hash.weight());
    let weight = folded.unwrap_or(0) + if whole > LIGHT { whole } else { 0 };
    if weight == 0 {
        return Ok((Arc::new(delivery), room));
    }
    let mut draining = queue.draining.subscribe();
    let (args, room) = tokio::select! {
        unfolded = unfold(queue, &delivery, weight, room) => unfolded,
        _ = draining.wait_for(|draining| *draining) => return Err(Settlement::given_back(&delivery)),
    };
    delivery.job.args = args;
    Ok((Arc::new(delivery), room))
}

async fn unfold(
    queue: &QueueState,
    delivery: &Delivery,
    weight: usize,
    room: Option<Room>,
) -> (Result<Args, ArgsError>, Option<Room>) {
    let (payloads, folded) =
        (queue.ports.slots.payloads(), delivery.job.args.as_ref().err().and_then(ArgsError::weight_folded));
    // What is stored of it stays in memory beside what it is expanded to; no job fails for both together.
    let stored = room.as_ref().map_or(0, Room::weight);
    let both = weight.max(folded.unwrap_or(0).saturating_add(stored).min(payloads.budget()));
    if weight > payloads.budget() {
        let (given, budget) = (format!("of about {weight} bytes in memory"), payloads.budget());
        let reason = format!("all jobs in hand have {budget} bytes for theirs (worker.payload_budget)");
        return (Err(ArgsError::undecodable(given, reason)), room);
    }
    let room = payloads.room_beyond(room, both).await;
    if folded.is_none() {
        return (delivery.job.args.clone(), room);
    }
    let mut outage = queue.outage();
    loop {
        let unfolded = queue.ports.broker.unfold(delivery);
        match answer_in(queue.settings.deadline, "read the arguments of a job", unfolded).await {
            Ok(args) => {
                queue.served(&mut outage);
                return (args, room);
            }
            Err(fault) if fault.kind() == FaultKind::Permanent => {
                let reason = format!("the queue does not give them: {}", fault.chain());
                return (Err(ArgsError::undecodable("of a job", reason)), room);
            }
            Err(fault) => outage.wait(&fault, false, &queue.ports.turn).await,
        }
    }
}
