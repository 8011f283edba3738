//! Pauses and resumes queues.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::principal::Principal;
use super::refusal::Refusal;
use crate::config::nearest;
use crate::fault::{Fault, FaultKind};
use crate::job::QueueName;
use crate::queue::Broker;

/// The operations on queues.
pub struct Queues {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Queues that may be paused even if they have never been used.
    pub known: BTreeSet<QueueName>,
    /// The time limit of a call to the broker.
    pub deadline: Duration,
}

impl Queues {
    /// Awaits a response of the broker, within the deadline.
    ///
    /// # Errors
    /// If the broker does not respond or refuses.
    pub async fn read<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Refusal> {
        let late = |_| Err(Fault::new(FaultKind::Unavailable, "no answer in time"));
        tokio::time::timeout(self.deadline, answer).await.unwrap_or_else(late).map_err(Refusal::broker)
    }

    /// Stops fetching from a queue until it is resumed; running jobs continue. Returns whether it changed.
    ///
    /// # Errors
    /// If the principal may not, the queue is unknown, or the broker fails.
    pub async fn pause(&self, who: &Principal, name: &str) -> Result<(QueueName, bool), Refusal> {
        let queue = self.find_to_change(who, name).await?;
        let changed = self.read(self.broker.pause(&queue, &who.name)).await?;
        tracing::info!(queue.name = %queue, by = who.name, changed, "queue paused");
        Ok((queue, changed))
    }

    /// Resumes a paused queue. Returns whether it changed.
    ///
    /// # Errors
    /// Those of [`pause`](Self::pause).
    pub async fn resume(&self, who: &Principal, name: &str) -> Result<(QueueName, bool), Refusal> {
        let queue = self.find_to_change(who, name).await?;
        let changed = self.read(self.broker.resume(&queue)).await?;
        tracing::info!(queue.name = %queue, by = who.name, changed, "queue resumed");
        Ok((queue, changed))
    }

    /// Finds a queue that is known, used or paused. A misspelt name is refused.
    async fn find_to_change(&self, who: &Principal, name: &str) -> Result<QueueName, Refusal> {
        who.may_change()?;
        let queue = QueueName::from(name);
        if self.known.contains(&queue) {
            return Ok(queue);
        }
        let mut all = self.known.clone();
        all.extend(self.read(self.broker.counts()).await?.into_keys());
        all.extend(self.read(self.broker.paused()).await?.into_keys());
        if all.contains(&queue) {
            return Ok(queue);
        }
        let meant = nearest(name, all.iter().map(|queue| queue.as_str())).map(QueueName::from);
        Err(Refusal::NoQueue { name: name.to_owned(), meant })
    }
}
