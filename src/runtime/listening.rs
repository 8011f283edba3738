//! The part of the tree that receives from outside: the queue listeners and the command listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio::sync::watch;

use super::ground::{DEADLINE, Ground, MAILBOX};
use crate::config::Settings;
use crate::job::Registry;
use crate::measure::QueueMeter;
use crate::supervision::{StartError, Supervisor};
use crate::worker::{
    CommandListener, ListenerPorts, ListenerSettings, QueueListener, RunnerPlace, Running, SlotPool,
};

/// The most jobs in one fetch.
const FETCH_BATCH: u32 = 64;
/// The time between two checks for unclaimed jobs. Each reads once per queue what this process holds.
const UNCLAIMED_INTERVAL: Duration = Duration::from_secs(30);

/// The slots of the process, with the caps per queue.
pub(super) fn slot_pool(settings: &Settings, runners: Vec<RunnerPlace>) -> Arc<SlotPool> {
    let worker = &settings.worker;
    let cap = |queue| worker.queue_caps.get(queue).map(|cap| u32::try_from(*cap).unwrap_or(u32::MAX));
    let caps: BTreeMap<_, _> =
        worker.queues.iter().enumerate().filter_map(|(rank, queue)| Some((rank, cap(queue)?))).collect();
    let slots = SlotPool::new(runners, caps, worker.payload_budget.as_usize());
    slots.grant_in(worker.order);
    slots.await_looks(worker.queues.len());
    slots
}

/// Starts a listener for each queue.
pub(super) async fn start_listeners(
    ground: &Ground<'_>,
    top: &Supervisor,
    slots: &Arc<SlotPool>,
    (leased, hindrance): (&watch::Receiver<bool>, &watch::Receiver<Option<String>>),
    registry: &Registry,
) -> Result<Vec<Addr<QueueListener>>, StartError> {
    let branch = top.branch(ground.supervisor("listeners")).await?;
    let worker = &ground.settings.worker;
    let mut listeners = Vec::new();
    for (rank, queue) in worker.queues.iter().enumerate() {
        let name = format!("queue_listener/{queue}");
        let ports = ListenerPorts {
            broker: Arc::clone(&ground.ports.broker),
            slots: Arc::clone(slots),
            process: ground.process.id.clone(),
            leased: leased.clone(),
            hindrance: hindrance.clone(),
            turn: ground.turns.register(&name),
            meter: Arc::new(QueueMeter::new(queue.as_str(), registry.spellings())),
            webhooks: ground.webhooks.clone(),
        };
        let settings = ListenerSettings {
            queue: queue.clone(),
            rank,
            batch: FETCH_BATCH,
            patience: worker.fetch_patience,
            deadline: DEADLINE,
            unclaimed_interval: UNCLAIMED_INTERVAL,
        };
        let make = move || QueueListener::new(ports, settings);
        let spec = ground.child(name).mailbox(MAILBOX);
        listeners.push(branch.start(spec, &ground.control, make).await?.address());
    }
    Ok(listeners)
}

/// Starts the loop that receives requests to this process.
pub(super) async fn start_command_listener(
    ground: &Ground<'_>,
    top: &Supervisor,
    slots: Arc<SlotPool>,
    running: &Running,
) -> Result<(), StartError> {
    let listener = CommandListener {
        broker: Arc::clone(&ground.ports.broker),
        process: ground.process.id.clone(),
        running: running.clone(),
        slots,
        patience: ground.settings.worker.fetch_patience,
        deadline: DEADLINE,
        turn: ground.turns.register("order_taker"),
    };
    let begin = move || listener.clone().listen();
    top.start_loop(ground.child("order_taker"), &ground.control, begin).await
}
