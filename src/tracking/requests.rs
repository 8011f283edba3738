//! Users' requests: creates the row first, then its queue job.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Handler, Message};

use super::status_tracker::StatusTracker;
use super::tracked_kind::TrackedKind;
use super::tracker_messages::{FailUnbegun, RequestJob};
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::background::BackgroundJob;
use crate::job::{JobId, TraceContext};
use crate::measure::Unanswered;
use crate::queue::Broker;
use crate::store::{NewRequest, Requested};

/// The ports and settings for requesting background jobs of one kind.
#[derive(Clone)]
pub struct Requests {
    /// Creates the row.
    pub tracker: Addr<StatusTracker>,
    /// Receives the queue job.
    pub broker: Arc<dyn Broker>,
    /// Describes the queue job.
    pub tracked: TrackedKind,
    /// The time limit of one call to the broker.
    pub deadline: Duration,
}

/// The back end that cannot be reached.
#[derive(Debug)]
pub enum RequestFault {
    /// The database; there is no row.
    Database(Fault),
    /// The queue; the row is marked as failed, so that it does not block the next request.
    Queue(Fault),
}

impl Requests {
    /// Creates the row and enqueues its queue job, unless there is an active row or nothing to do.
    ///
    /// If dropped at an await, a row may be left without a queue job; reconciliation then enqueues one.
    ///
    /// # Errors
    /// Names the back end that cannot be reached.
    pub async fn request(
        &self,
        request: NewRequest,
        trace: Option<&TraceContext>,
    ) -> Result<Requested, RequestFault> {
        let queue_job = request.queue_job.clone();
        let requested = self.ask(RequestJob(request)).await.map_err(RequestFault::Database)?;
        if let Requested::Created(row) = &requested {
            failpoint::reach("requests.requested");
            self.put_in(row, queue_job, trace).await.map_err(RequestFault::Queue)?;
            failpoint::reach("requests.enqueued");
        }
        Ok(requested)
    }

    async fn put_in(
        &self,
        row: &BackgroundJob,
        queue_job: JobId,
        trace: Option<&TraceContext>,
    ) -> Result<(), Fault> {
        let Err(fault) = self.enqueue(row, queue_job, trace).await else { return Ok(()) };
        failpoint::reach("requests.not_enqueued");
        let error = "the job could not be put into its queue".to_owned();
        if let Err(stays) = self.ask(FailUnbegun { id: row.id, error }).await {
            tracing::warn!(background_job = %row.id, error = stays.chain(),
                "a row without an entry stays; reconciliation enqueues it when the broker is back");
        }
        Err(fault)
    }

    /// Enqueues the queue job of a row, as part of the caller's trace; an existing job is left unchanged.
    ///
    /// # Errors
    /// When the broker cannot be reached or does not answer in time.
    pub async fn enqueue(
        &self,
        row: &BackgroundJob,
        queue_job: JobId,
        trace: Option<&TraceContext>,
    ) -> Result<(), Fault> {
        let mut entry = self.tracked.entry(queue_job, row.id);
        if let Some(trace) = trace {
            trace.write_into(&mut entry.meta);
        }
        answer_in(self.deadline, "enqueue the job of a row", self.broker.enqueue(&[entry])).await?;
        Ok(())
    }

    /// Sends a message to the tracker.
    ///
    /// # Errors
    /// The tracker's own faults, and a retryable one when it restarts meanwhile.
    pub async fn ask<M, T>(&self, message: M) -> Result<T, Fault>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
        StatusTracker: Handler<M>,
    {
        let lost = |error| Fault::new(FaultKind::Retryable, "the tracker restarts").because(error);
        let _message = Unanswered::at("status_tracker");
        self.tracker.send(message).await.unwrap_or_else(|error| Err(lost(error)))
    }
}

/// A new unique id for a queue job.
#[must_use]
pub fn new_queue_job() -> JobId {
    JobId::from(uuid::Uuid::new_v4().to_string())
}
