//! `[rescuer]`: how often orphans, the outbox and gaps are looked after.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::job::Backoff;

/// `[rescuer]`.
#[derive(Clone, Debug)]
pub struct RescuerSettings {
    /// Time between two looks for orphans and due objects.
    pub interval: Duration,
    /// Objects deleted in one go.
    pub outbox_batch: u32,
    /// Wait before an object is tried again for the first time; it doubles from there.
    pub outbox_backoff_first: Duration,
    /// The longest such wait.
    pub outbox_backoff_cap: Duration,
    /// An object that waits longer than this raises an alarm.
    pub outbox_alarm_after: Duration,
    /// Time between two comparisons of rows and queue entries.
    pub reconcile_interval: Duration,
    /// How long a row may be without its queue entry.
    pub reconcile_grace: Duration,
}

impl RescuerSettings {
    /// The waits between tries to delete one object.
    #[must_use]
    pub fn outbox_backoff(&self) -> Backoff {
        Backoff { first: self.outbox_backoff_first, factor: 2.0, cap: self.outbox_backoff_cap, jitter: 0.1 }
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
