//! Requests, cancels, pauses, resumes and retries deletions.

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

/// The operations on deletions.
pub struct Deletions {
    /// Creates and changes rows, and enqueues their queue jobs.
    pub requests: Requests,
    /// Reads rows.
    pub jobs: Arc<dyn BackgroundJobs>,
    /// Limits the requests of each tenant.
    pub limiter: Limiter<BusinessId>,
}

impl Deletions {
    /// Awaits a response of the database, within the deadline.
    ///
    /// # Errors
    /// If the database does not respond or refuses.
    pub async fn read<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Refusal> {
        self.within(answer).await.map_err(Refusal::database)
    }

    /// Awaits a response of a back end, within the deadline.
    ///
    /// # Errors
    /// Those of the back end, and a response that is too late.
    pub async fn within<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let late = |_| Err(Fault::new(FaultKind::Unavailable, "no answer in time"));
        tokio::time::timeout(self.requests.deadline, answer).await.unwrap_or_else(late)
    }

    /// Finds a deletion that the principal may see.
    ///
    /// # Errors
    /// If there is none, it belongs to another tenant, or the job is of another type.
    pub async fn find(&self, who: &Principal, id: BackgroundJobId) -> Result<BackgroundJob, Refusal> {
        let found = self.read(self.jobs.get(id)).await?.filter(|job| who.sees(job.business_id));
        match found {
            Some(job) if job.job_type == self.requests.tracked.job_type => Ok(job),
            other => Err(Refusal::NoDeletion { id, job_type: other.map(|job| job.job_type) }),
        }
    }

    /// The tenant's active deletion, else its newest.
    ///
    /// # Errors
    /// If the database does not respond or refuses.
    pub async fn latest(&self, tenant: BusinessId) -> Result<Option<BackgroundJob>, Refusal> {
        self.read(self.jobs.latest(tenant, &self.requests.tracked.job_type)).await
    }

    /// Requests the deletion of all receipts that the tenant has now. Only a request that creates a deletion
    /// counts towards the limit, so that one without effect does not delay the next.
    ///
    /// # Errors
    /// If the principal may not, the limit is exceeded, or a back end does not respond or refuses.
    pub async fn request(&self, who: &Principal, tenant: BusinessId) -> Result<Requested, Refusal> {
        who.may_change()?;
        self.limiter.check(tenant, Instant::now()).map_err(|wait| Refusal::TooOften { wait })?;
        let requested = self.make(who, tenant, Coverage::Everything).await?;
        if matches!(requested, Requested::Created(_)) {
            self.limiter.count(tenant, Instant::now());
        }
        Ok(requested)
    }

    /// Requests again what a failed or cancelled deletion left, without newer receipts.
    ///
    /// # Errors
    /// If the principal may not, there is no such deletion, it has another status, or a back end fails.
    pub async fn retry(&self, who: &Principal, id: BackgroundJobId) -> Result<Requested, Refusal> {
        let job = self.find_to_change(who, id).await?;
        if !matches!(job.status, Status::Failed | Status::Cancelled) {
            return Err(Refusal::DeletionIs { id, status: job.status, action: DeletionAction::Retry });
        }
        self.make(who, job.business_id, Coverage::RestOf(id)).await
    }

    /// Requests again only the rows that an ended deletion could not change.
    ///
    /// # Errors
    /// Those of [`retry`](Self::retry).
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

    /// Cancels, pauses or resumes a deletion; a resumed one is enqueued again.
    ///
    /// # Errors
    /// Those of [`retry`](Self::retry).
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
                // Pause it again, so that the next attempt finds the same status.
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
            // A queue job that was ended by a pause cannot be used again.
            queue_job: (wish == PersonMove::Resume).then(new_queue_job),
        };
        match self.requests.ask(AskPerson(person)).await.map_err(Refusal::database)? {
            None => Err(Refusal::NoDeletion { id, job_type: None }),
            Some(Ok(job)) => Ok(job),
            Some(Err(status)) => Err(Refusal::DeletionIs { id, status, action: wish.into() }),
        }
    }

    /// Creates a row for `covers`, and its queue job.
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
