//! Loops that must turn: each tells its turns here, and probes see which have stopped.
//!
//! A hung actor is found by its heartbeat; this finds the one that answers while its work stands still.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The loops of a process. Clones show the same.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<BTreeMap<String, Instant>>>);

/// One loop's line to the table.
#[derive(Clone)]
pub struct Turn {
    turns: Turns,
    name: Arc<str>,
}

impl Turns {
    /// Adds a loop, which counts as having just turned.
    #[must_use]
    pub fn register(&self, name: &str) -> Turn {
        let turn = Turn { turns: self.clone(), name: Arc::from(name) };
        self.0.lock().insert(name.to_owned(), Instant::now());
        turn
    }

    /// The loops that have not turned for longer than `longest` at `now`, by name.
    #[must_use]
    pub fn overdue(&self, now: Instant, longest: Duration) -> Vec<String> {
        let turns = self.0.lock();
        let stopped = turns.iter().filter(|(_, last)| now.saturating_duration_since(**last) > longest);
        stopped.map(|(name, _)| name.clone()).collect()
    }
}

impl Turn {
    /// The loop has turned. A loop that was retired stays so.
    pub fn beat(&self) {
        if let Some(last) = self.turns.0.lock().get_mut(&*self.name) {
            *last = Instant::now();
        }
    }

    /// The loop has ended on purpose; nobody waits for it any more.
    pub fn retire(&self) {
        self.turns.0.lock().remove(&*self.name);
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
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
}
