//! How long to wait before a restart.

use std::time::Duration;

/// Delays that double from `first` up to `cap`, so that a fault which stays does not burn a processor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartBackoff {
    /// Delay before the first restart.
    pub first: Duration,
    /// No delay is longer, but for jitter.
    pub cap: Duration,
    /// Share of the delay that chance may add or take, 0 (none) to 1: children that fell together do not
    /// rise together.
    pub jitter: f64,
}

impl Default for RestartBackoff {
    /// 100 ms, 200 ms, 400 ms, … up to 10 s, give or take a fifth.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(10), jitter: 0.2 }
    }
}

impl RestartBackoff {
    /// The delay before the restart after `crashes` crashes in a row (from 1); `chance`, 0 to 1, is the
    /// caller's draw.
    #[must_use]
    pub fn delay(&self, crashes: u32, chance: f64) -> Duration {
        let factor = 1_u32.checked_shl(crashes.saturating_sub(1)).unwrap_or(u32::MAX);
        let plain = self.first.saturating_mul(factor).min(self.cap);
        let swing = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        plain.mul_f64(swing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: RestartBackoff =
        RestartBackoff { first: Duration::from_millis(100), cap: Duration::from_secs(1), jitter: 0.0 };

    #[test]
    fn delay_doubles_up_to_the_cap() {
        let millis: Vec<u128> = (1..=6).map(|crashes| PLAIN.delay(crashes, 0.5).as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn delay_stays_within_cap_and_jitter(crashes in 0_u32.., chance in 0.0_f64..=1.0) {
            let backoff = RestartBackoff { jitter: 0.2, ..PLAIN };
            let delay = backoff.delay(crashes, chance);
            prop_assert!(delay >= backoff.first.mul_f64(0.79), "{delay:?}");
            prop_assert!(delay <= backoff.cap.mul_f64(1.21), "{delay:?}");
        }

        #[test]
        fn without_jitter_no_delay_is_shorter_than_the_one_before(crashes in 1_u32..1_000) {
            prop_assert!(PLAIN.delay(crashes, 0.0) <= PLAIN.delay(crashes + 1, 1.0));
        }
    }
}
