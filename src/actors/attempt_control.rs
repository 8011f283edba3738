//! The runtime's side of one attempt: its clock and its requests to stop.

use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::job::{Control, Limit, Progress, StopReason};

/// One attempt's clock and requests to stop.
pub(super) struct AttemptControl {
    stop: watch::Sender<Option<StopReason>>,
    clock: Mutex<Clock>,
    clock_changed: Notify,
    progress: Mutex<Option<Progress>>,
}

/// Time that runs only while the job works.
struct Clock {
    limit: Limit,
    used: Duration,
    running_since: Option<Instant>,
    waits: u32,
}

impl Clock {
    fn used(&self, now: Instant) -> Duration {
        self.used + self.running_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        self.limit.duration().map(|limit| limit.saturating_sub(self.used(now)))
    }

    /// Waits may nest: time runs again when the last one ends.
    fn set_waiting(&mut self, waiting: bool, now: Instant) {
        if waiting {
            self.used = self.used(now);
            self.running_since = None;
            self.waits += 1;
        } else {
            self.waits = self.waits.saturating_sub(1);
            if self.waits == 0 {
                self.running_since = Some(now);
            }
        }
    }
}

impl AttemptControl {
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            stop: watch::Sender::new(None),
            clock: Mutex::new(Clock {
                limit,
                used: Duration::ZERO,
                running_since: Some(Instant::now()),
                waits: 0,
            }),
            clock_changed: Notify::new(),
            progress: Mutex::new(None),
        }
    }

    /// Asks the job to stop; the first reason stays.
    pub(super) fn request_stop(&self, reason: StopReason) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(reason);
            first
        });
    }

    /// The latest progress the job told.
    pub(super) fn progress(&self) -> Option<Progress> {
        *self.progress.lock()
    }

    /// Completes when the attempt has used up its time. Cancel safe.
    pub(super) async fn time_is_up(&self) {
        loop {
            let changed = self.clock_changed.notified();
            let (left, runs) = {
                let clock = self.clock.lock();
                (clock.left(Instant::now()), clock.running_since.is_some())
            };
            match left {
                Some(Duration::ZERO) => return,
                Some(left) if runs => {
                    futures::future::select(Box::pin(changed), Box::pin(tokio::time::sleep(left))).await;
                }
                _ => changed.await,
            }
        }
    }
}

impl Control for AttemptControl {
    fn stop_requested(&self) -> Option<StopReason> {
        *self.stop.borrow()
    }

    fn stopped(&self) -> BoxFuture<'_, StopReason> {
        let mut stop = self.stop.subscribe();
        Box::pin(async move {
            let reason = stop.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
            match reason {
                Some(reason) => reason,
                None => futures::future::pending().await,
            }
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn report(&self, progress: Progress) {
        *self.progress.lock() = Some(progress);
    }

    fn set_waiting(&self, waiting: bool) {
        self.clock.lock().set_waiting(waiting, Instant::now());
        self.clock_changed.notify_one();
    }

    fn time_left(&self) -> Option<Duration> {
        self.clock.lock().left(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_while_the_job_waits() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock {
            limit: Limit::After(Duration::from_secs(10)),
            used: Duration::ZERO,
            running_since: Some(start),
            waits: 0,
        };
        clock.set_waiting(true, at(4));
        assert_eq!(clock.left(at(1000)), Some(Duration::from_secs(6)));
        clock.set_waiting(true, at(1000));
        clock.set_waiting(false, at(1500));
        assert_eq!(clock.left(at(2000)), Some(Duration::from_secs(6)), "an outer wait still holds it");
        clock.set_waiting(false, at(2000));
        assert_eq!(clock.left(at(2005)), Some(Duration::from_secs(1)));
        assert_eq!(clock.left(at(2007)), Some(Duration::ZERO));
    }

    #[actix_rt::test]
    async fn the_first_reason_to_stop_stays() {
        let control = AttemptControl::new(Limit::Never);
        control.request_stop(StopReason::Draining);
        control.request_stop(StopReason::TimedOut);
        assert_eq!(control.stopped().await, StopReason::Draining);
    }
}
