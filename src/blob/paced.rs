//! A blob store that is asked for fewer keys at a time where it does not answer in time: some need a while for each
//! key, whether there is an object or not, so that a call for very many never ends well, however often it is repeated.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::blob_store::{BlobStore, BlobTarget, KeyFault};
use crate::fault::Fault;

/// A call that was given up earlier says nothing of the store's pace, as at a drain.
const LATE: Duration = Duration::from_secs(2);

/// A store with the number of keys that it answers for in time.
pub(super) struct Paced<S> {
    store: S,
    pace: Mutex<Pace>,
}

/// How many keys a call may have.
#[derive(Debug, PartialEq)]
struct Pace {
    most: usize,
    /// After how long a call was given up that had too many.
    patience: Duration,
}

impl Pace {
    /// As many as the store takes.
    const FULL: Self = Self { most: usize::MAX, patience: Duration::MAX };

    /// A call for so many keys had no answer after this time.
    fn was_late(&mut self, keys: usize, after: Duration) {
        if after >= LATE {
            self.most = self.most.min(keys / 2).max(1);
            self.patience = after;
        }
    }

    /// A call was answered. Twice as many keys may do as well, if it took far less time than there is.
    fn was_in_time(&mut self, took: Duration) {
        if took < self.patience / 4 {
            self.most = self.most.saturating_mul(2);
        }
    }
}

/// A call under way. If it is dropped, somebody has given it up.
struct Call<'a> {
    pace: &'a Mutex<Pace>,
    keys: usize,
    begun: Instant,
    answered: bool,
}

impl Call<'_> {
    fn ended<T>(mut self, answer: &Result<T, Fault>) {
        match answer {
            Ok(_) => self.pace.lock().was_in_time(self.begun.elapsed()),
            Err(fault) if fault.smaller_may_do() => return,
            Err(_) => {}
        }
        self.answered = true;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.pace.lock().was_late(self.keys, self.begun.elapsed());
        }
    }
}

impl<S: BlobStore> Paced<S> {
    /// At first for as many keys as the store takes.
    pub(super) fn new(store: S) -> Self {
        Self { store, pace: Mutex::new(Pace::FULL) }
    }
}

#[async_trait]
impl<S: BlobStore> BlobStore for Paced<S> {
    fn target(&self) -> &BlobTarget {
        self.store.target()
    }

    fn max_keys(&self) -> usize {
        self.store.max_keys().min(self.pace.lock().most)
    }

    fn bulk_refusal(&self) -> Option<String> {
        self.store.bulk_refusal()
    }

    async fn put(&self, key: &str, content: &[u8]) -> Result<(), Fault> {
        self.store.put(key, content).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.store.size(key).await
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<KeyFault>, Fault> {
        let call = Call { pace: &self.pace, keys: keys.len(), begun: Instant::now(), answered: false };
        let answer = self.store.delete(keys).await;
        call.ended(&answer);
        answer
    }

    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<String>, Fault> {
        self.store.list(prefix, max).await
    }

    async fn check(&self) -> Result<(), Fault> {
        self.store.check().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_answers_halve_a_call_and_quick_ones_double_it() {
        let mut pace = Pace::FULL;
        pace.was_in_time(Duration::from_secs(9));
        pace.was_late(1000, Duration::from_millis(50));
        assert_eq!(pace, Pace::FULL, "given up before it could be late");
        // Several calls at once that are late together count once.
        for _ in 0..4 {
            pace.was_late(1000, Duration::from_secs(5));
        }
        assert_eq!(pace.most, 500);
        pace.was_late(500, Duration::from_secs(5));
        pace.was_in_time(Duration::from_secs(2));
        assert_eq!(pace.most, 250, "twice as many might be late");
        pace.was_in_time(Duration::from_secs(1));
        assert_eq!(pace.most, 500);
        for _ in 0..20 {
            pace.was_late(pace.most, Duration::from_secs(5));
        }
        assert_eq!(pace.most, 1);
    }

    #[test]
    fn a_fault_that_asks_for_less_counts_as_late_and_others_do_not() {
        let pace = Mutex::new(Pace::FULL);
        let ended = |fault: Fault| {
            let begun = Instant::now().checked_sub(LATE).unwrap();
            Call { pace: &pace, keys: 100, begun, answered: false }.ended::<()>(&Err(fault));
            pace.lock().most
        };
        let away = || Fault::new(crate::fault::FaultKind::Unavailable, "away");
        assert_eq!(ended(away()), usize::MAX);
        assert_eq!(ended(away().at_a_limit()), 50);
    }
}
