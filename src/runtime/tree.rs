//! The tree of actors, in the order of their start; they stop in reverse order.
//!
//! ```text
//! tikkun ─┬─ status_tracker
//!         ├─ lease_keeper
//!         ├─ python_keeper/1 …                      (with Python jobs: replaces the process of a worker)
//!         ├─ deletions ──── deletion_batch/27.1 …   (a thread of their own: a batch holds the database)
//!         ├─ runners ────── job_runner/1 …          (threads of their own)
//!         ├─ runner_watch                           (replaces a thread whose job never yields)
//!         ├─ scheduler
//!         ├─ rescuer
//!         ├─ listeners ──── queue_listener/maintenance …
//!         └─ order_taker
//! ```

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::Arbiter;
use tokio::sync::{oneshot, watch};

use super::ground::{DEADLINE, Ground, MAILBOX};
use super::listening::{Crew, slot_pool, start_command_listener, start_listeners};
use super::ports::tracked_deletions;
use super::runner_threads::{AllThreads, RunnerKit, Threads};
use super::schedules::warn_of_foreign;
use super::teams::Teams;
use crate::deletion::DeleteReceipts;
use crate::deletion::described::{DeleteDescribed, Descriptions};
use crate::job::Registries;
use crate::kinds::registry;
use crate::maintenance::{Clock, LeaseKeeper, Rescuer, RescuerPorts, Scheduler};
use crate::queue::Budget;
use crate::supervision::{HealthTable, StartError, Supervisor, Turns};
use crate::tracking::StatusTracker;
use crate::worker::{Outages, Payloads, QueueListener, RunnerWatch, Running, SlotPool};

/// The running actors, and handles for the HTTP server and the shutdown.
pub(super) struct Tree {
    pub top: Supervisor,
    pub table: HealthTable,
    pub turns: Turns,
    pub outages: Outages,
    pub running: Running,
    pub descriptions: Arc<Descriptions>,
    pub tracker: Addr<StatusTracker>,
    /// The threads of each team.
    pub runners: Vec<Arc<Threads>>,
    pub listeners: Vec<Addr<QueueListener>>,
    pub lease_held: watch::Receiver<bool>,
    /// Why no job at all can be run now.
    pub hindrance: watch::Receiver<Option<String>>,
    /// The slots of each team.
    pub pools: Vec<Arc<SlotPool>>,
    batches: Option<Arbiter>,
}

/// Starts the parts of the tree.
pub(super) struct TreeBuilder<'a> {
    pub ground: Ground<'a>,
    pub teams: &'a Teams,
    pub descriptions: Arc<Descriptions>,
}

impl TreeBuilder<'_> {
    /// Starts all parts that the role of this process needs.
    pub(super) async fn build(&self) -> Result<Tree, StartError> {
        let table = HealthTable::new();
        let top = Supervisor::top(self.ground.supervisor("tikkun"), table.clone(), &self.ground.control)?;
        let role = self.ground.settings.service.role;
        let running = Running::default();
        let tracker = self.tracker(&top).await?;
        let lease_held = if role.schedules() {
            self.lease_keeper(&top).await?
        } else {
            watch::Sender::new(true).subscribe()
        };
        self.python_keepers(&top).await?;
        let deletions = top.branch(self.ground.supervisor("deletions")).await?;
        let batches = role.runs_jobs().then(Arbiter::new);
        let thread = batches.as_ref().map_or_else(|| self.ground.control.clone(), Arbiter::handle);
        let descriptions = Arc::clone(&self.descriptions);
        let described = self.ground.delete_described(&descriptions, thread.clone());
        let receipts = self.ground.delete_receipts(tracker.clone(), (deletions, thread));
        let (crews, registries) = self.crews(receipts, described);
        warn_of_foreign(self.ground.settings, &registries);
        let mut runners = Vec::new();
        if role.runs_jobs() {
            runners = self.runners(&top, &crews, &running).await?;
        }
        if role.schedules() {
            self.timekeepers(&top, &tracker, registries).await?;
        }
        let (mut listeners, mut pools) = (Vec::new(), Vec::new());
        if role.runs_jobs() {
            let branch = top.branch(self.ground.supervisor("listeners")).await?;
            let payloads = Payloads::from(self.ground.settings.worker.payload_budget.as_usize());
            for (crew, threads) in crews.iter().zip(&runners) {
                let slots = slot_pool(&crew.served, threads.places(), &payloads);
                listeners.extend(start_listeners(&self.ground, &branch, &slots, &lease_held, crew).await?);
                pools.push(slots);
            }
            start_command_listener(&self.ground, &top, pools.clone(), &running).await?;
        }
        // Beside kinds in Rust, a Python worker that is not there is no reason for them.
        let alone = crews.first().map(|crew| crew.hindrance.clone());
        let hindrance = alone.unwrap_or_else(|| watch::Sender::new(None).subscribe());
        Ok(Tree {
            top,
            table,
            turns: self.ground.turns.clone(),
            outages: self.ground.outages.clone(),
            running,
            descriptions,
            tracker,
            runners,
            listeners,
            lease_held,
            hindrance,
            pools,
            batches,
        })
    }

    async fn tracker(&self, top: &Supervisor) -> Result<Addr<StatusTracker>, StartError> {
        let tracker = StatusTracker {
            jobs: Arc::clone(&self.ground.ports.store.background_jobs),
            journal: Arc::default(),
            settings: self.ground.settings.tracker.clone(),
            counting_deadline: self.ground.settings.store.transaction_deadline(),
            turn: self.ground.turns.register("status_tracker"),
        };
        let child = self.ground.child("status_tracker").mailbox(MAILBOX);
        Ok(top.start(child, &self.ground.control, move || tracker).await?.address())
    }

    async fn lease_keeper(&self, top: &Supervisor) -> Result<watch::Receiver<bool>, StartError> {
        let (held, lease_held) = watch::channel(false);
        let keeper = LeaseKeeper {
            broker: Arc::clone(&self.ground.ports.broker),
            process: self.ground.process.clone(),
            ttl: self.ground.settings.lease.ttl,
            renew: self.ground.settings.lease.renew,
            turn: self.ground.turns.register("lease_keeper"),
            held,
        };
        let begin = move || keeper.clone().keep();
        top.start_loop(self.ground.child("lease_keeper"), &self.ground.control, begin).await?;
        Ok(lease_held)
    }

    async fn python_keepers(&self, top: &Supervisor) -> Result<(), StartError> {
        for (place, team) in self.teams.python.iter().enumerate() {
            let name = format!("python_keeper/{}", place + 1);
            let keeper = team.worker.keeper(self.ground.turns.register(&name));
            let begin = move || keeper.clone().keep();
            top.start_loop(self.ground.child(name), &self.ground.control, begin).await?;
        }
        Ok(())
    }

    /// The teams, kinds in Rust first; and who knows the jobs of which queue.
    fn crews(&self, receipts: DeleteReceipts, described: DeleteDescribed) -> (Vec<Crew>, Registries) {
        let settings = self.ground.settings;
        let kinds = registry(self.teams.own.clone(), (receipts, described), settings.diagnostics.enabled);
        let python = self.teams.python.iter().map(|team| Crew {
            served: team.served.clone(),
            registry: Arc::new(kinds.only(&team.native).with_foreign(team.worker.jobs())),
            hindrance: team.worker.hindrance(),
        });
        let mut crews: Vec<_> = python.collect();
        let forward = settings.worker.forward_unknown.clone();
        if let Some(served) = self.teams.kinds.clone() {
            let hindrance = watch::Sender::new(None).subscribe();
            crews.insert(0, Crew { served, registry: Arc::new(kinds.forwarding(forward)), hindrance });
        }
        let usual = crews.first().map(|crew| Arc::clone(&crew.registry)).unwrap_or_default();
        let mut registries = Registries::new(usual);
        crews.iter().skip(1).for_each(|crew| registries.add(&crew.served.queues, &crew.registry));
        (crews, registries)
    }

    /// Starts the threads of each team.
    async fn runners(
        &self,
        top: &Supervisor,
        crews: &[Crew],
        running: &Running,
    ) -> Result<Vec<Arc<Threads>>, StartError> {
        let branch = top.branch(self.ground.supervisor("runners")).await?;
        // The rest of the drain timeout is for recording where the jobs stopped.
        let grace = self.ground.settings.service.drain_timeout * 3 / 4;
        let (mut teams, mut first) = (Vec::new(), 1);
        for Crew { served, registry, .. } in crews {
            let (registry, control) = (Arc::clone(registry), self.ground.control.clone());
            let kit = RunnerKit { registry, grace, control, running: running.clone() };
            let slots = first..first + served.slots;
            first = slots.end;
            teams.push(Threads::start(branch.clone(), kit, (served.threads, slots)).await?);
        }
        let watch = RunnerWatch {
            running: running.clone(),
            threads: Arc::new(AllThreads(teams.clone())),
            grace,
            deadline: DEADLINE,
            turn: self.ground.turns.register("runner_watch"),
        };
        let begin = move || watch.clone().watch();
        top.start_loop(self.ground.child("runner_watch"), &self.ground.control, begin).await?;
        Ok(teams)
    }

    async fn scheduler(&self, top: &Supervisor) -> Result<(), StartError> {
        let settings = self.ground.settings;
        let scheduler = Scheduler {
            broker: Arc::clone(&self.ground.ports.broker),
            process: self.ground.process.id.clone(),
            settings: settings.scheduler.clone(),
            deadline: DEADLINE,
            budget: Budget {
                finished: settings.retention.max_finished,
                failed: settings.retention.max_failed,
            },
            schedules: settings.schedules.as_slice().into(),
            clock: Clock::of_host(),
            turn: self.ground.turns.register("scheduler"),
        };
        top.start(self.ground.child("scheduler"), &self.ground.control, move || scheduler).await.map(|_| ())
    }

    async fn timekeepers(
        &self,
        top: &Supervisor,
        tracker: &Addr<StatusTracker>,
        registries: Registries,
    ) -> Result<(), StartError> {
        let settings = self.ground.settings;
        if settings.scheduler.enabled {
            self.scheduler(top).await?;
        }
        let rescuer = Rescuer {
            ports: RescuerPorts {
                broker: Arc::clone(&self.ground.ports.broker),
                store: self.ground.ports.store.clone(),
                tracker: tracker.clone().recipient(),
                blobs: Arc::clone(&self.ground.ports.blobs),
                registries,
                process: self.ground.process.id.clone(),
                queues: self.ground.process.queues.clone(),
                turn: self.ground.turns.register("rescuer"),
                table: top.table().clone(),
                issuer: Arc::new(settings.certificate.issuer()),
                webhooks: self.ground.webhooks.clone(),
            },
            settings: settings.rescuer.clone(),
            deadline: DEADLINE,
            storage_delete: settings.deletion.storage_delete,
            tracked: vec![tracked_deletions(settings)],
        };
        top.start(self.ground.child("rescuer"), &self.ground.control, move || rescuer).await.map(|_| ())
    }
}

impl Tree {
    /// Ends the threads of the runners and of the batches. Anything still running there is dropped. Returns
    /// whether all of them ended in time, so that no job's code runs any more.
    pub(super) async fn end_threads(&mut self, time: Duration) -> bool {
        let mut threads = Vec::new();
        self.runners.iter().for_each(|runners| threads.extend(runners.take()));
        threads.extend(self.batches.take());
        for thread in &threads {
            thread.stop();
        }
        let (ended, all) = oneshot::channel();
        // A separate thread, which may be left behind: a thread that never yields cannot be joined.
        std::thread::spawn(move || {
            let joined = threads.into_iter().all(|thread| thread.join().is_ok());
            let _ = ended.send(joined);
        });
        let in_time = tokio::time::timeout(time, all).await;
        matches!(in_time, Ok(Ok(true))) && self.table.snapshot().stuck_threads == 0
    }
}
