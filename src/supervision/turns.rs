//! Signs of life of loops: each loop reports its iterations here, and probes read which loops are late.
//!
//! A heartbeat finds a hung actor; this finds an actor that answers while its work stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The time between two reports during a long wait.
const BEAT: Duration = Duration::from_secs(5);

/// The loops of a process. Clones share the data.
#[derive(Clone, Default)]
pub struct Turns {
    last: Arc<Mutex<BTreeMap<String, Instant>>>,
    /// Loops that have begun their work without one success yet.
    unproven: Arc<Mutex<BTreeSet<Arc<str>>>>,
    proven: Arc<Mutex<BTreeSet<Arc<str>>>>,
}

/// The reports of one loop.
#[derive(Clone)]
pub struct Turn {
    turns: Turns,
    name: Arc<str>,
}

impl Turns {
    /// Adds a loop, which counts as having just reported.
    #[must_use]
    pub fn register(&self, name: &str) -> Turn {
        let turn = Turn { turns: self.clone(), name: Arc::from(name) };
        self.last.lock().insert(name.to_owned(), Instant::now());
        turn
    }

    /// The loops whose last report at `now` is older than `longest`, by name.
    #[must_use]
    pub fn overdue(&self, now: Instant, longest: Duration) -> Vec<String> {
        let turns = self.last.lock();
        let stopped = turns.iter().filter(|(_, last)| now.saturating_duration_since(**last) > longest);
        stopped.map(|(name, _)| name.clone()).collect()
    }

    /// The loops whose work has not succeeded yet, by name.
    #[must_use]
    pub fn unproven(&self) -> Vec<String> {
        self.unproven.lock().iter().map(|name| name.to_string()).collect()
    }
}

impl Turn {
    /// Reports an iteration; ignored after `retire`.
    pub fn beat(&self) {
        if let Some(last) = self.turns.last.lock().get_mut(&*self.name) {
            *last = Instant::now();
        }
    }

    /// Reports again and again while the loop waits for `answer`, which ends within a time of its own. Cancel safe if
    /// `answer` is.
    pub async fn beating<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        loop {
            match tokio::time::timeout(BEAT, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) => self.beat(),
            }
        }
    }

    /// The loop begins its work; it is unproven until the first success, which also counts after a restart.
    pub fn begins(&self) {
        if !self.turns.proven.lock().contains(&self.name) {
            self.turns.unproven.lock().insert(Arc::clone(&self.name));
        }
    }

    /// The loop waits for something that does not show whether its work would succeed.
    pub fn waits(&self) {
        self.turns.unproven.lock().remove(&self.name);
    }

    /// The loop's work has succeeded.
    pub fn succeeds(&self) {
        self.turns.proven.lock().insert(Arc::clone(&self.name));
        self.waits();
    }

    /// The loop has ended on purpose and is not expected to report any more.
    pub fn retire(&self) {
        self.turns.last.lock().remove(&*self.name);
        self.succeeds();
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.last.lock().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_named_until_it_turns_or_retires() {
        let turns = Turns::default();
        let (fetch, tick) = (turns.register("fetch"), turns.register("tick"));
        let (longest, later) = (Duration::from_secs(30), Instant::now() + Duration::from_secs(60));
        assert_eq!(turns.overdue(later, longest), ["fetch", "tick"]);
        fetch.beat();
        assert!(turns.overdue(Instant::now(), longest).is_empty());
        tick.retire();
        tick.beat();
        assert_eq!(turns.overdue(later, longest), ["fetch"]);
    }

    #[test]
    fn a_loop_is_unproven_from_its_beginning_to_its_first_success() {
        let turns = Turns::default();
        let fetch = turns.register("fetch");
        assert!(turns.unproven().is_empty(), "it has not begun");
        fetch.begins();
        assert_eq!(turns.unproven(), ["fetch"]);
        fetch.waits();
        assert!(turns.unproven().is_empty(), "it waits for a slot");
        fetch.begins();
        assert_eq!(turns.unproven(), ["fetch"]);
        fetch.succeeds();
        assert!(turns.unproven().is_empty());
        fetch.begins();
        assert!(turns.unproven().is_empty(), "in its next life it is known to work");
    }
}
