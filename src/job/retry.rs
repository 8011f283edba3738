//! The retries of a failed job.

use std::time::Duration;

use crate::backoff::Backoff;

/// How often a failed job is retried, and after which delays.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The attempts after the first one.
    pub retries: u32,
    /// The delay before each.
    pub backoff: Backoff,
}

impl RetryPolicy {
    /// No retries: the first failure is final.
    pub const NEVER: Self = Self {
        retries: 0,
        backoff: Backoff { first: Duration::ZERO, factor: 1.0, cap: Duration::ZERO, jitter: 0.0 },
    };

    /// `retries` more attempts, after about 5 s, 15 s, 45 s, … up to 10 minutes, with 10 % jitter.
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

    proptest! {
        #[test]
        fn delay_never_passes_cap_plus_jitter(failures in 0u32.., chance in 0.0f64..=1.0) {
            let backoff = RetryPolicy::exponential(3).backoff;
            prop_assert!(backoff.delay(failures, chance) <= backoff.cap.mul_f64(1.0 + backoff.jitter));
        }
    }
}
