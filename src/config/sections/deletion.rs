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
    /// Where deletion jobs are enqueued.
    pub queue: QueueName,
    /// Receipts in one transaction, or in the first.
    pub batch: u32,
    /// The time that batches grow and shrink to; `never`: their size stays.
    pub target_time: Limit,
    /// Pause between two batches; may be zero.
    pub throttle: Duration,
    /// After so long a run checkpoints and stops.
    pub runtime_limit: Duration,
    /// Whether it goes on by itself then, or waits for a person.
    pub at_runtime_limit: AtRuntimeLimit,
    /// Failed batches in a row that fail the job.
    pub max_failures: u32,
    /// Attempts in a row without a committed batch that fail the job.
    pub max_barren_attempts: u32,
    /// A heartbeat older than this is shown as stuck.
    pub stale_after: Duration,
    /// How long the row of a job that has been picked may not be there yet.
    pub row_wait: Duration,
    /// A job that waits unpicked for longer is shown as stuck.
    pub unpicked_after: Duration,
    /// Whether a job that was marked failed for staleness is taken up again.
    pub revive_stale: bool,
    /// Whether objects are deleted from storage; else they stay in the clean-up outbox.
    pub storage_delete: bool,
    /// Time for one attempt.
    pub timeout: Limit,
    /// How long a result is kept.
    pub result_ttl: Limit,
    /// How long a failure is kept.
    pub failure_ttl: Limit,
    /// How long an outage is waited out.
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
