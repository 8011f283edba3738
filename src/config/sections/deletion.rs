//! `[deletion]`: the job that deletes receipts.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::value::words;
use crate::job::background::AtRuntimeLimit;
use crate::job::{Limit, QueueName};

words!(AtRuntimeLimit, "`continue` or `pause`", Continue, {
    Continue: "continue",
    Pause: "pause",
});

/// `[deletion]`.
#[derive(Clone, Debug)]
pub struct DeletionSettings {
    /// The queue for deletion jobs.
    pub queue: QueueName,
    /// Receipts in each transaction, or in the first one if `target_time` is set.
    pub batch: u32,
    /// The time per transaction that the size of batches adapts to; `never`: the size is fixed.
    pub target_time: Limit,
    /// The pause between two batches; may be zero.
    pub throttle: Duration,
    /// A run stops at a checkpoint after this time.
    pub runtime_limit: Duration,
    /// Whether it then continues by itself, or waits until a user resumes it.
    pub at_runtime_limit: AtRuntimeLimit,
    /// The job fails after this many failed batches in a row.
    pub max_failures: u32,
    /// The job fails after this many attempts in a row without a committed batch.
    pub max_barren_attempts: u32,
    /// A running job with an older heartbeat is shown as stuck.
    pub stale_after: Duration,
    /// How long a fetched job waits for its row to appear.
    pub row_wait: Duration,
    /// A job that waits longer in its queue is shown as stuck.
    pub unpicked_after: Duration,
    /// Whether a job that was marked failed for a stale heartbeat is resumed.
    pub revive_stale: bool,
    /// Whether objects are deleted from storage; if not, they stay in the clean-up outbox.
    pub storage_delete: bool,
    /// The time limit of one attempt.
    pub timeout: Limit,
    /// How long a result is kept.
    pub result_ttl: Limit,
    /// How long a failure is kept.
    pub failure_ttl: Limit,
    /// How long an outage of the database or storage is waited out before the job fails.
    pub outage_limit: Limit,
}

impl DeletionSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        let queue: String =
            reader.read("deletion.queue", "the name of one queue", |name: &String| QueueName::accepts(name));
        Self {
            queue: QueueName::from(queue),
            batch: reader.within("deletion.batch", 1..=1000),
            target_time: reader.get("deletion.target_time"),
            throttle: reader.get("deletion.throttle"),
            runtime_limit: reader.duration("deletion.runtime_limit"),
            at_runtime_limit: reader.get("deletion.at_runtime_limit"),
            max_failures: reader.within("deletion.max_failures", 1..=1000),
            max_barren_attempts: reader.within("deletion.max_barren_attempts", 1..=1000),
            stale_after: reader.duration("deletion.stale_after"),
            row_wait: reader.get("deletion.row_wait"),
            unpicked_after: reader.duration("deletion.unpicked_after"),
            revive_stale: reader.get("deletion.revive_stale"),
            storage_delete: reader.get("deletion.storage_delete"),
            timeout: reader.get("deletion.timeout"),
            result_ttl: reader.get("deletion.result_ttl"),
            failure_ttl: reader.get("deletion.failure_ttl"),
            outage_limit: reader.get("deletion.outage_limit"),
        }
    }
}
