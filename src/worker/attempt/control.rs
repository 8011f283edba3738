//! The runtime's control of one attempt: its clock, requests to stop, and whether its code yields.

use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::job::{Control, Limit, Progress, StopReason};

/// The clock of one attempt, and its requests to stop.
pub(crate) struct AttemptControl {
    stop: watch::Sender<Option<StopReason>>,
    /// Since when the process has been draining, whatever other request the job got.
    draining: watch::Sender<Option<Instant>>,
    clock: Mutex<Clock>,
    clock_changed: Notify,
    progress: Mutex<Option<Progress>>,
    /// Since when its code has been in a poll; `None` between polls.
    turn: Mutex<Option<Instant>>,
}

/// One poll of an attempt's code on its thread; it ends when dropped.
pub(crate) struct CodeTurn<'a>(&'a AttemptControl);

impl Drop for CodeTurn<'_> {
    fn drop(&mut self) {
        *self.0.turn.lock() = None;
    }
}

/// A clock that runs only while the job works.
struct Clock {
    limit: Limit,
    used: Duration,
    running_since: Option<Instant>,
    waits: u32,
}

impl Clock {
    /// A clock that runs from now on.
    fn new(limit: Limit) -> Self {
        Self { limit, used: Duration::ZERO, running_since: Some(Instant::now()), waits: 0 }
    }

    fn used(&self, now: Instant) -> Duration {
        self.used + self.running_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        self.limit.duration().map(|limit| limit.saturating_sub(self.used(now)))
    }

    /// Whether the time has been over for longer than `grace`, and the current poll has lasted as long: the
    /// code does not yield, otherwise the runner would have dropped it.
    fn never_yields(&self, turn: Option<Instant>, now: Instant, grace: Duration) -> bool {
        let holds = turn.is_some_and(|since| now.saturating_duration_since(since) > grace);
        let overdue = |limit: Duration| self.used(now) > limit.saturating_add(grace);
        holds && self.limit.duration().is_some_and(overdue)
    }

    /// Subtracts the time of an outage, at most the time used so far.
    fn refund(&mut self, time: Duration, now: Instant) {
        self.used = self.used(now).saturating_sub(time);
        self.running_since = self.running_since.map(|_| now);
    }

    /// Waits may be nested; the clock runs again when the last one ends.
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
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            stop: watch::Sender::new(None),
            draining: watch::Sender::new(None),
            clock: Mutex::new(Clock::new(limit)),
            clock_changed: Notify::new(),
            progress: Mutex::new(None),
            turn: Mutex::new(None),
        }
    }

    /// The attempt's code begins a poll now.
    pub(crate) fn begin_turn(&self) -> CodeTurn<'_> {
        *self.turn.lock() = Some(Instant::now());
        CodeTurn(self)
    }

    /// Whether the thread must be given up, `grace` after the attempt's time limit.
    pub(crate) fn never_yields(&self, now: Instant, grace: Duration) -> bool {
        let turn = *self.turn.lock();
        self.clock.lock().never_yields(turn, now, grace)
    }

    /// Asks the job to stop. The first reason stays, except that a user's request replaces a drain.
    pub(crate) fn request_stop(&self, reason: StopReason) {
        if reason == StopReason::Draining {
            self.draining.send_if_modified(|since| {
                let first = since.is_none();
                since.get_or_insert_with(Instant::now);
                first
            });
        }
        self.stop.send_if_modified(|stop| {
            let counts = match stop {
                None => true,
                Some(earlier) => *earlier == StopReason::Draining && reason.is_of_a_person(),
            };
            if counts {
                *stop = Some(reason);
            }
            counts
        });
    }

    /// The attempt's code has ended, and other code runs for it, with this time limit on a new clock.
    pub(crate) fn begin_hook(&self, time: Duration) {
        *self.clock.lock() = Clock::new(Limit::After(time));
        self.clock_changed.notify_one();
    }

    /// Completes when the process has wanted to leave for so long. Cancel safe.
    pub(crate) async fn drained_for(&self, time: Duration) {
        let mut draining = self.draining.subscribe();
        let since = draining.wait_for(Option::is_some).await.ok().and_then(|since| *since);
        match since {
            Some(since) => tokio::time::sleep_until(since + time).await,
            None => futures::future::pending().await,
        }
    }

    /// The job's latest progress report.
    pub(crate) fn progress(&self) -> Option<Progress> {
        *self.progress.lock()
    }

    /// Completes when the attempt has used up its time. Cancel safe.
    pub(crate) async fn time_is_up(&self) {
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

    fn stopped_by_person(&self) -> BoxFuture<'_, StopReason> {
        let mut stop = self.stop.subscribe();
        Box::pin(async move {
            let by_person = |stop: &Option<StopReason>| stop.is_some_and(StopReason::is_of_a_person);
            let reason = stop.wait_for(by_person).await.ok().and_then(|reason| *reason);
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

    fn refund(&self, time: Duration) {
        self.clock.lock().refund(time, Instant::now());
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

    #[test]
    fn only_code_that_is_out_of_time_and_in_one_turn_beyond_grace_never_yields() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let clock = |limit| Clock { limit, used: Duration::ZERO, running_since: Some(start), waits: 0 };
        let (ten, grace) = (clock(Limit::After(Duration::from_secs(10))), Duration::from_secs(5));
        assert!(ten.never_yields(Some(start), at(16), grace));
        assert!(!ten.never_yields(Some(start), at(15), grace), "the grace period is not over");
        assert!(!ten.never_yields(Some(at(12)), at(16), grace), "it yielded a moment ago");
        assert!(!ten.never_yields(None, at(100), grace), "it waits");
        assert!(!clock(Limit::Never).never_yields(Some(start), at(1000), grace), "it has all the time");
    }

    #[test]
    fn time_of_an_outage_is_given_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let limit = Limit::After(Duration::from_secs(10));
        let mut clock = Clock { limit, used: Duration::ZERO, running_since: Some(start), waits: 0 };
        clock.refund(Duration::from_secs(5), at(8));
        assert_eq!(clock.left(at(9)), Some(Duration::from_secs(6)));
        clock.refund(Duration::from_secs(100), at(9));
        assert_eq!(clock.left(at(9)), Some(Duration::from_secs(10)));
    }

    #[actix_rt::test]
    async fn the_first_reason_to_stop_stays() {
        let control = AttemptControl::new(Limit::Never);
        control.request_stop(StopReason::Draining);
        control.request_stop(StopReason::TimedOut);
        assert_eq!(control.stopped().await, StopReason::Draining);
    }

    #[actix_rt::test]
    async fn a_persons_stop_counts_also_while_the_process_leaves() {
        for order in [StopReason::Stopped, StopReason::Killed] {
            let control = AttemptControl::new(Limit::Never);
            control.request_stop(StopReason::Draining);
            control.request_stop(order);
            control.request_stop(StopReason::Draining);
            control.stopped_by_person().await;
            assert_eq!(control.stopped().await, order);
        }
    }

    #[test]
    fn code_that_is_called_after_the_attempt_has_a_time_of_its_own() {
        let control = AttemptControl::new(Limit::Never);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        let _turn = control.begin_turn();
        assert!(!control.never_yields(later(1_000_000), Duration::ZERO), "the attempt has all the time");
        control.begin_hook(Duration::from_secs(10));
        assert!(!control.never_yields(later(5), Duration::ZERO));
        assert!(control.never_yields(later(11), Duration::ZERO));
    }
}
