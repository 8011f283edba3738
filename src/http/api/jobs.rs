//! `/api/v1/jobs/…`: lists, cancels and retries queue jobs.
#![allow(unused_qualifications, reason = "the macro that describes queries writes them")]

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::details::{Details, ProblemDetails};
use crate::http::facade::Facade;
use crate::http::views::time;
use crate::job::{JobId, JobRecord, JobState};
use crate::operations::Queues;
use crate::queue::{JobFilter, JobsFound};

/// The default number of jobs per page.
const PAGE: u32 = 50;
/// The most jobs per page.
const LARGEST_PAGE: u32 = 500;

/// The filter and the page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only jobs of this queue.
    queue: Option<String>,
    /// Only jobs in this state: `queued`, `scheduled`, `started`, `finished`, `failed` or `canceled`.
    #[param(pattern = "^(queued|scheduled|started|finished|failed|canceled)?$")]
    state: Option<String>,
    /// Only jobs of this function, as it was enqueued.
    function: Option<String>,
    /// Only jobs whose id or function contains this text.
    search: Option<String>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Jobs per page, limited to 1 to 500; 50 by default.
    limit: Option<i64>,
}

/// One page of jobs.
#[derive(Serialize, ToSchema)]
pub(super) struct JobPage {
    /// Newest first.
    jobs: Vec<JobSummary>,
    /// The cursor of the next page; empty at the end.
    next_cursor: Option<String>,
    /// Whether the search was complete. `false`: on Redis a search for a function or a text covers the newest
    /// 8,000 jobs, and there are more (a whole id always finds its job), or the job in `cursor` is gone:
    /// request the first page again.
    complete: bool,
}

/// A job in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct JobSummary {
    /// Its id.
    #[schema(example = "2f1d0d4c-7b5a-4a44-9d44-0c1c44b1d7a2")]
    id: String,
    /// Its queue.
    #[schema(example = "default")]
    queue: String,
    /// Its function.
    #[schema(example = "server.jobs.reports.weekly")]
    function: String,
    /// Its state.
    #[schema(value_type = String, example = "failed")]
    state: JobState,
    /// Whether it failed because a user stopped it.
    stopped: bool,
    /// How many times it was started.
    attempt: u32,
    /// How many attempts failed.
    failures: u32,
    /// When it was created.
    created_at: String,
    /// When its last attempt started.
    started_at: Option<String>,
    /// When it ended.
    ended_at: Option<String>,
    /// Why its last attempt failed: the last line of its error, cut after 1,000 characters.
    error: Option<String>,
}

/// The result of a change of a job.
#[derive(Serialize, ToSchema)]
pub(super) struct JobChange {
    /// Its id.
    pub(super) id: String,
    /// Its current state.
    #[schema(example = "queued")]
    pub(super) state: String,
    /// Whether the request changed it.
    pub(super) changed: bool,
}

impl JobChange {
    fn new(id: String, state: JobState) -> Self {
        Self { id, state: state.to_string(), changed: true }
    }
}

impl JobSummary {
    pub(super) fn new(job: &JobRecord) -> Self {
        Self {
            id: job.id.to_string(),
            queue: job.queue.to_string(),
            function: job.kind.to_string(),
            state: job.state,
            stopped: job.stopped,
            attempt: job.attempt,
            failures: job.failures,
            created_at: time(job.created_at),
            started_at: job.started_at.map(time),
            ended_at: job.ended_at.map(time),
            error: job.reason(),
        }
    }
}

/// Parses the parts of a filter.
pub(super) fn filter(
    (queue, state, function): (Option<&str>, Option<&str>, Option<&str>),
    search: Option<&str>,
    limit: u32,
) -> Result<JobFilter, Details> {
    let given = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let state = match given(state) {
        None => None,
        Some(word) => Some(JobState::parse(&word).ok_or_else(|| {
            let all = JobState::ALL.map(JobState::as_str).join(", ");
            let message = format!("`{word}` is no state; expected one of {all}");
            Details::new(StatusCode::BAD_REQUEST, "bad_filter", message)
        })?),
    };
    let (queue, kind) = (given(queue).map(Into::into), given(function).map(Into::into));
    Ok(JobFilter { queue, state, kind, text: given(search), limit, after: None })
}

/// Queue jobs, newest first, page by page
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(Wanted),
    responses((status = 200, body = JobPage), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn list(
    queues: web::Data<Queues>,
    wanted: web::Query<Wanted>,
) -> Result<HttpResponse, Details> {
    let size = wanted.limit.map_or(PAGE, |limit| u32::try_from(limit.max(1)).unwrap_or(LARGEST_PAGE));
    let size = size.min(LARGEST_PAGE);
    let words = (wanted.queue.as_deref(), wanted.state.as_deref(), wanted.function.as_deref());
    let mut filter = filter(words, wanted.search.as_deref(), size + 1)?;
    filter.after = wanted.cursor.as_deref().filter(|cursor| !cursor.is_empty()).map(JobId::from);
    let JobsFound { mut jobs, complete } = queues.read(queues.broker.search(&filter)).await?;
    let more = jobs.len() > size as usize;
    jobs.truncate(size as usize);
    let next_cursor = jobs.last().filter(|_| more).map(|job| job.id.to_string());
    let jobs = jobs.iter().map(JobSummary::new).collect();
    Ok(HttpResponse::Ok().json(JobPage { jobs, next_cursor, complete }))
}

/// Cancel a waiting job
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = JobChange), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 409, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn cancel(
    facade: web::Data<Facade>,
    id: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let jobs = facade.jobs();
    jobs.cancel(&jobs.find(&JobId::from(id.as_str())).await?).await?;
    Ok(HttpResponse::Ok().json(JobChange::new(id.into_inner(), JobState::Canceled)))
}

/// Retry a failed or canceled job
#[utoipa::path(post, path = "/api/v1/jobs/{id}/retry", tag = "jobs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = JobChange), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 409, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn retry(facade: web::Data<Facade>, id: web::Path<String>) -> Result<HttpResponse, Details> {
    let (jobs, name) = (facade.jobs(), JobId::from(id.as_str()));
    jobs.may_retry(&jobs.find(&name).await?).await?;
    jobs.retry(&[name]).await?.into_iter().collect::<Result<(), _>>()?;
    Ok(HttpResponse::Ok().json(JobChange::new(id.into_inner(), JobState::Queued)))
}
