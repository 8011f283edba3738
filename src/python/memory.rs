//! How much memory a process has, counted so that what forks share is not counted for each.

use std::fs;
use std::io;

use serde::Serialize;

/// Memory of one process in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Its proportional share: pages that several processes share are divided among them.
    pub pss: u64,
    /// What it has for itself alone.
    pub private: u64,
}

impl Memory {
    /// Asks the kernel, which walks the process's pages: this blocks for up to milliseconds.
    ///
    /// # Errors
    /// A process that is gone, or a system without `smaps_rollup` (Linux before 4.14 and others).
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?))
    }

    fn parse(text: &str) -> Self {
        let mut memory = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (name, kib) = (words.next(), words.next().and_then(|kib| kib.parse::<u64>().ok()));
            let bytes = kib.unwrap_or(0) * 1024;
            match name {
                Some("Pss:") => memory.pss = bytes,
                Some("Private_Clean:" | "Private_Dirty:") => memory.private += bytes,
                _ => {}
            }
        }
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_is_clean_and_dirty_and_pss_is_the_first_line_of_that_name() {
        let text = "5581c-7ffd [rollup]\nRss:  900 kB\nPss:  400 kB\nPss_Dirty:  100 kB\nPrivate_Clean: 4 kB\nPrivate_Dirty: 96 kB\n";
        assert_eq!(Memory::parse(text), Memory { pss: 400 * 1024, private: 100 * 1024 });
    }

    #[test]
    fn own_process_has_memory() {
        if cfg!(target_os = "linux") {
            let memory = Memory::of(std::process::id()).unwrap();
            assert!(memory.pss > 0 && memory.private > 0, "{memory:?}");
        }
    }
}
