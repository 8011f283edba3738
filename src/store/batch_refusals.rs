//! The batches that the database refused lately: a disk that is full refuses a batch, while the one row of a test
//! write still finds room.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::fault::{Fault, FaultKind};
use crate::job::{BackgroundJobId, Backoff};

/// The time that a deletion's next try may take before it is refused again.
const NEXT_TRY: Duration = Duration::from_secs(15);

/// The latest refusal of each deletion here. Constraints, triggers that refuse a row, locks and lost connections are
/// none.
#[derive(Debug, Default)]
pub(super) struct BatchRefusals(Mutex<BTreeMap<BackgroundJobId, Refusal>>);

#[derive(Debug)]
struct Refusal {
    at: Instant,
    why: String,
}

impl BatchRefusals {
    /// How long a refusal stands that is not repeated: a deletion waits at most this long between two tries. After
    /// that nobody waits for this batch any more, though its deletion did not say so.
    const STANDS: Duration = Backoff::BATCH.cap.saturating_add(NEXT_TRY);

    /// Notes the fault of a deletion's batch, if it is a refusal.
    pub(super) fn failed(&self, deletion: BackgroundJobId, fault: &Fault, now: Instant) {
        if fault.refuses_writes() {
            self.0.lock().insert(deletion, Refusal { at: now, why: fault.chain() });
        }
    }

    /// Removes the refusal of a deletion that makes no more batches.
    pub(super) fn left_off(&self, deletion: BackgroundJobId) {
        self.0.lock().remove(&deletion);
    }

    /// Removes all refusals.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }

    /// The newest refusal that still stands, as a fault.
    pub(super) fn standing(&self, now: Instant) -> Option<Fault> {
        let mut refusals = self.0.lock();
        refusals.retain(|_, refusal| now.saturating_duration_since(refusal.at) < Self::STANDS);
        let newest = refusals.values().max_by_key(|refusal| refusal.at)?;
        Some(Fault::new(FaultKind::Unavailable, newest.why.clone()).of_refused_writes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BackgroundJobId = BackgroundJobId(1);
    const TWO: BackgroundJobId = BackgroundJobId(2);

    fn full(what: &str) -> Fault {
        Fault::new(FaultKind::Unavailable, what).because("no space left on device").of_refused_writes()
    }

    fn told(refusals: &BatchRefusals, at: Instant) -> Option<String> {
        refusals.standing(at).map(|fault| fault.chain())
    }

    #[test]
    fn refusal_stands_from_one_try_of_a_waiting_deletion_to_the_next_and_no_longer() {
        let (refusals, mut now) = (BatchRefusals::default(), Instant::now());
        assert_eq!(told(&refusals, now), None);
        for failures in 1..10 {
            refusals.failed(ONE, &full("delete a batch"), now);
            now += Backoff::BATCH.plain(failures) + Duration::from_secs(5);
            let why = told(&refusals, now);
            assert_eq!(why.as_deref(), Some("delete a batch: no space left on device"), "{failures}");
        }
        assert_eq!(told(&refusals, now + BatchRefusals::STANDS), None, "nobody tries it any more");
    }

    #[test]
    fn refusal_ends_with_its_deletion_or_with_all_others() {
        let (refusals, now) = (BatchRefusals::default(), Instant::now());
        refusals.failed(ONE, &full("one"), now);
        refusals.failed(TWO, &full("two"), now + Duration::from_secs(1));
        assert_eq!(told(&refusals, now).as_deref(), Some("two: no space left on device"));
        refusals.left_off(TWO);
        assert_eq!(told(&refusals, now).as_deref(), Some("one: no space left on device"));
        refusals.failed(TWO, &full("two"), now);
        refusals.forget();
        assert_eq!(told(&refusals, now), None);
    }

    #[test]
    fn faults_that_refuse_no_writes_neither_raise_the_alarm_nor_end_it() {
        let (refusals, now) = (BatchRefusals::default(), Instant::now());
        let others = [FaultKind::Unavailable, FaultKind::Retryable, FaultKind::Permanent]
            .map(|kind| Fault::new(kind, "no"));
        for fault in &others {
            refusals.failed(ONE, fault, now);
        }
        assert_eq!(told(&refusals, now), None);
        refusals.failed(ONE, &full("delete a batch"), now);
        for fault in &others {
            refusals.failed(ONE, fault, now);
        }
        assert!(told(&refusals, now).is_some(), "a lost connection is no success");
    }
}
