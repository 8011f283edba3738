//! Logs once, at start-up, how the broker may lose jobs and what in the database may prevent deletions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::queue::{Broker, Risk};
use crate::store::Receipts;

/// The risk in words.
#[must_use]
pub fn in_words(risk: &Risk) -> String {
    match risk {
        Risk::Evicts { policy } => format!(
            "Redis has `maxmemory-policy {policy}`: when its memory is full it drops keys, jobs among them, without a \
             word; set `maxmemory-policy noeviction`"
        ),
        Risk::Forgets => "Redis writes nothing to its disk (neither `save` nor `appendonly`): when it starts again, jobs \
                          that waited there are gone, but for those that a row of background_jobs tells of; set \
                          `appendonly yes`"
            .to_owned(),
    }
}

/// Logs the risks once the broker has granted the first lease.
pub(super) fn warn(broker: Arc<dyn Broker>, mut lease_held: watch::Receiver<bool>, deadline: Duration) {
    actix_rt::spawn(async move {
        if lease_held.wait_for(|held| *held).await.is_err() {
            return;
        }
        // An error is ignored here; `doctor` reads the risks again.
        if let Ok(Ok(risks)) = tokio::time::timeout(deadline, broker.risks()).await {
            risks.iter().for_each(|risk| tracing::warn!("{}", in_words(risk)));
        }
    });
}

/// Logs what in the database may prevent our changes.
pub(super) fn warn_of_hindrances(receipts: Arc<dyn Receipts>, deadline: Duration) {
    actix_rt::spawn(async move {
        // An error is ignored here, too.
        let Ok(Ok(found)) = tokio::time::timeout(deadline, receipts.hindrances()).await else { return };
        if !found.is_empty() {
            tracing::warn!("{}", hindrances_in_words(&found));
        }
    });
}

/// The hindrances in words.
#[must_use]
pub fn hindrances_in_words(found: &[String]) -> String {
    format!(
        "the database may keep rows from being deleted, or hide them: {}; what it keeps is set aside, counted in \
         failed_count and named in last_error",
        found.join(", ")
    )
}
