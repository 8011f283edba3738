//! What the parts of the tree have in common when they start.

use std::time::Duration;

use actix_rt::ArbiterHandle;

use super::Ports;
use crate::backoff::Backoff;
use crate::config::Settings;
use crate::queue::ProcessRecord;
use crate::supervision::{ChildSpec, RestartLimit, Strategy, SupervisorSpec, Turns};

/// Longest wait for one answer of a back end, where no setting says so: half of what a health check may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// Messages that a tracker or listener holds before senders wait.
pub(super) const MAILBOX: usize = 1024;

/// What every part of the tree is started with.
pub(super) struct Ground<'a> {
    pub settings: &'a Settings,
    pub ports: &'a Ports,
    pub process: &'a ProcessRecord,
    pub control: ArbiterHandle,
    pub turns: Turns,
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
