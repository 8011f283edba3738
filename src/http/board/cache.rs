//! Caches expensive reads, so that reading takes at most 5 % of the time.

use std::future::Future;
use std::time::Instant;

use crate::fault::Fault;

/// After a read, the next one waits this many times as long as it took.
const REST: u32 = 19;

/// The result of the last read, while it is fresh.
#[derive(Debug)]
pub(super) struct Cache<T> {
    last: Option<(T, Instant)>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<T: Clone> Cache<T> {
    /// The last result while it is fresh, else a new one.
    ///
    /// # Errors
    /// Those of the read; the next call reads again.
    pub(super) async fn read(&mut self, reading: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let begun = Instant::now();
        if let Some((value, due)) = &self.last
            && begun < *due
        {
            return Ok(value.clone());
        }
        self.last = None;
        let value = reading.await?;
        let ended = Instant::now();
        self.last = Some((value.clone(), ended + (ended - begun) * REST));
        Ok(value)
    }

    /// Makes the next call read again, because the data has changed.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use std::time::Duration;

    /// A read that takes this long.
    async fn reading(value: u32, takes: Duration) -> Result<u32, Fault> {
        let begun = Instant::now();
        while begun.elapsed() < takes {
            tokio::task::yield_now().await;
        }
        Ok(value)
    }

    #[tokio::test]
    async fn a_slow_reading_stands_and_one_that_was_forgotten_does_not() {
        let (mut cache, slow) = (Cache::default(), Duration::from_millis(50));
        assert_eq!(cache.read(reading(1, slow)).await.unwrap(), 1);
        assert_eq!(cache.read(reading(2, slow)).await.unwrap(), 1);
        cache.forget();
        assert_eq!(cache.read(reading(3, slow)).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_reading_that_failed_is_no_reading() {
        let mut cache = Cache::default();
        let failed =
            cache.read(async { Err(Fault::new(FaultKind::Unavailable, "the database is away")) }).await;
        assert!(failed.is_err());
        assert_eq!(cache.read(reading(4, Duration::ZERO)).await.unwrap(), 4);
    }
}
