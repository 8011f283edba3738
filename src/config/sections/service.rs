//! `[service]`: what this process is for, where it keeps things, how it stops.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::value::words;

/// Which parts of the service this process runs.
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
    /// Whether it fetches and runs jobs.
    #[must_use]
    pub fn runs_jobs(self) -> bool {
        matches!(self, Self::Worker | Self::All)
    }

    /// Whether it schedules and rescues.
    #[must_use]
    pub fn schedules(self) -> bool {
        self != Self::Api
    }

    /// Whether it serves the receipts facade and the page.
    #[must_use]
    pub fn serves_receipts(self) -> bool {
        matches!(self, Self::Api | Self::All)
    }
}

/// `[service]`.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Which parts run here.
    pub role: Role,
    /// The folder for what the service keeps itself.
    pub data: PathBuf,
    /// How long a stopping process waits for running jobs.
    pub drain_timeout: Duration,
    /// Threads stuck for ever before the process gives up.
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
