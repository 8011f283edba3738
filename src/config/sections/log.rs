//! `[log]`: the log's level and format.

use tracing_subscriber::EnvFilter;

use crate::config::reader::Reader;
use crate::config::size::ByteSize;
use crate::config::value::words;
use crate::job_log::JobLogBounds;

/// The log level, with Python's names, and `trace` below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// Details for finding a fault.
    Debug,
    /// The course of each job.
    Info,
    /// Something that is probably wrong.
    Warning,
    /// A failure.
    Error,
    /// A failure that stops the service; logged at the level of errors.
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

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

words!(LogFormat, "`text` or `json`", Text, {
    Text: "text",
    Json: "json",
});

/// `[log]`.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The log level.
    pub level: LogLevel,
    /// The format of the lines.
    pub format: LogFormat,
    /// Replaces `level` where it is set: `info,tikkun::queue=debug`.
    pub filter: Option<String>,
    /// The limits for the log lines of jobs that are kept in memory.
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
