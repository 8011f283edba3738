//! The time that a part of a job may take, which each part sets anew.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A deadline that moves. Without one there is all the time.
#[derive(Debug)]
pub(super) struct Clock(watch::Sender<Option<Instant>>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// From now on it is up after this time; `None`: never.
    pub(super) fn set(&self, may_take: Option<Duration>) {
        self.0.send_replace(may_take.and_then(|time| Instant::now().checked_add(time)));
    }

    /// Completes when the time has been up for `grace`. Cancel safe.
    pub(super) async fn is_up(&self, grace: Duration) {
        let mut deadline = self.0.subscribe();
        loop {
            let until = (*deadline.borrow_and_update()).and_then(|at| at.checked_add(grace));
            let passed = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                changed = deadline.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn each_part_has_its_own_time() {
        let clock = Clock::new();
        let is_up = |grace| clock.is_up(grace).now_or_never().is_some();
        assert!(!is_up(Duration::ZERO), "nothing has begun");
        clock.set(Some(Duration::ZERO));
        clock.is_up(Duration::ZERO).await;
        assert!(!is_up(Duration::from_secs(3600)), "it may go on for the time of grace");
        clock.set(Some(Duration::from_secs(3600)));
        assert!(!is_up(Duration::ZERO), "the next part has a time of its own");
        let moved = async { clock.set(Some(Duration::ZERO)) };
        tokio::join!(clock.is_up(Duration::ZERO), moved);
        clock.set(None);
        assert!(!is_up(Duration::ZERO), "a part without a limit");
    }
}
