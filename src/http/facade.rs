//! `/api/receipts/…`: deletions of one tenant: requested, watched, paused, resumed, cancelled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::Utc;
use serde_json::{Value, json};

use super::caller::Caller;
use super::views::{JobView, QueueService, StuckAfter, stuck_reason};
use super::{Limiter, Planning, Problem, plan, retry};
use crate::actors::Requests;
use crate::fault::{Fault, FaultKind};
use crate::job::background::BackgroundJob;
use crate::job::{BackgroundJobId, BusinessId};
use crate::queue::ProcessRecord;
use crate::store::{BackgroundJobs, Coverage, PersonMove, Requested};

/// What the facade works with.
pub struct Facade {
    /// Makes and moves rows, and puts in what carries them.
    pub requests: Requests,
    /// Reads rows.
    pub jobs: Arc<dyn BackgroundJobs>,
    /// How often a tenant may ask.
    pub limiter: Limiter<BusinessId>,
    /// When a job is shown as stuck.
    pub stuck_after: StuckAfter,
    /// What a plan is made from.
    pub planning: Planning,
    /// Longest wait for one answer.
    pub deadline: Duration,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/receipts/delete_all").route(web::post().to(delete_all)))
        .service(web::resource("/receipts/delete_all/plan").route(web::get().to(plan::plan)))
        .service(web::resource("/receipts/jobs/{id}").route(web::get().to(show)))
        .service(web::resource("/receipts/delete-job/status").route(web::get().to(status)))
        .service(web::resource("/receipts/jobs/{id}/cancel").route(web::post().to(cancel)))
        .service(web::resource("/receipts/jobs/{id}/pause").route(web::post().to(pause)))
        .service(web::resource("/receipts/jobs/{id}/resume").route(web::post().to(resume)))
        .service(web::resource("/receipts/jobs/{id}/failed_rows").route(web::get().to(retry::failed_rows)))
        .service(web::resource("/receipts/jobs/{id}/retry").route(web::post().to(retry::retry)))
        .service(
            web::resource("/receipts/jobs/{id}/retry_failed_rows")
                .route(web::post().to(retry::retry_failed_rows)),
        );
}

/// The body is read, so that its limit holds, and not believed.
async fn delete_all(
    facade: web::Data<Facade>,
    caller: Caller,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    caller.manages()?;
    let limited = facade.limiter.check(caller.business_id, Instant::now());
    if let Err(wait) = limited {
        return facade.active_or(caller.business_id, too_often(wait)).await;
    }
    let answer = facade.request(&caller, Coverage::Everything).await?;
    if answer.status() == StatusCode::ACCEPTED {
        // Only now: a request that came to nothing must not keep the next one waiting.
        facade.limiter.count(caller.business_id, Instant::now());
    }
    Ok(answer)
}

pub(super) fn too_often(wait: Duration) -> Problem {
    let seconds = wait.as_secs_f64().ceil();
    let message = format!("a deletion was requested less than a minute ago; try again in {seconds} seconds");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message).retry_after(wait)
}

fn already_running(job: &BackgroundJob) -> Value {
    json!({
        "success": true, "job_id": job.id, "status": job.status, "total": job.progress.total,
        "message": "a deletion is under way already",
    })
}

async fn show(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&id)?;
    let job = facade.deletion_of(&caller, id).await?;
    Ok(HttpResponse::Ok().json(facade.view(&job).await))
}

async fn status(facade: web::Data<Facade>, caller: Caller) -> Result<HttpResponse, Problem> {
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

async fn cancel(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = facade.wish(&caller, job_id(&id)?, PersonMove::Cancel).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "cancelled; it stops at its next batch")))
}

async fn pause(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = facade.wish(&caller, job_id(&id)?, PersonMove::Pause).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "paused; it stops at its next batch and keeps its place")))
}

async fn resume(
    facade: web::Data<Facade>,
    caller: Caller,
    id: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let job = facade.wish(&caller, job_id(&id)?, PersonMove::Resume).await?;
    Ok(HttpResponse::Ok().json(changed(&job, "resumed; it goes on from its checkpoint")))
}

fn changed(job: &BackgroundJob, message: &str) -> Value {
    json!({ "success": true, "job_id": job.id, "status": job.status, "message": message })
}

pub(super) fn job_id(text: &str) -> Result<BackgroundJobId, Problem> {
    text.parse().map(BackgroundJobId).map_err(|_| {
        let shown: String = text.chars().take(50).collect();
        let message = format!("`{shown}` is no job id; expected a whole number");
        Problem::new(StatusCode::BAD_REQUEST, "bad_job_id", message)
    })
}

impl Facade {
    pub(super) async fn read<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Problem> {
        let answer = self.within(answer).await;
        answer.map_err(|fault| Problem::unavailable("database", &fault))
    }

    pub(super) async fn within<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::new(FaultKind::Unavailable, "no answer in time")),
        }
    }

    /// A deletion of the caller's tenant. Another's job, and a job of another type, is as if it were not
    /// there.
    pub(super) async fn deletion_of(
        &self,
        caller: &Caller,
        id: BackgroundJobId,
    ) -> Result<BackgroundJob, Problem> {
        let found = self.read(self.jobs.get(id)).await?;
        let theirs = |job: &BackgroundJob| {
            job.business_id == caller.business_id && job.job_type == self.requests.tracked.job_type
        };
        found.filter(theirs).ok_or_else(|| Problem::no_such_job(id))
    }

    /// Carries out a person's wish for a deletion of their tenant.
    async fn wish(
        &self,
        caller: &Caller,
        id: BackgroundJobId,
        wish: PersonMove,
    ) -> Result<BackgroundJob, Problem> {
        caller.manages()?;
        self.deletion_of(caller, id).await?;
        self.carry_out(&caller.wisher(), id, wish).await
    }

    /// Makes a row for what `covers` says, and its queue job.
    pub(super) async fn request(&self, caller: &Caller, covers: Coverage) -> Result<HttpResponse, Problem> {
        let requested = self.make(&caller.wisher(), covers).await?;
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
    async fn active_or(&self, tenant: BusinessId, problem: Problem) -> Result<HttpResponse, Problem> {
        let job = self.read(self.jobs.latest(tenant, &self.requests.tracked.job_type)).await?;
        match job.filter(|job| job.status.is_active()) {
            Some(job) => Ok(HttpResponse::Ok().json(already_running(&job))),
            None => Err(problem),
        }
    }

    async fn view(&self, job: &BackgroundJob) -> JobView {
        JobView::new(job, &self.queue_service().await)
    }

    /// Whether anybody listens to the queue of these jobs, and the time by which they are judged.
    pub(super) async fn queue_service(&self) -> QueueService {
        let queue = &self.requests.tracked.queue;
        let (processes, now) =
            futures::join!(self.within(self.requests.broker.processes()), self.within(self.jobs.now()));
        let listens = |all: Vec<ProcessRecord>| all.iter().any(|process| process.queues.contains(queue));
        QueueService {
            now: now.unwrap_or_else(|_| Utc::now()),
            stuck_after: self.stuck_after,
            queue: queue.to_string(),
            served: processes.ok().map(listens),
        }
    }
}
