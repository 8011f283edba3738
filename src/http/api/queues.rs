//! `/api/v1/queues/…`: pauses and resumes queues.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::ApiUser;
use super::details::{Details, ProblemDetails};
use crate::job::QueueName;
use crate::operations::Queues;

/// The result of a change of a queue.
#[derive(Serialize, ToSchema)]
pub(super) struct QueueChange {
    /// The queue.
    #[schema(value_type = String, example = "maintenance")]
    queue: QueueName,
    /// Whether the queue is paused now.
    paused: bool,
    /// Whether the request changed it.
    changed: bool,
}

/// Pause a queue; running jobs continue
#[utoipa::path(post, path = "/api/v1/queues/{name}/pause", tag = "queues",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = QueueChange), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn pause(
    queues: web::Data<Queues>,
    user: ApiUser,
    name: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let (queue, changed) = queues.pause(&user.principal, &name).await?;
    Ok(HttpResponse::Ok().json(QueueChange { queue, paused: true, changed }))
}

/// Resume a queue
#[utoipa::path(post, path = "/api/v1/queues/{name}/resume", tag = "queues",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = QueueChange), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn resume(
    queues: web::Data<Queues>,
    user: ApiUser,
    name: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let (queue, changed) = queues.resume(&user.principal, &name).await?;
    Ok(HttpResponse::Ok().json(QueueChange { queue, paused: false, changed }))
}
