//! Writes the settlements of a queue's deliveries, all that have gathered in one call, until it succeeds.
//!
//! A settlement that the broker can never accept must not block the others. After a refusal each is written
//! alone, and one that is refused again, although the broker just did everything else that jobs need, is
//! replaced by a failure with the reason. All others wait. After a broken connection, or an error of the
//! server's own, only a very long settlement may be to blame.

use std::slice;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use super::outage::Outage;
use super::queue_state::QueueState;
use super::slots::Slot;
use crate::deadline::{answer_in, time_for};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::Retention;
use crate::queue::{Disposition, Settled, Settlement};

/// The most settlements in one call; it limits the size of a transaction.
const SETTLE_BATCH: usize = 500;

/// The size of a result in bytes above which a server may refuse it or close the connection; every server
/// accepts less than this.
const LONG: usize = 512 << 10;

/// A settlement to write, and the channel for its answer.
type Unsettled = (Settlement, oneshot::Sender<Written>);

/// Whether a settlement counted; and what was written in its place, if it cannot be written itself.
pub(super) type Written = (Settled, Option<Settlement>);

/// Writes the settlements of one queue.
pub struct Completer {
    queue: Arc<QueueState>,
    ends: mpsc::Sender<Unsettled>,
    /// Read by one loop at a time: that of the listener's current life.
    accepted: tokio::sync::Mutex<mpsc::Receiver<Unsettled>>,
}

impl Completer {
    pub(super) fn new(queue: Arc<QueueState>) -> Self {
        let (ends, accepted) = mpsc::channel(SETTLE_BATCH);
        Self { queue, ends, accepted: tokio::sync::Mutex::new(accepted) }
    }

    /// Writes a settlement, however long the broker is away, and returns the result. The slot is kept until
    /// the settlement is accepted: while none can be written, at most 500 wait, and then their slots stay
    /// occupied. Where code waits for the end to be written, it is kept until that code is over.
    pub async fn complete(&self, settlement: &Settlement, slot: Option<Slot>) -> Settled {
        self.write(settlement, slot).await.0
    }

    /// As [`complete`](Self::complete); returns what was written, too, if that is something else.
    pub(super) async fn write(&self, settlement: &Settlement, mut slot: Option<Slot>) -> Written {
        let _message = self.queue.ports.meter.message();
        loop {
            let (answer, written) = oneshot::channel();
            if self.ends.send((settlement.clone(), answer)).await.is_err() {
                futures::future::pending::<()>().await;
            }
            let waits = settlement.verbatim.as_ref().and_then(|words| words.written.as_ref());
            if waits.is_none() {
                drop(slot.take());
            }
            // No answer: the loop failed. Its next life is asked again; the broker answers as before.
            let Ok((settled, instead)) = written.instrument(tracing::debug_span!("settle")).await else {
                continue;
            };
            if settled == Settled::NotOurs {
                tracing::warn!(job.id = %settlement.job, queue.name = %settlement.queue,
                    "the job was taken from this process before it ended; its end is not counted");
            }
            if let Some(signal) = waits {
                signal.give(settled == Settled::Done && instead.is_none()).await;
            }
            return (settled, instead);
        }
    }

    /// Writes accepted settlements as long as the listener lives.
    pub(super) async fn settle_all(self: Arc<Self>) {
        let mut accepted = self.accepted.lock().await;
        let (mut unsettled, mut outage) = (Vec::new(), Outage::default());
        // Settlements refused in an earlier life are submitted again.
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

    /// Tries once; returns the settlements that were not written, with the reason.
    async fn settle(&self, unsettled: Vec<Unsettled>) -> (Vec<Unsettled>, Option<Fault>) {
        let settlements: Vec<_> = unsettled.iter().map(|(settlement, _)| settlement.clone()).collect();
        let fault = match self.ask(&settlements).await {
            Ok(settled) => {
                self.queue.ends_refused.send_replace(false);
                unsettled
                    .into_iter()
                    .zip(settled)
                    .for_each(|((_, answer), settled)| tell(answer, (settled, None)));
                return (Vec::new(), None);
            }
            Err(fault) => fault,
        };
        // If the broker refuses everything, settlements are not tried one by one.
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
                Ok(written) => tell(answer, written),
                Err(fault) => {
                    left.push((settlement, answer));
                    is_away = fault.kind() == FaultKind::Unavailable && self.prove().await.is_err();
                    last = Some(fault);
                }
            }
        }
        (left, last)
    }

    /// Settles one job; or settles it as failed if the broker refuses its settlement twice and works
    /// otherwise. If even that is refused, the settlement is not to blame, and is tried again.
    async fn settle_alone(&self, one: &Settlement) -> Result<Written, Fault> {
        let again = match self.ask(slice::from_ref(one)).await {
            Err(fault) if may_be_to_blame(one, &fault) => {
                self.is_served_otherwise(fault).await?;
                self.ask(slice::from_ref(one)).await
            }
            answer => answer,
        };
        let fault = match again {
            Err(fault) if may_be_to_blame(one, &fault) => fault,
            answer => return answer.map(|settled| (first(settled), None)),
        };
        if fault.kind() != FaultKind::Permanent {
            self.prove().await?;
        }
        let buried = Settlement { verdict: unwritable(&fault), verbatim: None, ..one.clone() };
        let settled = self.ask(slice::from_ref(&buried)).await.map(first)?;
        tracing::error!(job.id = %one.job, queue.name = %one.queue, error = fault.chain(),
            "the end of a job cannot be written as it is; the job is buried");
        Ok((settled, Some(buried)))
    }

    async fn ask(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
        let settled = self.queue.ports.broker.settle(settlements);
        // Its text is longer than what it weighs here.
        let size: usize = settlements.iter().map(|one| 2 * one.weight()).sum();
        answer_in(self.queue.settings.deadline + time_for(size), "settle", settled).await
    }

    /// Checks, after a fault, that the broker does all else that jobs need; if not, returns the reason.
    async fn is_served_otherwise(&self, fault: Fault) -> Result<(), Fault> {
        let proven = self.prove().await;
        if fault.kind() == FaultKind::Unavailable { proven.map_err(|_| fault) } else { proven }
    }

    async fn prove(&self) -> Result<(), Fault> {
        answer_in(self.queue.settings.deadline, "try what jobs need", self.queue.ports.broker.prove()).await
    }
}

/// Whether a refusal may be caused by this settlement, and not by the connection or the broker.
fn may_be_to_blame(one: &Settlement, fault: &Fault) -> bool {
    fault.kind() == FaultKind::Permanent || is_long(one)
}

fn is_long(one: &Settlement) -> bool {
    let ours = match &one.verdict {
        Disposition::Ack { result, .. } => serde_json::to_vec(result).map_or(0, |text| text.len()),
        other => other.error().map_or(0, str::len),
    };
    ours.max(one.verbatim.as_ref().map_or(0, |words| words.weight())) > LONG
}

/// A sender that is gone asks again, or needs no answer.
fn tell(answer: oneshot::Sender<Written>, written: Written) {
    let _ = answer.send(written);
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
