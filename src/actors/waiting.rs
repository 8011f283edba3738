//! What a listener waits for before it fetches: a lease, work, settlements, slots. Its loop turns all the while.

use super::Slot;
use super::deadline::answer_in;
use super::outage::Outage;
use super::queue_listener::Desk;

impl Desk {
    /// Waits until this process has its lease: before, a fetch would bring nothing, and the queues would not be
    /// served in their order.
    pub(super) async fn wait_for_lease(&self) {
        let mut leased = self.ports.leased.clone();
        loop {
            self.ports.turn.beat();
            match tokio::time::timeout(self.settings.patience, leased.wait_for(|held| *held)).await {
                Ok(Ok(_)) => return,
                // Nobody keeps the lease any more: the process is on its way out.
                Ok(Err(_)) => futures::future::pending().await,
                Err(_) => {}
            }
        }
    }

    /// Waits until there may be something to fetch.
    pub(super) async fn wait_for_work(&self) {
        let mut outage = Outage::default();
        loop {
            self.ports.turn.beat();
            let longest = self.settings.patience + self.settings.deadline;
            let waited = self.ports.broker.wait(&self.settings.queue, self.settings.patience);
            match answer_in(longest, "wait for work", waited).await {
                // With nothing there a fetch would be a write for nothing.
                Ok(work) => {
                    self.served(&mut outage);
                    if work {
                        return;
                    }
                }
                Err(fault) => self.wait_out(&mut outage, &fault).await,
            }
        }
    }

    /// Waits until not too many ends wait to be settled: what is run while nothing can be written down piles up.
    pub(super) async fn wait_for_settlements(&self) {
        while tokio::time::timeout(self.settings.patience, self.backlog.has_room()).await.is_err() {
            self.ports.turn.beat();
        }
    }

    /// Waits for `most` slots or fewer, however long the jobs before it take. Whoever has `looked` before says
    /// so only once it is in the line.
    pub(super) async fn granted_slots(&self, most: u32, looked: bool) -> Vec<Slot> {
        let (slots, rank) = (&self.ports.slots, self.settings.rank);
        loop {
            let mut granted = slots.request(rank, most);
            if looked {
                slots.looked(rank);
            }
            loop {
                self.ports.turn.beat();
                match tokio::time::timeout(self.settings.patience, &mut granted).await {
                    Ok(Ok(slots)) => return slots,
                    Ok(Err(_)) => break,
                    Err(_) => {}
                }
            }
        }
    }
}
