//! Deletions as people ask for them, one tenant's at a time: made, moved and read, for the application's own calls and for
//! the page.

use std::sync::Arc;
use std::time::Duration;

use actix::{Handler, Message};
use actix_web::http::StatusCode;
use chrono::Utc;

use super::views::{QueueService, StuckAfter};
use super::{Limiter, Problem};
use crate::blob::BlobTarget;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, BusinessId, TraceContext};
use crate::queue::ProcessRecord;
use crate::store::{BackgroundJobs, Coverage, NewRequest, Person, PersonMove, Receipts, Requested};
use crate::tracking::{AskPerson, RequestFault, Requests, StatusTracker, new_queue_job};

/// What the facade works with.
pub struct Facade {
    /// Makes and moves rows, and puts in what carries them.
    pub requests: Requests,
    /// Reads rows.
    pub jobs: Arc<dyn BackgroundJobs>,
    /// How often a tenant may ask.
    pub limiter: Limiter<BusinessId>,
    /// When a job is shown as stuck.
    pub stuck_after: StuckAfter,
    /// What a plan is made from.
    pub planning: Planning,
    /// Longest wait for one answer.
    pub deadline: Duration,
}

/// What a plan is made from.
pub struct Planning {
    /// The tables.
    pub receipts: Arc<dyn Receipts>,
    /// Where objects lie.
    pub target: BlobTarget,
    /// Receipts in one batch.
    pub batch: u32,
    /// The rest between batches.
    pub throttle: Duration,
}

/// Who wishes, and for which tenant.
#[derive(Clone, Debug)]
pub(super) struct Wisher {
    /// The tenant.
    pub business_id: BusinessId,
    /// The person's number in the application, where there is one.
    pub user_id: Option<i64>,
    /// The person, for the record.
    pub name: String,
    /// The trace that the wish belongs to.
    pub trace: Option<TraceContext>,
}

impl Facade {
    pub(super) async fn read<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Problem> {
        let answer = self.within(answer).await;
        answer.map_err(|fault| Problem::unavailable("database", &fault))
    }

    pub(super) async fn within<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::new(FaultKind::Unavailable, "no answer in time")),
        }
    }

    /// A deletion of this tenant. Another's job, and a job of another type, is as if it were not
    /// there.
    pub(super) async fn deletion_of(
        &self,
        tenant: BusinessId,
        id: BackgroundJobId,
    ) -> Result<BackgroundJob, Problem> {
        let found = self.read(self.jobs.get(id)).await?;
        let theirs =
            |job: &BackgroundJob| job.business_id == tenant && job.job_type == self.requests.tracked.job_type;
        found.filter(theirs).ok_or_else(|| Problem::no_such_job(id))
    }

    /// Asks the tracker.
    async fn ask<M, T>(&self, message: M) -> Result<T, Problem>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
        StatusTracker: Handler<M>,
    {
        let answer = self.requests.ask(message).await;
        answer.map_err(|fault| Problem::unavailable("database", &fault))
    }

    /// Moves a row as somebody wishes; a resumed one is put into its queue again.
    pub(super) async fn carry_out(
        &self,
        wisher: &Wisher,
        id: BackgroundJobId,
        wish: PersonMove,
    ) -> Result<BackgroundJob, Problem> {
        let job = self.moved(wisher, id, wish).await?;
        if wish == PersonMove::Resume {
            let queue_job = job.note.queue_job.clone().unwrap_or_else(new_queue_job);
            failpoint::reach("facade.resumed");
            if let Err(fault) = self.requests.enqueue(&job, queue_job, wisher.trace.as_ref()).await {
                // Back to where it was, so that the next try finds it as this one did.
                self.moved(wisher, id, PersonMove::Pause).await?;
                return Err(Problem::unavailable("queue", &fault));
            }
            failpoint::reach("requests.enqueued");
        }
        Ok(job)
    }

    async fn moved(
        &self,
        wisher: &Wisher,
        id: BackgroundJobId,
        wish: PersonMove,
    ) -> Result<BackgroundJob, Problem> {
        let person = Person {
            id,
            business_id: wisher.business_id,
            wish,
            by: wisher.name.clone(),
            // An entry that a person's pause ended cannot be used again.
            queue_job: (wish == PersonMove::Resume).then(new_queue_job),
        };
        match self.ask(AskPerson(person)).await? {
            None => Err(Problem::no_such_job(id)),
            Some(Ok(job)) => Ok(job),
            Some(Err(status)) => Err(not_allowed(id, wish, status)),
        }
    }

    /// Makes a row for what `covers` says, and its queue job.
    pub(super) async fn make(&self, wisher: &Wisher, covers: Coverage) -> Result<Requested, Problem> {
        let request = NewRequest {
            business_id: wisher.business_id,
            user_id: wisher.user_id,
            job_type: self.requests.tracked.job_type.clone(),
            queue_job: new_queue_job(),
            covers,
        };
        self.requests.request(request, wisher.trace.as_ref()).await.map_err(|fault| match fault {
            RequestFault::Database(fault) => Problem::unavailable("database", &fault),
            RequestFault::Queue(fault) => Problem::unavailable("queue", &fault),
        })
    }

    /// Whether anybody listens to the queue of these jobs, and the time by which they are judged.
    pub(super) async fn queue_service(&self) -> QueueService {
        let queue = &self.requests.tracked.queue;
        let (processes, now) =
            futures::join!(self.within(self.requests.broker.processes()), self.within(self.jobs.now()));
        let listens = |all: Vec<ProcessRecord>| all.iter().any(|process| process.queues.contains(queue));
        QueueService {
            now: now.unwrap_or_else(|_| Utc::now()),
            stuck_after: self.stuck_after,
            queue: queue.to_string(),
            served: processes.ok().map(listens),
        }
    }
}

/// Why a wish cannot be granted, and when it could be.
fn not_allowed(id: BackgroundJobId, wish: PersonMove, status: Status) -> Problem {
    let (code, when) = match wish {
        PersonMove::Cancel => ("not_cancellable", "only a queued, running or paused job can be cancelled"),
        PersonMove::Pause => ("not_pausable", "only a queued or running job can be paused"),
        PersonMove::Resume => ("not_resumable", "only a job that a person paused can be resumed"),
    };
    Problem::new(StatusCode::BAD_REQUEST, code, format!("job {id} is {status}; {when}"))
}

pub(super) fn too_often(wait: Duration) -> Problem {
    let seconds = wait.as_secs_f64().ceil();
    let message = format!("a deletion was requested less than a minute ago; try again in {seconds} seconds");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message).retry_after(wait)
}

pub(super) fn job_id(text: &str) -> Result<BackgroundJobId, Problem> {
    text.parse().map(BackgroundJobId).map_err(|_| {
        let shown: String = text.chars().take(50).collect();
        let message = format!("`{shown}` is no job id; expected a whole number");
        Problem::new(StatusCode::BAD_REQUEST, "bad_job_id", message)
    })
}
