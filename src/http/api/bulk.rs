//! `/api/v1/jobs/bulk`: many jobs at once, in two steps: first what it would be, then exactly that.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::Utc;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::carrying::deletion_of;
use super::details::{Details, ProblemDetails};
use super::entrance::{Entrance, Visitor};
use super::jobs::{JobChange, filter};
use super::seal::Sealer;
use crate::http::facade::Facade;
use crate::http::{Problem, QueueDesk};
use crate::job::{JobId, JobState};
use crate::queue::Requeued;

/// Jobs in one change at most.
const MOST: u32 = 1000;
/// Seconds for which a confirmation holds.
const CONFIRMED: i64 = 600;
/// What is said of a job where the queue did not answer.
const UNKNOWN: &str = "unknown";
/// Jobs that are taken out at the same time.
const AT_ONCE: usize = 32;

/// What is to be done to many jobs.
#[derive(Deserialize, ToSchema)]
pub(super) struct BulkWish {
    /// `retry` or `cancel`.
    #[schema(example = "retry", pattern = "^(retry|cancel)$")]
    action: String,
    /// Only of this queue.
    queue: Option<String>,
    /// Only in this state; without it those that the action suits.
    #[schema(pattern = "^(queued|scheduled|started|finished|failed|canceled)?$")]
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
    /// The jobs that would be changed, at most 1000; without those that carry deletions, which are cancelled and
    /// retried as deletions.
    ids: Vec<String>,
    /// Whether these are all that match; `false`: there may be more.
    complete: bool,
    /// Send the same action again with these ids and this word.
    confirm: Option<String>,
    /// What became of each; `unknown` where the queue did not answer.
    results: Vec<JobChange>,
}

/// Retry or cancel many jobs: without `confirm` it only says which
#[utoipa::path(post, path = "/api/v1/jobs/bulk", tag = "jobs", request_body = BulkWish,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = BulkAnswer), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails),
        (status = 409, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn bulk(
    (desk, facade, entrance): (web::Data<QueueDesk>, web::Data<Facade>, web::Data<Entrance>),
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
    let now = Utc::now().timestamp();
    let Some(confirm) = &wish.confirm else {
        let (ids, complete) = if wish.ids.is_empty() {
            chosen((&desk, &facade), &wish, suits).await?
        } else {
            (named(&desk, &facade, &wish.ids).await?, true)
        };
        let confirm =
            entrance.seals().map(|sealer| confirmation(sealer, (&visitor, &wish.action, &ids), now));
        return Ok(HttpResponse::Ok().json(BulkAnswer {
            done: false,
            ids,
            complete,
            confirm,
            results: Vec::new(),
        }));
    };
    let meant = (&visitor, wish.action.as_str(), &wish.ids[..]);
    let confirms = |sealer: &Sealer| confirms(sealer, meant, confirm, now);
    if wish.ids.len() > MOST as usize || !entrance.seals().is_some_and(confirms) {
        let message = "`confirm` does not belong to these ids and this action, or is older than ten minutes; ask again \
                       without it first";
        return Err(Details::new(StatusCode::CONFLICT, "not_confirmed", message));
    }
    // Before it happens: whatever becomes of the answer, the log knows what was meant.
    tracing::info!(target: "tikkun::audit", who = visitor.name, action = wish.action, jobs = ?wish.ids, "bulk change");
    let results = carry_out(&desk, &wish).await?;
    Ok(HttpResponse::Ok().json(BulkAnswer {
        done: true,
        ids: wish.ids,
        complete: true,
        confirm: None,
        results,
    }))
}

/// Says that this person was shown these ids at this time, in seconds since the epoch.
fn confirmation(sealer: &Sealer, (who, action, ids): (&Visitor, &str, &[String]), at: i64) -> String {
    let text = serde_json::json!([who.name, action, ids, at]).to_string();
    format!("{at}.{}", sealer.seal("bulk", &text))
}

/// Whether that is what the person was shown, not long ago.
fn confirms(sealer: &Sealer, meant: (&Visitor, &str, &[String]), given: &str, now: i64) -> bool {
    let at = given.split_once('.').and_then(|(at, _)| at.parse::<i64>().ok());
    at.is_some_and(|at| {
        (0..=CONFIRMED).contains(&(now - at))
            && bool::from(confirmation(sealer, meant, at).as_bytes().ct_eq(given.as_bytes()))
    })
}

/// Of these ids those of jobs that carry no deletion; one that is not there is told of when it comes to it.
async fn named(desk: &QueueDesk, facade: &Facade, ids: &[String]) -> Result<Vec<String>, Details> {
    let mut named = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        let look = async |id: &String| desk.within(desk.broker.job(&JobId::from(id.as_str()))).await;
        for (id, job) in some.iter().zip(join_all(some.iter().map(look)).await) {
            if job?.is_none_or(|job| deletion_of(&job, facade).is_none()) {
                named.push(id.clone());
            }
        }
    }
    Ok(named)
}

/// The jobs that the filter and the action mean, at most [`MOST`], and whether those are all. Those that carry
/// deletions are left out: they are cancelled and retried as deletions.
async fn chosen(
    (desk, facade): (&QueueDesk, &Facade),
    wish: &BulkWish,
    suits: &[JobState],
) -> Result<(Vec<String>, bool), Details> {
    let words = (wish.queue.as_deref(), wish.state.as_deref(), wish.function.as_deref());
    let filter = filter(words, wish.search.as_deref(), MOST)?;
    let (mut ids, mut complete) = (Vec::new(), true);
    for state in suits.iter().filter(|state| filter.state.is_none_or(|only| only == **state)) {
        let left = MOST.saturating_sub(u32::try_from(ids.len()).unwrap_or(MOST));
        let filter = crate::queue::JobFilter { state: Some(*state), limit: left, ..filter.clone() };
        let found = desk.within(desk.broker.search(&filter)).await?;
        complete &= found.complete;
        let meant = found.jobs.iter().filter(|job| deletion_of(job, facade).is_none());
        ids.extend(meant.map(|job| job.id.to_string()));
    }
    let complete = complete && ids.len() < MOST as usize;
    Ok((ids, complete))
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
    let (mut told, mut lost) = (Vec::with_capacity(ids.len()), None);
    for some in ids.chunks(AT_ONCE) {
        // Once the queue is gone, the others are left alone.
        let asked = some.iter().take(if lost.is_some() { 0 } else { AT_ONCE });
        let answers = join_all(asked.map(|id| desk.within(desk.broker.cancel(id)))).await;
        let mut answers = answers.into_iter();
        for id in some {
            let word = match answers.next() {
                Some(Ok(Some(state))) => state.to_string(),
                Some(Ok(None)) => "missing".to_owned(),
                Some(Err(problem)) => {
                    lost = Some(problem);
                    UNKNOWN.to_owned()
                }
                None => UNKNOWN.to_owned(),
            };
            let canceled = word == JobState::Canceled.as_str();
            told.push(change(id, word, canceled));
        }
    }
    match lost {
        Some(problem) if told.iter().all(|one| one.state == UNKNOWN) => Err(problem),
        _ => Ok(told),
    }
}
