//! Logs once, at start-up, how the broker may lose jobs or keep them waiting, what in the database may prevent
//! deletions, and that files would stay.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::ports::Ports;
use crate::blob::BlobStore;
use crate::job::QueueName;
use crate::operations::Elsewhere;
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
        Risk::Misused { queue: Some(queue), what } => format!("queue {queue} cannot be served: {what}"),
        Risk::Misused { queue: None, what } => format!("no queue can be served: {what}"),
    }
}

/// Logs the risks once the broker has granted the first lease.
pub(super) fn warn(
    broker: Arc<dyn Broker>,
    queues: Vec<QueueName>,
    mut lease_held: watch::Receiver<bool>,
    deadline: Duration,
) {
    actix_rt::spawn(async move {
        if lease_held.wait_for(|held| *held).await.is_err() {
            return;
        }
        // An error is ignored here; `doctor` reads the risks again.
        if let Ok(Ok(risks)) = tokio::time::timeout(deadline, broker.risks(&queues)).await {
            risks.iter().for_each(|risk| tracing::warn!("{}", in_words(risk)));
        }
    });
}

/// Logs what may keep deletions from what they are asked for; with `cleans_up` their files, too.
pub(super) fn warn_of_deletions(ports: &Ports, cleans_up: bool, deadline: Duration) {
    warn_of_hindrances(Arc::clone(&ports.store.receipts), deadline);
    if cleans_up {
        warn_of_files_elsewhere(Arc::clone(&ports.store.receipts), Arc::clone(&ports.blobs), deadline);
    }
}

/// Logs what in the database may prevent our changes.
fn warn_of_hindrances(receipts: Arc<dyn Receipts>, deadline: Duration) {
    actix_rt::spawn(async move {
        // An error is ignored here, too.
        let Ok(Ok(found)) = tokio::time::timeout(deadline, receipts.hindrances()).await else { return };
        if !found.is_empty() {
            tracing::warn!("{}", hindrances_in_words(&found));
        }
    });
}

/// Logs that deletions would leave every file where it is.
fn warn_of_files_elsewhere(receipts: Arc<dyn Receipts>, blobs: Arc<dyn BlobStore>, deadline: Duration) {
    actix_rt::spawn(async move {
        let look = Elsewhere::look(&*receipts, &*blobs);
        // An error is ignored here, too.
        if let Ok(Ok(Some(elsewhere))) = tokio::time::timeout(deadline, look).await {
            tracing::warn!("{}; {ELSEWHERE_TO_DO}", elsewhere.in_words());
        }
    });
}

/// What to do if the objects are elsewhere.
pub const ELSEWHERE_TO_DO: &str = "a missing object counts as deleted, so their files would stay: compare the bucket or folder, and a prefix that the \
     application puts before its keys (as `location` of django-storages), with `storage_path` in the database";

/// The hindrances in words.
#[must_use]
pub fn hindrances_in_words(found: &[String]) -> String {
    format!(
        "the database may keep rows from being deleted, or hide them: {}; receipts that it keeps are set aside and \
         counted in failed_count, and last_error says what stays and why",
        found.join(", ")
    )
}
