//! The parts that the receipts calls and the page work with.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use chrono::Utc;

use super::Problem;
use super::views::QueueService;
use crate::blob::BlobTarget;
use crate::job::BackgroundJobId;
use crate::operations::{Deletions, Jobs, StuckAfter, present};
use crate::queue::ProcessRecord;
use crate::store::{Certificates, Receipts};

/// The receipts facade.
pub struct Facade {
    /// The operations on deletions.
    pub deletions: Deletions,
    /// When a job is shown as stuck.
    pub stuck_after: StuckAfter,
    /// The input of plans.
    pub planning: Planning,
    /// The certificates of deletions.
    pub certificates: Arc<dyn Certificates>,
}

/// The input of plans.
pub struct Planning {
    /// The receipts in the database.
    pub receipts: Arc<dyn Receipts>,
    /// The storage of the objects.
    pub target: BlobTarget,
    /// Receipts per batch.
    pub batch: u32,
    /// The pause between two batches.
    pub throttle: Duration,
}

impl Facade {
    /// The operations on jobs.
    pub(super) fn jobs(&self) -> Jobs<'_> {
        Jobs(&self.deletions)
    }

    /// Whether a process listens to the queue of deletions, and the database's current time.
    pub(super) async fn queue_service(&self) -> QueueService {
        let deletions = &self.deletions;
        let queue = &deletions.requests.tracked.queue;
        let (processes, now) = futures::join!(
            deletions.within(present(&*deletions.requests.broker)),
            deletions.within(deletions.jobs.now())
        );
        let listens = |all: Vec<ProcessRecord>| all.iter().any(|process| process.listens_to(queue));
        QueueService {
            now: now.unwrap_or_else(|_| Utc::now()),
            stuck_after: self.stuck_after,
            queue: queue.to_string(),
            served: processes.ok().map(listens),
        }
    }
}

pub(super) fn job_id(text: &str) -> Result<BackgroundJobId, Problem> {
    text.parse().map(BackgroundJobId).map_err(|_| {
        let shown: String = text.chars().take(50).collect();
        let message = format!("`{shown}` is no job id; expected a whole number");
        Problem::new(StatusCode::BAD_REQUEST, "bad_job_id", message)
    })
}
