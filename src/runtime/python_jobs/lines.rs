//! Where the lines go that Python processes write: to the log of their job, and on to the log of this process.

use std::io::Write as _;
use std::sync::Arc;

use chrono::Utc;

use crate::config::LogFormat;
use crate::job::{JobId, KindName, QueueName};
use crate::job_log::{JobLine, JobLog};
use crate::python::{OutputSink, Stream};

/// Takes the lines of all Python processes.
#[derive(Clone)]
pub(super) struct Lines {
    log: Arc<JobLog>,
    format: LogFormat,
}

/// Takes the lines of one job; those of no job without one.
struct JobSink {
    lines: Lines,
    job: Option<Written>,
}

/// By whom a line was written.
struct Written {
    id: String,
    kind: Option<String>,
    queue: String,
}

impl Lines {
    pub(super) fn new(format: LogFormat) -> Self {
        Self { log: JobLog::of_process(), format }
    }

    /// For what the command itself writes, and its processes between two jobs.
    pub(super) fn of_no_job(&self) -> Arc<dyn OutputSink> {
        Arc::new(JobSink { lines: self.clone(), job: None })
    }

    /// For what a job writes, and what is called at its end. Its `kind` need not be known.
    pub(super) fn of(&self, id: &JobId, kind: Option<&KindName>, queue: &QueueName) -> Arc<dyn OutputSink> {
        let (id, kind, queue) = (id.to_string(), kind.map(KindName::to_string), queue.to_string());
        Arc::new(JobSink { lines: self.clone(), job: Some(Written { id, kind, queue }) })
    }
}

impl OutputSink for JobSink {
    fn line(&self, stream: Stream, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if let Some(job) = &self.job {
            let line = JobLine { at: Utc::now(), level: "INFO", text: text.clone().into() };
            self.lines.log.write(&job.id, line);
        }
        match self.lines.format {
            LogFormat::Text => pass_on(stream, line),
            LogFormat::Json => {
                let stream = stream.as_str();
                match &self.job {
                    Some(job) => tracing::info!(
                        target: "tikkun::python", { job.id = job.id, job.kind = job.kind, queue.name = job.queue, stream }, "{text}"
                    ),
                    None => tracing::info!(target: "tikkun::python", stream, "{text}"),
                }
            }
        }
    }
}

/// As it came, so that the application's own log format stays what it is. That nobody reads it is no fault of the job.
fn pass_on(stream: Stream, line: &[u8]) {
    let whole = [line, b"\n"].concat();
    let _ = match stream {
        Stream::Stdout => std::io::stdout().lock().write_all(&whole),
        Stream::Stderr => std::io::stderr().lock().write_all(&whole),
    };
}
