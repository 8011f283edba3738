//! Hands settlements over to be written, and waits for what each comes to.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::queue_state::QueueState;
use super::slots::Slot;
use crate::queue::{Disposition, EVERY_LENGTH, Settled, Settlement};

/// The most settlements in one call; it limits the size of a transaction.
pub(super) const SETTLE_BATCH: usize = 500;

/// About so many bytes of settlements are accepted that are not written yet: what one call carries, and what gathers for
/// the next meanwhile. Jobs whose results come faster than the line to the broker carries them wait for it in their slots;
/// what a dead process had accepted is lost, and was done for nothing.
pub(super) const UNWRITTEN: usize = 2 * EVERY_LENGTH;

/// A settlement to write.
pub(super) struct Unsettled {
    pub(super) settlement: Settlement,
    /// For its answer.
    pub(super) answer: oneshot::Sender<Written>,
    /// Since when the broker has refused it for what may be its length.
    pub(super) refused_since: Option<Instant>,
    /// Its part of [`UNWRITTEN`]; given back, too, once the broker has refused it.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// Whether a settlement counted; and what was written in its place, if it cannot be written itself.
pub(super) type Written = (Settled, Option<Settlement>);

/// The end of the deliveries of one queue, as those that carry them see it.
pub struct Completer {
    queue: Arc<QueueState>,
    ends: mpsc::Sender<Unsettled>,
    room: Arc<Semaphore>,
}

impl Completer {
    /// Whoever writes the settlements gets the other end.
    pub(super) fn new(queue: Arc<QueueState>) -> (Self, mpsc::Receiver<Unsettled>) {
        let (ends, accepted) = mpsc::channel(SETTLE_BATCH);
        (Self { queue, ends, room: Arc::new(Semaphore::new(UNWRITTEN)) }, accepted)
    }

    /// Writes a settlement, however long the broker is away, and returns the result. The slot is kept until
    /// the settlement is accepted: while none can be written, a limited number of them, of limited size together, wait
    /// without their slots, and those beyond keep them. Where code waits for the end to be written, it is kept until that code is over.
    pub async fn complete(&self, settlement: &Settlement, slot: Option<Slot>) -> Settled {
        self.write(settlement, slot).await.0
    }

    /// As [`complete`](Self::complete); returns what was written, too, if that is something else.
    pub(super) async fn write(&self, settlement: &Settlement, mut slot: Option<Slot>) -> Written {
        let _message = self.queue.ports.meter.message();
        let weight = u32::try_from(settlement.weight().min(UNWRITTEN)).unwrap_or(u32::MAX);
        loop {
            let room = Arc::clone(&self.room).acquire_many_owned(weight).await.ok();
            let (answer, written) = oneshot::channel();
            let one = Unsettled { settlement: settlement.clone(), answer, refused_since: None, _room: room };
            if self.ends.send(one).await.is_err() {
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
            let goes_back = matches!(settlement.verdict, Disposition::Release { .. });
            if settled == Settled::NotOurs && !goes_back {
                tracing::warn!(job.id = %settlement.job, queue.name = %settlement.queue,
                    "the job was taken from this process before it ended; its end is not counted");
            }
            if let Some(signal) = waits {
                signal.give(settled == Settled::Done && instead.is_none()).await;
            }
            return (settled, instead);
        }
    }
}
