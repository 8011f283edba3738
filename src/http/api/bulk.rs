//! `/api/v1/jobs/bulk`: many jobs at once, in two steps: first what it would be, then exactly that.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::details::{Details, ProblemDetails};
use super::entrance::{Entrance, Visitor};
use super::jobs::{JobChange, filter};
use crate::http::{Problem, QueueDesk};
use crate::job::{JobId, JobState};
use crate::queue::Requeued;

/// Jobs in one change at most.
const MOST: u32 = 1000;

/// What is to be done to many jobs.
#[derive(Deserialize, ToSchema)]
pub(super) struct BulkWish {
    /// `retry` or `cancel`.
    #[schema(example = "retry")]
    action: String,
    /// Only of this queue.
    queue: Option<String>,
    /// Only in this state; without it those that the action suits.
    state: Option<String>,
    /// Only of this function.
    function: Option<String>,
    /// Only those whose id or function contains this text.
    search: Option<String>,
    /// These and no others, as the first answer named them; then the filter says nothing.
    #[serde(default)]
    ids: Vec<String>,
    /// What the first answer gave; with it the jobs are changed.
    confirm: Option<String>,
}

/// What would be done, or was done.
#[derive(Serialize, ToSchema)]
pub(super) struct BulkAnswer {
    /// Whether anything was changed.
    done: bool,
    /// The jobs that would be changed.
    ids: Vec<String>,
    /// Send the same action again with these ids and this word.
    confirm: Option<String>,
    /// What became of each.
    results: Vec<JobChange>,
}

/// Retry or cancel many jobs: without `confirm` it only says which
#[utoipa::path(post, path = "/api/v1/jobs/bulk", tag = "jobs", request_body = BulkWish,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = BulkAnswer), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails),
        (status = 409, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn bulk(
    (desk, entrance): (web::Data<QueueDesk>, web::Data<Entrance>),
    visitor: Visitor,
    body: web::Bytes,
) -> Result<HttpResponse, Details> {
    let bad = |code, message: String| Details::new(StatusCode::BAD_REQUEST, code, message);
    let wish: BulkWish = serde_json::from_slice(&body)
        .map_err(|error| bad("bad_request", format!("the body cannot be read: {error}")))?;
    let suits: &[JobState] = match wish.action.as_str() {
        "retry" => &[JobState::Failed, JobState::Canceled],
        "cancel" => &[JobState::Queued, JobState::Scheduled],
        other => {
            return Err(bad("bad_action", format!("`{other}` is no action; expected `retry` or `cancel`")));
        }
    };
    let seal = |ids: &[String]| {
        let text = format!("{}\n{}\n{}", visitor.name, wish.action, ids.join("\n"));
        entrance.seals().map(|sealer| sealer.seal("bulk", &text))
    };
    let Some(confirm) = &wish.confirm else {
        let ids = if wish.ids.is_empty() { chosen(&desk, &wish, suits).await? } else { wish.ids.clone() };
        let confirm = seal(&ids);
        return Ok(HttpResponse::Ok().json(BulkAnswer { done: false, ids, confirm, results: Vec::new() }));
    };
    if wish.ids.len() > MOST as usize || seal(&wish.ids).as_ref() != Some(confirm) {
        let message = "`confirm` does not belong to these ids and this action; ask again without it first";
        return Err(Details::new(StatusCode::CONFLICT, "not_confirmed", message));
    }
    let results = carry_out(&desk, &wish).await?;
    tracing::info!(target: "tikkun::audit", who = visitor.name, action = wish.action, jobs = ?wish.ids, "bulk change");
    Ok(HttpResponse::Ok().json(BulkAnswer { done: true, ids: wish.ids, confirm: None, results }))
}

/// The jobs that the filter and the action mean, at most [`MOST`].
async fn chosen(desk: &QueueDesk, wish: &BulkWish, suits: &[JobState]) -> Result<Vec<String>, Details> {
    let words = (wish.queue.as_deref(), wish.state.as_deref(), wish.function.as_deref());
    let filter = filter(words, wish.search.as_deref(), MOST)?;
    let mut ids = Vec::new();
    for state in suits.iter().filter(|state| filter.state.is_none_or(|only| only == **state)) {
        let left = MOST.saturating_sub(u32::try_from(ids.len()).unwrap_or(MOST));
        let filter = crate::queue::JobFilter { state: Some(*state), limit: left, ..filter.clone() };
        let jobs = desk.within(desk.broker.jobs(&filter)).await?;
        ids.extend(jobs.iter().map(|job| job.id.to_string()));
    }
    Ok(ids)
}

async fn carry_out(desk: &QueueDesk, wish: &BulkWish) -> Result<Vec<JobChange>, Problem> {
    let ids: Vec<JobId> = wish.ids.iter().map(JobId::from).collect();
    let change = |id: &JobId, state: String, changed| JobChange { id: id.to_string(), state, changed };
    if wish.action == "retry" {
        let answers = desk.within(desk.broker.requeue(&ids)).await?;
        let told = ids.iter().zip(answers).map(|(id, answer)| match answer {
            Requeued::Waits => change(id, JobState::Queued.to_string(), true),
            Requeued::Is(state) => change(id, state.to_string(), false),
            Requeued::Missing => change(id, "missing".to_owned(), false),
            Requeued::Duplicate(_) => change(id, "duplicate".to_owned(), false),
        });
        return Ok(told.collect());
    }
    let mut told = Vec::with_capacity(ids.len());
    for id in &ids {
        let state = desk.within(desk.broker.cancel(id)).await?;
        let word = state.map_or_else(|| "missing".to_owned(), |state| state.to_string());
        told.push(change(id, word, state == Some(JobState::Canceled)));
    }
    Ok(told)
}
