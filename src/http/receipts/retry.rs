//! `/api/receipts/jobs/{id}/retry…`: shows what a deletion could not change, and requests it again.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::deletions::requested;
use crate::http::Problem;
use crate::http::caller::Caller;
use crate::http::facade::{Facade, job_id};

/// The most rows in a response.
const ROWS: u32 = 1000;

/// The receipts that could not be changed, with the database's reason for each.
pub(super) async fn failed_rows(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = facade.deletions.find(&caller.principal, job_id(&id)?).await?;
    let rows = facade.deletions.read(facade.planning.receipts.set_aside(job.id, ROWS)).await?;
    let row = |row: &crate::store::SetAside| json!({ "receipt_id": row.receipt, "reason": row.reason });
    Ok(HttpResponse::Ok().json(json!({
        "job_id": job.id, "failed_count": job.progress.failed,
        "rows": rows.iter().map(row).collect::<Value>(),
    })))
}

/// Requests again what a failed or cancelled deletion left; newer receipts are not touched.
pub(super) async fn retry(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    Ok(requested(facade.deletions.retry(&caller.principal, job_id(&id)?).await?))
}

/// Requests again only the receipts that an ended deletion could not change.
pub(super) async fn retry_failed_rows(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    Ok(requested(facade.deletions.retry_failed_rows(&caller.principal, job_id(&id)?).await?))
}
