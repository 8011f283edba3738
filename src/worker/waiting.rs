//! What a listener waits for before it fetches: a lease, work, slots. Meanwhile it reports signs of life.

use std::convert::Infallible;

use tokio::sync::oneshot;

use super::outage::OUTAGE;
use super::queue_state::QueueState;
use super::slots::Slot;
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

/// Returns the slots that are `kept`, or else waits for those of a request that is `in_line`, or else for at most `most`,
/// however long earlier jobs take, and until jobs can be run and settled. If the queue has `looked`, this is reported only
/// after its request is in the line.
pub(super) async fn granted_slots(
    queue: &QueueState,
    (mut kept, in_line): (Vec<Slot>, Option<oneshot::Receiver<Vec<Slot>>>),
    most: u32,
    looked: bool,
) -> Vec<Slot> {
    let (slots, rank) = (&queue.ports.slots, queue.settings.rank);
    // Others may have its slots while it waits for what follows.
    let mut in_line = in_line.filter(|_| may_fetch(queue));
    if may_fetch(queue) && !kept.is_empty() {
        kept.extend(in_line.and_then(|mut granted| granted.try_recv().ok()).into_iter().flatten());
        return kept;
    }
    drop(kept);
    loop {
        wait_for_ends(queue).await;
        wait_for_means(queue).await;
        let mut granted = in_line.take().unwrap_or_else(|| slots.request(rank, most));
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

/// Keeps the slots that become free for the next fetch, while one is under way that will hardly be the last: queues of
/// lower rank are to have none as long as jobs wait in this one.
pub(super) async fn keep_slots(queue: &QueueState, kept: &mut Vec<Slot>) -> Infallible {
    let most = usize::try_from(queue.settings.batch).unwrap_or(usize::MAX);
    while kept.len() < most {
        let more = u32::try_from(most - kept.len()).unwrap_or(u32::MAX);
        match queue.ports.slots.request(queue.settings.rank, more).await {
            Ok(slots) => kept.extend(slots),
            Err(_) => break,
        }
    }
    futures::future::pending().await
}

/// Whether what is fetched could be run and settled, as far as is known.
pub(super) fn may_fetch(queue: &QueueState) -> bool {
    !*queue.ends_refused.borrow() && queue.ports.hindrance.borrow().is_none()
}
