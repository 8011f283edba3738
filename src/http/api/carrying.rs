//! Queue jobs that carry deletions answer to the deletion: taken out by themselves they would come back while its
//! row is open, and run once more by themselves they would find nothing to do.

use actix_web::http::StatusCode;

use super::details::Details;
use crate::http::facade::Facade;
use crate::job::{BackgroundJobId, JobRecord};

/// The deletion that a job carries.
pub(super) fn deletion_of(job: &JobRecord, facade: &Facade) -> Option<BackgroundJobId> {
    facade.deletions.requests.tracked.row_of(job)
}

/// Refuses to take a job out that would be put in anew.
pub(super) async fn may_be_taken_out(job: &JobRecord, facade: &Facade) -> Result<(), Details> {
    let Some(id) = deletion_of(job, facade) else { return Ok(()) };
    match facade.deletions.read(facade.deletions.jobs.get(id)).await? {
        Some(row) if row.status.is_active() => Err(carries(format!(
            "job {} carries deletion {id}, which is {} and would be enqueued anew; cancel the deletion",
            job.id, row.status
        ))),
        _ => Ok(()),
    }
}

/// Refuses to run a job once more whose deletion says what becomes of it.
pub(super) async fn may_run_again(job: &JobRecord, facade: &Facade) -> Result<(), Details> {
    let Some(id) = deletion_of(job, facade) else { return Ok(()) };
    match facade.deletions.read(facade.deletions.jobs.get(id)).await? {
        Some(row) if row.status.is_active() => Err(carries(format!(
            "job {} carries deletion {id}, which is {}; it is enqueued anew by itself",
            job.id, row.status
        ))),
        Some(row) => Err(carries(format!(
            "job {} carries deletion {id}, which is {}; retry the deletion",
            job.id, row.status
        ))),
        None => Ok(()),
    }
}

/// The refusal.
pub(super) fn carries(message: String) -> Details {
    Details::new(StatusCode::CONFLICT, "carries_deletion", message)
}
