//! How long a leader may work without asking the broker again. Each renewal is a write to disk.

use std::time::Duration;

use tokio::time::Instant;

/// The leader lease as this process knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaderLease {
    since: Option<Instant>,
}

impl LeaderLease {
    /// The longest time between two renewals, and thus the greatest age of the recorded tick.
    const RENEW: Duration = Duration::from_secs(5);

    /// Whether this process still leads according to the last answer. A lease is renewed after a fifth of
    /// `ttl` at the latest, so a late renewal is noticed before another process can lead.
    #[must_use]
    pub fn holds(&self, now: Instant, ttl: Duration) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) < Self::RENEW.min(ttl / 5))
    }

    /// Records the answer to a request made at `asked`.
    pub fn answered(&mut self, leads: bool, asked: Instant) {
        self.since = leads.then_some(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_asks_again_in_time() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut leader_lease = LeaderLease::default();
        assert!(!leader_lease.holds(start, second * 75), "nobody has said so");
        leader_lease.answered(true, start);
        assert!(leader_lease.holds(start + second * 4, second * 75));
        assert!(!leader_lease.holds(start + second * 5, second * 75));
        assert!(!leader_lease.holds(start + second, second * 4), "a short leadership is renewed more often");
        leader_lease.answered(true, start + second * 5);
        assert!(leader_lease.holds(start + second * 9, second * 75));
        leader_lease.answered(false, start + second * 9);
        assert!(!leader_lease.holds(start + second * 9, second * 75));
    }
}
