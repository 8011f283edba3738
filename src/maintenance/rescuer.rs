//! Recovers what is lost: jobs of dead processes and foreign workers, objects that could not be deleted, rows
//! without a queue job, certificates of deletions. Drops ended jobs that have been kept long enough, and keeps those that were enqueued again.
//! No state is kept across restarts; any process may repeat any action.

use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};
use chrono::Utc;
use tokio::time::Instant;

use super::certification::Certification;
use super::foreign_workers::ForeignWorkers;
use super::orphans::rescue;
use super::outbox_alarm::OutboxAlarm;
use super::reconcile::{Look, Suspects, reconcile};
use super::rescuer_ports::RescuerPorts;
use crate::config::RescuerSettings;
use crate::deadline::answer_in;
use crate::deletion::{CleanUpLimits, CleanedUp, delete_objects};
use crate::failpoint;
use crate::fault::Fault;
use crate::tracking::TrackedKind;
use crate::worker::IsolatedThreads;

/// The most jobs dropped in one call; it limits the size of a transaction.
const BATCH: u32 = 1000;

/// The actor that recovers what is lost.
#[derive(Clone)]
pub struct Rescuer {
    /// Its ports.
    pub ports: RescuerPorts,
    /// `[rescuer]`.
    pub settings: RescuerSettings,
    /// The time limit of one call.
    pub deadline: Duration,
    /// Whether objects are deleted; if not, they stay in the outbox.
    pub storage_delete: bool,
    /// The kinds of background jobs whose rows and queue jobs are kept consistent.
    pub tracked: Vec<TrackedKind>,
}

impl Actor for Rescuer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        failpoint::reach("rescuer.started");
        ctx.spawn(self.clone().watch().into_actor(self));
    }
}

impl Supervised for Rescuer {}

impl Rescuer {
    async fn watch(self) {
        let mut reconciled: Option<Instant> = None;
        let mut failing = false;
        let suspects = Suspects::default();
        let mut alarm = OutboxAlarm::default();
        let mut certification = Certification::default();
        let mut foreign_workers = ForeignWorkers::default();
        let mut left_to_others = 0;
        let isolated_threads = IsolatedThreads::new(self.ports.table.clone());
        loop {
            self.ports.turn.beat();
            failpoint::reach("rescuer.tick");
            let due = reconciled.is_none_or(|at| at.elapsed() >= self.settings.reconcile_interval);
            let mut faults = Vec::new();
            let rescued = rescue((&self.ports, &mut left_to_others), &isolated_threads, self.deadline).await;
            faults.extend(rescued.err());
            self.ports.turn.beat();
            faults.extend(self.expire().await.err());
            self.ports.turn.beat();
            faults.extend(foreign_workers.tend(&self.ports, &isolated_threads, self.deadline).await.err());
            self.ports.turn.beat();
            faults.extend(self.clean_up().await.err());
            self.ports.turn.beat();
            certification.look(&self.ports, self.deadline).await;
            self.ports.turn.beat();
            if due {
                faults.extend(self.watch_outbox(&mut alarm).await.err());
            }
            match self.keep_together(&suspects, due).await {
                Ok(()) if due => reconciled = Some(Instant::now()),
                Ok(()) => {}
                Err(fault) => faults.push(fault),
            }
            for fault in faults.iter().filter(|_| !failing) {
                tracing::warn!(error = fault.chain(), "the rescuer cannot do its work; trying again");
            }
            failing = !faults.is_empty();
            tokio::time::sleep(self.settings.interval).await;
        }
    }

    /// Continues while there is more to drop, and stops at the deadline, since orphaned jobs wait meanwhile.
    async fn expire(&self) -> Result<(), Fault> {
        let until = Instant::now() + self.deadline;
        let expire = || self.ports.broker.expire(BATCH);
        while answer_in(self.deadline, "drop old jobs", expire()).await? == BATCH && Instant::now() < until {
            self.ports.turn.beat();
        }
        Ok(())
    }

    /// Logs once that objects wait for too long, and makes those due that wait only because the clock was set back.
    async fn watch_outbox(&self, alarm: &mut OutboxAlarm) -> Result<(), Fault> {
        if !self.storage_delete {
            return Ok(());
        }
        let hasten = self.ports.store.outbox.hasten(self.settings.longest_outbox_wait());
        let objects = answer_in(self.deadline, "look for objects that wait for too long", hasten).await?;
        if objects > 0 {
            tracing::warn!(objects, "the clock was set back: objects that would wait until then are due now");
        }
        let summary = self.ports.store.outbox.summary(None);
        let outbox = answer_in(self.deadline, "sum up the outbox", summary).await?;
        if let Some(age) = alarm.look(&outbox, Utc::now(), self.settings.outbox_alarm_after) {
            tracing::error!(
                pending = outbox.pending,
                oldest_seconds = age.as_secs(),
                error = outbox.last_error,
                "objects wait to be deleted for longer than `rescuer.outbox_alarm_after`; \
                 `tikkun outbox list` shows them"
            );
        }
        Ok(())
    }

    /// Deletes objects that earlier attempts left. It continues while all can be deleted, since there may be
    /// many after an outage, and stops at the deadline, since orphaned jobs wait meanwhile.
    async fn clean_up(&self) -> Result<(), Fault> {
        if !self.storage_delete {
            return Ok(());
        }
        let until = Instant::now() + self.deadline;
        loop {
            let (is_last, cleaned) = self.clean_up_once().await?;
            self.ports.turn.beat();
            if is_last || cleaned.failed > 0 || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Deletes as many objects as go in one call, and returns whether none are left that are due.
    async fn clean_up_once(&self) -> Result<(bool, CleanedUp), Fault> {
        let (blobs, outbox) = (&self.ports.blobs, &self.ports.store.outbox);
        // Reserved until one call and its confirmation are done.
        let hold = self.deadline * 4;
        let most = u32::try_from(blobs.max_keys()).unwrap_or(u32::MAX).min(self.settings.outbox_batch);
        let claim = outbox.claim(blobs.target(), None, most, hold);
        let condemned = answer_in(self.deadline, "claim objects to delete", claim).await?;
        if condemned.is_empty() {
            return Ok((true, CleanedUp::default()));
        }
        let limits = CleanUpLimits { deadline: self.deadline, backoff: self.settings.outbox_backoff() };
        let cleaned = delete_objects(&**blobs, &**outbox, &condemned, &limits).await?;
        tracing::info!(
            deleted = cleaned.deleted,
            failed = cleaned.failed,
            "tried objects of the clean-up outbox again"
        );
        let is_last = u32::try_from(condemned.len()).is_ok_and(|claimed| claimed < most);
        Ok((is_last, cleaned))
    }

    /// Reconciles rows and queue jobs when it is `due`, and as long as lost jobs are not restored.
    async fn keep_together(&self, suspects: &Suspects, due: bool) -> Result<(), Fault> {
        let (broker, deadline) = (&self.ports.broker, self.deadline);
        let forgotten = answer_in(deadline, "look what the queue has lost", broker.forgotten()).await?;
        if !due && forgotten.is_none() {
            return Ok(());
        }
        let look = Look { suspects, deadline, lost: forgotten.is_some() };
        let mut whole = true;
        for tracked in &self.tracked {
            whole &= reconcile(&self.ports, tracked, &look).await?;
        }
        if let Some(memory) = forgotten.filter(|_| whole) {
            answer_in(deadline, "note what is back", broker.brought_back(&memory)).await?;
        }
        Ok(())
    }
}
