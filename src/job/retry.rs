//! When to try again: delays that grow, with a cap and jitter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Delays that grow by a factor up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first delay.
    pub first: Duration,
    /// What each delay is multiplied with for the next.
    pub factor: f64,
    /// No delay is longer.
    pub cap: Duration,
    /// Share of the delay that chance may add or take, 0 (none) to 1.
    pub jitter: f64,
}

impl Backoff {
    /// 2, 4, 8, 16, 30, 30, … seconds without jitter: the deletion job's steps.
    pub const BATCH: Self =
        Self { first: Duration::from_secs(2), factor: 2.0, cap: Duration::from_secs(30), jitter: 0.0 };

    /// The delay before try number `failures` + 1, without jitter. `failures` counts from 1.
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

    /// The delay with jitter; `chance` is a random number from 0 to 1 that the caller draws.
    #[must_use]
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let swing = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        self.plain(failures).mul_f64(swing)
    }
}

/// How often a failed job is tried again, and after which delays.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Tries after the first one.
    pub retries: u32,
    /// Delay before each.
    pub backoff: Backoff,
}

impl RetryPolicy {
    /// The first failure is final.
    pub const NEVER: Self = Self {
        retries: 0,
        backoff: Backoff { first: Duration::ZERO, factor: 1.0, cap: Duration::ZERO, jitter: 0.0 },
    };

    /// `retries` more tries, after about 5 s, 15 s, 45 s, … up to 10 minutes, with 10 % jitter.
    #[must_use]
    pub fn exponential(retries: u32) -> Self {
        let backoff = Backoff {
            first: Duration::from_secs(5),
            factor: 3.0,
            cap: Duration::from_secs(600),
            jitter: 0.1,
        };
        Self { retries, backoff }
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

    proptest! {
        #[test]
        fn delay_never_passes_cap_plus_jitter(failures in 0u32.., chance in 0.0f64..=1.0) {
            let backoff = RetryPolicy::exponential(3).backoff;
            prop_assert!(backoff.delay(failures, chance) <= backoff.cap.mul_f64(1.0 + backoff.jitter));
        }
    }
}
