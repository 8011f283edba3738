//! Tests with concurrent writers.

use futures::FutureExt;
use tikkun::store::{BatchOutcome, Pass};

use super::rig::{OTHER, Rig, TENANT, order};

pub async fn a_link_made_during_the_deletion_keeps_its_attachment(rig: &Rig) {
    rig.seed(60).await;
    let job = rig.started().await;
    let delete = rig.delete_all(&job, 3);
    let link = async {
        let mut linked = 0;
        for step in 0..60_i64 {
            let (id, attachment) = (1000 + step, 60 - step);
            let column = if step % 2 == 0 { "attachment_id" } else { "preview_attachment_id" };
            let tenant = if step % 3 == 0 { OTHER } else { TENANT };
            let sql = format!(
                "insert into receipts (id, business_id, {column}) values ({id}, {tenant}, {attachment})"
            );
            linked += i64::from(rig.raw.try_run(&sql).await.is_ok());
        }
        linked
    };
    let (batches, linked) = tokio::join!(delete, link);
    let condemned: usize = batches.iter().map(|batch| batch.condemned.len()).sum();
    let kept = "select count(*) from receipts where id >= 1000
        and coalesce(attachment_id, preview_attachment_id) is not null";
    assert_eq!(rig.number(kept).await, linked, "every committed link still has its attachment");
    assert_eq!(condemned as i64 + linked, 60, "each attachment went one way or the other");
    assert!(rig.live(TENANT).await.iter().all(|id| *id >= 1000));
}

pub async fn two_batches_at_once_delete_each_receipt_once(rig: &Rig) {
    rig.seed(40).await;
    let job = rig.started().await;
    let worker = || async {
        let mut deleted = 0;
        while let BatchOutcome::Deleted(batch) = rig.batch(&job, 3, Pass::Forward).await {
            deleted += batch.deleted;
        }
        deleted
    };
    let (one, two) = tokio::join!(worker(), worker());
    assert_eq!(one + two, 40);
    assert_eq!(rig.get(job.id).await.progress.succeeded, 40);
    assert_eq!(rig.store.outbox.summary(None).await.unwrap().pending, 40);
}

pub async fn a_dropped_batch_leaves_a_usable_store(rig: &Rig) {
    rig.seed(40).await;
    let job = rig.started().await;
    for polls in 0..60 {
        let order = order(&job, 2, Pass::Forward);
        let mut batch = Box::pin(rig.store.receipts.delete_batch(&order));
        for _ in 0..polls {
            if batch.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    rig.delete_all(&job, 7).await;
    let progress = rig.get(job.id).await.progress;
    assert_eq!((progress.processed, progress.succeeded), (40, 40));
    assert_eq!(rig.store.outbox.summary(None).await.unwrap().pending, 40);
}
