//! Delays between retries: they grow up to a cap, with jitter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Delays that grow by a factor up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first delay.
    pub first: Duration,
    /// The factor between two delays.
    pub factor: f64,
    /// The longest delay.
    pub cap: Duration,
    /// The largest share of the delay that is randomly added or subtracted, from 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// 2, 4, 8, 16, 30, 30, … seconds without jitter: for deletions, clean-up and the wait at start-up.
    pub const BATCH: Self =
        Self { first: Duration::from_secs(2), factor: 2.0, cap: Duration::from_secs(30), jitter: 0.0 };

    /// 100 ms, 200 ms, 400 ms, … up to 10 s, plus or minus 20 %: for restarts of actors. The jitter spreads
    /// the restarts of actors that failed at the same time.
    pub const RESTART: Self =
        Self { first: Duration::from_millis(100), factor: 2.0, cap: Duration::from_secs(10), jitter: 0.2 };

    /// The delay before attempt number `failures` + 1, without jitter. `failures` counts from 1.
    #[must_use]
    pub fn plain(&self, failures: u32) -> Duration {
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(steps);
        if seconds.is_finite() && seconds < self.cap.as_secs_f64() {
            Duration::from_secs_f64(seconds.max(0.0))
        } else {
            self.cap
        }
    }

    /// The delay with jitter; `chance` is a random number from 0 to 1.
    #[must_use]
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let swing = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        self.plain(failures).mul_f64(swing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn batch_steps_are_2_4_8_16_30_30() {
        let steps: Vec<u64> = (1..=6).map(|n| Backoff::BATCH.plain(n).as_secs()).collect();
        assert_eq!(steps, [2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_restart_waits_twice_as_long_each_time_up_to_the_cap() {
        let millis: Vec<u128> = (1..=9).map(|crashes| Backoff::RESTART.plain(crashes).as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    proptest! {
        #[test]
        fn delay_stays_within_cap_and_jitter(failures in 0_u32.., chance in 0.0_f64..=1.0) {
            let delay = Backoff::RESTART.delay(failures, chance);
            prop_assert!(delay >= Backoff::RESTART.first.mul_f64(0.79), "{delay:?}");
            prop_assert!(delay <= Backoff::RESTART.cap.mul_f64(1.21), "{delay:?}");
        }

        #[test]
        fn without_jitter_no_delay_is_shorter_than_the_one_before(failures in 1_u32..1_000) {
            prop_assert!(Backoff::RESTART.plain(failures) <= Backoff::RESTART.plain(failures + 1));
        }
    }
}
