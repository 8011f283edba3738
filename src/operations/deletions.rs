//! Deletions: requested, cancelled, paused, resumed and requested anew.

use std::sync::Arc;
use std::time::Instant;

use super::limiter::Limiter;
use super::principal::Principal;
use super::refusal::{DeletionAction, Refusal};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, BusinessId};
use crate::store::{BackgroundJobs, Coverage, NewRequest, Person, PersonMove, Requested};
use crate::tracking::{AskPerson, RequestFault, Requests, new_queue_job};

/// What can be done with deletions.
pub struct Deletions {
    /// Makes and moves rows, and enqueues the jobs that carry them.
    pub requests: Requests,
    /// Reads rows.
    pub jobs: Arc<dyn BackgroundJobs>,
    /// How often a tenant may ask.
    pub limiter: Limiter<BusinessId>,
}

impl Deletions {
    /// An answer of the database, within the time that one may take.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn read<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Refusal> {
        self.within(answer).await.map_err(Refusal::database)
    }

    /// An answer of a back end, within the time that one may take.
    ///
    /// # Errors
    /// Its own, and that it came too late.
    pub async fn within<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let late = |_| Err(Fault::new(FaultKind::Unavailable, "no answer in time"));
        tokio::time::timeout(self.requests.deadline, answer).await.unwrap_or_else(late)
    }

    /// A deletion that is there for the principal.
    ///
    /// # Errors
    /// Another tenant's, and a job of another type, is as if it were not there.
    pub async fn find(&self, who: &Principal, id: BackgroundJobId) -> Result<BackgroundJob, Refusal> {
        let found = self.read(self.jobs.get(id)).await?.filter(|job| who.sees(job.business_id));
        match found {
            Some(job) if job.job_type == self.requests.tracked.job_type => Ok(job),
            other => Err(Refusal::NoDeletion { id, job_type: other.map(|job| job.job_type) }),
        }
    }

    /// The tenant's active deletion, or its newest.
    ///
    /// # Errors
    /// When the database does not serve.
    pub async fn latest(&self, tenant: BusinessId) -> Result<Option<BackgroundJob>, Refusal> {
        self.read(self.jobs.latest(tenant, &self.requests.tracked.job_type)).await
    }

    /// Requests the deletion of all receipts that the tenant has now. Only a request that makes a new one counts towards
    /// the limit: one that came to nothing must not keep the next one waiting.
    ///
    /// # Errors
    /// Who may not, too often, or a back end that does not serve.
    pub async fn request(&self, who: &Principal, tenant: BusinessId) -> Result<Requested, Refusal> {
        who.may_change()?;
        self.limiter.check(tenant, Instant::now()).map_err(|wait| Refusal::TooOften { wait })?;
        let requested = self.make(who, tenant, Coverage::Everything).await?;
        if matches!(requested, Requested::Created(_)) {
            self.limiter.count(tenant, Instant::now());
        }
        Ok(requested)
    }

    /// Requests anew what a failed or cancelled deletion left, and nothing that came later.
    ///
    /// # Errors
    /// Who may not, no such deletion, one that stands elsewhere, or a back end that does not serve.
    pub async fn retry(&self, who: &Principal, id: BackgroundJobId) -> Result<Requested, Refusal> {
        let job = self.find_to_change(who, id).await?;
        if !matches!(job.status, Status::Failed | Status::Cancelled) {
            return Err(Refusal::DeletionIs { id, status: job.status, action: DeletionAction::Retry });
        }
        self.make(who, job.business_id, Coverage::RestOf(id)).await
    }

    /// Requests anew the rows that a deletion that has ended could not change, and nothing else.
    ///
    /// # Errors
    /// As [`retry`](Self::retry).
    pub async fn retry_failed_rows(
        &self,
        who: &Principal,
        id: BackgroundJobId,
    ) -> Result<Requested, Refusal> {
        let job = self.find_to_change(who, id).await?;
        if job.status.is_active() {
            let action = DeletionAction::RetryFailedRows;
            return Err(Refusal::DeletionIs { id, status: job.status, action });
        }
        self.make(who, job.business_id, Coverage::SetAsideOf(id)).await
    }

    /// Cancels, pauses or resumes a deletion; a resumed one is put into its queue again.
    ///
    /// # Errors
    /// As [`retry`](Self::retry).
    pub async fn change(
        &self,
        who: &Principal,
        id: BackgroundJobId,
        wish: PersonMove,
    ) -> Result<BackgroundJob, Refusal> {
        let job = self.find_to_change(who, id).await?;
        let job = self.moved(who, &job, wish).await?;
        if wish == PersonMove::Resume {
            let queue_job = job.note.queue_job.clone().unwrap_or_else(new_queue_job);
            failpoint::reach("facade.resumed");
            if let Err(fault) = self.requests.enqueue(&job, queue_job, who.trace.as_ref()).await {
                // Back to where it was, so that the next try finds it as this one did.
                self.moved(who, &job, PersonMove::Pause).await?;
                return Err(Refusal::Unavailable { what: "queue", fault });
            }
            failpoint::reach("requests.enqueued");
        }
        Ok(job)
    }

    async fn find_to_change(&self, who: &Principal, id: BackgroundJobId) -> Result<BackgroundJob, Refusal> {
        who.may_change()?;
        self.find(who, id).await
    }

    async fn moved(
        &self,
        who: &Principal,
        job: &BackgroundJob,
        wish: PersonMove,
    ) -> Result<BackgroundJob, Refusal> {
        let id = job.id;
        let person = Person {
            id,
            business_id: job.business_id,
            wish,
            by: who.name.clone(),
            // An entry that a person's pause ended cannot be used again.
            queue_job: (wish == PersonMove::Resume).then(new_queue_job),
        };
        match self.requests.ask(AskPerson(person)).await.map_err(Refusal::database)? {
            None => Err(Refusal::NoDeletion { id, job_type: None }),
            Some(Ok(job)) => Ok(job),
            Some(Err(status)) => Err(Refusal::DeletionIs { id, status, action: wish.into() }),
        }
    }

    /// Makes a row for what `covers` says, and the queue job that carries it.
    async fn make(
        &self,
        who: &Principal,
        tenant: BusinessId,
        covers: Coverage,
    ) -> Result<Requested, Refusal> {
        let request = NewRequest {
            business_id: tenant,
            user_id: who.user_id,
            job_type: self.requests.tracked.job_type.clone(),
            queue_job: new_queue_job(),
            covers,
        };
        self.requests.request(request, who.trace.as_ref()).await.map_err(|fault| match fault {
            RequestFault::Database(fault) => Refusal::database(fault),
            RequestFault::Queue(fault) => Refusal::Unavailable { what: "queue", fault },
        })
    }
}
