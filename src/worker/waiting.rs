//! What a listener waits for before it fetches: a lease, work, slots. Meanwhile it reports signs of life.

use super::outage::OUTAGE;
use super::queue_state::QueueState;
use super::slots::{Claim, Slot};
use crate::deadline::answer_in;

/// Waits until this process has its lease. Without it a fetch would return nothing, and queues would not be
/// served in their order.
pub(super) async fn wait_for_lease(queue: &QueueState) {
    let mut leased = queue.ports.leased.clone();
    loop {
        queue.ports.turn.beat();
        match tokio::time::timeout(queue.settings.patience, leased.wait_for(|held| *held)).await {
            Ok(Ok(_)) => return,
            // The lease is not renewed any more, because the process is ending.
            Ok(Err(_)) => futures::future::pending().await,
            Err(_) => {}
        }
    }
}

/// Waits until there may be something to fetch.
pub(super) async fn wait_for_work(queue: &QueueState) {
    let mut outage = queue.outage();
    loop {
        queue.ports.turn.beat();
        // A broker that is back says so at once.
        let patience = if outage.is_on() { OUTAGE.first } else { queue.settings.patience };
        let longest = patience + queue.settings.deadline;
        let waited = queue.ports.broker.wait(&queue.settings.queue, patience);
        match answer_in(longest, "wait for work", waited).await {
            // With an empty queue, a fetch would be a useless write.
            Ok(work) => {
                queue.served(&mut outage);
                if work {
                    return;
                }
            }
            Err(fault) => queue.wait_out(&mut outage, &fault).await,
        }
    }
}

/// Waits while no settlement can be written. Jobs taken now would be lost work if this process died, and
/// their results would all stay in memory.
async fn wait_for_ends(queue: &QueueState) {
    let mut refused = queue.ends_refused.subscribe();
    loop {
        queue.ports.turn.beat();
        if tokio::time::timeout(queue.settings.patience, refused.wait_for(|refused| !*refused)).await.is_ok()
        {
            return;
        }
    }
}

/// Waits while no job could be run here, because the program that runs them is not there. Jobs taken now would be
/// kept from processes that can run them.
async fn wait_for_means(queue: &QueueState) {
    let mut hindrance = queue.ports.hindrance.clone();
    loop {
        queue.ports.turn.beat();
        match tokio::time::timeout(queue.settings.patience, hindrance.wait_for(Option::is_none)).await {
            Ok(Ok(_)) => return,
            // Nobody starts that program any more, because the process is ending.
            Ok(Err(_)) => futures::future::pending().await,
            Err(_) => {}
        }
    }
}

/// Waits for at most `most` slots, however long earlier jobs take, and until jobs can be run and settled. If the queue has
/// `looked`, this is reported only after its request is in the line.
pub(super) async fn granted_slots(
    queue: &QueueState,
    claim: &mut Option<Claim>,
    most: u32,
    looked: bool,
) -> Vec<Slot> {
    let (slots, rank) = (&queue.ports.slots, queue.settings.rank);
    loop {
        if !may_fetch(queue) {
            // Others may have its slots while it waits for what follows.
            *claim = None;
        }
        wait_for_ends(queue).await;
        wait_for_means(queue).await;
        let mut granted = slots.request(rank, most);
        if looked {
            slots.looked(rank);
        }
        loop {
            queue.ports.turn.beat();
            match tokio::time::timeout(queue.settings.patience, &mut granted).await {
                Ok(Ok(slots)) if may_fetch(queue) => return slots,
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}

/// Whether what is fetched could be run and settled, as far as is known.
pub(super) fn may_fetch(queue: &QueueState) -> bool {
    !*queue.ends_refused.borrow() && queue.ports.hindrance.borrow().is_none()
}
