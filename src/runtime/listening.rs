//! The part of the tree that hears from outside: listeners at the queues, and the taker of orders.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio::sync::watch;

use super::tree::{DEADLINE, MAILBOX, Planter};
use crate::actors::{
    ListenerPorts, ListenerSettings, OrderTaker, QueueListener, RunnerPlace, Running, SlotPool,
};
use crate::job::Registry;
use crate::measure::QueueMeter;
use crate::supervision::{StartError, Supervisor};

/// The most jobs in one fetch.
const FETCH_BATCH: u32 = 64;
/// Time between looks for jobs that nobody here carries: each reads what the process holds once a queue.
const STRAY_INTERVAL: Duration = Duration::from_secs(30);

impl Planter<'_> {
    /// The slots of the process, with the caps of its queues.
    pub(super) fn slots(&self, runners: Vec<RunnerPlace>) -> Arc<SlotPool> {
        let worker = &self.settings.worker;
        let cap = |queue| worker.queue_caps.get(queue).map(|cap| u32::try_from(*cap).unwrap_or(u32::MAX));
        let caps: BTreeMap<_, _> =
            worker.queues.iter().enumerate().filter_map(|(rank, queue)| Some((rank, cap(queue)?))).collect();
        let slots = SlotPool::new(runners, caps, worker.payload_budget.as_usize());
        slots.await_looks(worker.queues.len());
        slots
    }

    /// A listener for each queue.
    pub(super) async fn listeners(
        &self,
        top: &Supervisor,
        slots: &Arc<SlotPool>,
        leased: &watch::Receiver<bool>,
        registry: &Registry,
    ) -> Result<Vec<Addr<QueueListener>>, StartError> {
        let branch = top.branch(self.supervisor("listeners")).await?;
        let worker = &self.settings.worker;
        let mut listeners = Vec::new();
        for (rank, queue) in worker.queues.iter().enumerate() {
            let name = format!("queue_listener/{queue}");
            let ports = ListenerPorts {
                broker: Arc::clone(&self.ports.broker),
                slots: Arc::clone(slots),
                process: self.process.id.clone(),
                leased: leased.clone(),
                turn: self.turns.register(&name),
                meter: Arc::new(QueueMeter::new(queue.as_str(), registry.spellings())),
            };
            let settings = ListenerSettings {
                queue: queue.clone(),
                rank,
                batch: FETCH_BATCH,
                patience: worker.fetch_patience,
                deadline: DEADLINE,
                stray_interval: STRAY_INTERVAL,
            };
            let make = move || QueueListener::new(ports, settings);
            let spec = self.child(name).mailbox(MAILBOX);
            listeners.push(branch.start(spec, &self.control, make).await?.address());
        }
        Ok(listeners)
    }

    /// Who hears what people ask of this process.
    pub(super) async fn order_taker(
        &self,
        top: &Supervisor,
        slots: Arc<SlotPool>,
        running: &Running,
    ) -> Result<(), StartError> {
        let taker = OrderTaker {
            broker: Arc::clone(&self.ports.broker),
            process: self.process.id.clone(),
            running: running.clone(),
            slots,
            patience: self.settings.worker.fetch_patience,
            deadline: DEADLINE,
            turn: self.turns.register("order_taker"),
        };
        top.start(self.child("order_taker"), &self.control, move || taker).await?;
        Ok(())
    }
}
