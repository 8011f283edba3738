//! Metrics about this process from the operating system, where it reports them.

use std::fs;

use crate::measure::list::{OPEN_FDS, RESIDENT_MEMORY};

/// Reads `/proc/self/status` and `/proc/self/fd`, which Linux keeps in memory.
pub(super) fn read() {
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident) {
        RESIDENT_MEMORY.gauge(&[]).set(bytes as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Reading the folder takes a descriptor itself.
        OPEN_FDS.gauge(&[]).set(open.count().saturating_sub(1) as f64);
    }
}

/// The resident memory in bytes; Linux reports it in KiB.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_told_in_bytes() {
        assert_eq!(resident("VmPeak:\t  9 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n"), Some(2 << 20));
        assert_eq!(resident("Threads:\t3\n"), None);
    }
}
