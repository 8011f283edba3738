//! Carries out what people ask of this process past its queues: stop a job, end an attempt, retire a slot.
//! Nothing survives a restart: an order that was not received is lost.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Running;
use super::slots::SlotPool;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::job::{Backoff, ProcessId};
use crate::queue::{Broker, Order};
use crate::supervision::Turn;

/// Waits between tries while the broker is out of reach.
const OUTAGE: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2.0, cap: Duration::from_secs(5), jitter: 0.2 };

/// The loop.
#[derive(Clone)]
pub struct CommandListener {
    /// Where orders come from.
    pub broker: Arc<dyn Broker>,
    /// Whom they are for.
    pub process: ProcessId,
    /// What runs.
    pub running: Running,
    /// Where it runs.
    pub slots: Arc<SlotPool>,
    /// Longest wait for an order before the loop turns all the same.
    pub patience: Duration,
    /// Longest wait for an answer beyond that.
    pub deadline: Duration,
    /// Told at each turn.
    pub turn: Turn,
}

impl CommandListener {
    /// Runs for as long as the process lives.
    pub async fn listen(self) {
        failpoint::reach("order_taker.started");
        let mut failures = 0;
        loop {
            self.turn.beat();
            let orders = self.broker.orders(&self.process, self.patience);
            match answer_in(self.patience + self.deadline, "listen for orders", orders).await {
                Ok(orders) => {
                    failures = 0;
                    orders.iter().for_each(|order| self.carry_out(order));
                }
                Err(fault) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(error = fault.chain(), "orders cannot be heard now; listening again");
                    }
                    tokio::time::sleep(OUTAGE.delay(failures, fastrand::f64())).await;
                }
            }
        }
    }

    fn carry_out(&self, order: &Order) {
        match order {
            Order::Stop { job, lent, others } => {
                let runs = self.running.stop(job, lent, others);
                tracing::info!(job.id = %job, runs, "told to stop a job");
            }
            Order::StopExecution(job, execution) => {
                let runs = self.running.stop_execution(job, execution);
                tracing::info!(job.id = %job, %execution, runs, "told to stop one run of a job");
            }
            Order::Kill(execution) => {
                let runs = self.running.kill(execution);
                tracing::info!(%execution, runs, "told to end an attempt");
            }
            Order::RetireSlot => {
                let left = self.slots.retire_one();
                tracing::info!(left, "told to retire a slot");
            }
        }
    }
}
