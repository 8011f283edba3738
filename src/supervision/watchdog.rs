//! Finds blocked threads, from its own thread, because a blocked thread cannot report itself.
//!
//! It only reports. A thread cannot be killed; subscribers decide what to do.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread, ThreadId};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::pulse::Pulse;

/// The shortest and the longest time between two checks; within them, a quarter of the shortest deadline.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// The blocked threads, with their children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StuckThreads {
    /// The number of threads.
    pub threads: usize,
    /// Names of the children on them.
    pub children: Vec<String>,
    /// Since when each has been blocked, by the child's key.
    #[serde(skip)]
    pub(super) since: BTreeMap<u64, DateTime<Utc>>,
}

/// A handle of the watchdog; its thread runs from the first pulse until the last handle is dropped.
#[derive(Clone, Default)]
pub(super) struct Watchdog(Arc<Inner>);

#[derive(Default)]
struct Inner {
    watched: Mutex<Watched>,
    stuck: watch::Sender<StuckThreads>,
}

#[derive(Default)]
struct Watched {
    pulses: Vec<(u64, String, Weak<Pulse>)>,
    thread: Option<Thread>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(thread) = &self.watched.get_mut().thread {
            thread.unpark();
        }
    }
}

/// Work on a thread outside the tree. Its thread can be given up like that of a child. It is watched until
/// the last clone is dropped.
#[derive(Clone)]
pub struct WatchedWork {
    key: u64,
    pulse: Arc<Pulse>,
    watchdog: Watchdog,
}

impl WatchedWork {
    /// The work begins on this thread.
    pub(crate) fn begin(&self) {
        self.pulse.begin_turn(Instant::now());
    }

    /// The work has ended and its thread has returned.
    pub(crate) fn end(&self) {
        self.pulse.rest();
    }

    /// Counts its thread as stuck from now on, until the work ends.
    pub(crate) fn give_up(&self) {
        self.watchdog.abandon(self.key);
    }
}

impl Watchdog {
    /// Watches work outside the tree.
    pub(super) fn watch_work(&self, key: u64, name: &str) -> WatchedWork {
        let pulse = Arc::new(Pulse::new(None));
        self.watch(key, name, &pulse);
        WatchedWork { key, pulse, watchdog: self.clone() }
    }

    pub(super) fn stuck(&self) -> StuckThreads {
        self.0.stuck.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<StuckThreads> {
        self.0.stuck.subscribe()
    }

    /// Counts a child's thread as stuck at once, until the child rests.
    pub(super) fn abandon(&self, key: u64) {
        let watched = self.0.watched.lock();
        for pulse in watched.pulses.iter().filter(|one| one.0 == key).filter_map(|one| one.2.upgrade()) {
            pulse.abandon();
        }
        if let Some(thread) = &watched.thread {
            thread.unpark();
        }
    }

    /// Checks `pulse` as long as it exists.
    pub(super) fn watch(&self, key: u64, name: &str, pulse: &Arc<Pulse>) {
        let mut watched = self.0.watched.lock();
        watched.pulses.push((key, name.to_owned(), Arc::downgrade(pulse)));
        match &watched.thread {
            Some(thread) => thread.unpark(),
            None => watched.thread = spawn(Arc::downgrade(&self.0)),
        }
    }
}

fn spawn(inner: Weak<Inner>) -> Option<Thread> {
    let look = move || {
        while let Some(next) = inner.upgrade().map(|inner| inner.look(Instant::now())) {
            thread::park_timeout(next);
        }
    };
    match thread::Builder::new().name("watchdog".to_owned()).spawn(look) {
        Ok(handle) => Some(handle.thread().clone()),
        Err(error) => {
            tracing::error!(%error, "no thread for the watchdog: blocked threads go unnoticed");
            None
        }
    }
}

impl Inner {
    /// Makes one check, and returns the time until the next.
    fn look(&self, now: Instant) -> Duration {
        let mut watched = self.watched.lock();
        watched.pulses.retain(|(_, _, pulse)| pulse.strong_count() > 0);
        let mut next = LOOK_EVERY.1;
        let mut threads: HashSet<ThreadId> = HashSet::new();
        let mut found: Vec<(u64, String)> = Vec::new();
        for (key, name, pulse) in &watched.pulses {
            let Some(pulse) = pulse.upgrade() else { continue };
            next = pulse.deadline().map_or(next, |deadline| next.min(deadline / 4));
            if let Some(thread) = pulse.stuck_thread(now) {
                threads.insert(thread);
                found.push((*key, name.clone()));
            }
        }
        drop(watched);
        self.report(threads.len(), &found);
        next.max(LOOK_EVERY.0)
    }

    fn report(&self, threads: usize, found: &[(u64, String)]) {
        self.stuck.send_if_modified(|stuck| {
            let same = stuck.threads == threads && stuck.since.keys().eq(found.iter().map(|(key, _)| key));
            if same {
                return false;
            }
            for (_, name) in found.iter().filter(|(key, _)| !stuck.since.contains_key(key)) {
                tracing::error!("actor.name" = name, "a thread does not come back from a turn");
            }
            let now = Utc::now();
            let since = |key: &u64| stuck.since.get(key).copied().unwrap_or(now);
            *stuck = StuckThreads {
                threads,
                children: found.iter().map(|(_, name)| name.clone()).collect(),
                since: found.iter().map(|(key, _)| (*key, since(key))).collect(),
            };
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_children_on_one_stuck_thread_count_as_one_thread() {
        let (inner, start) = (Inner::default(), Instant::now());
        let pulses: Vec<Arc<Pulse>> =
            (0..2).map(|_| Arc::new(Pulse::new(Some(Duration::from_secs(1))))).collect();
        for (pulse, key) in pulses.iter().zip(0..) {
            pulse.begin_turn(start);
            inner.watched.lock().pulses.push((key, format!("child/{key}"), Arc::downgrade(pulse)));
        }
        inner.look(start + Duration::from_secs(2));
        let stuck = inner.stuck.borrow().clone();
        assert_eq!((stuck.threads, stuck.children), (1, vec!["child/0".to_owned(), "child/1".to_owned()]));

        pulses.iter().for_each(|pulse| pulse.end_turn(start + Duration::from_secs(2)));
        inner.look(start + Duration::from_secs(2));
        assert_eq!(*inner.stuck.borrow(), StuckThreads::default());
    }

    #[test]
    fn child_that_is_gone_is_not_looked_at() {
        let (inner, start) = (Inner::default(), Instant::now());
        let pulse = Arc::new(Pulse::new(Some(Duration::from_secs(1))));
        pulse.begin_turn(start);
        inner.watched.lock().pulses.push((1, "gone".to_owned(), Arc::downgrade(&pulse)));
        drop(pulse);
        inner.look(start + Duration::from_secs(9));
        assert!(inner.watched.lock().pulses.is_empty());
        assert_eq!(inner.stuck.borrow().threads, 0);
    }
}
