//! The messages of a runner.

use std::sync::Arc;

use actix::Message;
use tracing::Span;

use crate::queue::{Delivery, Settlement};

/// Runs a job; the answer is the settlement of its delivery.
#[derive(Message)]
#[rtype(result = "Settlement")]
pub struct RunJob {
    /// The job and its delivery.
    pub delivery: Arc<Delivery>,
    /// The tracing span that covers the attempt.
    pub span: Span,
}

/// How a job lost its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its code never yielded, and the thread was given up.
    Thread,
    /// The runner itself failed.
    Runner,
}

/// Ends a job that lost its runner, by its policy; the answer is the settlement of its delivery.
#[derive(Message)]
#[rtype(result = "Settlement")]
pub struct EndLost {
    /// The job and its delivery.
    pub delivery: Arc<Delivery>,
    /// How it lost its runner.
    pub loss: Loss,
    /// Whether to notify its kind and call its callbacks.
    pub tell: bool,
    /// The tracing span that covers the attempt.
    pub span: Span,
}

/// Asks the current job, and each later one, to stop at its next safe point.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StopForDrain;
