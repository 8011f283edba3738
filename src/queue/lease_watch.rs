//! A lease has expired if it was watched for its whole duration without a renewal.
//!
//! No wall clock is used, so a clock jump expires no lease. Time in which the watcher itself did not run (a
//! stopped process, a paused machine) counts little, because the watched processes may have been stopped too.
//! Time in which the watcher could not write (a full disk) does not count, because nobody could renew a
//! lease.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::job::ProcessId;

/// A lease as it was just read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its process.
    pub process: ProcessId,
    /// Increases with every renewal.
    pub renewals: i64,
    /// Its duration.
    pub ttl: Duration,
    /// Whether the process is known to be dead.
    pub gone: bool,
}

/// How long one lease was watched without a renewal.
#[derive(Debug)]
struct Watched {
    renewals: i64,
    still_for: Duration,
    looked_at: Instant,
}

/// Between two checks at most this fraction of a lease counts: a lease is renewed three times in its
/// duration.
const LOOKS_PER_LEASE: u32 = 3;

/// What one process has observed of all leases.
#[derive(Debug, Default)]
pub struct LeaseWatch {
    watched: HashMap<ProcessId, Watched>,
}

impl LeaseWatch {
    /// Checks all present leases; returns those that have expired.
    pub fn look(&mut self, leases: &[Lease], now: Instant) -> Vec<Lease> {
        self.watched.retain(|process, _| leases.iter().any(|lease| lease.process == *process));
        leases.iter().filter(|lease| self.stands_still(lease, now) || lease.gone).cloned().collect()
    }

    /// The same watch, without the time between the last check and `now`.
    #[must_use]
    pub fn rested(mut self, now: Instant) -> Self {
        self.watched.values_mut().for_each(|watched| watched.looked_at = now);
        self
    }

    fn stands_still(&mut self, lease: &Lease, now: Instant) -> bool {
        let fresh = || Watched { renewals: lease.renewals, still_for: Duration::ZERO, looked_at: now };
        let watched = self.watched.entry(lease.process.clone()).or_insert_with(fresh);
        if watched.renewals != lease.renewals {
            *watched = fresh();
        }
        let passed = now.saturating_duration_since(watched.looked_at);
        watched.still_for += passed.min(lease.ttl / LOOKS_PER_LEASE);
        watched.looked_at = now;
        watched.still_for >= lease.ttl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(15);
    const LOOK: Duration = Duration::from_secs(3);

    fn lease(renewals: i64) -> Lease {
        Lease { process: "p".into(), renewals, ttl: TTL, gone: false }
    }

    #[test]
    fn a_lease_that_stands_still_for_its_time_is_over() {
        let (mut watch, start) = (LeaseWatch::default(), Instant::now());
        for look in 0..5 {
            assert_eq!(watch.look(&[lease(7)], start + LOOK * look), [], "look {look}");
        }
        assert_eq!(watch.look(&[lease(7)], start + LOOK * 5), [lease(7)]);
    }

    #[test]
    fn a_lease_that_is_renewed_is_never_over() {
        let (mut watch, start) = (LeaseWatch::default(), Instant::now());
        for look in 0..100 {
            assert_eq!(watch.look(&[lease(i64::from(look) / 2)], start + LOOK * look), []);
        }
    }

    #[test]
    fn a_dead_process_is_over_at_the_first_look() {
        let dead = Lease { gone: true, ..lease(1) };
        assert_eq!(LeaseWatch::default().look(std::slice::from_ref(&dead), Instant::now()), [dead]);
    }

    #[test]
    fn a_watcher_that_slept_looks_again_before_it_judges() {
        let (mut watch, start) = (LeaseWatch::default(), Instant::now());
        let hour = Duration::from_secs(3600);
        assert_eq!(watch.look(&[lease(1)], start), []);
        assert_eq!(watch.look(&[lease(1)], start + hour), [], "an hour unwatched is not an hour watched");
        assert_eq!(watch.look(&[lease(2)], start + hour + LOOK), [], "renewed as soon as it could");
        assert_eq!(watch.look(&[lease(2)], start + hour + LOOK * 2), []);
    }

    #[test]
    fn time_in_which_nobody_could_write_does_not_count() {
        let (mut watch, start) = (LeaseWatch::default(), Instant::now());
        for look in 0..50 {
            assert_eq!(watch.look(&[lease(7)], start + LOOK * look), [], "look {look}");
            watch = watch.rested(start + LOOK * (look + 1));
        }
        for look in 50..55 {
            assert_eq!(watch.look(&[lease(7)], start + LOOK * look), [], "there is room again");
        }
        assert_eq!(watch.look(&[lease(7)], start + LOOK * 55), [lease(7)], "and still nobody renews it");
    }

    #[test]
    fn a_lease_that_was_forgotten_is_watched_anew() {
        let (mut watch, start) = (LeaseWatch::default(), Instant::now());
        for look in 0..5 {
            watch.look(&[lease(7)], start + LOOK * look);
        }
        watch.look(&[], start + LOOK * 5);
        assert_eq!(watch.look(&[lease(7)], start + LOOK * 6), []);
    }
}
