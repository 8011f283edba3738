//! What a look that is repeated every few seconds meets again and again: told once, and again when it changes.

use parking_lot::Mutex;

/// What was told last.
#[derive(Default)]
pub(super) struct Troubles(Mutex<Vec<String>>);

impl Troubles {
    /// Tells `now`, each in a line of its own, unless the same was told last.
    pub(super) fn tell(&self, now: Vec<String>, what: &'static str) {
        let mut last = self.0.lock();
        if *last != now {
            now.iter().for_each(|trouble| tracing::warn!(trouble, "{what}"));
            *last = now;
        }
    }
}
