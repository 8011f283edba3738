//! One step of a change of many jobs. It takes only a part of a request's time limit, so that a response with
//! the result of each job, and with what is left, is always sent.

use chrono::DateTime;
use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::bulk_request::BulkRequest;
use super::confirmation::Place;
use super::details::Details;
use super::jobs::{JobChange, filter};
use crate::fault::{Fault, FaultKind};
use crate::http::Problem;
use crate::job::{JobId, JobRecord, JobState};
use crate::operations::{Jobs, Queues, Refusal, audit_bulk};
use crate::queue::{JobFilter, JobsFound};

/// The most jobs in one change of ids, and in one step.
pub(super) const MOST: u32 = 1000;
/// The state in the result of a job if the queue did not answer.
const UNKNOWN: &str = "unknown";
/// Jobs that are changed concurrently.
const AT_ONCE: usize = 32;
/// Jobs that are read together.
const LOOK: u32 = 200;
/// How many times the search may start over because the last job of the previous step is gone.
const AGAIN: u8 = 100;

/// A change of many jobs for one user.
pub(super) struct Step<'a> {
    queues: &'a Queues,
    jobs: Jobs<'a>,
    request: &'a BulkRequest,
    /// The user, for the audit.
    who: &'a str,
    /// Nothing new is started after this.
    until: Instant,
    /// No answer is awaited after this.
    end: Instant,
}

/// The result of a step.
#[derive(Default)]
pub(super) struct Stepped {
    /// The result of each job; `unknown` if the queue did not answer.
    pub results: Vec<JobChange>,
    /// How many of the jobs, from the first on, are done with.
    handled: usize,
    /// Why the step was cut short.
    lost: Option<Problem>,
}

impl<'a> Step<'a> {
    /// A step that ends well before the time limit of the request.
    pub(super) fn new(
        queues: &'a Queues,
        jobs: Jobs<'a>,
        (request, who): (&'a BulkRequest, &'a str),
    ) -> Self {
        let now = Instant::now();
        let (until, end) = (now + queues.deadline / 2, now + queues.deadline.mul_f32(1.5));
        Self { queues, jobs, request, who, until, end }
    }

    /// The states that the action applies to and that the filter allows.
    fn states(&self, filter: &JobFilter) -> Vec<JobState> {
        let suits: &[JobState] = match self.request.action.as_str() {
            "retry" => &[JobState::Failed, JobState::Canceled],
            _ => &[JobState::Queued, JobState::Scheduled],
        };
        suits.iter().copied().filter(|state| filter.state.is_none_or(|only| only == *state)).collect()
    }

    fn filter(&self) -> Result<JobFilter, Details> {
        let request = self.request;
        let words = (request.queue.as_deref(), request.state.as_deref(), request.function.as_deref());
        filter(words, request.search.as_deref(), MOST)
    }

    /// The first jobs that matched at `moment`, at most [`MOST`], and whether those are all.
    pub(super) async fn matching(&self, moment: i64) -> Result<(Vec<String>, bool), Details> {
        let filter = self.filter()?;
        let (mut ids, mut complete) = (Vec::new(), true);
        for state in self.states(&filter) {
            let left = MOST.saturating_sub(u32::try_from(ids.len()).unwrap_or(MOST));
            if left == 0 {
                return Ok((ids, false));
            }
            let found = self.search(&JobFilter { state: Some(state), limit: left, ..filter.clone() }).await?;
            complete &= found.complete && found.jobs.len() < left as usize;
            let meant = found.jobs.iter().filter(|job| self.means(job, moment));
            ids.extend(meant.map(|job| job.id.to_string()));
        }
        Ok((ids, complete))
    }

    /// How many jobs match, with those of deletions; `None` if the filter has a function or a text.
    pub(super) async fn count(&self) -> Result<Option<u64>, Details> {
        let filter = self.filter()?;
        if filter.kind.is_some() || filter.text.is_some() {
            return Ok(None);
        }
        let mut counts = self.ask(self.queues.read(self.queues.broker.counts())).await?;
        counts.retain(|queue, _| filter.queue.as_ref().is_none_or(|only| only == queue));
        let states = self.states(&filter);
        let of = |mut counts: crate::queue::QueueCounts| -> u64 {
            states.iter().map(|state| *counts.of_mut(*state)).sum()
        };
        Ok(Some(counts.into_values().map(of).sum()))
    }

    /// Changes matching jobs from `place` on, and advances it. Returns whether there may be more.
    pub(super) async fn onward(&self, place: &mut Place) -> Result<(Vec<JobChange>, bool), Details> {
        let filter = self.filter()?;
        let states = self.states(&filter);
        let mut results = Vec::new();
        while let Some(state) = states.get(place.state) {
            if Instant::now() >= self.until || results.len() >= MOST as usize {
                return Ok((results, true));
            }
            let after = place.after.as_deref().map(JobId::from);
            let look = JobFilter { state: Some(*state), limit: LOOK, after, ..filter.clone() };
            let found = match self.search(&look).await {
                Err(problem) if results.is_empty() => return Err(problem.into()),
                Err(_) => return Ok((results, true)),
                Ok(found) => found,
            };
            if found.jobs.is_empty() {
                if !self.begin_anew(place).await? {
                    place.incomplete |= !found.complete;
                    (place.state, place.after, place.again) = (place.state + 1, None, 0);
                }
                continue;
            }
            let stepped = self.some(place, &found.jobs).await;
            let lost = stepped.lost;
            results.extend(stepped.results);
            match lost {
                Some(problem) if results.iter().all(|one| one.state == UNKNOWN) => return Err(problem.into()),
                Some(_) => return Ok((results, true)),
                None => {}
            }
        }
        Ok((results, false))
    }

    /// Whether the search must start over because the job where it was is gone.
    async fn begin_anew(&self, place: &mut Place) -> Result<bool, Problem> {
        let Some(after) = place.after.as_deref().map(JobId::from) else { return Ok(false) };
        match self.ask(self.jobs.find(&after)).await {
            Err(Refusal::NoJob(_)) => {}
            found => return found.map(|_| false).map_err(Into::into),
        }
        if place.again >= AGAIN {
            place.incomplete = true;
            return Ok(false);
        }
        (place.after, place.again) = (None, place.again + 1);
        Ok(true)
    }

    /// Changes those of these jobs that match, and moves `place` behind those that stay.
    async fn some(&self, place: &mut Place, jobs: &[JobRecord]) -> Stepped {
        let meant: Vec<JobId> =
            jobs.iter().filter(|job| self.means(job, place.moment)).map(|job| job.id.clone()).collect();
        let stepped = self.change(&meant).await;
        let stop = meant.get(stepped.handled);
        let passed = jobs.iter().take_while(|job| stop.is_none_or(|stop| job.id != *stop));
        let changed = |id: &JobId| stepped.results.iter().any(|one| one.changed && one.id == id.as_str());
        if let Some(stays) = passed.filter(|job| !changed(&job.id)).last() {
            place.after = Some(stays.id.to_string());
        }
        place.changed += stepped.results.iter().filter(|one| one.changed).count() as u64;
        // The remaining results are of jobs that will be tried again.
        let refused = stepped.results.iter().take(stepped.handled).filter(|one| !one.changed);
        place.refused += refused.count() as u64;
        stepped
    }

    /// Changes these jobs in order while there is time. Returns the results and the ids that are left.
    pub(super) async fn ids(&self) -> Result<(Vec<JobChange>, Vec<String>), Problem> {
        let ids: Vec<JobId> = self.request.ids.iter().map(JobId::from).collect();
        let stepped = self.change(&ids).await;
        let left = self.request.ids.iter().skip(stepped.handled).cloned().collect();
        match stepped.lost {
            Some(problem) if stepped.results.iter().all(|one| one.state == UNKNOWN) => Err(problem),
            _ => Ok((stepped.results, left)),
        }
    }

    async fn change(&self, ids: &[JobId]) -> Stepped {
        let mut stepped = Stepped::default();
        for some in ids.chunks(AT_ONCE) {
            if stepped.handled > 0 && Instant::now() >= self.until {
                break;
            }
            audit_bulk(self.who, &self.request.action, some);
            if self.request.action == "retry" {
                self.retry(some, &mut stepped).await;
            } else {
                self.cancel(some, &mut stepped).await;
            }
            if stepped.lost.is_some() {
                break;
            }
            stepped.handled += some.len();
        }
        stepped
    }

    async fn retry(&self, ids: &[JobId], stepped: &mut Stepped) {
        match self.ask(self.jobs.retry(ids)).await {
            Ok(answers) => {
                let told = ids.iter().zip(answers).map(|(id, answer)| told(id, JobState::Queued, answer));
                stepped.results.extend(told);
            }
            Err(refusal) => {
                stepped.results.extend(ids.iter().map(|id| left(id, UNKNOWN)));
                stepped.lost = Some(refusal.into());
            }
        }
    }

    async fn cancel(&self, ids: &[JobId], stepped: &mut Stepped) {
        let answers = join_all(ids.iter().map(|id| self.ask(self.jobs.take_out(id)))).await;
        for (id, answer) in ids.iter().zip(answers) {
            match answer {
                Err(refusal @ Refusal::Unavailable { .. }) => {
                    stepped.lost = Some(refusal.into());
                    stepped.results.push(left(id, UNKNOWN));
                }
                answer => stepped.results.push(told(id, JobState::Canceled, answer)),
            }
        }
    }

    /// Whether a job is to be changed. Not if it entered its state after `moment`, and not if it works on a
    /// deletion, which is cancelled and retried as such.
    fn means(&self, job: &JobRecord, moment: i64) -> bool {
        let ended = job.ended_at.filter(|_| !job.state.is_open());
        let stands_since = [Some(job.created_at), job.enqueued_at, ended].into_iter().flatten().max();
        let moment = DateTime::from_timestamp_millis(moment);
        stands_since.is_none_or(|since| moment.is_some_and(|moment| since <= moment))
            && self.jobs.deletion_of(job).is_none()
    }

    /// The requested ids without those of deletions. Ids without a job stay, and are reported when the change
    /// is made.
    pub(super) async fn named(&self) -> Result<Vec<String>, Details> {
        let mut named = Vec::with_capacity(self.request.ids.len());
        for some in self.request.ids.chunks(AT_ONCE) {
            let look = async |id: &String| self.ask(self.jobs.find(&JobId::from(id.as_str()))).await;
            for (id, job) in some.iter().zip(join_all(some.iter().map(look)).await) {
                match job {
                    Ok(job) if self.jobs.deletion_of(&job).is_some() => {}
                    Ok(_) | Err(Refusal::NoJob(_)) => named.push(id.clone()),
                    Err(refusal) => return Err(refusal.into()),
                }
            }
        }
        Ok(named)
    }

    async fn search(&self, filter: &JobFilter) -> Result<JobsFound, Problem> {
        Ok(self.ask(self.queues.read(self.queues.broker.search(filter))).await?)
    }

    /// Awaits an answer of the queue until the end of the step.
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let late = || Fault::new(FaultKind::Unavailable, "no answer in time");
        let answer = timeout_at(self.end, answer).await;
        answer.unwrap_or_else(|_| Err(Refusal::Unavailable { what: "broker", fault: late() }))
    }
}

/// The result of a job that should have entered `state`.
fn told(id: &JobId, state: JobState, answer: Result<(), Refusal>) -> JobChange {
    match answer {
        Ok(()) => JobChange { changed: true, ..left(id, state.as_str()) },
        Err(Refusal::JobIs { state, .. }) => left(id, state.as_str()),
        Err(Refusal::NoJob(_)) => left(id, "missing"),
        Err(refusal) => left(id, refusal.code()),
    }
}

fn left(id: &JobId, state: &str) -> JobChange {
    JobChange { id: id.to_string(), state: state.to_owned(), changed: false }
}
