//! The limit on restarts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A supervisor may restart children `restarts` times within `window`; the next crash escalates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimit {
    /// The number of restarts within the window; with 0 the first crash escalates.
    pub restarts: usize,
    /// How long a restart counts.
    pub window: Duration,
}

impl Default for RestartLimit {
    /// One restart in 5 s, as in OTP.
    fn default() -> Self {
        Self { restarts: 1, window: Duration::from_secs(5) }
    }
}

/// The recent restarts of a supervisor.
#[derive(Debug)]
pub(super) struct RestartHistory {
    limit: RestartLimit,
    /// Oldest first; never more than the limit.
    spent: VecDeque<Instant>,
}

impl RestartHistory {
    pub(super) fn new(limit: RestartLimit) -> Self {
        Self { limit, spent: VecDeque::new() }
    }

    /// Records a restart at `now`; `false` when the limit is reached.
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

    /// Forgets all restarts, when the supervisor itself is restarted.
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
