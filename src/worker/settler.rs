//! Writes the settlements of a queue's deliveries.
//!
//! A settlement that the broker can never accept must not block the others. After a refusal each is written
//! alone, and one that is refused again, although the broker just did everything else that jobs need, is
//! replaced by a failure with the reason. All others wait. After a broken connection, or an error of the
//! server's own, only a very long settlement may be to blame, where lengths are refused: if a shorter request passes that
//! is as long as every server accepts, and the server names the length, or this has been so for minutes.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::completer::{Unsettled, Written};
use super::queue_state::QueueState;
use crate::deadline::{answer_in, time_for};
use crate::fault::{Fault, FaultKind};
use crate::job::Retention;
use crate::queue::{Disposition, EVERY_LENGTH, Settled, Settlement};

/// The size of a result in bytes above which a server may refuse it or close the connection.
pub(super) const LONG: usize = EVERY_LENGTH;

/// Writes the settlements of one queue.
pub(super) struct Settler {
    queue: Arc<QueueState>,
}

impl Settler {
    pub(super) fn new(queue: Arc<QueueState>) -> Self {
        Self { queue }
    }

    /// Passes on the answer to each of these.
    pub(super) fn tell(&self, unsettled: Vec<Unsettled>, settled: Vec<Settled>) {
        self.queue.ends_refused.send_replace(false);
        unsettled.into_iter().zip(settled).for_each(|(one, settled)| tell(one.answer, (settled, None)));
    }

    /// Concludes a call that has settled these, or was to; returns those that were not written, with the reason.
    pub(super) async fn conclude(
        &self,
        unsettled: Vec<Unsettled>,
        settled: Result<Vec<Settled>, Fault>,
    ) -> (Vec<Unsettled>, Option<Fault>) {
        let fault = match settled {
            Ok(settled) => {
                self.tell(unsettled, settled);
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
        for mut one in unsettled {
            if is_away {
                left.push(one);
                continue;
            }
            match self.settle_alone(&mut one).await {
                Ok(written) => tell(one.answer, written),
                Err(fault) => {
                    left.push(one);
                    is_away = fault.kind() == FaultKind::Unavailable && self.prove().await.is_err();
                    last = Some(fault);
                }
            }
        }
        // Results that find no room stay in memory, and are not to become more and more.
        if last.as_ref().is_some_and(|fault| fault.refuses_writes()) {
            self.queue.ends_refused.send_replace(true);
        }
        (left, last)
    }

    /// Settles one job; or settles it as failed if the broker refuses its settlement twice and works
    /// otherwise. If even that is refused, the settlement is not to blame, and is tried again.
    async fn settle_alone(&self, one: &mut Unsettled) -> Result<Written, Fault> {
        let again = match self.ask(slice::from_ref(&one.settlement)).await {
            Err(fault) => {
                self.blames(one, fault).await?;
                self.ask(slice::from_ref(&one.settlement)).await
            }
            answer => answer,
        };
        let fault = match again {
            Err(fault) => self.blames(one, fault).await?,
            answer => return answer.map(|settled| (first(settled), None)),
        };
        let one = &one.settlement;
        let buried = Settlement { verdict: unwritable(&fault), verbatim: None, ..one.clone() };
        let settled = self.ask(slice::from_ref(&buried)).await.map(first)?;
        tracing::error!(job.id = %one.job, queue.name = %one.queue, error = fault.chain(),
            "the end of a job cannot be written as it is; the job is buried");
        Ok((settled, Some(buried)))
    }

    pub(super) async fn ask(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
        let settled = self.queue.ports.broker.settle(settlements);
        answer_in(self.deadline_of(settlements), "settle", settled).await
    }

    pub(super) fn deadline_of(&self, settlements: &[Settlement]) -> Duration {
        // Their text is longer than what they weigh here.
        self.queue.settings.deadline + time_for(settlements.iter().map(|one| 2 * one.weight()).sum())
    }

    /// The fault, if this settlement may be its cause, and not the connection or the broker; else the reason why it waits.
    async fn blames(&self, one: &mut Unsettled, fault: Fault) -> Result<Fault, Fault> {
        if fault.kind() == FaultKind::Permanent {
            return self.prove().await.map(|()| fault);
        }
        if !is_long(&one.settlement) {
            return Err(fault);
        }
        let deadline = self.queue.settings.deadline + time_for(LONG);
        let proof = self.queue.ports.broker.prove_length();
        match answer_in(deadline, "try what long ends need", proof).await {
            // The broker itself says so, or it has been so for so long.
            Ok(true) if fault.smaller_may_do() || self.has_lasted(one, &fault) => Ok(fault),
            Err(unproven) if fault.kind() != FaultKind::Unavailable => Err(unproven),
            Ok(_) | Err(_) => Err(fault),
        }
    }

    /// Whether this long end has been refused for so long that its length is to blame. A line that is cut again and again
    /// carries what is shorter, too.
    fn has_lasted(&self, one: &mut Unsettled, fault: &Fault) -> bool {
        let patience = self.queue.settings.long_end_patience;
        let since = *one.refused_since.get_or_insert_with(|| {
            tracing::warn!(job.id = %one.settlement.job, queue.name = %one.settlement.queue, error = fault.chain(),
                "the long end of a job does not reach the broker, which serves what is shorter; it is tried again for {}",
                humantime::format_duration(patience));
            Instant::now()
        });
        since.elapsed() >= patience
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
