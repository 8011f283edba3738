//! `/api/receipts/…`: deletions of one tenant: requested, watched, paused, resumed, cancelled.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::http::Problem;
use crate::http::caller::Caller;
use crate::http::facade::{Facade, job_id, too_often};
use crate::http::views::{JobView, stuck_reason};
use crate::job::background::BackgroundJob;
use crate::job::{BackgroundJobId, BusinessId};
use crate::store::{Coverage, PersonMove, Requested};

/// The body is read, so that its limit holds, and not believed.
pub(super) async fn delete_all(
    facade: web::Data<Facade>,
    caller: Caller,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    caller.manages()?;
    let limited = facade.limiter.check(caller.business_id, Instant::now());
    if let Err(wait) = limited {
        return active_or(&facade, caller.business_id, too_often(wait)).await;
    }
    let answer = request(&facade, &caller, Coverage::Everything).await?;
    if answer.status() == StatusCode::ACCEPTED {
        // Only now: a request that came to nothing must not keep the next one waiting.
        facade.limiter.count(caller.business_id, Instant::now());
    }
    Ok(answer)
}

pub(super) async fn show(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&id)?;
    let job = facade.deletion_of(caller.business_id, id).await?;
    Ok(HttpResponse::Ok().json(JobView::new(&job, &facade.queue_service().await)))
}

pub(super) async fn status(facade: web::Data<Facade>, caller: Caller) -> Result<HttpResponse, Problem> {
    let job = facade.read(facade.jobs.latest(caller.business_id, &facade.requests.tracked.job_type)).await?;
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
    let job = carry_out(&facade, &caller, job_id(&id)?, PersonMove::Cancel).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "cancelled; it stops at its next batch")))
}

pub(super) async fn pause(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = carry_out(&facade, &caller, job_id(&id)?, PersonMove::Pause).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "paused; it stops at its next batch and keeps its place")))
}

pub(super) async fn resume(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = carry_out(&facade, &caller, job_id(&id)?, PersonMove::Resume).await?;
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

/// Carries out a person's wish for a deletion of their tenant.
async fn carry_out(
    facade: &Facade,
    caller: &Caller,
    id: BackgroundJobId,
    wish: PersonMove,
) -> Result<BackgroundJob, Problem> {
    caller.manages()?;
    facade.deletion_of(caller.business_id, id).await?;
    facade.carry_out(&caller.wisher(), id, wish).await
}

/// Makes a row for what `covers` says, and its queue job.
pub(super) async fn request(
    facade: &Facade,
    caller: &Caller,
    covers: Coverage,
) -> Result<HttpResponse, Problem> {
    let requested = facade.make(&caller.wisher(), covers).await?;
    Ok(match requested {
        Requested::Active(job) => HttpResponse::Ok().json(already_running(&job)),
        Requested::Nothing => HttpResponse::Ok().json(json!({
            "success": true, "job_id": null, "status": null, "total": 0,
            "message": "there are no receipts to delete",
        })),
        Requested::Created(job) => HttpResponse::Accepted().json(json!({
            "success": true, "job_id": job.id, "status": job.status, "total": job.progress.total,
            "message": format!("deleting {} receipts", job.progress.total),
        })),
    })
}

/// The tenant's active job, or else `problem`.
async fn active_or(facade: &Facade, tenant: BusinessId, problem: Problem) -> Result<HttpResponse, Problem> {
    let job = facade.read(facade.jobs.latest(tenant, &facade.requests.tracked.job_type)).await?;
    match job.filter(|job| job.status.is_active()) {
        Some(job) => Ok(HttpResponse::Ok().json(already_running(&job))),
        None => Err(problem),
    }
}
