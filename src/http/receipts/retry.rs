//! `/api/receipts/jobs/{id}/retry…`: what a deletion left behind: shown, and requested anew.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::deletions::request;
use crate::http::Problem;
use crate::http::caller::Caller;
use crate::http::facade::{Facade, job_id};
use crate::job::background::Status;
use crate::store::Coverage;

/// The most rows in one answer.
const ROWS: u32 = 1000;

/// Receipts that could not be changed, with the database's own reason for each.
pub(super) async fn failed_rows(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = facade.deletion_of(caller.business_id, job_id(&id)?).await?;
    let rows = facade.read(facade.planning.receipts.set_aside(job.id, ROWS)).await?;
    let row = |row: &crate::store::SetAside| json!({ "receipt_id": row.receipt, "reason": row.reason });
    Ok(HttpResponse::Ok().json(json!({
        "job_id": job.id, "failed_count": job.progress.failed,
        "rows": rows.iter().map(row).collect::<Value>(),
    })))
}

/// A new request for what a failed or cancelled one left; receipts that came later are not touched.
pub(super) async fn retry(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    caller.manages()?;
    let job = facade.deletion_of(caller.business_id, job_id(&id)?).await?;
    match job.status {
        Status::Failed | Status::Cancelled => request(&facade, &caller, Coverage::RestOf(job.id)).await,
        status => {
            let message =
                format!("job {} is {status}; only a failed or cancelled job can be retried", job.id);
            Err(Problem::new(StatusCode::BAD_REQUEST, "not_retryable", message))
        }
    }
}

/// A new request for what an ended one set aside, and for nothing else.
pub(super) async fn retry_failed_rows(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    caller.manages()?;
    let job = facade.deletion_of(caller.business_id, job_id(&id)?).await?;
    if job.status.is_active() {
        let message =
            format!("job {} is {}; its failed rows can be retried once it has ended", job.id, job.status);
        return Err(Problem::new(StatusCode::BAD_REQUEST, "not_retryable", message));
    }
    request(&facade, &caller, Coverage::SetAsideOf(job.id)).await
}
