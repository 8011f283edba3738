//! What the probes of a service look at.

use std::time::Duration;

use super::tree::Tree;
use crate::config::{Role, Settings};
use crate::http::{Probes, Writes};

/// A loop counts as stopped after this many of its longest waits without a sign of life.
const SILENT_WAITS: u32 = 4;

/// The probes of this tree.
pub(super) fn probes(settings: &Settings, tree: &Tree, writes: &Writes) -> Probes {
    // The role `api` stays ready while nothing can be written, because its page only needs reads.
    let needed_writes = (settings.service.role != Role::Api).then(|| writes.clone());
    let hindrance = tree.hindrance.clone();
    let longest = longest_wait(settings) * SILENT_WAITS;
    let outages = tree.outages.clone();
    Probes { needed_writes, hindrance, outages, ..Probes::new(tree.turns.clone(), longest) }
}

/// The longest time between two signs of life of a healthy loop.
fn longest_wait(settings: &Settings) -> Duration {
    let waits = [
        settings.worker.fetch_patience,
        settings.lease.renew,
        settings.rescuer.interval,
        settings.scheduler.interval,
        settings.tracker.progress_interval,
    ];
    waits.into_iter().fold(Duration::from_secs(5), Duration::max)
}
