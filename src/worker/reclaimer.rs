//! Finds deliveries that the broker lent to this process but that no task here has, and returns them to the
//! queue; otherwise the lease would hold them as long as the process lives.
//!
//! They have three causes: a fetch whose answer was lost, a panic of the delivery's task, and a broker that
//! restored an older state without an acknowledged settlement. In the last case the job runs again.

use std::collections::HashSet;
use std::sync::Arc;

use super::completer::Completer;
use super::queue_state::QueueState;
use crate::deadline::answer_in;
use crate::fault::Fault;
use crate::job::ExecutionId;
use crate::queue::{Delivery, Settlement};

/// Returns the unclaimed deliveries of one queue.
#[derive(Clone)]
pub(super) struct Reclaimer {
    pub(super) queue: Arc<QueueState>,
    /// Settles them as released.
    pub(super) completer: Arc<Completer>,
}

impl Reclaimer {
    /// Checks after outages and lost tasks, and regularly: a broker may go back in time unnoticed.
    pub(super) async fn watch(self) {
        loop {
            let told = self.queue.unclaimed_look.notified();
            // Notified or timed out: in both cases check now.
            let _ = tokio::time::timeout(self.queue.settings.unclaimed_interval, told).await;
            if let Err(fault) = self.look().await {
                tracing::debug!(queue.name = %self.queue.settings.queue, error = fault.chain(), "own deliveries are looked through later");
            }
        }
    }

    /// Returns the deliveries found now, however long the broker takes to answer.
    pub(super) async fn reclaim(&self) {
        let (queue, mut outage) = (&self.queue, self.queue.outage());
        loop {
            queue.ports.turn.beat();
            match self.look().await {
                Ok(()) => {
                    outage.over();
                    return;
                }
                Err(fault) => queue.wait_out(&mut outage, &fault).await,
            }
        }
    }

    async fn look(&self) -> Result<(), Fault> {
        let queue = &self.queue;
        // A fetched delivery must not look unclaimed before it is registered.
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

/// Those not registered `before` the broker was asked. It may still list jobs that ended since.
fn unclaimed(listed: Vec<Delivery>, before: &HashSet<ExecutionId>) -> Vec<Delivery> {
    listed.into_iter().filter(|delivery| !before.contains(&delivery.execution)).collect()
}
