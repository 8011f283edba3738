//! Writes what was handed in to a listener, everything that has gathered in one call, until it is written.
//!
//! An end that the broker can never take, whatever is wrong with it, must not hold up the others: then
//! each is written by itself, and that one job is buried with the reason.

use std::slice;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::deadline::answer_in;
use super::outage::Outage;
use super::queue_listener::Desk;
use crate::fault::{Fault, FaultKind};
use crate::job::Retention;
use crate::queue::{Settled, Settlement, Verdict};

/// The most settlements in one call: bounds the size of one transaction.
const SETTLE_BATCH: usize = 500;

/// Settles for as long as the listener lives.
pub(super) async fn settle_loop(desk: Arc<Desk>) {
    loop {
        let changed = desk.unsettled_changed.notified();
        let (settlements, answers) = desk.take_unsettled();
        if settlements.is_empty() {
            changed.await;
            continue;
        }
        let settled = desk.settle(&settlements).await;
        for (answer, settled) in answers.into_iter().zip(settled) {
            // A carrier that is gone asks again or does not care.
            let _ = answer.send(settled);
        }
    }
}

impl Desk {
    fn take_unsettled(&self) -> (Vec<Settlement>, Vec<oneshot::Sender<Settled>>) {
        let mut unsettled = self.unsettled.lock();
        let count = unsettled.len().min(SETTLE_BATCH);
        unsettled.drain(..count).unzip()
    }

    async fn settle(&self, settlements: &[Settlement]) -> Vec<Settled> {
        if let Ok(settled) = self.settle_together(settlements).await {
            return settled;
        }
        let mut settled = Vec::with_capacity(settlements.len());
        for one in settlements {
            settled.push(self.settle_alone(one).await);
        }
        settled
    }

    /// Waits out whatever passes; a fault that does not pass is the answer.
    async fn settle_together(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
        let mut outage = Outage::default();
        loop {
            let settled = self.ports.broker.settle(settlements);
            match answer_in(self.settings.deadline, "settle", settled).await {
                Err(fault) if fault.kind() != FaultKind::Permanent => {
                    self.wait_out(&mut outage, &fault).await
                }
                answer => {
                    self.served(&mut outage);
                    return answer;
                }
            }
        }
    }

    /// Settles one job so, or else as failed. A broker that takes not even that is broken: asked again.
    async fn settle_alone(&self, one: &Settlement) -> Settled {
        let (mut settlement, mut outage) = (one.clone(), Outage::default());
        loop {
            match self.settle_together(slice::from_ref(&settlement)).await {
                Ok(settled) => return settled.first().copied().unwrap_or(Settled::NotOurs),
                Err(fault) => {
                    tracing::error!(job.id = %one.job, queue.name = %one.queue, error = fault.chain(),
                        "the end of a job cannot be written as it is; the job is buried");
                    settlement.verdict = unwritable(&fault);
                    self.wait_out(&mut outage, &fault).await;
                }
            }
        }
    }
}

fn unwritable(fault: &Fault) -> Verdict {
    let error = format!(
        "the attempt ended, but the queue cannot take how ({}); what it did is done, so look before you run it again",
        fault.chain()
    );
    Verdict::Bury { error, keep: Retention::default().failure }
}
