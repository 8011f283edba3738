//! The values with which all parts of the tree are started.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::ArbiterHandle;

use super::Ports;
use super::start_error::StartError;
use crate::backoff::Backoff;
use crate::config::Settings;
use crate::deletion::described::{DeleteDescribed, DescribedTeam, Descriptions};
use crate::deletion::{BatchPorts, CleanUpLimits, CleanUpMode, DeleteReceipts, DeletionTeam};
use crate::queue::ProcessRecord;
use crate::supervision::{ChildSpec, RestartLimit, Strategy, Supervisor, SupervisorSpec, Turns};
use crate::tracking::StatusTracker;
use crate::webhooks::WebhookSender;
use crate::worker::Outages;

/// The time limit of a back-end call that no setting bounds: half of the default `http.request_timeout`.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The time limit of one call to the storage.
const STORAGE_DEADLINE: Duration = Duration::from_secs(30);
/// The mailbox capacity of the tracker and of each listener; a full one makes senders wait.
pub(super) const MAILBOX: usize = 1024;

/// The values with which every part of the tree is started.
pub(super) struct Ground<'a> {
    pub settings: &'a Settings,
    pub ports: &'a Ports,
    pub process: &'a ProcessRecord,
    pub control: ArbiterHandle,
    pub turns: Turns,
    pub outages: Outages,
    pub webhooks: WebhookSender,
}

impl Ground<'_> {
    pub(super) fn supervisor(&self, name: &str) -> SupervisorSpec {
        let told = &self.settings.supervision;
        let backoff = Backoff { first: told.delay_first, cap: told.delay_cap, ..Backoff::RESTART };
        let restarts = usize::try_from(told.max_restarts).unwrap_or(usize::MAX);
        SupervisorSpec::new(name, Strategy::OneForOne)
            .limit(RestartLimit { restarts, window: told.window })
            .backoff(backoff)
    }

    /// The limits of a clean-up of objects.
    pub(super) fn clean_up(&self) -> CleanUpLimits {
        CleanUpLimits { deadline: STORAGE_DEADLINE, backoff: self.settings.rescuer.outbox_backoff() }
    }

    /// The deletion of receipts; the supervisor restarts its batches, which run on the thread.
    pub(super) fn delete_receipts(
        &self,
        tracker: Addr<StatusTracker>,
        (supervisor, thread): (Supervisor, ArbiterHandle),
    ) -> DeleteReceipts {
        let (settings, store) = (self.settings, &self.ports.store);
        let told = &settings.deletion;
        let batches = BatchPorts {
            receipts: Arc::clone(&store.receipts),
            outbox: Arc::clone(&store.outbox),
            blobs: Arc::clone(&self.ports.blobs),
            tracker: tracker.clone().recipient(),
            transaction_deadline: settings.store.transaction_deadline(),
            storage_deadline: self.clean_up().deadline,
            outbox_backoff: self.clean_up().backoff,
            clean_up: CleanUpMode::of(told.storage_delete, told.throttle),
        };
        let (jobs, deadline) = (Arc::clone(&store.background_jobs), settings.tracker.deadline);
        let team = DeletionTeam { tracker, jobs, deadline, batches, supervisor, thread };
        DeleteReceipts::new(told.clone(), team)
    }

    /// The described deletions, which run their batches on this thread.
    pub(super) fn delete_described(
        &self,
        descriptions: &Arc<Descriptions>,
        thread: ArbiterHandle,
    ) -> DeleteDescribed {
        let (settings, store) = (self.settings, &self.ports.store);
        let team = DescribedTeam {
            descriptions: Arc::clone(descriptions),
            described: Arc::clone(&store.described),
            outbox: Arc::clone(&store.outbox),
            blobs: Arc::clone(&self.ports.blobs),
            clean_up: self.clean_up(),
            deadline: settings.tracker.deadline,
            transaction_deadline: settings.store.transaction_deadline(),
            thread,
        };
        DeleteDescribed::new(settings.deletion.clone(), team)
    }

    /// The descriptions of the configuration, compared with the tables.
    pub(super) async fn descriptions(&self) -> Result<Arc<Descriptions>, StartError> {
        let (settings, port) = (self.settings, Arc::clone(&self.ports.store.described));
        let descriptions = Descriptions::new(settings.deletions.clone(), port, DEADLINE);
        descriptions.examine_at_start(settings.store.strict_schema).await.map_err(StartError::Deletions)?;
        Ok(Arc::new(descriptions))
    }

    pub(super) fn child(&self, name: impl Into<String>) -> ChildSpec {
        ChildSpec::permanent(name).heartbeat(self.settings.supervision.heartbeat)
    }
}
