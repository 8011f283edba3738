//! `[retention]`: how many ended jobs each queue keeps.

use crate::config::reader::Reader;

/// `[retention]`. Zero means no limit.
#[derive(Clone, Copy, Debug)]
pub struct RetentionSettings {
    /// The most jobs that finished.
    pub max_finished: u64,
    /// The most jobs that failed, and separately the most that were cancelled.
    pub max_failed: u64,
}

impl RetentionSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            max_finished: reader.get("retention.max_finished"),
            max_failed: reader.get("retention.max_failed"),
        }
    }
}
