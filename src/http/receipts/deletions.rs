//! `/api/receipts/…`: requests, shows, pauses, resumes and cancels deletions of one tenant.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::http::Problem;
use crate::http::caller::Caller;
use crate::http::facade::{Facade, job_id};
use crate::http::views::{JobView, stuck_reason};
use crate::job::BusinessId;
use crate::job::background::BackgroundJob;
use crate::operations::Refusal;
use crate::store::{PersonMove, Requested};

/// Requests the deletion of all receipts. The body is ignored, but read, so that its limit applies.
pub(super) async fn delete_all(
    facade: web::Data<Facade>,
    caller: Caller,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    match facade.deletions.request(&caller.principal, caller.business_id).await {
        Ok(answer) => Ok(requested(answer)),
        Err(refusal @ Refusal::TooOften { .. }) => active_or(&facade, caller.business_id, refusal).await,
        Err(refusal) => Err(refusal.into()),
    }
}

pub(super) async fn show(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = facade.deletions.find(&caller.principal, job_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(JobView::new(&job, &facade.queue_service().await)))
}

pub(super) async fn status(facade: web::Data<Facade>, caller: Caller) -> Result<HttpResponse, Problem> {
    let job = facade.deletions.latest(caller.business_id).await?;
    let service = facade.queue_service().await;
    let stale = job.as_ref().and_then(|job| stuck_reason(job, &service));
    Ok(HttpResponse::Ok().json(json!({
        "has_active_job": job.as_ref().is_some_and(|job| job.status.is_active()),
        "job": job.as_ref().map(|job| JobView::new(job, &service)),
        "was_stale": stale.is_some(),
        "stale_reason": stale,
    })))
}

pub(super) async fn cancel(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = facade.deletions.change(&caller.principal, job_id(&id)?, PersonMove::Cancel).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "cancelled; it stops at its next batch")))
}

pub(super) async fn pause(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = facade.deletions.change(&caller.principal, job_id(&id)?, PersonMove::Pause).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "paused; it stops at its next batch and keeps its place")))
}

pub(super) async fn resume(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = facade.deletions.change(&caller.principal, job_id(&id)?, PersonMove::Resume).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "resumed; it goes on from its checkpoint")))
}

fn changed(job: &BackgroundJob, message: &str) -> Value {
    json!({ "success": true, "job_id": job.id, "status": job.status, "message": message })
}

fn already_running(job: &BackgroundJob) -> Value {
    json!({
        "success": true, "job_id": job.id, "status": job.status, "total": job.progress.total,
        "message": "a deletion is under way already",
    })
}

/// The response to a request for a deletion.
pub(super) fn requested(requested: Requested) -> HttpResponse {
    match requested {
        Requested::Active(job) => HttpResponse::Ok().json(already_running(&job)),
        Requested::Nothing => HttpResponse::Ok().json(json!({
            "success": true, "job_id": null, "status": null, "total": 0,
            "message": "there are no receipts to delete",
        })),
        Requested::Created(job) => HttpResponse::Accepted().json(json!({
            "success": true, "job_id": job.id, "status": job.status, "total": job.progress.total,
            "message": format!("deleting {} receipts", job.progress.total),
        })),
    }
}

/// The tenant's active job, else the refusal.
async fn active_or(facade: &Facade, tenant: BusinessId, refusal: Refusal) -> Result<HttpResponse, Problem> {
    match facade.deletions.latest(tenant).await?.filter(|job| job.status.is_active()) {
        Some(job) => Ok(HttpResponse::Ok().json(already_running(&job))),
        None => Err(refusal.into()),
    }
}
