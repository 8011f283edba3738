//! Problems that a frequently repeated check finds again and again: logged once, and again when they change.

use parking_lot::Mutex;

/// The problems logged last.
#[derive(Default)]
pub(super) struct Troubles(Mutex<Vec<String>>);

impl Troubles {
    /// Logs each of `now` on its own line, unless the same were logged last.
    pub(super) fn tell(&self, now: Vec<String>, what: &'static str) {
        let mut last = self.0.lock();
        if *last != now {
            now.iter().for_each(|trouble| tracing::warn!(trouble, "{what}"));
            *last = now;
        }
    }
}
