//! Only the tracker writes a status, so a command that changes one starts a tracker of its own.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor as _, Addr};

use super::super::audited::COMMAND_LINE;
use crate::config::Settings;
use crate::operations::{Deletions, Limiter, Principal};
use crate::runtime::{JobPorts, tracked_deletions};
use crate::supervision::Turns;
use crate::tracking::{Requests, StatusTracker};

/// The time limit of one call to the queue or the database.
const DEADLINE: Duration = Duration::from_secs(5);

/// Starts a tracker that lives as long as the command.
fn tracker(settings: &Settings, ports: &JobPorts) -> Addr<StatusTracker> {
    let tracker = StatusTracker {
        jobs: Arc::clone(&ports.store.background_jobs),
        journal: Arc::default(),
        settings: settings.tracker.clone(),
        counting_deadline: settings.store.transaction_deadline(),
        turn: Turns::default().register("status_tracker"),
    };
    tracker.start()
}

/// The operations on deletions, with a tracker that lives as long as the command.
pub(super) fn deletions(settings: &Settings, ports: &JobPorts) -> Deletions {
    let requests = Requests {
        tracker: tracker(settings, ports),
        broker: Arc::clone(&ports.broker),
        tracked: tracked_deletions(settings),
        deadline: DEADLINE,
    };
    Deletions { requests, jobs: Arc::clone(&ports.store.background_jobs), limiter: Limiter::new(0) }
}

/// The principal of commands for the audit; `user_id` is the user that the application shows.
pub(super) fn principal(user_id: Option<i64>) -> Principal {
    Principal { user_id, ..Principal::operator(COMMAND_LINE, None) }
}
