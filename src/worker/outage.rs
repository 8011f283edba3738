//! Waits until a broker can be reached again: with short delays, random jitter, and log lines.

use std::time::Duration;

use crate::fault::Fault;
use crate::job::{Backoff, QueueName};
use crate::measure::list::QUEUE_OUTAGE;
use crate::supervision::Turn;
use crate::user_log::USER_LOG;

/// The delays between attempts, well below the 5 s after which a queue must be served again.
pub(super) const OUTAGE: Backoff =
    Backoff { first: Duration::from_millis(100), factor: 2.0, cap: Duration::from_secs(2), jitter: 0.2 };

/// One outage as seen by one loop of a listener. It ends at the latest with that loop.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failures: u32,
    /// The queue that is not served; `None` while it is.
    queue: Option<QueueName>,
}

impl Drop for Outage {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            QUEUE_OUTAGE.gauge(&[queue.as_str()]).set(0.0);
        }
    }
}

impl Outage {
    /// Waits before the next attempt.
    pub(super) async fn wait(&mut self, queue: &QueueName, fault: &Fault, turn: &Turn) {
        let pause = self.failed(queue, fault);
        turn.beat();
        tokio::time::sleep(pause).await;
    }

    /// Counts a failure, and returns how long to wait before the next attempt. The first fault is logged with its cause,
    /// later ones ever more rarely.
    pub(super) fn failed(&mut self, queue: &QueueName, fault: &Fault) -> Duration {
        self.failures += 1;
        self.queue = Some(queue.clone());
        let (failures, pause) = (self.failures, OUTAGE.delay(self.failures, fastrand::f64()));
        // Set each time, because another loop of the same queue may have cleared it.
        QUEUE_OUTAGE.gauge(&[queue.as_str()]).set(1.0);
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
        self.queue.is_some()
    }

    /// The broker has answered; `true` if its last call had failed.
    pub(super) fn over(&mut self, queue: &QueueName) -> bool {
        self.failures = 0;
        let was_away = self.queue.take().is_some();
        if was_away {
            QUEUE_OUTAGE.gauge(&[queue.as_str()]).set(0.0);
            tracing::info!(target: USER_LOG, { queue.name = %queue }, "✓ [QUEUE] Served again queue='{queue}' (recovered!)");
        }
        was_away
    }
}
