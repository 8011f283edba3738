//! Carries out commands for this process from outside its queues: stop a job, end an attempt, retire a slot.
//! No state is kept across restarts, and a command that was not received is lost.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Running;
use super::slots::SlotPool;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::job::{Backoff, ProcessId};
use crate::queue::{Broker, Order};
use crate::supervision::Turn;

/// The delays between attempts while the broker cannot be reached.
const OUTAGE: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2.0, cap: Duration::from_secs(5), jitter: 0.2 };

/// The loop that receives commands.
#[derive(Clone)]
pub struct CommandListener {
    /// The broker, which passes the commands.
    pub broker: Arc<dyn Broker>,
    /// This process.
    pub process: ProcessId,
    /// The running jobs.
    pub running: Running,
    /// The slots, in all their pools.
    pub slots: Vec<Arc<SlotPool>>,
    /// The longest wait for a command in one iteration.
    pub patience: Duration,
    /// The additional time limit of that call.
    pub deadline: Duration,
    /// Its sign of life, in each iteration.
    pub turn: Turn,
}

impl CommandListener {
    /// Runs as long as the process.
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
                let left = SlotPool::retire_one_of(&self.slots);
                tracing::info!(left, "told to retire a slot");
            }
        }
    }
}
