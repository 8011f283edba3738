//! The part of the tree that receives from outside: the queue listeners and the command listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio::sync::watch;

use super::ground::{DEADLINE, Ground, MAILBOX};
use crate::config::WorkerSettings;
use crate::job::Registry;
use crate::measure::QueueMeter;
use crate::supervision::{StartError, Supervisor};
use crate::worker::{
    CommandListener, ListenerPorts, ListenerSettings, Payloads, QueueListener, RunnerPlace, Running, SlotPool,
};

/// The most jobs in one fetch.
const FETCH_BATCH: u32 = 64;
/// The time between two checks for unclaimed jobs. Each reads once per queue what this process holds.
const UNCLAIMED_INTERVAL: Duration = Duration::from_secs(30);
/// Longer than a bad line or a failover lasts. The job is done, so that its result is worth the wait.
const LONG_END_PATIENCE: Duration = Duration::from_mins(10);

/// A team as its parts are started: the kinds in Rust, or a Python worker.
pub(super) struct Crew {
    /// What it serves.
    pub served: WorkerSettings,
    /// The jobs that it runs.
    pub registry: Arc<Registry>,
    /// Why it can run none now.
    pub hindrance: watch::Receiver<Option<String>>,
}

/// The slots of a team, with the caps per queue. All teams share the memory for heavy arguments.
pub(super) fn slot_pool(
    worker: &WorkerSettings,
    runners: Vec<RunnerPlace>,
    payloads: &Payloads,
) -> Arc<SlotPool> {
    let cap = |queue| worker.queue_caps.get(queue).map(|cap| u32::try_from(*cap).unwrap_or(u32::MAX));
    let caps: BTreeMap<_, _> =
        worker.queues.iter().enumerate().filter_map(|(rank, queue)| Some((rank, cap(queue)?))).collect();
    let slots = SlotPool::new(runners, caps, payloads.clone());
    slots.grant_in(worker.order);
    slots.await_looks(worker.queues.len());
    slots
}

/// Starts a listener for each queue of a team.
pub(super) async fn start_listeners(
    ground: &Ground<'_>,
    branch: &Supervisor,
    slots: &Arc<SlotPool>,
    leased: &watch::Receiver<bool>,
    crew: &Crew,
) -> Result<Vec<Addr<QueueListener>>, StartError> {
    let worker = &crew.served;
    let mut listeners = Vec::new();
    for (rank, queue) in worker.queues.iter().enumerate() {
        let name = format!("queue_listener/{queue}");
        let ports = ListenerPorts {
            broker: Arc::clone(&ground.ports.broker),
            slots: Arc::clone(slots),
            process: ground.process.id.clone(),
            leased: leased.clone(),
            hindrance: crew.hindrance.clone(),
            turn: ground.turns.register(&name),
            outages: ground.outages.clone(),
            meter: Arc::new(QueueMeter::new(queue.as_str(), crew.registry.spellings())),
            webhooks: ground.webhooks.clone(),
        };
        let settings = ListenerSettings {
            queue: queue.clone(),
            rank,
            batch: FETCH_BATCH,
            patience: worker.fetch_patience,
            deadline: DEADLINE,
            long_end_patience: LONG_END_PATIENCE,
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
    slots: Vec<Arc<SlotPool>>,
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
