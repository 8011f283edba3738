//! The look at a process that may have only so much memory.

use std::sync::Arc;
use std::time::Duration;

use super::memory::Memory;
use super::process_record::ProcessRecord;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Looks at the memory of one child; may be held beside the child while it runs a job.
#[derive(Debug)]
pub struct MemoryWatch {
    pid: u32,
    record: Arc<ProcessRecord>,
    limit: u64,
}

impl MemoryWatch {
    pub(super) fn new(pid: u32, record: Arc<ProcessRecord>, limit: u64) -> Self {
        Self { pid, record, limit }
    }

    /// Completes when the child has more bytes for itself than the limit, with how many. Cancel safe.
    pub async fn exceeded(&self) -> u64 {
        loop {
            tokio::time::sleep(LOOK).await;
            let pid = self.pid;
            let looked = tokio::task::spawn_blocking(move || Memory::of(pid)).await;
            // One that has just ended has none.
            if let Ok(Ok(memory)) = looked {
                self.record.weigh(memory);
                if memory.private > self.limit {
                    return memory.private;
                }
            }
        }
    }
}
