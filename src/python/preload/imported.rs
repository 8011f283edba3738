//! The modules that jobs have imported by themselves.

use std::collections::HashSet;

/// More are no application's modules, but names that something makes up.
const MOST: usize = 20_000;

/// Names of modules, each once, in the order in which they were told.
#[derive(Debug, Default)]
pub(in crate::python) struct Imported {
    names: Vec<String>,
    known: HashSet<String>,
}

impl Imported {
    /// Adds names. Says whether one of them is new.
    pub(in crate::python) fn add(&mut self, names: Vec<String>) -> bool {
        let before = self.names.len();
        for name in names {
            if self.names.len() < MOST && self.known.insert(name.clone()) {
                self.names.push(name);
            }
        }
        self.names.len() > before
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_once_in_their_order_and_not_without_end() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut imported = Imported::default();
        assert!(imported.add(words(&["b", "a", "b"])));
        assert!(!imported.add(words(&["a"])));
        assert!(imported.add(words(&["a", "c"])));
        assert_eq!(imported.names(), words(&["b", "a", "c"]));
        imported.add((0..2 * MOST).map(|n| n.to_string()).collect());
        assert_eq!(imported.names().len(), MOST);
    }
}
