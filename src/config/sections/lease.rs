//! `[lease]`: how a living process shows that it lives.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[lease]`.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// A process that has not renewed for so long counts as dead.
    pub ttl: Duration,
    /// Time between two renewals; less than half of `ttl`.
    pub renew: Duration,
}

impl LeaseSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self { ttl: reader.duration("lease.ttl"), renew: reader.duration("lease.renew") }
    }
}
