//! Keeps time: puts jobs that are due into their queues and drops what has been kept long enough. One
//! process leads; the others stand by. Nothing survives a restart: all of it is in the broker.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};

use super::deadline::answer_in;
use crate::failpoint;
use crate::fault::Fault;
use crate::job::ProcessId;
use crate::queue::Broker;
use crate::supervision::Turn;

/// The leadership that the scheduler takes.
pub const SCHEDULER_ROLE: &str = "scheduler";

/// The most jobs moved or dropped in one call: bounds the size of one transaction.
const BATCH: u32 = 1000;

/// The actor.
#[derive(Clone)]
pub struct Scheduler {
    /// Where the jobs wait.
    pub broker: Arc<dyn Broker>,
    /// Who would lead.
    pub process: ProcessId,
    /// Time between looks.
    pub interval: Duration,
    /// How long a leader is believed without a tick.
    pub leadership_ttl: Duration,
    /// Longest wait for one answer of the broker.
    pub deadline: Duration,
    /// Told at each turn.
    pub turn: Turn,
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        failpoint::reach("scheduler.started");
        ctx.spawn(self.clone().keep_time().into_actor(self));
    }
}

impl Supervised for Scheduler {}

impl Scheduler {
    async fn keep_time(self) {
        let mut out_of_reach = false;
        loop {
            self.turn.beat();
            failpoint::reach("scheduler.tick");
            match self.tick().await {
                Ok(()) => out_of_reach = false,
                Err(fault) if !out_of_reach => {
                    out_of_reach = true;
                    tracing::warn!(error = fault.chain(), "the scheduler cannot reach the broker; waiting");
                }
                Err(_) => {}
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn tick(&self) -> Result<(), Fault> {
        let deadline = self.deadline;
        let lead = self.broker.lead(SCHEDULER_ROLE, &self.process, self.leadership_ttl);
        if !answer_in(deadline, "lead the schedule", lead).await? {
            return Ok(());
        }
        while answer_in(deadline, "promote due jobs", self.broker.promote_due(BATCH)).await? == BATCH {
            self.turn.beat();
        }
        while answer_in(deadline, "drop old jobs", self.broker.expire(BATCH)).await? == BATCH {
            self.turn.beat();
        }
        Ok(())
    }
}
