//! What a runner is asked to do, and what it answers.

use std::sync::Arc;

use actix::Message;
use tracing::Span;

use crate::queue::{Delivery, Settlement};

/// Asks to run a job; the answer is how its delivery ends.
#[derive(Message)]
#[rtype(result = "Settlement")]
pub struct RunJob {
    /// The job, and the delivery it came with.
    pub delivery: Arc<Delivery>,
    /// The tracing span that covers the attempt.
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

/// Asks to end a job that lost its runner, by its policy; the answer is how its delivery ends.
#[derive(Message)]
#[rtype(result = "Settlement")]
pub struct EndLost {
    /// The job, and the delivery it came with.
    pub delivery: Arc<Delivery>,
    /// How it lost its runner.
    pub loss: Loss,
    /// Whether its kind and its enqueuer are to be called.
    pub tell: bool,
    /// The tracing span that covers the attempt.
    pub span: Span,
}

/// Asks the job in hand, and each that still comes, to stop at its next safe point.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StopForDrain;
