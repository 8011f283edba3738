//! `[rescuer]`: how often orphaned jobs, the outbox and missing queue jobs are checked.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::job::Backoff;

/// `[rescuer]`.
#[derive(Clone, Debug)]
pub struct RescuerSettings {
    /// The time between two checks for orphaned jobs and due objects.
    pub interval: Duration,
    /// The most objects deleted in one call.
    pub outbox_batch: u32,
    /// The delay before the first retry for an object; it doubles each time.
    pub outbox_backoff_first: Duration,
    /// The longest such delay.
    pub outbox_backoff_cap: Duration,
    /// An object that waits longer than this raises an alarm.
    pub outbox_alarm_after: Duration,
    /// The time between two comparisons of job rows with queue jobs.
    pub reconcile_interval: Duration,
    /// How long a row may be without a queue job before that counts as a gap.
    pub reconcile_grace: Duration,
}

impl RescuerSettings {
    /// The delays between attempts to delete one object.
    #[must_use]
    pub fn outbox_backoff(&self) -> Backoff {
        Backoff { first: self.outbox_backoff_first, factor: 2.0, cap: self.outbox_backoff_cap, jitter: 0.1 }
    }

    /// Longer than anybody postpones an attempt, a process with somewhat other settings included.
    #[must_use]
    pub fn longest_outbox_wait(&self) -> Duration {
        self.outbox_backoff_cap.saturating_mul(2).saturating_add(Duration::from_secs(300))
    }

    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            interval: reader.duration("rescuer.interval"),
            outbox_batch: reader.within("rescuer.outbox_batch", 1..=1000),
            outbox_backoff_first: reader.duration("rescuer.outbox_backoff_first"),
            outbox_backoff_cap: reader.duration("rescuer.outbox_backoff_cap"),
            outbox_alarm_after: reader.duration("rescuer.outbox_alarm_after"),
            reconcile_interval: reader.duration("rescuer.reconcile_interval"),
            reconcile_grace: reader.duration("rescuer.reconcile_grace"),
        }
    }
}
