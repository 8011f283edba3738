//! What the facade and the page both do to deletions: a person's wish, and a request anew.

use actix::{Handler, Message};
use actix_web::http::StatusCode;

use super::Problem;
use super::facade::Facade;
use crate::actors::{AskPerson, RequestFault, StatusTracker, new_queue_job};
use crate::failpoint;
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, BusinessId, TraceContext};
use crate::store::{Coverage, NewRequest, Person, PersonMove, Requested};

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
