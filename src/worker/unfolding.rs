//! Expands the heavy arguments of a job once there is room for them, and for its hash where that came whole, among those of all
//! jobs in hand.

use std::sync::Arc;

use super::queue_state::QueueState;
use super::slots::{Room, Slot};
use crate::deadline::answer_in;
use crate::fault::FaultKind;
use crate::job::{Args, ArgsError, LIGHT};
use crate::queue::{Delivery, Settlement};

/// Returns the delivery with its arguments and their reserved memory. If the process drains meanwhile, the
/// job is released.
pub(super) async fn unfolded(
    queue: &QueueState,
    slot: &Slot,
    mut delivery: Delivery,
) -> Result<(Arc<Delivery>, Option<Room>), Settlement> {
    let folded = delivery.job.args.as_ref().err().and_then(ArgsError::weight_folded);
    // What is light travels without being counted.
    let whole = delivery.hash.as_ref().map_or(0, |hash| hash.weight());
    let weight = folded.unwrap_or(0) + if whole > LIGHT { whole } else { 0 };
    if weight == 0 {
        return Ok((Arc::new(delivery), None));
    }
    let mut draining = queue.draining.subscribe();
    let (args, room) = tokio::select! {
        unfolded = unfold(queue, slot, &delivery, weight) => unfolded,
        _ = draining.wait_for(|draining| *draining) => return Err(Settlement::given_back(&delivery)),
    };
    delivery.job.args = args;
    Ok((Arc::new(delivery), room))
}

async fn unfold(
    queue: &QueueState,
    slot: &Slot,
    delivery: &Delivery,
    weight: usize,
) -> (Result<Args, ArgsError>, Option<Room>) {
    let Some(room) = slot.room(weight).await else {
        let (given, budget) = (format!("of about {weight} bytes in memory"), slot.payload_budget());
        let reason = format!("all jobs in hand have {budget} bytes for theirs (worker.payload_budget)");
        return (Err(ArgsError::undecodable(given, reason)), None);
    };
    if delivery.job.args.as_ref().err().and_then(ArgsError::weight_folded).is_none() {
        return (delivery.job.args.clone(), Some(room));
    }
    let mut outage = queue.outage();
    loop {
        let unfolded = queue.ports.broker.unfold(delivery);
        match answer_in(queue.settings.deadline, "read the arguments of a job", unfolded).await {
            Ok(args) => {
                queue.served(&mut outage);
                return (args, Some(room));
            }
            Err(fault) if fault.kind() == FaultKind::Permanent => {
                let reason = format!("the queue does not give them: {}", fault.chain());
                return (Err(ArgsError::undecodable("of a job", reason)), None);
            }
            Err(fault) => outage.wait(&fault, false, &queue.ports.turn).await,
        }
    }
}
