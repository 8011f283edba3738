//! Only the tracker writes a status, so a command that changes one starts one for the occasion.

use std::sync::Arc;

use actix::{Actor as _, Addr};

use super::super::advice::Advice;
use super::super::ending::Complaint;
use crate::config::Settings;
use crate::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL};
use crate::runtime::Ports;
use crate::supervision::Turns;
use crate::tracking::{Journal, StatusTracker, TrackerSettings};

/// A tracker that lives as long as the command.
pub(super) fn tracker(settings: &Settings, ports: &Ports) -> Addr<StatusTracker> {
    let told = &settings.tracker;
    let settings = TrackerSettings {
        progress_interval: told.progress_interval,
        heartbeat_interval: told.heartbeat_interval,
        deadline: told.deadline,
        counting_deadline: settings.store.transaction_deadline(),
    };
    let turn = Turns::default().register("status_tracker");
    let jobs = Arc::clone(&ports.store.background_jobs);
    StatusTracker::new(jobs, Arc::new(Journal::default()), settings, turn).start()
}

/// Rows of other types belong to the application.
pub(super) fn is_ours(row: &BackgroundJob) -> Result<(), Complaint> {
    if row.job_type == DELETE_RECEIPTS_ALL {
        return Ok(());
    }
    let text = format!(
        "background job {} is of type `{}`; only jobs of type `{DELETE_RECEIPTS_ALL}` are ours to change",
        row.id, row.job_type
    );
    Err(Complaint::failed(text, Advice::BY_THE_APPLICATION))
}
