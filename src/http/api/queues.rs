//! `/api/v1/queues/…`: pausing a queue, and letting it go on.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::details::{Details, ProblemDetails};
use super::entrance::Visitor;
use crate::http::QueueDesk;
use crate::job::QueueName;

/// What became of a queue.
#[derive(Serialize, ToSchema)]
pub(super) struct QueueChange {
    /// The queue.
    #[schema(value_type = String, example = "maintenance")]
    queue: QueueName,
    /// Whether nothing is fetched from it now.
    paused: bool,
    /// Whether that is new.
    changed: bool,
}

/// Let nothing be fetched from a queue; what runs goes on
#[utoipa::path(post, path = "/api/v1/queues/{name}/pause", tag = "queues",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = QueueChange), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn pause(
    desk: web::Data<QueueDesk>,
    visitor: Visitor,
    name: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let queue = desk.find(&name).await?;
    let changed = desk.within(desk.broker.pause(&queue, &visitor.name)).await?;
    Ok(HttpResponse::Ok().json(QueueChange { queue, paused: true, changed }))
}

/// Let a queue go on
#[utoipa::path(post, path = "/api/v1/queues/{name}/resume", tag = "queues",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = QueueChange), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn resume(
    desk: web::Data<QueueDesk>,
    name: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let queue = desk.find(&name).await?;
    let changed = desk.within(desk.broker.resume(&queue)).await?;
    Ok(HttpResponse::Ok().json(QueueChange { queue, paused: false, changed }))
}
