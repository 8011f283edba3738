//! `/api/queues/…`: operators pause a queue and let it go on. No tenant and no role: the secret is enough.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::Problem;
use super::caller::person;
use crate::fault::{Fault, FaultKind};
use crate::job::QueueName;
use crate::queue::Broker;

/// What operators work with.
pub struct QueueDesk {
    /// The queues.
    pub broker: Arc<dyn Broker>,
    /// Queues that may be paused before they are ever used.
    pub known: BTreeSet<QueueName>,
    /// Longest wait for one answer.
    pub deadline: Duration,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/queues/{name}/pause").route(web::post().to(pause)))
        .service(web::resource("/queues/{name}/resume").route(web::post().to(resume)));
}

/// The body is read, so that its limit holds, and not believed.
async fn pause(
    desk: web::Data<QueueDesk>,
    request: HttpRequest,
    name: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (queue, by) = (desk.find(&name).await?, operator(&request)?);
    let changed = desk.within(desk.broker.pause(&queue, &by)).await?;
    tracing::info!(queue.name = %queue, by, changed, "queue paused");
    Ok(HttpResponse::Ok()
        .json(json!({ "success": true, "queue": queue, "paused": true, "changed": changed })))
}

async fn resume(
    desk: web::Data<QueueDesk>,
    request: HttpRequest,
    name: web::Path<String>,
    _body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (queue, by) = (desk.find(&name).await?, operator(&request)?);
    let changed = desk.within(desk.broker.resume(&queue)).await?;
    tracing::info!(queue.name = %queue, by, changed, "queue resumed");
    Ok(HttpResponse::Ok()
        .json(json!({ "success": true, "queue": queue, "paused": false, "changed": changed })))
}

/// Who asks, for the record.
fn operator(request: &HttpRequest) -> Result<String, Problem> {
    Ok(person(request)?.map_or_else(|| "http".to_owned(), |id| format!("user {id}")))
}

impl QueueDesk {
    /// A queue that is known, was used or is paused; a slip of the pen pauses nothing.
    pub(super) async fn find(&self, name: &str) -> Result<QueueName, Problem> {
        let queue = QueueName::from(name);
        let broker = &self.broker;
        let known = self.known.contains(&queue)
            || self.within(broker.counts()).await?.contains_key(&queue)
            || self.within(broker.paused()).await?.contains_key(&queue);
        let message = || format!("there is no queue `{name}`: none of the known ones, and never used");
        known
            .then_some(queue)
            .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "queue_not_found", message()))
    }

    pub(super) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Problem> {
        let late = |_| Fault::new(FaultKind::Unavailable, "no answer in time");
        let answer = tokio::time::timeout(self.deadline, answer).await.map_err(late);
        answer.and_then(|answer| answer).map_err(|fault| Problem::unavailable("broker", &fault))
    }
}
