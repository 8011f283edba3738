//! Says once that a bucket keeps old versions: then a deletion frees nothing by itself.

use std::sync::atomic::{AtomicBool, Ordering};

/// What is known about a bucket's versions, and of how it answers.
#[derive(Debug, Default)]
pub(super) struct Versions {
    told: AtomicBool,
    names: AtomicBool,
}

impl Versions {
    /// Whether the store names what it deletes in bulk: as it does `now`, or did before.
    pub(super) fn names_deleted(&self, now: bool) -> bool {
        self.names.fetch_or(now, Ordering::Relaxed) || now
    }

    /// An answer told whether it made a version or a delete marker.
    pub(super) fn seen(&self, bucket: &str, versioned: bool) {
        if versioned && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                bucket,
                "the bucket keeps versions: what is deleted is hidden behind a delete marker and goes on taking \
                 room until a lifecycle rule drops noncurrent versions"
            );
        }
    }
}
