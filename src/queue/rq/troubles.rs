//! Problems that a frequently repeated check finds again and again: logged once, and again when they change.

use std::mem;

use parking_lot::Mutex;

/// The problems logged last.
#[derive(Default)]
pub(super) struct Troubles(Mutex<Vec<String>>);

impl Troubles {
    /// Logs each of `now` on its own line, unless the same were logged last.
    pub(super) fn tell(&self, now: Vec<String>, what: &'static str) {
        if let Some(now) = self.changed(now) {
            now.iter().for_each(|trouble| tracing::warn!(trouble, "{what}"));
        }
    }

    /// `now`, unless it is what was given last. The server names queues in any order.
    fn changed(&self, mut now: Vec<String>) -> Option<Vec<String>> {
        now.sort();
        let mut last = self.0.lock();
        (mem::replace(&mut *last, now.clone()) != now).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_problems_in_another_order_are_no_news() {
        let troubles = Troubles::default();
        let changed = |now: &[&str]| troubles.changed(now.iter().map(|&one| one.to_owned()).collect());
        assert_eq!(changed(&[]), None);
        assert!(changed(&["a: full", "b: full"]).is_some());
        assert_eq!(changed(&["b: full", "a: full"]), None);
        assert!(changed(&["b: full"]).is_some());
        assert!(changed(&[]).is_some_and(|now| now.is_empty()), "it is over");
        assert!(changed(&["b: full"]).is_some(), "and comes again");
    }
}
