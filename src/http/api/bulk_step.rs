//! One step of a change of many jobs: as many as fit into a part of a request's time, so that an answer always comes
//! and says what became of each and what is left.

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

/// Jobs in one change of ids, and in one step, at most.
pub(super) const MOST: u32 = 1000;
/// What is said of a job where the queue did not answer.
const UNKNOWN: &str = "unknown";
/// Jobs that are changed at the same time.
const AT_ONCE: usize = 32;
/// Jobs that are looked at together.
const LOOK: u32 = 200;
/// Times a list is begun anew before it is given up: each time its last job had gone.
const AGAIN: u8 = 100;

/// Retry or cancel, and for whom.
pub(super) struct Step<'a> {
    queues: &'a Queues,
    jobs: Jobs<'a>,
    request: &'a BulkRequest,
    /// The person, for the record.
    who: &'a str,
    /// No more is begun after this.
    until: Instant,
    /// No answer is waited for after this.
    end: Instant,
}

/// What a step did.
#[derive(Default)]
pub(super) struct Stepped {
    /// What became of each; `unknown` where the queue did not answer.
    pub results: Vec<JobChange>,
    /// Of the jobs that were to be changed so many from the first on need no other look.
    handled: usize,
    /// Why it went no further.
    lost: Option<Problem>,
}

impl<'a> Step<'a> {
    /// A step that ends well before a request's time does.
    pub(super) fn new(
        queues: &'a Queues,
        jobs: Jobs<'a>,
        (request, who): (&'a BulkRequest, &'a str),
    ) -> Self {
        let now = Instant::now();
        let (until, end) = (now + queues.deadline / 2, now + queues.deadline.mul_f32(1.5));
        Self { queues, jobs, request, who, until, end }
    }

    /// The states that the action suits, and that are asked for.
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

    /// The first jobs that match as things stood at `moment`, at most [`MOST`], and whether those are all.
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

    /// How many jobs there are at least that the filter and the action mean; it counts those that carry deletions, too.
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

    /// Changes what matches from `place` on, and moves it; says whether there is more.
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

    /// Whether the list has to be looked through from its beginning because the job where it went on has gone.
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

    /// Changes those of these jobs that are meant, and moves `place` behind what stays.
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
        // The others of the last ones come up again.
        let refused = stepped.results.iter().take(stepped.handled).filter(|one| !one.changed);
        place.refused += refused.count() as u64;
        stepped
    }

    /// Changes these jobs in their order, as far as the time goes.
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

    /// Whether a job is to be changed: one that came to where it is after the moment is left alone, and one that carries
    /// a deletion is cancelled and retried as that.
    fn means(&self, job: &JobRecord, moment: i64) -> bool {
        let ended = job.ended_at.filter(|_| !job.state.is_open());
        let stands_since = [Some(job.created_at), job.enqueued_at, ended].into_iter().flatten().max();
        let moment = DateTime::from_timestamp_millis(moment);
        stands_since.is_none_or(|since| moment.is_some_and(|moment| since <= moment))
            && self.jobs.deletion_of(job).is_none()
    }

    /// Of the ids that were asked for those of jobs that carry no deletion; one that is not there is reported when it
    /// comes to it.
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

    /// An answer of the queue, within what is left of the time.
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let late = || Fault::new(FaultKind::Unavailable, "no answer in time");
        let answer = timeout_at(self.end, answer).await;
        answer.unwrap_or_else(|_| Err(Refusal::Unavailable { what: "broker", fault: late() }))
    }
}

/// What became of a job that was to come into `state`.
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
