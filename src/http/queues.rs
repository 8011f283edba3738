//! `/api/queues/…`: pauses and resumes queues. There is no tenant and no role: the secret suffices.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::Problem;
use super::caller::person;
use crate::operations::{Principal, Queues};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/queues/{name}/pause").route(web::post().to(pause)))
        .service(web::resource("/queues/{name}/resume").route(web::post().to(resume)));
}

/// Pauses a queue. The body is ignored, but read, so that its limit applies.
async fn pause(
    queues: web::Data<Queues>,
    request: HttpRequest,
    name: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (queue, changed) = queues.pause(&operator(&request)?, &name).await?;
    Ok(HttpResponse::Ok()
        .json(json!({ "success": true, "queue": queue, "paused": true, "changed": changed })))
}

async fn resume(
    queues: web::Data<Queues>,
    request: HttpRequest,
    name: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (queue, changed) = queues.resume(&operator(&request)?, &name).await?;
    Ok(HttpResponse::Ok()
        .json(json!({ "success": true, "queue": queue, "paused": false, "changed": changed })))
}

/// The principal, for the audit.
fn operator(request: &HttpRequest) -> Result<Principal, Problem> {
    let name = person(request)?.map_or_else(|| "http".to_owned(), |id| format!("user {id}"));
    Ok(Principal::operator(name, None))
}
