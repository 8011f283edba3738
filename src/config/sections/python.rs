//! `[python]`: how the processes of Python jobs are used.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::size::ByteSize;
use crate::config::value::words;

/// How far Python jobs are kept apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A process for each job.
    Job,
    /// Processes that run many jobs.
    Warm,
}

words!(Isolation, "`job` or `warm`", Job, {
    Job: "job",
    Warm: "warm",
});

/// `[python]`.
#[derive(Clone, Debug)]
pub struct PythonSettings {
    /// How far jobs are kept apart.
    pub isolation: Isolation,
    /// The user that the processes run as; `None`: that of this process.
    pub user: Option<String>,
    /// How long the worker's command may take until its worker is about to work.
    pub boot_timeout: Duration,
    /// How long code that does not yield to its time limit goes on before its process is killed.
    pub kill_after: Duration,
    /// After how many jobs a process that runs many is replaced.
    pub jobs_per_process: u64,
    /// After which time it is replaced.
    pub lifetime: Duration,
    /// By how much its memory may grow before it is replaced.
    pub memory_growth: ByteSize,
    /// How much memory it may have for itself while it runs a job before it is killed.
    pub memory_limit: Option<ByteSize>,
}

impl PythonSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            isolation: reader.get("python.isolation"),
            user: Some(reader.get::<String>("python.user")).filter(|user| !user.is_empty()),
            boot_timeout: reader.duration("python.boot_timeout"),
            kill_after: reader.duration("python.kill_after"),
            jobs_per_process: reader.within("python.jobs_per_process", 1..=1_000_000_000),
            lifetime: reader.duration("python.lifetime"),
            memory_growth: reader
                .read("python.memory_growth", "a size from 1MiB", |size: &ByteSize| size.0 >= 1 << 20),
            memory_limit: reader.read(
                "python.memory_limit",
                "`none` or a size from 16MiB",
                |limit: &Option<ByteSize>| limit.is_none_or(|size| size.0 >= 16 << 20),
            ),
        }
    }
}
