//! The running jobs of this process, with their progress.

use super::shapes::RunningState;
use crate::http::health::HealthReader;
use crate::http::views::time;
use crate::job::Progress;
use crate::job_log::JobLog;
use crate::worker::RunningJob;

/// The most running jobs whose saved progress is read.
const SAVED_PROGRESS: usize = 100;

/// The running jobs; the progress of Python jobs is what they have saved in their `meta`.
pub(super) async fn running_jobs(health: &HealthReader) -> Vec<RunningJob> {
    let mut running = health.running.list();
    if health.python.is_none() || running.is_empty() {
        return running;
    }
    let ids: Vec<_> = running.iter().map(|job| job.job_id.clone()).take(SAVED_PROGRESS).collect();
    // Without an answer there is no bar.
    let saved = health.within(health.broker.open_of(&ids)).await.unwrap_or_default();
    for record in saved {
        let progress = record.meta.get("progress").and_then(Progress::of_saved);
        for job in running.iter_mut().filter(|job| job.job_id == record.id) {
            job.progress = job.progress.or(progress);
        }
    }
    running
}

pub(super) fn running_state(job: &RunningJob, log: &JobLog) -> RunningState {
    RunningState {
        job_id: job.job_id.to_string(),
        function: job.function.to_string(),
        queue: job.queue.to_string(),
        attempt: job.attempt,
        since: time(job.since),
        total: job.progress.map(|progress| progress.total),
        processed: job.progress.map(|progress| progress.processed),
        lines: log.count(job.job_id.as_str()),
    }
}
