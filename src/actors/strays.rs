//! Finds what the broker lent to this process and nobody here carries, and gives it back; else its lease would keep
//! it for as long as the process lives.
//!
//! Three ways lead there: a fetch that was carried out without its answer reaching us, a panic of the task that carried
//! it, and a broker that has gone back in time and forgotten an end that it had acknowledged. That job runs again.

use std::collections::HashSet;
use std::sync::Arc;

use actix::Recipient;

use super::JobEnded;
use super::deadline::answer_in;
use super::outage::Outage;
use super::queue_listener::{Desk, Settle, hand_in};
use crate::fault::Fault;
use crate::job::ExecutionId;
use crate::queue::Delivery;

/// Looks after each outage and each loss of a carrier, and from time to time: a broker may go back so fast that nobody sees it away.
pub(super) async fn watch_for_strays(desk: Arc<Desk>, me: Recipient<Settle>) {
    loop {
        let told = desk.stray_look.notified();
        // Whether it was told or the time is over: both are a reason to look.
        let _ = tokio::time::timeout(desk.settings.stray_interval, told).await;
        if let Err(fault) = desk.give_strays_back(&me).await {
            tracing::debug!(queue.name = %desk.settings.queue, error = fault.chain(), "own deliveries are looked through later");
        }
    }
}

impl Desk {
    /// Gives back what is found now, however long the broker takes to answer.
    pub(super) async fn give_back_unknown(self: &Arc<Self>, me: &Recipient<Settle>) {
        let mut outage = Outage::default();
        loop {
            self.ports.turn.beat();
            match self.give_strays_back(me).await {
                Ok(()) => {
                    outage.over(&self.settings.queue);
                    return;
                }
                Err(fault) => self.wait_out(&mut outage, &fault).await,
            }
        }
    }

    async fn give_strays_back(self: &Arc<Self>, me: &Recipient<Settle>) -> Result<(), Fault> {
        // What a fetch brings must not look like a stray before it is in hand.
        let _nobody_fetches = self.fetching.lock().await;
        let before = self.held();
        let listed = self.ports.broker.held(&self.settings.queue, &self.ports.process);
        let listed = answer_in(self.settings.deadline, "list own deliveries", listed).await?;
        for delivery in strays(listed, &before) {
            if let Some(held) = self.hold(&delivery.execution) {
                tracing::warn!(job.id = %delivery.job.id, queue.name = %delivery.job.queue,
                    "nobody here carries a job that the queue has lent to this process; it goes back to its queue");
                actix_rt::spawn(hand_in(held, JobEnded::given_back(&delivery), me.clone()));
            }
        }
        Ok(())
    }
}

/// Those that nobody had in hand `before` the broker was asked: what has ended since may still be listed.
fn strays(listed: Vec<Delivery>, before: &HashSet<ExecutionId>) -> Vec<Delivery> {
    listed.into_iter().filter(|delivery| !before.contains(&delivery.execution)).collect()
}
