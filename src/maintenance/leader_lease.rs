//! Until when a leader may work without asking the broker again: each renewal is a write to the disk.

use std::time::Duration;

use tokio::time::Instant;

/// A leadership, as far as this process knows of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaderLease {
    since: Option<Instant>,
}

impl LeaderLease {
    /// The most time between two renewals: also how old the noted tick may be.
    const RENEW: Duration = Duration::from_secs(5);

    /// Whether it leads by what the broker said last. A renewal comes five times before `ttl` is over,
    /// so one that is late is noticed before another can lead.
    #[must_use]
    pub fn holds(&self, now: Instant, ttl: Duration) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) < Self::RENEW.min(ttl / 5))
    }

    /// What the broker answered to a request that began at `asked`; whether it leads newly.
    pub fn answered(&mut self, leads: bool, asked: Instant) -> bool {
        let was = self.since.is_some();
        self.since = leads.then_some(asked);
        leads && !was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_asks_again_in_time_and_learns_when_it_is_new() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut leader_lease = LeaderLease::default();
        assert!(!leader_lease.holds(start, second * 75), "nobody has said so");
        assert!(leader_lease.answered(true, start), "it leads newly");
        assert!(leader_lease.holds(start + second * 4, second * 75));
        assert!(!leader_lease.holds(start + second * 5, second * 75));
        assert!(!leader_lease.holds(start + second, second * 4), "a short leadership is renewed more often");
        assert!(!leader_lease.answered(true, start + second * 5));
        assert!(!leader_lease.answered(false, start + second * 10));
        assert!(!leader_lease.holds(start + second * 10, second * 75));
        assert!(leader_lease.answered(true, start + second * 15), "it leads newly once more");
    }
}
