//! What a listener waits for before it fetches: a lease, work, slots. Its loop turns all the while.

use super::outage::Outage;
use super::queue_state::QueueState;
use super::slots::Slot;
use crate::deadline::answer_in;

/// Waits until this process has its lease: before, a fetch would bring nothing, and the queues would not be
/// served in their order.
pub(super) async fn wait_for_lease(queue: &QueueState) {
    let mut leased = queue.ports.leased.clone();
    loop {
        queue.ports.turn.beat();
        match tokio::time::timeout(queue.settings.patience, leased.wait_for(|held| *held)).await {
            Ok(Ok(_)) => return,
            // Nobody keeps the lease any more: the process is on its way out.
            Ok(Err(_)) => futures::future::pending().await,
            Err(_) => {}
        }
    }
}

/// Waits until there may be something to fetch.
pub(super) async fn wait_for_work(queue: &QueueState) {
    let mut outage = Outage::default();
    loop {
        queue.ports.turn.beat();
        let longest = queue.settings.patience + queue.settings.deadline;
        let waited = queue.ports.broker.wait(&queue.settings.queue, queue.settings.patience);
        match answer_in(longest, "wait for work", waited).await {
            // With nothing there a fetch would be a write for nothing.
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

/// Waits while no end is written: what is taken then is done for nothing should this process be lost, and all of it stays
/// in memory.
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

/// Waits for `most` slots or fewer, however long the jobs before it take, and until ends are written. Whoever has `looked`
/// before says so only once it is in the line.
pub(super) async fn granted_slots(queue: &QueueState, most: u32, looked: bool) -> Vec<Slot> {
    let (slots, rank) = (&queue.ports.slots, queue.settings.rank);
    loop {
        wait_for_ends(queue).await;
        let mut granted = slots.request(rank, most);
        if looked {
            slots.looked(rank);
        }
        loop {
            queue.ports.turn.beat();
            match tokio::time::timeout(queue.settings.patience, &mut granted).await {
                Ok(Ok(slots)) if !*queue.ends_refused.borrow() => return slots,
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}
