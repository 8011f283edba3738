//! Limits the requests of each tenant per minute, in this process.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The period in which requests are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Above this number, entries without recent requests are dropped.
const SWEEP_AT: usize = 10_000;

/// Counts requests per key.
#[derive(Debug)]
pub struct Limiter<K> {
    per_minute: u32,
    recent: Mutex<HashMap<K, VecDeque<Instant>>>,
}

impl<K: Eq + Hash> Limiter<K> {
    /// Allows `per_minute` requests per key; 0 means no limit.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, recent: Mutex::new(HashMap::new()) }
    }

    /// Checks whether one more request is allowed at `now`; if not, returns how long to wait. Counts nothing.
    pub fn check(&self, who: K, now: Instant) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let mut recent = self.recent.lock();
        if recent.len() > SWEEP_AT {
            recent.retain(|_, times| {
                times.back().is_some_and(|at| now.saturating_duration_since(*at) < MINUTE)
            });
        }
        let Some(times) = recent.get_mut(&who) else { return Ok(()) };
        while times.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
            times.pop_front();
        }
        match times.front() {
            Some(oldest) if times.len() >= self.per_minute as usize => {
                Err(MINUTE.saturating_sub(now.saturating_duration_since(*oldest)))
            }
            _ => Ok(()),
        }
    }

    /// Counts an allowed request.
    pub fn count(&self, who: K, now: Instant) {
        if self.per_minute > 0 {
            self.recent.lock().entry(who).or_default().push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::BusinessId;

    #[test]
    fn one_a_minute_for_each_tenant() {
        let (limiter, start) = (Limiter::new(1), Instant::now());
        assert!(limiter.check(BusinessId(1), start).is_ok());
        limiter.count(BusinessId(1), start);
        let later = start + Duration::from_secs(20);
        assert_eq!(limiter.check(BusinessId(1), later), Err(Duration::from_secs(40)));
        assert!(limiter.check(BusinessId(2), later).is_ok());
        assert!(limiter.check(BusinessId(1), start + MINUTE).is_ok());
    }

    #[test]
    fn no_limit_counts_nothing() {
        let (limiter, now) = (Limiter::new(0), Instant::now());
        limiter.count(BusinessId(1), now);
        assert!(limiter.check(BusinessId(1), now).is_ok());
    }
}
