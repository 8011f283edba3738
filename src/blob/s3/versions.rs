//! Warns once if a bucket keeps old versions, because then a deletion frees no space by itself.

use std::sync::atomic::{AtomicBool, Ordering};

/// What is known about a bucket's versions and answers.
#[derive(Debug, Default)]
pub(super) struct Versions {
    told: AtomicBool,
    names: AtomicBool,
}

impl Versions {
    /// Whether the store lists the keys that it deletes in bulk, `now` or in an earlier answer.
    pub(super) fn names_deleted(&self, now: bool) -> bool {
        self.names.fetch_or(now, Ordering::Relaxed) || now
    }

    /// Records whether an answer reported a version or a delete marker.
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
