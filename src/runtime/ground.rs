//! The values with which all parts of the tree are started.

use std::time::Duration;

use actix_rt::ArbiterHandle;

use super::Ports;
use crate::backoff::Backoff;
use crate::config::Settings;
use crate::queue::ProcessRecord;
use crate::supervision::{ChildSpec, RestartLimit, Strategy, SupervisorSpec, Turns};
use crate::webhooks::WebhookSender;
use crate::worker::Outages;

/// The time limit of a back-end call that no setting bounds: half of the default `http.request_timeout`.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The time limit of one call to the storage.
pub(super) const STORAGE_DEADLINE: Duration = Duration::from_secs(30);
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

    pub(super) fn child(&self, name: impl Into<String>) -> ChildSpec {
        ChildSpec::permanent(name).heartbeat(self.settings.supervision.heartbeat)
    }
}
