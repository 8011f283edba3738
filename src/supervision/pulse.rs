//! A child's pulse: when its current poll began, and when its last one ended.
//!
//! Written on the child's thread, read on the watchdog's thread.

use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The pulse of one child.
#[derive(Debug)]
pub(super) struct Pulse {
    /// The longest poll; `None`: any length is allowed, and the thread is stuck only if it is abandoned.
    deadline: Option<Duration>,
    beat: Mutex<Beat>,
}

/// The values at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Beat {
    thread: Option<ThreadId>,
    /// The start of the current poll.
    turn: Option<Instant>,
    /// The end of the last poll; `None` while no poll is expected.
    seen: Option<Instant>,
    /// Whether its thread was given up.
    abandoned: bool,
}

impl Pulse {
    /// A pulse that must not stay in one poll for longer than `deadline`, if there is one.
    pub(super) fn new(deadline: Option<Duration>) -> Self {
        Self { deadline, beat: Mutex::default() }
    }

    /// The longest poll that does not count as a hang.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The child's poll begins on this thread.
    pub(super) fn begin_turn(&self, now: Instant) {
        let mut beat = self.beat.lock();
        beat.thread = Some(thread::current().id());
        beat.turn = Some(now);
    }

    /// The child's poll ends.
    pub(super) fn end_turn(&self, now: Instant) {
        let mut beat = self.beat.lock();
        beat.turn = None;
        beat.seen = Some(now);
    }

    /// No polls are expected until the next one begins.
    pub(super) fn rest(&self) {
        let mut beat = self.beat.lock();
        beat.turn = None;
        beat.seen = None;
    }

    /// Counts its thread as stuck from now on, until the child rests.
    pub(super) fn abandon(&self) {
        self.beat.lock().abandoned = true;
    }

    /// The thread of the child, if it is stuck.
    pub(super) fn stuck_thread(&self, now: Instant) -> Option<ThreadId> {
        let beat = *self.beat.lock();
        beat.thread.filter(|_| beat.is_stuck(now, self.deadline))
    }
}

impl Beat {
    /// Whether it is stuck: in a poll for longer than `deadline`; or, although its heartbeat causes a poll
    /// every `deadline`, not polled for twice that time, because something else blocks the thread.
    fn is_stuck(&self, now: Instant, deadline: Option<Duration>) -> bool {
        let longer = |since: Instant, limit: Duration| now.saturating_duration_since(since) > limit;
        match (self.turn, self.seen, deadline) {
            (None, None, _) => false,
            _ if self.abandoned => true,
            (_, _, None) => false,
            (Some(turn), _, Some(deadline)) => longer(turn, deadline),
            (None, Some(seen), Some(deadline)) => longer(seen, deadline.saturating_mul(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(2);

    fn stuck_after(beat: impl Fn(&Pulse, Instant), seconds: u64) -> bool {
        let (pulse, start) = (Pulse::new(Some(DEADLINE)), Instant::now());
        beat(&pulse, start);
        pulse.stuck_thread(start + Duration::from_secs(seconds)).is_some()
    }

    #[test]
    fn turn_longer_than_the_deadline_is_stuck() {
        assert!(!stuck_after(|pulse, start| pulse.begin_turn(start), 2));
        assert!(stuck_after(|pulse, start| pulse.begin_turn(start), 3));
    }

    #[test]
    fn silence_of_two_deadlines_between_turns_is_stuck() {
        let turn = |pulse: &Pulse, start| {
            pulse.begin_turn(start);
            pulse.end_turn(start);
        };
        assert!(!stuck_after(turn, 4));
        assert!(stuck_after(turn, 5));
    }

    #[test]
    fn abandoned_child_is_stuck_at_once_and_until_it_rests() {
        let (pulse, start) = (Pulse::new(Some(DEADLINE)), Instant::now());
        pulse.begin_turn(start);
        pulse.abandon();
        assert!(pulse.stuck_thread(start).is_some());
        pulse.end_turn(start);
        assert!(pulse.stuck_thread(start).is_some(), "it has not stopped yet");
        pulse.rest();
        assert!(pulse.stuck_thread(start).is_none());
    }

    #[test]
    fn without_a_deadline_a_turn_of_any_length_is_stuck_only_once_it_is_abandoned() {
        let (pulse, start) = (Pulse::new(None), Instant::now());
        pulse.begin_turn(start);
        let later = start + Duration::from_secs(1_000_000);
        assert!(pulse.stuck_thread(later).is_none());
        pulse.abandon();
        assert!(pulse.stuck_thread(later).is_some());
    }

    #[test]
    fn child_at_rest_is_never_stuck() {
        let rest = |pulse: &Pulse, start| {
            pulse.begin_turn(start);
            pulse.rest();
        };
        assert!(!stuck_after(rest, 1_000));
        assert!(!stuck_after(|_, _| (), 1_000));
    }
}
