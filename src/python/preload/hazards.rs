//! What a process that forks should not have.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a process that forks has, of which its children get only a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hazards {
    /// Names of the threads beside the main one.
    pub threads: Vec<String>,
    /// Open connections, by their other side.
    pub connections: Vec<String>,
    /// Libraries that do not go through a fork, each with the reason.
    pub libraries: BTreeMap<String, String>,
}

impl Hazards {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.connections.is_empty() && self.libraries.is_empty()
    }

    /// Their names, those of all kinds.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let listed = self.threads.iter().chain(&self.connections).map(String::as_str);
        listed.chain(self.libraries.keys().map(String::as_str)).collect()
    }

    /// Adds what there is besides.
    pub fn extend(&mut self, more: &Self) {
        self.threads.extend(more.threads.iter().cloned());
        self.connections.extend(more.connections.iter().cloned());
        self.libraries.extend(more.libraries.clone());
    }
}
