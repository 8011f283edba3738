//! What follows a committed batch: its log lines and its objects.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::run::DescribedRun;
use crate::deletion::delete_objects;
use crate::store::{Condemned, DescribedBatch};
use crate::user_log::USER_LOG;

/// How long a stopping job waits for its last objects; the rest stays in the outbox.
const PARTING: Duration = Duration::from_secs(2);
/// How long batches leave their objects to the Rescuer after the storage has refused all of one batch.
const STORAGE_REST: Duration = Duration::from_secs(30);

impl DescribedRun<'_> {
    /// Logs what a batch did.
    pub(super) fn log(&self, batch: &DescribedBatch) {
        let (progress, label) = (&batch.progress, &self.label);
        tracing::info!(
            target: USER_LOG, { job.id = %self.ctx.job, deleted = batch.deleted, failed = batch.set_aside.len(), others = batch.others },
            "✓ [{label}] Batch complete: {} deleted, {} failed ({}/{} = {:.1}%), IDs {}-{}",
            batch.deleted,
            batch.set_aside.len(),
            progress.processed,
            progress.total,
            progress.percent(),
            batch.first_id,
            batch.last_id
        );
        for (row, reason) in &batch.set_aside {
            tracing::warn!(deletion = self.row.id, row, reason, "a row cannot be deleted; set aside");
        }
        for (reference, count) in &batch.kept_for {
            tracing::warn!(
                reference,
                count,
                "rows are kept because something that no description has refers to them"
            );
        }
    }

    /// Deletes the objects of a batch. They are in the outbox, from where the Rescuer tries again what fails here.
    pub(super) async fn clean_up(&mut self, condemned: Vec<Condemned>) {
        let rests = self.storage_rests.is_some_and(|until| Instant::now() < until);
        if condemned.is_empty() || rests || !self.settings.storage_delete {
            return;
        }
        let team = self.team;
        let mut deleted = pin!(delete_objects(&*team.blobs, &*team.outbox, &condemned, &team.clean_up));
        let cleaned = tokio::select! {
            done = &mut deleted => Some(done),
            _ = self.ctx.stopped() => tokio::time::timeout(PARTING, deleted).await.ok(),
        };
        match cleaned {
            Some(Ok(cleaned)) => {
                tracing::info!(
                    target: USER_LOG, { job.id = %self.ctx.job, deleted = cleaned.deleted, failed = cleaned.failed },
                    "→ [{}] Object cleanup: {} deleted, {} failed", self.label, cleaned.deleted, cleaned.failed
                );
                let refused = cleaned.deleted == 0 && cleaned.failed > 0;
                self.storage_rests = refused.then(|| Instant::now() + STORAGE_REST);
            }
            Some(Err(fault)) => {
                tracing::warn!(error = fault.chain(), "the clean-up outbox cannot be brought up to date");
            }
            None => {}
        }
    }
}
