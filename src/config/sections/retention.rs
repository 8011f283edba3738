//! `[retention]`: how many ended jobs a queue keeps.

use crate::config::reader::Reader;

/// `[retention]`. Zero: no limit.
#[derive(Clone, Copy, Debug)]
pub struct RetentionSettings {
    /// Of those that ended well.
    pub max_finished: u64,
    /// Of those that failed, and of those that were taken out.
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
