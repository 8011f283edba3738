//! `/api/v1/deletions/…`: deletions of all tenants: lists, shows, pauses, resumes, cancels and retries them.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::ApiUser;
use super::details::{Details, ProblemDetails};
use super::overview::closing;
use crate::http::Problem;
use crate::http::board::{Board, DeletionRow, deletion_row};
use crate::http::facade::{Facade, job_id};
use crate::store::{PersonMove, Requested};

/// The most receipts that a deletion could not change in one response.
const ROWS: u32 = 200;
/// The `Retry-After` during an outage.
const COME_BACK: Duration = Duration::from_secs(5);

/// Active and recent deletions.
#[derive(Serialize, ToSchema)]
pub(super) struct DeletionList {
    /// Newest first.
    deletions: Vec<DeletionRow>,
}

/// One deletion, with the receipts that it could not change.
#[derive(Serialize, ToSchema)]
pub(super) struct DeletionDetail {
    #[serde(flatten)]
    row: DeletionRow,
    /// Receipts that could not be changed, and the database's reason for each.
    failed_rows: Vec<FailedRow>,
}

/// A receipt that could not be changed.
#[derive(Serialize, ToSchema)]
pub(super) struct FailedRow {
    /// The receipt.
    receipt_id: i64,
    /// The reason.
    reason: String,
}

/// The result of a request for a deletion.
#[derive(Serialize, ToSchema)]
pub(super) struct DeletionRequested {
    /// The deletion; empty if there is nothing to delete.
    pub(super) deletion: Option<DeletionRow>,
    /// Whether it is new; otherwise it was already active.
    pub(super) created: bool,
}

/// Active deletions, and the newest of the others
#[utoipa::path(get, path = "/api/v1/deletions", tag = "deletions",
    responses((status = 200, body = DeletionList), (status = 401, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn list(board: web::Data<Board>) -> Result<HttpResponse, Details> {
    let snapshot = board.now().await.ok_or_else(closing)?;
    if !snapshot.deletions_known {
        let message = "the database is out of reach, and so is what its deletions do; try again in a moment";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        return Err(problem.retry_after(COME_BACK).into());
    }
    Ok(HttpResponse::Ok().json(DeletionList { deletions: snapshot.deletions.clone() }))
}

/// One deletion
#[utoipa::path(get, path = "/api/v1/deletions/{id}", tag = "deletions", params(("id" = i64, Path)),
    responses((status = 200, body = DeletionDetail), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn show(
    facade: web::Data<Facade>,
    user: ApiUser,
    id: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let job = facade.deletions.find(&user.principal, job_id(&id)?).await?;
    let failed_rows = if job.progress.failed > 0 {
        facade.deletions.read(facade.planning.receipts.set_aside(job.id, ROWS)).await?
    } else {
        Vec::new()
    };
    let failed_rows = failed_rows.into_iter();
    Ok(HttpResponse::Ok().json(DeletionDetail {
        row: deletion_row(&job, &facade.queue_service().await, Vec::new()),
        failed_rows: failed_rows
            .map(|row| FailedRow { receipt_id: row.receipt.0, reason: row.reason })
            .collect(),
    }))
}

/// Pause, resume, cancel, retry, or retry_failed_rows
#[utoipa::path(post, path = "/api/v1/deletions/{id}/{action}", tag = "deletions",
    params(("id" = i64, Path),
        ("action" = String, Path, pattern = "^(pause|resume|cancel|retry|retry_failed_rows)$", description = "`pause`, `resume`, `cancel`; `retry` requests what a failed or cancelled one left, `retry_failed_rows` what an ended one could not change"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DeletionRequested), (status = 202, body = DeletionRequested),
        (status = 400, body = ProblemDetails), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn act(
    facade: web::Data<Facade>,
    user: ApiUser,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Details> {
    let (id, action) = path.into_inner();
    let (id, who, deletions) = (job_id(&id)?, user.principal, &facade.deletions);
    let request = match action.as_str() {
        "pause" => PersonMove::Pause,
        "resume" => PersonMove::Resume,
        "cancel" => PersonMove::Cancel,
        "retry" => return requested(&facade, deletions.retry(&who, id).await?).await,
        "retry_failed_rows" => {
            return requested(&facade, deletions.retry_failed_rows(&who, id).await?).await;
        }
        _ => return Err(Problem::of_status(StatusCode::NOT_FOUND).into()),
    };
    let job = deletions.change(&who, id, request).await?;
    let row = deletion_row(&job, &facade.queue_service().await, Vec::new());
    Ok(HttpResponse::Ok().json(DeletionRequested { deletion: Some(row), created: false }))
}

/// The response to a request: 202 if there is a new deletion.
pub(super) async fn requested(facade: &Facade, requested: Requested) -> Result<HttpResponse, Details> {
    let (job, created) = match requested {
        Requested::Created(job) => (Some(job), true),
        Requested::Active(job) => (Some(job), false),
        Requested::Nothing => (None, false),
    };
    let service = facade.queue_service().await;
    let deletion = job.map(|job| deletion_row(&job, &service, Vec::new()));
    let mut answer = if created { HttpResponse::Accepted() } else { HttpResponse::Ok() };
    Ok(answer.json(DeletionRequested { deletion, created }))
}
