//! What a runner is asked to do, and what it answers.

use std::sync::Arc;

use actix::Message;
use tracing::Span;

use crate::job::QueueEnd;
use crate::queue::{Delivery, Disposition, Settlement};

/// Asks to run a job; the answer is how it ended.
#[derive(Message)]
#[rtype(result = "JobEnded")]
pub struct RunJob {
    /// The job, and the delivery it came with.
    pub delivery: Arc<Delivery>,
    /// In which all of it lies.
    pub span: Span,
}

/// How a job lost the runner that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its code never yielded, and the thread was given up.
    Thread,
    /// The runner itself broke.
    Runner,
}

/// Asks to end a job that lost its runner, by its policy; the answer is how it ended.
#[derive(Message)]
#[rtype(result = "JobEnded")]
pub struct EndLost {
    /// The job, and the delivery it came with.
    pub delivery: Arc<Delivery>,
    /// How it lost its runner.
    pub loss: Loss,
    /// Whether its kind and its enqueuer are to hear of it.
    pub tell: bool,
    /// In which all of it lies.
    pub span: Span,
}

/// How a job ended, ready to be settled.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEnded(pub Settlement);

/// Asks the job in hand, and each that still comes, to stop at its next safe point.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StopForDrain;

impl JobEnded {
    pub(crate) fn new(delivery: &Delivery, verdict: Disposition) -> Self {
        Self(Settlement {
            job: delivery.job.id.clone(),
            queue: delivery.job.queue.clone(),
            execution: delivery.execution.clone(),
            verdict,
            remark: None,
        })
    }

    /// The job's record says this, too.
    pub(crate) fn remarked(mut self, remark: Option<String>) -> Self {
        self.0.remark = remark;
        self
    }

    /// The job goes back to the head of its queue as if it had never left.
    #[must_use]
    pub fn given_back(delivery: &Delivery) -> Self {
        Self::new(delivery, Disposition::Release { end: QueueEnd::Head })
    }
}
