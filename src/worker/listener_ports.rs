//! The ports of a queue listener, and its settings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::outage::Outages;
use super::slots::SlotPool;
use crate::job::{ProcessId, QueueName};
use crate::measure::QueueMeter;
use crate::queue::Broker;
use crate::supervision::Turn;
use crate::webhooks::WebhookSender;

/// The ports of a queue listener.
#[derive(Clone)]
pub struct ListenerPorts {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The slots of the process.
    pub slots: Arc<SlotPool>,
    /// This process, which holds the leases of its jobs.
    pub process: ProcessId,
    /// Whether the process has its lease; without it nothing is fetched.
    pub leased: watch::Receiver<bool>,
    /// Why no job can be run in this process now; meanwhile nothing is fetched.
    pub hindrance: watch::Receiver<Option<String>>,
    /// Its sign of life, in each iteration of the fetch loop.
    pub turn: Turn,
    /// Learns while the queue is not served.
    pub outages: Outages,
    /// Counts the attempts.
    pub meter: Arc<QueueMeter>,
    /// Makes the HTTP requests that jobs ask for at their end.
    pub webhooks: WebhookSender,
}

/// The settings of a queue listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Its queue.
    pub queue: QueueName,
    /// The queue's rank; 0 is served first.
    pub rank: usize,
    /// The most jobs in one fetch.
    pub batch: u32,
    /// The longest wait for work in one iteration.
    pub patience: Duration,
    /// The time limit of one call to the broker.
    pub deadline: Duration,
    /// How long the broker may refuse a long end, and take what is shorter, until its job is buried.
    pub long_end_patience: Duration,
    /// The time between two checks for deliveries that are lent to this process but unknown here.
    pub unclaimed_interval: Duration,
}
