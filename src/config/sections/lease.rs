//! `[lease]`: the lease with which a process shows that it is alive.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[lease]`.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// A process that has not renewed its lease for this time counts as dead.
    pub ttl: Duration,
    /// The time between two renewals; less than half of `ttl`.
    pub renew: Duration,
}

impl LeaseSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self { ttl: reader.duration("lease.ttl"), renew: reader.duration("lease.renew") }
    }
}
