//! `[log]`: how much is written, and how.

use tracing_subscriber::EnvFilter;

use crate::config::reader::Reader;
use crate::config::size::ByteSize;
use crate::config::value::words;
use crate::job_log::JobLogBounds;

/// How much is written; Python's names, and `trace` below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// What helps while hunting something.
    Debug,
    /// What happens to each job.
    Info,
    /// What is probably not as it should be.
    Warning,
    /// What failed.
    Error,
    /// What stops the service; written as errors are.
    Critical,
}

words!(LogLevel, "`debug`, `info`, `warning`, `error`, `critical` or `trace`", Info, {
    Trace: "trace",
    Debug: "debug",
    Info: "info",
    Warning: "warning" | "warn",
    Error: "error",
    Critical: "critical" | "fatal",
});

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

words!(LogFormat, "`text` or `json`", Text, {
    Text: "text",
    Json: "json",
});

/// `[log]`.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How much is written.
    pub level: LogLevel,
    /// How it is written.
    pub format: LogFormat,
    /// Takes the place of `level` where it is set: `info,tikkun::queue=debug`.
    pub filter: Option<String>,
    /// How many lines are kept for those who look at a job.
    pub job_lines: JobLogBounds,
}

impl LogSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            level: reader.get("log.level"),
            format: reader.get("log.format"),
            filter: Some(reader.read(
                "log.filter",
                "directives such as `info,tikkun::queue=debug`",
                is_filter,
            ))
            .filter(|filter: &String| !filter.is_empty()),
            job_lines: JobLogBounds {
                lines: reader.within("log.job_lines", 0..=10_000),
                bytes: job_memory(reader),
            },
        }
    }
}

fn job_memory(reader: &mut Reader<'_>) -> usize {
    let bounds = (64 << 10)..=(1 << 30);
    let size: ByteSize = reader
        .read("log.job_memory", "a size from 64KiB to 1GiB", |size: &ByteSize| bounds.contains(&size.0));
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

fn is_filter(text: &String) -> bool {
    EnvFilter::builder().with_regex(false).parse(text).is_ok()
}
