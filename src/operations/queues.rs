//! Queues: paused, and let go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::principal::Principal;
use super::refusal::Refusal;
use crate::config::nearest;
use crate::fault::{Fault, FaultKind};
use crate::job::QueueName;
use crate::queue::Broker;

/// What can be done with queues.
pub struct Queues {
    /// Where they are.
    pub broker: Arc<dyn Broker>,
    /// Queues that may be paused before they are ever used.
    pub known: BTreeSet<QueueName>,
    /// How long the broker may take for one answer.
    pub deadline: Duration,
}

impl Queues {
    /// An answer of the broker, within the time that one may take.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn read<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Refusal> {
        let late = |_| Err(Fault::new(FaultKind::Unavailable, "no answer in time"));
        tokio::time::timeout(self.deadline, answer).await.unwrap_or_else(late).map_err(Refusal::broker)
    }

    /// Lets nothing be fetched from a queue until it is resumed; what runs goes on. Says whether that is new.
    ///
    /// # Errors
    /// Who may not, an unknown queue, or a broker that does not serve.
    pub async fn pause(&self, who: &Principal, name: &str) -> Result<(QueueName, bool), Refusal> {
        let queue = self.find_to_change(who, name).await?;
        let changed = self.read(self.broker.pause(&queue, &who.name)).await?;
        tracing::info!(queue.name = %queue, by = who.name, changed, "queue paused");
        Ok((queue, changed))
    }

    /// Lets a paused queue go on. Says whether that is new.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume(&self, who: &Principal, name: &str) -> Result<(QueueName, bool), Refusal> {
        let queue = self.find_to_change(who, name).await?;
        let changed = self.read(self.broker.resume(&queue)).await?;
        tracing::info!(queue.name = %queue, by = who.name, changed, "queue resumed");
        Ok((queue, changed))
    }

    /// A queue that is known, was used or is paused; a slip of the pen pauses nothing.
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
