//! Writes the ends of a queue's deliveries, everything that has gathered in one call, until it is written.
//!
//! An end that the broker can never take, whatever is wrong with it, must not hold up the others: then each is written
//! by itself, and that one job is buried with the reason. A refusal alone does not say that: only an end that is
//! refused again, after the broker has done all that it does for jobs, is to blame. Everything else waits. Of a connection
//! that breaks or a server that refuses for a reason of its own only a very long end may be the cause.

use std::slice;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use super::outage::Outage;
use super::queue_state::QueueState;
use super::slots::Slot;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::Retention;
use crate::queue::{Disposition, Settled, Settlement};

/// The most settlements in one call: bounds the size of one transaction.
const SETTLE_BATCH: usize = 500;

/// Bytes of an outcome beyond which a server may refuse it for its length, or end the connection that brings it; none
/// allows less.
const LONG: usize = 512 << 10;

/// An end that is to be written, and whoever waits for that.
type Unsettled = (Settlement, oneshot::Sender<Settled>);

/// Settles the deliveries of one queue.
pub struct Completer {
    queue: Arc<QueueState>,
    ends: mpsc::Sender<Unsettled>,
    /// Read by one loop at a time: that of the listener's present life.
    accepted: tokio::sync::Mutex<mpsc::Receiver<Unsettled>>,
}

impl Completer {
    pub(super) fn new(queue: Arc<QueueState>) -> Self {
        let (ends, accepted) = mpsc::channel(SETTLE_BATCH);
        Self { queue, ends, accepted: tokio::sync::Mutex::new(accepted) }
    }

    /// Has an end written, however long the broker is away, and says what it came to. The slot is kept until the end
    /// is accepted: while none can be written, at most 500 wait, and then slots are not free for more.
    pub async fn complete(&self, settlement: &Settlement, mut slot: Option<Slot>) -> Settled {
        let _message = self.queue.ports.meter.message();
        loop {
            let (answer, written) = oneshot::channel();
            if self.ends.send((settlement.clone(), answer)).await.is_err() {
                futures::future::pending::<()>().await;
            }
            drop(slot.take());
            // Unanswered, the loop that had it broke: its next life is asked again, and the broker answers as before.
            let Ok(settled) = written.instrument(tracing::debug_span!("settle")).await else { continue };
            if settled == Settled::NotOurs {
                tracing::warn!(job.id = %settlement.job, queue.name = %settlement.queue,
                    "the job was taken from this process before it ended; its end is not counted");
            }
            return settled;
        }
    }

    /// Writes what is accepted, for as long as the listener lives.
    pub(super) async fn settle_all(self: Arc<Self>) {
        let mut accepted = self.accepted.lock().await;
        let (mut unsettled, mut outage) = (Vec::new(), Outage::default());
        // What was refused in an earlier life is handed in again.
        self.queue.ends_refused.send_replace(false);
        loop {
            if unsettled.is_empty() {
                accepted.recv_many(&mut unsettled, SETTLE_BATCH).await;
            }
            while unsettled.len() < SETTLE_BATCH
                && let Ok(one) = accepted.try_recv()
            {
                unsettled.push(one);
            }
            failpoint::reach("queue_listener.settle");
            let (left, fault) = self.settle(unsettled).await;
            unsettled = left;
            match fault {
                Some(fault) => self.queue.wait_out(&mut outage, &fault).await,
                None => self.queue.served(&mut outage),
            }
        }
    }

    /// Tries once; what is not written comes back, with the reason.
    async fn settle(&self, unsettled: Vec<Unsettled>) -> (Vec<Unsettled>, Option<Fault>) {
        let settlements: Vec<_> = unsettled.iter().map(|(settlement, _)| settlement.clone()).collect();
        let fault = match self.ask(&settlements).await {
            Ok(settled) => {
                self.queue.ends_refused.send_replace(false);
                unsettled.into_iter().zip(settled).for_each(|((_, answer), settled)| tell(answer, settled));
                return (Vec::new(), None);
            }
            Err(fault) => fault,
        };
        // One that refuses everybody is not asked for each.
        if let Err(fault) = self.is_served_otherwise(fault).await {
            self.queue.ends_refused.send_replace(true);
            return (unsettled, Some(fault));
        }
        self.queue.ends_refused.send_replace(false);
        let (mut left, mut last, mut is_away) = (Vec::new(), None, false);
        for (settlement, answer) in unsettled {
            if is_away {
                left.push((settlement, answer));
                continue;
            }
            match self.settle_alone(&settlement).await {
                Ok(settled) => tell(answer, settled),
                Err(fault) => {
                    left.push((settlement, answer));
                    is_away = fault.kind() == FaultKind::Unavailable && self.prove().await.is_err();
                    last = Some(fault);
                }
            }
        }
        (left, last)
    }

    /// Settles one job so; or as failed, when the broker refuses its end twice and serves all others in between. What
    /// is refused even then is no fault of the end, which is tried again.
    async fn settle_alone(&self, one: &Settlement) -> Result<Settled, Fault> {
        let again = match self.ask(slice::from_ref(one)).await {
            Err(fault) if may_be_to_blame(one, &fault) => {
                self.is_served_otherwise(fault).await?;
                self.ask(slice::from_ref(one)).await
            }
            answer => answer,
        };
        let fault = match again {
            Err(fault) if may_be_to_blame(one, &fault) => fault,
            answer => return answer.map(first),
        };
        if fault.kind() != FaultKind::Permanent {
            self.prove().await?;
        }
        let buried = Settlement { verdict: unwritable(&fault), ..one.clone() };
        let settled = self.ask(slice::from_ref(&buried)).await.map(first)?;
        tracing::error!(job.id = %one.job, queue.name = %one.queue, error = fault.chain(),
            "the end of a job cannot be written as it is; the job is buried");
        Ok(settled)
    }

    async fn ask(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
        let settled = self.queue.ports.broker.settle(settlements);
        answer_in(self.queue.settings.deadline, "settle", settled).await
    }

    /// Whether the broker, which has just answered with this fault, does all that jobs need; else why not.
    async fn is_served_otherwise(&self, fault: Fault) -> Result<(), Fault> {
        let proven = self.prove().await;
        if fault.kind() == FaultKind::Unavailable { proven.map_err(|_| fault) } else { proven }
    }

    async fn prove(&self) -> Result<(), Fault> {
        answer_in(self.queue.settings.deadline, "try what jobs need", self.queue.ports.broker.prove()).await
    }
}

/// Whether a refusal may be the fault of this end, and not of the way to the broker or of the broker itself.
fn may_be_to_blame(one: &Settlement, fault: &Fault) -> bool {
    fault.kind() == FaultKind::Permanent || is_long(&one.verdict)
}

fn is_long(verdict: &Disposition) -> bool {
    let length = match verdict {
        Disposition::Ack { result, .. } => serde_json::to_vec(result).map_or(0, |text| text.len()),
        Disposition::RetryAt { error, .. }
        | Disposition::Discard { error, .. }
        | Disposition::Stop { error, .. } => error.len(),
        Disposition::Forward { .. } | Disposition::Release { .. } | Disposition::Rescue => 0,
    };
    length > LONG
}

/// Whoever waited and is gone asks again or does not care.
fn tell(answer: oneshot::Sender<Settled>, settled: Settled) {
    let _ = answer.send(settled);
}

fn first(settled: Vec<Settled>) -> Settled {
    settled.first().copied().unwrap_or(Settled::NotOurs)
}

fn unwritable(fault: &Fault) -> Disposition {
    let error = format!(
        "the attempt ended, but the queue cannot take how ({}); what it did is done, so look before you run it again",
        fault.chain()
    );
    Disposition::Discard { error, keep: Retention::default().failure }
}
