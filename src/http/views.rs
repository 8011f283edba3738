//! Background jobs as the application's pages read them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::job::background::{BackgroundJob, Status};
use crate::operations::{Stuck, StuckAfter, stuck};

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct JobView {
    job_id: i64,
    job_type: String,
    #[schema(value_type = String, example = "running")]
    status: Status,
    total: i64,
    processed: i64,
    succeeded: i64,
    failed_count: i64,
    percent: f64,
    last_error: Option<String>,
    created_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    updated_at: Option<String>,
    heartbeat_at: Option<String>,
    is_stuck: bool,
    stuck_reason: Option<String>,
    paused_by: Option<&'static str>,
    changed_by: Option<String>,
    waiting_for: Option<String>,
    attempt: u32,
    rate_per_second: Option<f64>,
    eta_seconds: Option<f64>,
}

/// The state of the deletion queue and the current time, from which a stuck job is explained.
#[derive(Clone, Debug)]
pub(super) struct QueueService {
    /// The database's time, which also the rows have.
    pub now: DateTime<Utc>,
    /// When a job counts as stuck.
    pub stuck_after: StuckAfter,
    /// The queue.
    pub queue: String,
    /// Whether a live process listens to it; `None` if that is unknown.
    pub served: Option<bool>,
}

impl QueueService {
    fn in_words(&self) -> String {
        let queue = &self.queue;
        match self.served {
            Some(true) => format!("a worker listens to queue '{queue}', but it is busy with other jobs"),
            Some(false) => {
                format!("no worker listens to queue '{queue}'; start one with this queue in RQ_QUEUES")
            }
            None => format!("whether a worker listens to queue '{queue}' cannot be told now"),
        }
    }
}

impl JobView {
    /// The view of the job at `queue.now`.
    pub(super) fn new(job: &BackgroundJob, queue: &QueueService) -> Self {
        let stuck_reason = stuck_reason(job, queue);
        let progress = job.progress;
        Self {
            job_id: job.id.0,
            job_type: job.job_type.clone(),
            status: job.status,
            total: progress.total,
            processed: progress.processed,
            succeeded: progress.succeeded,
            failed_count: progress.failed,
            percent: progress.percent(),
            last_error: job.last_error.clone(),
            created_at: job.created_at.map(time),
            started_at: job.started_at.map(time),
            finished_at: job.finished_at.map(time),
            updated_at: job.updated_at.map(time),
            heartbeat_at: job.heartbeat_at.map(time),
            is_stuck: stuck_reason.is_some(),
            stuck_reason,
            paused_by: (job.status == Status::Paused)
                .then(|| job.note.pause_reason.map_or("person", |reason| reason.as_str())),
            changed_by: job.note.changed_by.clone(),
            waiting_for: job.note.waiting_for.clone(),
            attempt: job.note.attempt,
            rate_per_second: job.note.rate,
            eta_seconds: job.note.eta_seconds,
        }
    }
}

/// The time in UTC, in whole seconds.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Why a job does not move, with advice; `None` if it is not stuck.
pub(super) fn stuck_reason(job: &BackgroundJob, service: &QueueService) -> Option<String> {
    Some(match stuck(job, service.now, service.stuck_after)? {
        Stuck::Unpicked(waited) => {
            format!("queued for {} seconds and not picked up: {}", waited.as_secs(), service.in_words())
        }
        Stuck::Silent(silent) => format!(
            "running, but no heartbeat for {} seconds: its worker has probably died; \
             it goes on by itself as soon as a worker listens to queue '{}'",
            silent.as_secs(),
            service.queue
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::background::{Cursor, FirstLook, Note};
    use crate::job::{BackgroundJobId, BusinessId, Progress};
    use chrono::TimeDelta;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn job(status: Status, age: i64) -> BackgroundJob {
        let then = Some(NOW - TimeDelta::seconds(age));
        BackgroundJob {
            id: BackgroundJobId(27),
            business_id: BusinessId(1),
            requested_by_user_id: None,
            job_type: "delete_receipts_all".into(),
            status,
            progress: Progress { total: 3, processed: 1, succeeded: 1, failed: 0 },
            last_error: None,
            cursor: Cursor::default(),
            created_at: then,
            updated_at: then,
            started_at: then,
            finished_at: None,
            heartbeat_at: then,
            note: Note::default(),
        }
    }

    fn service(served: Option<bool>) -> QueueService {
        let stuck_after = StuckAfter { unpicked: Duration::from_secs(60), silent: Duration::from_secs(120) };
        QueueService { now: NOW, stuck_after, queue: "maintenance".into(), served }
    }

    #[test]
    fn a_queued_job_is_stuck_after_a_minute_and_the_reason_names_the_queue() {
        assert_eq!(stuck_reason(&job(Status::Queued, 60), &service(Some(false))), None);
        let reason = stuck_reason(&job(Status::Queued, 61), &service(Some(false))).unwrap();
        assert!(reason.contains("no worker listens to queue 'maintenance'"), "{reason}");
    }

    #[test]
    fn a_row_whose_time_is_of_another_zone_waits_since_it_was_first_seen() {
        let mut ahead = job(Status::Queued, -7200);
        assert_eq!(stuck_reason(&ahead, &service(Some(true))), None);
        let at = NOW - TimeDelta::seconds(61);
        ahead.cursor.first_look = Some(FirstLook { newest_id: 1, at, before_id: None });
        assert!(stuck_reason(&ahead, &service(Some(true))).unwrap().contains("61 seconds"));
    }

    #[test]
    fn a_running_job_is_stuck_without_a_heartbeat_for_two_minutes() {
        assert_eq!(stuck_reason(&job(Status::Running, 120), &service(Some(true))), None);
        let reason = stuck_reason(&job(Status::Running, 121), &service(Some(true))).unwrap();
        assert!(reason.contains("121 seconds"), "{reason}");
    }

    #[test]
    fn jobs_at_rest_are_not_stuck() {
        for status in [Status::Paused, Status::Completed, Status::Failed, Status::Cancelled] {
            assert_eq!(stuck_reason(&job(status, 10_000), &service(Some(false))), None);
        }
    }

    #[test]
    fn the_view_has_one_decimal_and_whole_seconds() {
        let view = serde_json::to_value(JobView::new(&job(Status::Running, 1), &service(None))).unwrap();
        assert_eq!(view["percent"], 33.3);
        assert_eq!(view["created_at"], "1969-12-31T23:59:59Z");
    }
}
