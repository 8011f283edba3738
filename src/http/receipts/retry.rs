//! `/api/receipts/jobs/{id}/retry…`: what a deletion left behind: shown, and requested anew.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::deletions::requested;
use crate::http::Problem;
use crate::http::caller::Caller;
use crate::http::facade::{Facade, job_id};

/// The most rows in one answer.
const ROWS: u32 = 1000;

/// Receipts that could not be changed, with the database's own reason for each.
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

/// A new request for what a failed or cancelled one left; receipts that came later are not touched.
pub(super) async fn retry(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    Ok(requested(facade.deletions.retry(&caller.principal, job_id(&id)?).await?))
}

/// A new request for what an ended one set aside, and for nothing else.
pub(super) async fn retry_failed_rows(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    Ok(requested(facade.deletions.retry_failed_rows(&caller.principal, job_id(&id)?).await?))
}
