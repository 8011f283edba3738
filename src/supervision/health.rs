//! The health table: supervisors write it, and everybody may read it.
//!
//! A child that ended for good is removed; its restarts and panics stay in the record of its role.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::watch;

use super::failure::Failure;
use super::pulse::Pulse;
use super::watchdog::{StuckThreads, Watchdog, WatchedWork};

/// A unique key for a child, in every table.
pub(super) fn next_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The state of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Started, before its first poll.
    Starting,
    /// Running.
    Running,
    /// Crashed, or stopped because another child crashed; it will be restarted.
    Restarting,
    /// Stopped on request.
    Stopped,
    /// Given up after too many failures.
    Failed,
    /// Its thread is blocked and was given up.
    Hung,
}

/// The latest panic or hang of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PanicRecord {
    /// The panic's text.
    pub message: String,
    /// `file:line:column`; `heartbeat` for a hang.
    pub place: String,
    /// The time at which it was noticed.
    pub at: DateTime<Utc>,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildStatus {
    /// Its name.
    pub name: String,
    /// Its supervisor; `None` at the top.
    pub supervisor: Option<String>,
    /// Its state.
    pub state: ChildState,
    /// The number of restarts.
    pub restarts: u64,
    /// Its latest panic or hang.
    pub last_panic: Option<PanicRecord>,
    /// Since when it is in this state.
    pub since: DateTime<Utc>,
}

/// All present and past children with one name prefix: `deletion_batch/27` counts for `deletion_batch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleStatus {
    /// The name before the first `/`.
    pub role: String,
    /// The number of children in the table now.
    pub present: u64,
    /// The number of children ever started.
    pub started: u64,
    /// The number of restarts of all of them.
    pub restarts: u64,
    /// The number of panics and hangs of all of them.
    pub panics: u64,
    /// The latest panic or hang.
    pub last_panic: Option<PanicRecord>,
}

/// A snapshot of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeStatus {
    /// In the order of their first start.
    pub children: Vec<ChildStatus>,
    /// In the order of their names.
    pub roles: Vec<RoleStatus>,
    /// The number of blocked threads.
    pub stuck_threads: usize,
}

/// A handle of the table; clones are cheap and share the table.
#[derive(Clone, Default)]
pub struct HealthTable {
    rows: Arc<RwLock<Rows>>,
    watchdog: Watchdog,
}

#[derive(Default)]
struct Rows {
    children: BTreeMap<u64, ChildStatus>,
    /// The supervisor of each child that has one.
    above: BTreeMap<u64, u64>,
    roles: BTreeMap<String, RoleStatus>,
}

impl HealthTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A snapshot of the table.
    #[must_use]
    pub fn snapshot(&self) -> TreeStatus {
        let stuck = self.watchdog.stuck();
        let rows = self.rows.read();
        let child = |(key, child): (&u64, &ChildStatus)| match stuck.since.get(key) {
            Some(since) if child.state != ChildState::Failed => {
                ChildStatus { state: ChildState::Hung, since: *since, ..child.clone() }
            }
            _ => child.clone(),
        };
        TreeStatus {
            children: rows.children.iter().map(child).collect(),
            roles: rows.roles.values().cloned().collect(),
            stuck_threads: stuck.threads,
        }
    }

    /// Receives a new value whenever a thread gets stuck or recovers.
    #[must_use]
    pub fn stuck_threads(&self) -> watch::Receiver<StuckThreads> {
        self.watchdog.subscribe()
    }

    /// Watches work on a thread outside the tree, which can be given up.
    #[must_use]
    pub fn watch_work(&self, name: &str) -> WatchedWork {
        self.watchdog.watch_work(next_key(), name)
    }

    /// Adds a row under `key`, for a child of `supervisor`.
    pub(super) fn enter(&self, key: u64, name: &str, supervisor: Option<(u64, &str)>) {
        let mut rows = self.rows.write();
        if let Some((above, _)) = supervisor {
            rows.above.insert(key, above);
        }
        let role = rows.role(name);
        role.present += 1;
        role.started += 1;
        rows.children.insert(
            key,
            ChildStatus {
                name: name.to_owned(),
                supervisor: supervisor.map(|(_, name)| name.to_owned()),
                state: ChildState::Starting,
                restarts: 0,
                last_panic: None,
                since: Utc::now(),
            },
        );
    }

    /// Removes a row and all rows below it; their roles keep the counts.
    pub(super) fn remove(&self, key: u64) {
        self.rows.write().remove(key);
    }

    /// Records the state of a child. A child that was given up keeps that state when it is stopped.
    pub(super) fn set(&self, key: u64, state: ChildState) {
        if let Some(child) = self.rows.write().children.get_mut(&key)
            && child.state != state
            && !(child.state == ChildState::Failed && state == ChildState::Stopped)
        {
            child.state = state;
            child.since = Utc::now();
        }
    }

    /// Records a restart of a child; returns its number of restarts.
    pub(super) fn restarting(&self, key: u64) -> u64 {
        self.set(key, ChildState::Restarting);
        let mut rows = self.rows.write();
        let Some(child) = rows.children.get_mut(&key) else { return 0 };
        child.restarts += 1;
        let (name, restarts) = (child.name.clone(), child.restarts);
        rows.role(&name).restarts += 1;
        restarts
    }

    /// Records a panic or hang of a child.
    pub(super) fn failed(&self, key: u64, failure: &Failure) {
        let Some(record) = PanicRecord::of(failure) else { return };
        let mut rows = self.rows.write();
        let Some(child) = rows.children.get_mut(&key) else { return };
        child.last_panic = Some(record.clone());
        let name = child.name.clone();
        let role = rows.role(&name);
        role.panics += 1;
        role.last_panic = Some(record);
    }

    /// Counts a child's thread as stuck from now on, until the child rests.
    pub(super) fn abandon(&self, key: u64) {
        self.watchdog.abandon(key);
    }

    /// Lets the watchdog check `pulse` as long as it exists.
    pub(super) fn watch(&self, key: u64, name: &str, pulse: &Arc<Pulse>) {
        self.watchdog.watch(key, name, pulse);
    }
}

impl fmt::Debug for HealthTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthTable").finish_non_exhaustive()
    }
}

impl PanicRecord {
    fn of(failure: &Failure) -> Option<Self> {
        let (message, place) = match failure {
            Failure::Panicked(panic) | Failure::Lost(Some(panic)) => {
                (panic.message.clone(), panic.place.clone())
            }
            Failure::Hung(_) => (failure.to_string(), "heartbeat".to_owned()),
            Failure::Escalated(escalation) => {
                return Self::of(&escalation.cause);
            }
            Failure::Left | Failure::Lost(None) => return None,
        };
        Some(Self { message, place, at: Utc::now() })
    }
}

impl Rows {
    fn remove(&mut self, key: u64) {
        self.above.remove(&key);
        if let Some(child) = self.children.remove(&key) {
            let role = self.role(&child.name);
            role.present = role.present.saturating_sub(1);
        }
        while let Some(below) = self.above.iter().find_map(|(below, above)| (*above == key).then_some(*below))
        {
            self.remove(below);
        }
    }

    fn role(&mut self, name: &str) -> &mut RoleStatus {
        let role = name.split_once('/').map_or(name, |(role, _)| role);
        self.roles.entry(role.to_owned()).or_insert_with(|| RoleStatus {
            role: role.to_owned(),
            present: 0,
            started: 0,
            restarts: 0,
            panics: 0,
            last_panic: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Panic;
    use super::*;

    fn boom() -> Failure {
        Failure::Panicked(Panic {
            message: "boom".to_owned(),
            place: "a.rs:1:2".to_owned(),
            thread: "main".to_owned(),
        })
    }

    #[test]
    fn role_remembers_children_that_left() {
        let table = HealthTable::new();
        for key in 0..100 {
            table.enter(key, &format!("deletion_batch/{key}"), Some((1_000, "batches")));
            table.failed(key, &boom());
            table.restarting(key);
            table.remove(key);
        }
        let tree = table.snapshot();
        assert!(tree.children.is_empty());
        let [role] = &*tree.roles else { panic!("one role: {:?}", tree.roles) };
        assert_eq!(role.role, "deletion_batch");
        assert_eq!((role.present, role.started, role.restarts, role.panics), (0, 100, 100, 100));
        assert_eq!(role.last_panic.as_ref().unwrap().place, "a.rs:1:2");
    }

    #[test]
    fn row_reads_as_json() {
        let table = HealthTable::new();
        table.enter(1, "status_tracker", Some((9, "root")));
        table.failed(1, &boom());
        let json = serde_json::to_value(table.snapshot()).unwrap();
        let child = &json["children"][0];
        assert_eq!(child["state"], "starting");
        assert_eq!(child["supervisor"], "root");
        assert_eq!(child["last_panic"]["message"], "boom");
        assert_eq!(json["stuck_threads"], 0);
    }

    #[test]
    fn same_state_again_keeps_its_time() {
        let table = HealthTable::new();
        table.enter(1, "a", None);
        table.set(1, ChildState::Running);
        let since = table.snapshot().children[0].since;
        table.set(1, ChildState::Running);
        assert_eq!(table.snapshot().children[0].since, since);
    }

    #[test]
    fn row_leaves_with_all_below_it() {
        let table = HealthTable::new();
        table.enter(1, "top", None);
        table.enter(2, "branch", Some((1, "top")));
        table.enter(3, "twig", Some((2, "branch")));
        table.enter(4, "leaf", Some((3, "twig")));
        table.enter(5, "other", Some((1, "top")));
        table.remove(2);
        let names: Vec<String> = table.snapshot().children.into_iter().map(|child| child.name).collect();
        assert_eq!(names, ["top", "other"]);
    }
}
