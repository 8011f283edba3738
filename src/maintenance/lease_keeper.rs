//! Renews the lease of this process, so that no other process takes its jobs. The lease is in the broker, so
//! no state is kept across restarts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::deadline::answer_in;
use crate::failpoint;
use crate::measure::list::LEASE_HELD;
use crate::queue::{Broker, ProcessRecord};
use crate::supervision::Turn;

/// The delay between attempts while the broker cannot be reached.
const AGAIN: Duration = Duration::from_secs(1);

/// The loop that renews the lease.
#[derive(Clone)]
pub struct LeaseKeeper {
    /// The broker with the lease.
    pub broker: Arc<dyn Broker>,
    /// The process whose lease it is.
    pub process: ProcessRecord,
    /// How long the lease is valid without a renewal.
    pub ttl: Duration,
    /// The time between two renewals.
    pub renew: Duration,
    /// Its sign of life, in each iteration.
    pub turn: Turn,
    /// Becomes true with the first lease, and false when the lease has expired without a renewal.
    pub held: watch::Sender<bool>,
}

impl LeaseKeeper {
    /// Runs as long as the process.
    pub async fn keep(self) {
        failpoint::reach("lease_keeper.started");
        let (mut last_renewed, mut failing) = (None, false);
        loop {
            self.turn.beat();
            failpoint::reach("lease_keeper.renew");
            let asked = tokio::time::Instant::now();
            // The first one has to be there, for without a lease nothing is fetched.
            if last_renewed.is_some() && failpoint::is_off("check.lease") {
                tokio::time::sleep(self.renew).await;
                continue;
            }
            match answer_in(self.renew, "renew the lease", self.broker.renew_lease(&self.process, self.ttl))
                .await
            {
                Ok(unbroken) => {
                    if !unbroken && last_renewed.is_some() {
                        tracing::warn!(process.id = %self.process.id,
                            "the lease had run out; jobs of this process may have been given to others");
                    }
                    if std::mem::take(&mut failing) {
                        tracing::info!(process.id = %self.process.id, "✓ the lease is renewed (recovered!)");
                    }
                    last_renewed = Some(asked);
                    self.held.send_if_modified(|held| !std::mem::replace(held, true));
                    LEASE_HELD.gauge(&[]).set(1.0);
                }
                Err(fault) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(process.id = %self.process.id, error = fault.chain(), "the lease cannot be renewed now; trying again");
                    }
                    self.missed(last_renewed, &fault);
                    // Soon, because without a lease nothing is fetched.
                    tokio::time::sleep_until(asked + self.renew.min(AGAIN)).await;
                    continue;
                }
            }
            tokio::time::sleep_until(asked + self.renew).await;
        }
    }

    /// Reports an expired lease. Its time counts from the request of the last renewal, not from the answer.
    fn missed(&self, last_renewed: Option<tokio::time::Instant>, fault: &crate::fault::Fault) {
        let expired = last_renewed.is_none_or(|at| at.elapsed() >= self.ttl);
        if expired {
            LEASE_HELD.gauge(&[]).set(0.0);
        }
        let changed = expired && self.held.send_if_modified(|held| std::mem::replace(held, false));
        if changed {
            tracing::warn!(process.id = %self.process.id, error = fault.chain(), "the lease has run out and cannot be renewed");
        }
    }
}
