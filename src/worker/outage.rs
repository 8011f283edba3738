//! Waits until a broker can be reached again: with short delays, random jitter, and log lines. Probes and health
//! read here which queues are not served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::fault::Fault;
use crate::job::{Backoff, QueueName};
use crate::measure::list::QUEUE_OUTAGE;
use crate::supervision::Turn;
use crate::user_log::USER_LOG;

/// The delays between attempts, well below the 5 s after which a queue must be served again.
pub(super) const OUTAGE: Backoff =
    Backoff { first: Duration::from_millis(100), factor: 2.0, cap: Duration::from_secs(2), jitter: 0.2 };

/// The queues of this process that are not served now. Clones share the data.
#[derive(Clone, Debug, Default)]
pub struct Outages {
    /// One for each part of a listener that waits for the broker.
    on: Arc<Mutex<Vec<Arc<Unserved>>>>,
}

/// What the broker refuses of one queue.
#[derive(Clone, Debug)]
pub struct Unserved {
    queue: QueueName,
    /// Whether no job is taken from it; else single jobs are not served.
    pub wholly: bool,
    /// The broker's reason.
    pub why: String,
}

impl Outages {
    /// The outage of each queue that has one, the worst if there are several.
    #[must_use]
    pub fn by_queue(&self) -> BTreeMap<QueueName, Unserved> {
        let mut worst = BTreeMap::<_, Unserved>::new();
        for one in self.on.lock().iter() {
            let seen = worst.entry(one.queue.clone()).or_insert_with(|| Unserved::clone(one));
            if one.wholly && !seen.wholly {
                *seen = Unserved::clone(one);
            }
        }
        worst
    }

    /// The queues from which no job is taken.
    #[must_use]
    pub fn whole(&self) -> Vec<QueueName> {
        self.by_queue().into_iter().filter(|(_, one)| one.wholly).map(|(queue, _)| queue).collect()
    }

    /// One part of the listener of this queue has an outage, or none.
    fn put(&self, queue: &QueueName, old: Option<&Arc<Unserved>>, new: Option<&Arc<Unserved>>) {
        let mut on = self.on.lock();
        on.retain(|one| old.is_none_or(|old| !Arc::ptr_eq(one, old)));
        on.extend(new.cloned());
        let is_out = on.iter().any(|one| one.queue == *queue);
        QUEUE_OUTAGE.gauge(&[queue.as_str()]).set(f64::from(u8::from(is_out)));
    }
}

/// One outage as seen by one loop of a listener. It ends at the latest with that loop.
#[derive(Debug)]
pub(super) struct Outage {
    queue: QueueName,
    all: Outages,
    /// In a row; zero while the last call was answered.
    failures: u32,
    /// What is known of it to all.
    told: Option<Arc<Unserved>>,
}

impl Drop for Outage {
    fn drop(&mut self) {
        self.tell(None);
    }
}

impl Outage {
    /// None yet, of this queue.
    pub(super) fn of(queue: QueueName, all: Outages) -> Self {
        Self { queue, all, failures: 0, told: None }
    }

    /// Waits before the next attempt.
    pub(super) async fn wait(&mut self, fault: &Fault, wholly: bool, turn: &Turn) {
        let pause = self.failed(fault, wholly);
        turn.beat();
        tokio::time::sleep(pause).await;
    }

    /// Counts a failure, and returns how long to wait before the next attempt. The first fault is logged with its cause,
    /// later ones ever more rarely. The queue is `wholly` out if no job can be taken from it.
    pub(super) fn failed(&mut self, fault: &Fault, wholly: bool) -> Duration {
        self.failures += 1;
        self.tell(Some(Arc::new(Unserved { queue: self.queue.clone(), wholly, why: fault.chain() })));
        let (queue, failures) = (&self.queue, self.failures);
        let pause = OUTAGE.delay(failures, fastrand::f64());
        if failures == 1 {
            tracing::warn!(queue.name = %queue, error = fault.chain(), "broker does not serve the queue; waiting");
        }
        if failures.is_power_of_two() {
            tracing::warn!(
                target: USER_LOG, { queue.name = %queue, failures, pause_ms = pause.as_millis() as u64 },
                "⏳ [QUEUE] Backing off {:.1}s after {failures} failures queue='{queue}'", pause.as_secs_f64()
            );
        }
        pause
    }

    /// Whether the last call failed.
    pub(super) fn is_on(&self) -> bool {
        self.failures > 0
    }

    /// Whether it goes on cannot be known for a while, because nothing is asked of the broker.
    pub(super) fn is_in_doubt(&mut self) {
        self.tell(None);
    }

    /// The broker has answered; `true` if its last call had failed.
    pub(super) fn over(&mut self) -> bool {
        let (was_away, queue) = (self.is_on(), &self.queue);
        if was_away {
            tracing::info!(target: USER_LOG, { queue.name = %queue }, "✓ [QUEUE] Served again queue='{queue}' (recovered!)");
        }
        self.failures = 0;
        self.tell(None);
        was_away
    }

    fn tell(&mut self, now: Option<Arc<Unserved>>) {
        if self.told.is_some() || now.is_some() {
            self.all.put(&self.queue, self.told.as_ref(), now.as_ref());
            self.told = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;

    #[test]
    fn a_queue_is_out_as_long_as_one_part_of_its_listener_is_and_its_worst_counts() {
        let all = Outages::default();
        let begin = || Outage::of("q".into(), all.clone());
        let (mut fetch, mut ends) = (begin(), begin());
        let fault = |why: &str| Fault::new(FaultKind::Permanent, why.to_owned());
        ends.failed(&fault("no end"), false);
        fetch.failed(&fault("no job"), true);
        fetch.failed(&fault("none again"), true);
        let out = |all: &Outages| all.by_queue().remove(&"q".into()).map(|one| (one.wholly, one.why));
        assert_eq!(out(&all), Some((true, "none again".to_owned())));
        assert_eq!(all.whole(), ["q".into()]);
        fetch.is_in_doubt();
        assert!(all.whole().is_empty());
        assert!(fetch.over() && !fetch.over());
        assert_eq!(out(&all), Some((false, "no end".to_owned())));
        assert!(all.whole().is_empty());
        drop(ends);
        assert_eq!(out(&all), None);
    }
}
