//! Decides when a deletion continues, waits, pauses or gives up: pure rules; the caller passes the time.

use std::time::Duration;

use crate::fault::FaultKind;
use crate::job::{Backoff, Limit};
use crate::store::Pass;

/// How often the sweep may start over. Receipts with ids that commit late may be below its position, but only
/// until the transactions that were open at the request have ended.
const SWEEPS: u32 = 100;

/// The limits of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The working time before it lets other jobs run.
    pub runtime: Duration,
    /// The number of failed batches in a row.
    pub failures: u32,
    /// The duration of one outage.
    pub outage: Limit,
}

/// The pace of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    limits: Limits,
    pass: Pass,
    failures: u32,
    outages: u32,
    waited: Duration,
    worked: Duration,
    /// The last receipt of the sweep so far.
    swept_to: Option<i64>,
    /// How often the sweep started over, at a receipt below its position.
    sweeps: u32,
}

/// The next step after a failed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFault {
    /// Wait, then repeat the batch.
    Wait {
        /// The delay.
        delay: Duration,
        /// The number of failed batches in a row.
        failures: u32,
        /// Whether a back end cannot be reached; then the job's time limits are suspended.
        outage: bool,
    },
    /// Too many failures in a row, or too long an outage.
    GiveUp {
        /// The number of failures.
        failures: u32,
    },
}

impl Pace {
    /// The pace of a new attempt.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            pass: Pass::Forward,
            failures: 0,
            outages: 0,
            waited: Duration::ZERO,
            worked: Duration::ZERO,
            swept_to: None,
            sweeps: 0,
        }
    }

    /// The current pass.
    pub(super) fn pass(&self) -> Pass {
        self.pass
    }

    /// Records a successful batch that took this long; `true` if it came after failures.
    pub(super) fn good(&mut self, took: Duration) -> bool {
        self.worked += took;
        self.waited = Duration::ZERO;
        std::mem::take(&mut self.failures) + std::mem::take(&mut self.outages) > 0
    }

    /// Records an empty pass; `true` if it was the last one. The sweep follows the forward pass, because ids
    /// do not commit in order.
    pub(super) fn empty(&mut self) -> bool {
        std::mem::replace(&mut self.pass, Pass::Sweep) == Pass::Sweep
    }

    /// Records a batch of the sweep. `false`: the sweep makes no progress, because receipts below its
    /// position keep appearing.
    pub(super) fn swept(&mut self, first_id: i64, last_id: i64) -> bool {
        if self.swept_to.is_some_and(|passed| first_id <= passed) {
            self.sweeps += 1;
        }
        self.swept_to = Some(last_id);
        self.sweeps < SWEEPS
    }

    /// Adds other time that counts, such as a throttle.
    pub(super) fn spent(&mut self, time: Duration) {
        self.worked += time;
    }

    /// Whether the attempt has used up its working time.
    pub(super) fn over_limit(&self) -> bool {
        self.worked >= self.limits.runtime
    }

    /// Records a failed batch. An outage is only waited for, and does not count as a failure.
    pub(super) fn fault(&mut self, kind: FaultKind) -> AfterFault {
        if kind == FaultKind::Unavailable {
            self.outages = self.outages.saturating_add(1);
            let (delay, failures) = (Backoff::BATCH.plain(self.outages), self.outages);
            if self.limits.outage.duration().is_some_and(|limit| self.waited >= limit) {
                return AfterFault::GiveUp { failures };
            }
            self.waited += delay;
            return AfterFault::Wait { delay, failures, outage: true };
        }
        self.failures += 1;
        if self.failures >= self.limits.failures {
            return AfterFault::GiveUp { failures: self.failures };
        }
        AfterFault::Wait {
            delay: Backoff::BATCH.plain(self.failures),
            failures: self.failures,
            outage: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(Limits { runtime: Duration::from_secs(300), failures: 10, outage: Limit::Never })
    }

    #[test]
    fn the_tenth_failure_in_a_row_gives_up_after_2_4_8_16_30_seconds() {
        let mut pace = pace();
        let waits: Vec<_> = (1..10)
            .map(|_| match pace.fault(FaultKind::Retryable) {
                AfterFault::Wait { delay, outage: false, .. } => delay.as_secs(),
                other => panic!("expected a wait, got {other:?}"),
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 30, 30, 30, 30, 30]);
        assert_eq!(pace.fault(FaultKind::Retryable), AfterFault::GiveUp { failures: 10 });
    }

    #[test]
    fn a_good_batch_resets_the_count_and_says_that_it_recovered() {
        let mut pace = pace();
        for _ in 0..9 {
            pace.fault(FaultKind::Retryable);
        }
        assert!(pace.good(Duration::ZERO));
        assert!(!pace.good(Duration::ZERO));
        assert!(matches!(pace.fault(FaultKind::Retryable), AfterFault::Wait { failures: 1, .. }));
    }

    #[test]
    fn an_outage_lasts_as_long_as_it_lasts() {
        let mut pace = pace();
        for _ in 0..1000 {
            assert!(matches!(pace.fault(FaultKind::Unavailable), AfterFault::Wait { outage: true, .. }));
        }
        assert!(matches!(pace.fault(FaultKind::Retryable), AfterFault::Wait { failures: 1, .. }));
        assert!(!pace.over_limit());
    }

    #[test]
    fn an_outage_may_be_given_a_limit() {
        let mut pace = pace();
        pace.limits.outage = Limit::After(Duration::from_secs(6));
        assert!(matches!(pace.fault(FaultKind::Unavailable), AfterFault::Wait { .. }));
        assert!(matches!(pace.fault(FaultKind::Unavailable), AfterFault::Wait { .. }));
        assert_eq!(pace.fault(FaultKind::Unavailable), AfterFault::GiveUp { failures: 3 });
    }

    #[test]
    fn the_sweep_follows_the_walk_and_ends_the_deletion() {
        let mut pace = pace();
        assert!(!pace.empty());
        assert_eq!(pace.pass(), Pass::Sweep);
        assert!(pace.empty());
    }

    #[test]
    fn a_sweep_that_meets_the_same_receipts_again_and_again_ends() {
        let mut pace = pace();
        assert!(
            (0..1000).all(|batch| pace.swept(batch * 50, batch * 50 + 49)),
            "it goes on while it gets on"
        );
        let met = (0..1000).take_while(|_| pace.swept(1, 50)).count();
        assert_eq!(met, 99);
    }

    #[test]
    fn work_and_throttle_count_toward_the_limit() {
        let mut pace = pace();
        pace.good(Duration::from_secs(200));
        assert!(!pace.over_limit());
        pace.spent(Duration::from_secs(100));
        assert!(pace.over_limit());
    }
}
