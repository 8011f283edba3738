//! The state of the service as JSON, as far as this view shows it. A missing field is empty: the service may
//! be older or newer than the command.

use serde::Deserialize;

/// The last received state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Board {
    /// Health and totals.
    pub overview: Overview,
    /// The queues, in the worker's order.
    pub queues: Vec<Queue>,
    /// Jobs in progress.
    pub running: Vec<Running>,
    /// Deletions, newest first.
    pub deletions: Vec<Deletion>,
    /// Python processes, if the process runs jobs in them.
    pub python: Option<Python>,
    /// Supervised actors.
    pub tree: Tree,
}

impl Board {
    /// Replaces one section; unknown sections are ignored.
    pub(super) fn take(&mut self, section: &str, data: &str) -> Result<(), serde_json::Error> {
        match section {
            "overview" => self.overview = serde_json::from_str(data)?,
            "queues" => self.queues = serde_json::from_str(data)?,
            "running" => self.running = serde_json::from_str(data)?,
            "deletions" => self.deletions = serde_json::from_str(data)?,
            "python" => self.python = serde_json::from_str(data)?,
            "tree" => self.tree = serde_json::from_str(data)?,
            _ => {}
        }
        Ok(())
    }
}

/// Health and totals.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overview {
    pub status: String,
    pub reasons: Vec<Reason>,
    pub totals: Totals,
    pub per_minute: u64,
    pub cleanup: Option<Cleanup>,
    pub process: Process,
}

/// A reason for the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reason {
    pub severity: String,
    pub code: String,
    pub queue: Option<String>,
    pub count: Option<u64>,
    pub limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Totals {
    pub queued: u64,
    pub started: u64,
    pub failed: u64,
}

/// Objects that wait to be deleted from storage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cleanup {
    pub pending: u64,
    pub oldest_seconds: Option<u64>,
    pub refused: u64,
    pub parked: u64,
    pub alarm: bool,
    pub last_error: Option<String>,
}

/// The process that answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Process {
    pub role: String,
    pub version: String,
    pub slots: u64,
    pub read_only: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Queue {
    pub name: String,
    #[serde(flatten)]
    pub counts: Totals,
    pub workers: u64,
    pub paused: bool,
    pub paused_by: Option<String>,
    pub per_minute: u64,
    pub done: Vec<u64>,
}

/// One job in progress.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Running {
    pub job_id: String,
    pub function: String,
    pub queue: String,
    pub attempt: u32,
    pub since: String,
    pub total: Option<i64>,
    pub processed: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Deletion {
    pub job_id: i64,
    pub business_id: i64,
    pub status: String,
    pub total: i64,
    pub processed: i64,
    pub failed_count: i64,
    pub queue_job: Option<String>,
    pub rate_per_second: Option<f64>,
    pub eta_low: Option<f64>,
    pub eta_high: Option<f64>,
    pub eta_seconds: Option<f64>,
    pub paused_by: Option<String>,
    pub changed_by: Option<String>,
    pub waiting_for: Option<String>,
    pub stuck_reason: Option<String>,
    pub last_error: Option<String>,
}

impl Deletion {
    /// Whether it can still make progress.
    pub(super) fn is_active(&self) -> bool {
        ["queued", "running", "paused"].contains(&self.status.as_str())
    }
}

/// The Python processes of the process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Python {
    pub hindrance: Option<String>,
    pub processes: Vec<PythonProcess>,
}

/// One Python process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PythonProcess {
    pub pid: u32,
    pub state: String,
    pub mode: String,
    pub jobs: u64,
    pub job_id: Option<String>,
    pub since: String,
    pub memory: Option<u64>,
}

/// The actors of the process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tree {
    pub children: Vec<Child>,
    pub stuck_threads: u64,
}

/// One supervised actor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Child {
    pub name: String,
    pub supervisor: Option<String>,
    pub state: String,
    pub restarts: u64,
    pub since: String,
    pub last_panic: Option<Panic>,
}

/// The last panic of an actor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Panic {
    pub message: String,
    pub place: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_what_was_known_of_it_and_nothing_else() {
        let mut board = Board::default();
        board.take("queues", r#"[{"name":"mail","queued":3,"failed":1,"of_tomorrow":true}]"#).unwrap();
        board.take("overview", r#"{"status":"healthy"}"#).unwrap();
        board.take("weather", "rain").unwrap();
        assert!(board.take("queues", "rain").is_err());
        let mail = &board.queues[0];
        assert_eq!((mail.name.as_str(), mail.counts.queued, mail.counts.failed), ("mail", 3, 1));
        assert_eq!(board.overview.status, "healthy");
    }
}
