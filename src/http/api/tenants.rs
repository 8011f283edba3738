//! `/api/v1/tenants/{id}/deletion…`: shows, plans and requests the deletion of one tenant's receipts.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::ApiUser;
use super::deletions::{DeletionRequested, requested};
use super::details::{Details, ProblemDetails};
use crate::http::Problem;
use crate::http::board::{DeletionRow, deletion_row};
use crate::http::facade::Facade;
use crate::job::BusinessId;
use crate::store::Kept;

/// A tenant's newest deletion.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantDeletion {
    /// The tenant.
    business_id: i64,
    /// Receipts that it has now.
    receipts: i64,
    /// The active deletion, or the newest.
    deletion: Option<DeletionRow>,
}

/// The effect of a deletion now.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanView {
    /// Receipts that would be marked as deleted.
    receipts: u64,
    /// Attachments whose rows would be dropped.
    attachments: u64,
    /// Files that would be deleted.
    objects: u64,
    /// Their size, as far as it is known.
    bytes: u64,
    /// Attachments that would stay, with the reasons.
    kept: Vec<KeptView>,
    /// The estimated duration, in seconds.
    seconds: f64,
    /// The number of batches.
    batches: u64,
    /// The basis of `seconds`: `last_rate`, or `throttle`; then it will take longer.
    basis: &'static str,
    /// Receipts that the tenant's newest deletion leaves alone, and why; a new deletion includes them.
    left_alone: Option<String>,
}

/// Attachments that would stay for one reason.
#[derive(Serialize, ToSchema)]
pub(super) struct KeptView {
    /// A stable code.
    #[schema(example = "live_receipt")]
    reason: &'static str,
    /// The table and column with the reference, if that is the reason.
    reference: Option<String>,
    /// Their number.
    count: u64,
}

/// A confirmed request.
#[derive(Deserialize, ToSchema)]
pub(super) struct DeletionWish {
    /// The tenant's id once more.
    #[schema(example = 789)]
    confirm: i64,
}

/// A tenant's newest deletion, and how many receipts the tenant has
#[utoipa::path(get, path = "/api/v1/tenants/{id}/deletion", tag = "deletions", params(("id" = i64, Path)),
    responses((status = 200, body = TenantDeletion), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn show(facade: web::Data<Facade>, id: web::Path<String>) -> Result<HttpResponse, Details> {
    let tenant = tenant(&id)?;
    let job = facade.deletions.latest(tenant).await?;
    let receipts = facade.deletions.read(facade.planning.receipts.count_live(tenant)).await?;
    let service = facade.queue_service().await;
    let deletion = job.map(|job| deletion_row(&job, &service, Vec::new()));
    Ok(HttpResponse::Ok().json(TenantDeletion { business_id: tenant.0, receipts, deletion }))
}

/// What a deletion of all the tenant's receipts would do now, without doing it
#[utoipa::path(get, path = "/api/v1/tenants/{id}/deletion/plan", tag = "deletions", params(("id" = i64, Path)),
    responses((status = 200, body = PlanView), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn plan(facade: web::Data<Facade>, id: web::Path<String>) -> Result<HttpResponse, Details> {
    let planning = &facade.planning;
    let plan = facade.deletions.read(planning.receipts.plan(tenant(&id)?, &planning.target)).await?;
    let estimate = plan.estimate(planning.batch, planning.throttle);
    let kept = plan.kept.iter().map(|(reason, count)| KeptView {
        reason: reason.code(),
        reference: match reason {
            Kept::Reference(column) => Some(column.clone()),
            _ => None,
        },
        count: *count,
    });
    Ok(HttpResponse::Ok().json(PlanView {
        receipts: plan.receipts,
        attachments: plan.attachments,
        objects: plan.objects,
        bytes: plan.bytes,
        kept: kept.collect(),
        seconds: estimate.seconds,
        batches: estimate.batches,
        basis: estimate.basis,
        left_alone: plan.left_alone.map(|left| left.to_string()),
    }))
}

/// Delete all receipts that the tenant has now
#[utoipa::path(post, path = "/api/v1/tenants/{id}/deletion", tag = "deletions", request_body = DeletionWish,
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DeletionRequested), (status = 202, body = DeletionRequested),
        (status = 400, body = ProblemDetails), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 409, body = ProblemDetails),
        (status = 429, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn request(
    facade: web::Data<Facade>,
    user: ApiUser,
    (id, body): (web::Path<String>, web::Bytes),
) -> Result<HttpResponse, Details> {
    let tenant = tenant(&id)?;
    let request: DeletionWish = serde_json::from_slice(&body).map_err(|error| {
        Details::new(StatusCode::BAD_REQUEST, "bad_request", format!("the body cannot be read: {error}"))
    })?;
    if request.confirm != tenant.0 {
        let message =
            format!("`confirm` is {}, and the tenant is {tenant}; they must be the same", request.confirm);
        return Err(Details::new(StatusCode::CONFLICT, "not_confirmed", message));
    }
    requested(&facade, facade.deletions.request(&user.principal, tenant).await?).await
}

fn tenant(text: &str) -> Result<BusinessId, Problem> {
    text.parse().map(BusinessId).map_err(|_| {
        let shown: String = text.chars().take(50).collect();
        let message = format!("`{shown}` is no tenant; expected its number");
        Problem::new(StatusCode::BAD_REQUEST, "bad_tenant", message)
    })
}
