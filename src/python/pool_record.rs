//! What is known of a pool's children, and shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::child::Child;
use super::killing::Fate;
use super::messages::{ChildLimits, Mode};
use super::process_record::{ProcessRecord, ProcessRow, ProcessState};

/// What a pool keeps ready.
#[derive(Clone, Copy, Debug)]
pub struct PoolPlan {
    /// How its children are used.
    pub mode: Mode,
    /// In mode `job`: how many children wait ahead of jobs. In mode `warm`: how many there are, at work or waiting.
    pub ready: usize,
    /// When its children leave by themselves.
    pub limits: ChildLimits,
    /// How long a fork may take until the child is ready.
    pub fork_deadline: Duration,
    /// How long a child may take to leave before it is killed.
    pub leave_grace: Duration,
}

/// What has happened to a pool's children so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolCounts {
    /// Children that were forked.
    pub forked: u64,
    /// Forks that failed.
    pub fork_failures: u64,
    /// Children that left with code 0.
    pub left: u64,
    /// Children that died in any other way, killed ones included.
    pub died: u64,
    /// Of those that left, how many gave which reason.
    pub reasons: BTreeMap<String, u64>,
}

/// A pool as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolSnapshot {
    /// Process id of the zygote; `None` where nothing is forked.
    pub zygote: Option<u32>,
    /// How the children are used.
    pub mode: Mode,
    /// The children that live, by process id.
    pub children: Vec<ProcessRow>,
    /// What has happened so far.
    pub counts: PoolCounts,
}

/// A child of this pool, wherever it is.
struct Tracked {
    record: Arc<ProcessRecord>,
    fate: watch::Receiver<Fate>,
}

/// The children of a pool that live, and what has happened to all.
#[derive(Default)]
pub(super) struct PoolRecord {
    tracked: Vec<Tracked>,
    pub(super) counts: PoolCounts,
}

impl PoolRecord {
    /// Notes a child that was forked.
    pub(super) fn add(&mut self, child: &Child) {
        self.counts.forked += 1;
        self.tracked.push(Tracked { record: child.record(), fate: child.fate() });
    }

    /// Forgets and counts the children that have ended and that nobody holds any more: until then, what they said last
    /// may not have been read.
    pub(super) fn forget_the_dead(&mut self) {
        let counts = &mut self.counts;
        self.tracked.retain(|one| {
            let fate = *one.fate.borrow();
            if fate == Fate::Running || Arc::strong_count(&one.record) > 1 {
                return true;
            }
            let has_left = matches!(fate, Fate::Reaped(exit) if exit.status.is_success());
            if let (true, Some(reason)) = (has_left, one.record.row().bye) {
                *counts.reasons.entry(reason).or_default() += 1;
            }
            counts.left += u64::from(has_left);
            counts.died += u64::from(!has_left);
            false
        });
    }

    /// How many children are at work.
    pub(super) fn at_work(&self) -> usize {
        let is_busy = |one: &&Tracked| one.record.row().state == ProcessState::Busy;
        self.living().filter(is_busy).count()
    }

    /// The children whose end has not been told.
    fn living(&self) -> impl Iterator<Item = &Tracked> {
        self.tracked.iter().filter(|one| !matches!(*one.fate.borrow(), Fate::Reaped(_)))
    }

    /// The records of the children that live.
    pub(super) fn records(&self) -> Vec<Arc<ProcessRecord>> {
        self.living().map(|one| Arc::clone(&one.record)).collect()
    }

    /// The children that live, by process id.
    pub(super) fn rows(&self) -> Vec<ProcessRow> {
        let mut rows: Vec<_> = self.living().map(|one| one.record.row()).collect();
        rows.sort_by_key(|row| row.pid);
        rows
    }
}
