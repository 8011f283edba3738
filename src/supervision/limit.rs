//! How many restarts are too many.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A supervisor may restart `restarts` times within `window`; the next one escalates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimit {
    /// Restarts allowed within the window; 0 escalates the first crash.
    pub restarts: usize,
    /// How far back restarts count.
    pub window: Duration,
}

impl Default for RestartLimit {
    /// 1 in 5 s, as in OTP.
    fn default() -> Self {
        Self { restarts: 1, window: Duration::from_secs(5) }
    }
}

/// The restarts a supervisor has spent lately.
#[derive(Debug)]
pub(super) struct RestartHistory {
    limit: RestartLimit,
    /// Oldest first; never more than the limit allows.
    spent: VecDeque<Instant>,
}

impl RestartHistory {
    pub(super) fn new(limit: RestartLimit) -> Self {
        Self { limit, spent: VecDeque::new() }
    }

    /// Spends one restart at `now`; false when the limit is reached.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        while self.spent.front().is_some_and(|at| now.duration_since(*at) > self.limit.window) {
            self.spent.pop_front();
        }
        let allowed = self.spent.len() < self.limit.restarts;
        if allowed {
            self.spent.push_back(now);
        }
        allowed
    }

    /// Forgets all, for a supervisor that itself begins again.
    pub(super) fn clear(&mut self) {
        self.spent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(restarts: usize) -> (RestartHistory, Instant) {
        (RestartHistory::new(RestartLimit { restarts, window: Duration::from_secs(5) }), Instant::now())
    }

    #[test]
    fn one_more_than_the_limit_within_the_window_escalates() {
        let (mut history, start) = history(2);
        assert!(history.spend(start));
        assert!(history.spend(start + Duration::from_secs(1)));
        assert!(!history.spend(start + Duration::from_secs(5)));
    }

    #[test]
    fn restarts_older_than_the_window_do_not_count() {
        let (mut history, start) = history(1);
        for second in [0, 6, 12, 18] {
            assert!(history.spend(start + Duration::from_secs(second)), "at {second} s");
        }
    }

    #[test]
    fn limit_of_zero_escalates_the_first_crash() {
        let (mut history, start) = history(0);
        assert!(!history.spend(start));
    }
}
