//! Finds what the broker lent to this process and nobody here carries, and gives it back; else its lease would keep
//! it for as long as the process lives.
//!
//! Three ways lead there: a fetch that was carried out without its answer reaching us, a panic of the task that carried
//! it, and a broker that has gone back in time and forgotten an end that it had acknowledged. That job runs again.

use std::collections::HashSet;
use std::sync::Arc;

use super::completer::Completer;
use super::outage::Outage;
use super::queue_state::QueueState;
use crate::deadline::answer_in;
use crate::fault::Fault;
use crate::job::ExecutionId;
use crate::queue::{Delivery, Settlement};

/// Gives unclaimed deliveries of one queue back.
#[derive(Clone)]
pub(super) struct Reclaimer {
    pub(super) queue: Arc<QueueState>,
    /// Writes that they go back.
    pub(super) completer: Arc<Completer>,
}

impl Reclaimer {
    /// Looks after each outage and each loss of a runner, and from time to time: a broker may go back so fast that nobody sees it away.
    pub(super) async fn watch(self) {
        loop {
            let told = self.queue.unclaimed_look.notified();
            // Whether it was told or the time is over: both are a reason to look.
            let _ = tokio::time::timeout(self.queue.settings.unclaimed_interval, told).await;
            if let Err(fault) = self.look().await {
                tracing::debug!(queue.name = %self.queue.settings.queue, error = fault.chain(), "own deliveries are looked through later");
            }
        }
    }

    /// Gives back what is found now, however long the broker takes to answer.
    pub(super) async fn reclaim(&self) {
        let (queue, mut outage) = (&self.queue, Outage::default());
        loop {
            queue.ports.turn.beat();
            match self.look().await {
                Ok(()) => {
                    outage.over(&queue.settings.queue);
                    return;
                }
                Err(fault) => queue.wait_out(&mut outage, &fault).await,
            }
        }
    }

    async fn look(&self) -> Result<(), Fault> {
        let queue = &self.queue;
        // What a fetch brings must not look unclaimed before it is in hand.
        let _nobody_fetches = queue.fetching.lock().await;
        let before = queue.held();
        let listed = queue.ports.broker.held(&queue.settings.queue, &queue.ports.process);
        let listed = answer_in(queue.settings.deadline, "list own deliveries", listed).await?;
        for delivery in unclaimed(listed, &before) {
            if let Some(held) = queue.hold(&delivery.execution) {
                tracing::warn!(job.id = %delivery.job.id, queue.name = %delivery.job.queue,
                    "nobody here carries a job that the queue has lent to this process; it goes back to its queue");
                let completer = Arc::clone(&self.completer);
                actix_rt::spawn(async move {
                    let _held = held;
                    completer.complete(&Settlement::given_back(&delivery), None).await
                });
            }
        }
        Ok(())
    }
}

/// Those that nobody had in hand `before` the broker was asked: what has ended since may still be listed.
fn unclaimed(listed: Vec<Delivery>, before: &HashSet<ExecutionId>) -> Vec<Delivery> {
    listed.into_iter().filter(|delivery| !before.contains(&delivery.execution)).collect()
}
