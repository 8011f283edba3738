//! What configuration says about deletions.

use std::time::Duration;

use crate::job::background::AtRuntimeLimit;
use crate::job::{Limit, Retention};

/// The numbers of `[deletion]` that the job itself needs.
#[derive(Clone, Debug)]
pub struct DeletionSettings {
    /// Receipts in one transaction, or in the first.
    pub batch: u32,
    /// The time that batches grow and shrink to.
    pub target_time: Limit,
    /// Rest between batches.
    pub throttle: Duration,
    /// Time after which the job makes room for others.
    pub runtime_limit: Duration,
    /// What it does then.
    pub at_runtime_limit: AtRuntimeLimit,
    /// Failed batches in a row that fail the job.
    pub max_failures: u32,
    /// Attempts in a row that may die without moving the cursor.
    pub max_barren: u32,
    /// A running row whose heartbeat is older may be taken over by another queue job.
    pub stale_after: Duration,
    /// How long a row that is not there yet is looked for.
    pub row_wait: Duration,
    /// Whether a row that the web application's stale rule failed is brought back.
    pub revive_stale: bool,
    /// How long an outage is waited out.
    pub outage_limit: Limit,
    /// Time for one attempt, where the queue job brings none.
    pub timeout: Limit,
    /// How long the queue job is kept, where it says nothing.
    pub retention: Retention,
}
