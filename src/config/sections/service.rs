//! `[service]`: the role of this process, its data folder and how it stops.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::value::words;

/// The parts of the service that this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listeners, runners, Scheduler and Rescuer.
    Worker,
    /// Scheduler and Rescuer.
    Scheduler,
    /// The receipts facade and the page.
    Api,
    /// Everything.
    All,
}

words!(Role, "`worker`, `scheduler`, `api` or `all`", All, {
    Worker: "worker",
    Scheduler: "scheduler",
    Api: "api",
    All: "all",
});

impl Role {
    /// Whether this role fetches and runs jobs.
    #[must_use]
    pub fn runs_jobs(self) -> bool {
        matches!(self, Self::Worker | Self::All)
    }

    /// Whether this role runs the Scheduler and the Rescuer.
    #[must_use]
    pub fn schedules(self) -> bool {
        self != Self::Api
    }

    /// Whether this role serves the receipts facade and the page.
    #[must_use]
    pub fn serves_receipts(self) -> bool {
        matches!(self, Self::Api | Self::All)
    }
}

/// `[service]`.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// The parts that run in this process.
    pub role: Role,
    /// The folder for the service's own files.
    pub data: PathBuf,
    /// How long a stopping process waits for running jobs.
    pub drain_timeout: Duration,
    /// The process gives up when this many threads are stuck for ever.
    pub max_stuck: usize,
}

impl ServiceSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            role: reader.get("service.role"),
            data: reader
                .read("service.data", "the path of a folder", |path: &String| !path.is_empty())
                .into(),
            drain_timeout: reader.duration("service.drain_timeout"),
            max_stuck: reader.within("service.max_stuck", 1..=64),
        }
    }
}
