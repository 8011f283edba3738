//! `/api/v1/jobs/bulk`: changes many jobs. The first request only lists them; the next ones change them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::Utc;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{ApiUser, Auth};
use super::bulk_request::BulkRequest;
use super::bulk_step::{MOST, Step};
use super::confirmation::{Confirms, Place};
use super::details::{Details, ProblemDetails};
use super::jobs::JobChange;
use crate::http::Problem;
use crate::http::facade::Facade;
use crate::operations::Queues;

/// What would be done, or has been done.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct BulkAnswer {
    /// Whether everything that was confirmed is done.
    done: bool,
    /// Before a change: the jobs that would be changed, at most 1000, without those of deletions, which are
    /// cancelled and retried as deletions. In a change of ids: those that are left.
    ids: Vec<String>,
    /// How many jobs would be changed; an estimate if `complete` is false, and there may be more.
    matching: u64,
    /// Whether these are all matching jobs; if `false`, there may be more. `false` after the last step: on
    /// Redis a search has not covered all jobs.
    complete: bool,
    /// While `done` is false, send the same action with the same filter or with these ids, and with this
    /// value. It covers the jobs that match now; later ones are left alone. It is valid for ten minutes.
    confirm: Option<String>,
    /// Jobs that all steps so far have changed.
    changed: u64,
    /// Jobs that could no longer be changed.
    refused: u64,
    /// The results of this step; `unknown` if the queue did not answer.
    results: Vec<JobChange>,
}

/// Retry or cancel many jobs; without `confirm` it only returns which
///
/// With `confirm` it changes as many as there is time for; `done` tells whether to send it again.
#[utoipa::path(post, path = "/api/v1/jobs/bulk", tag = "jobs", request_body = BulkRequest,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = BulkAnswer), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails),
        (status = 409, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn bulk(
    (queues, facade, auth): (web::Data<Queues>, web::Data<Facade>, web::Data<Auth>),
    user: ApiUser,
    body: web::Bytes,
) -> Result<HttpResponse, Details> {
    let bad = |code, message: String| Details::new(StatusCode::BAD_REQUEST, code, message);
    let request: BulkRequest = serde_json::from_slice(&body)
        .map_err(|error| bad("bad_request", format!("the body cannot be read: {error}")))?;
    if !["retry", "cancel"].contains(&request.action.as_str()) {
        let message = format!("`{}` is no action; expected `retry` or `cancel`", request.action);
        return Err(bad("bad_action", message));
    }
    let sealer = auth.seals().ok_or_else(Problem::unauthorized)?;
    let confirms = Confirms { sealer, who: &user.principal.name, now: Utc::now().timestamp_millis() };
    let step = Step::new(&queues, facade.jobs(), (&request, &user.principal.name));
    let answer = match &request.confirm {
        None if request.ids.is_empty() => would_match(&step, &request, confirms).await?,
        None => {
            let ids = step.named().await?;
            let (matching, confirm) = (ids.len() as u64, Some(confirms.seal(&request, None, &ids)));
            BulkAnswer { ids, matching, complete: true, confirm, ..BulkAnswer::default() }
        }
        Some(given) if request.ids.is_empty() => {
            let place = confirms.place(&request, given).ok_or_else(not_confirmed)?;
            all_that_match(&step, (&request, place), confirms).await?
        }
        Some(given) if request.ids.len() <= MOST as usize && confirms.confirms_ids(&request, given) => {
            these(&step, &request, confirms).await?
        }
        Some(_) => return Err(not_confirmed()),
    };
    Ok(HttpResponse::Ok().json(answer))
}

fn not_confirmed() -> Details {
    let message = "`confirm` does not belong to this action with this filter or these ids, or is older than ten minutes; \
                   ask again without it first";
    Details::new(StatusCode::CONFLICT, "not_confirmed", message)
}

/// The matching jobs that would be changed now.
async fn would_match(
    step: &Step<'_>,
    request: &BulkRequest,
    confirms: Confirms<'_>,
) -> Result<BulkAnswer, Details> {
    let place = Place { moment: confirms.now, ..Place::default() };
    let (ids, complete) = step.matching(place.moment).await?;
    let found = ids.len() as u64;
    let matching = if complete { found } else { step.count().await?.unwrap_or(0).max(found) };
    let confirm = Some(confirms.seal(request, Some(&place), &ids));
    Ok(BulkAnswer { ids, matching, complete, confirm, ..BulkAnswer::default() })
}

/// The next step of a change of all matching jobs.
async fn all_that_match(
    step: &Step<'_>,
    (request, mut place): (&BulkRequest, Place),
    confirms: Confirms<'_>,
) -> Result<BulkAnswer, Details> {
    let (results, more) = step.onward(&mut place).await?;
    let confirm = more.then(|| confirms.seal(request, Some(&place), &[]));
    let (changed, refused, complete) = (place.changed, place.refused, !place.incomplete);
    Ok(BulkAnswer { done: !more, confirm, complete, changed, refused, results, ..BulkAnswer::default() })
}

/// The next step of a change of ids.
async fn these(
    step: &Step<'_>,
    request: &BulkRequest,
    confirms: Confirms<'_>,
) -> Result<BulkAnswer, Details> {
    let (results, ids) = step.ids().await?;
    let confirm = (!ids.is_empty()).then(|| confirms.seal(request, None, &ids));
    let changed = results.iter().filter(|one| one.changed).count() as u64;
    let refused = (request.ids.len().saturating_sub(ids.len()) as u64).saturating_sub(changed);
    let (done, matching) = (ids.is_empty(), ids.len() as u64);
    Ok(BulkAnswer { done, ids, matching, complete: true, confirm, changed, refused, results })
}
