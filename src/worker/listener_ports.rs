//! What a listener reaches the rest of the process by, and what configuration tells it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::slots::SlotPool;
use crate::job::{ProcessId, QueueName};
use crate::measure::QueueMeter;
use crate::queue::Broker;
use crate::supervision::Turn;

/// What a listener needs of the process.
#[derive(Clone)]
pub struct ListenerPorts {
    /// Where the jobs wait.
    pub broker: Arc<dyn Broker>,
    /// Where they may run.
    pub slots: Arc<SlotPool>,
    /// Under whose lease.
    pub process: ProcessId,
    /// Whether that lease is held: nothing is fetched before it is.
    pub leased: watch::Receiver<bool>,
    /// Told at each turn of the fetch loop.
    pub turn: Turn,
    /// Counts the attempts.
    pub meter: Arc<QueueMeter>,
}

/// What a listener is told by configuration.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Its queue.
    pub queue: QueueName,
    /// The queue's place in the order; 0 is served first.
    pub rank: usize,
    /// The most jobs in one fetch.
    pub batch: u32,
    /// Longest wait for work before the loop turns all the same.
    pub patience: Duration,
    /// Longest wait for one answer of the broker.
    pub deadline: Duration,
    /// Time between looks for jobs that are lent to this process and that nobody here carries.
    pub unclaimed_interval: Duration,
}
