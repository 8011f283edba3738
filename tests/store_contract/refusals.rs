//! Claims about rows that the database refuses to change.

use tikkun::job::ReceiptId;
use tikkun::store::{BatchOutcome, Pass};

use crate::rig::{Rig, TENANT, order};

async fn refuse(rig: &Rig, condition: &str) {
    rig.raw.refuse("update", "receipts", condition).await;
}

pub async fn one_bad_receipt_among_fifty_is_set_aside(rig: &Rig) {
    rig.seed(50).await;
    refuse(rig, "old.id = 37").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.selected, batch.deleted, batch.condemned.len()), (50, 49, 49));
    assert_eq!(batch.set_aside.len(), 1);
    assert_eq!(batch.set_aside[0].receipt, ReceiptId(37));
    assert!(batch.set_aside[0].reason.contains("this row is sealed"), "{:?}", batch.set_aside);
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![37], vec![37]));
    assert_eq!(rig.store.receipts.set_aside(job.id, 10).await.unwrap(), batch.set_aside);
    let progress = rig.get(job.id).await.progress;
    assert_eq!((progress.processed, progress.succeeded, progress.failed), (50, 49, 1));
}

pub async fn several_bad_receipts_are_set_aside(rig: &Rig) {
    rig.seed(50).await;
    refuse(rig, "old.id in (1, 2, 25, 26, 50)").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    let aside: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
    assert_eq!((batch.deleted, aside), (45, vec![1, 2, 25, 26, 50]));
    assert_eq!(rig.store.receipts.set_aside(job.id, 2).await.unwrap().len(), 2);
}

pub async fn all_receipts_bad_still_moves_the_cursor(rig: &Rig) {
    rig.seed(7).await;
    refuse(rig, "old.business_id = 789").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 5, Pass::Forward).await;
    assert_eq!((batch.selected, batch.deleted, batch.set_aside.len()), (5, 0, 5));
    rig.good_batch(&job, 5, Pass::Forward).await;
    assert_eq!(rig.batch(&job, 5, Pass::Forward).await, BatchOutcome::Empty);
    assert_eq!(rig.batch(&job, 5, Pass::Sweep).await, BatchOutcome::Empty);
    assert_eq!(rig.attachments().await.len(), 7);
}

pub async fn the_sweep_passes_over_what_was_set_aside(rig: &Rig) {
    rig.seed(4).await;
    refuse(rig, "old.id in (2, 3)").await;
    let job = rig.started().await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    let swept = rig.good_batch(&job, 50, Pass::Sweep).await;
    assert_eq!((swept.selected, swept.deleted, swept.set_aside.len()), (2, 1, 1));
    assert_eq!(rig.batch(&job, 50, Pass::Sweep).await, BatchOutcome::Empty);
    assert_eq!(rig.get(job.id).await.progress.failed, 2);
}

pub async fn an_attachment_that_cannot_be_dropped_is_kept_and_reported(rig: &Rig) {
    rig.seed(20).await;
    rig.raw.refuse("delete", "attachments", "old.id in (4, 11)").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len()), (20, 18));
    assert_eq!(batch.kept_for.len(), 1);
    assert!(batch.kept_for[0].0.contains("this row is sealed") && batch.kept_for[0].1 == 2);
    assert_eq!(rig.attachments().await, [4, 11]);
    assert_eq!(rig.store.outbox.summary(None).await.unwrap().pending, 18, "no object of a kept row");
}

pub async fn a_trigger_that_breaks_off_the_transaction_breaks_nothing_for_the_next(rig: &Rig) {
    rig.seed(3).await;
    rig.raw.break_off().await;
    let job = rig.started().await;
    for _ in 0..3 {
        rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
    }
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (3, 3));
    rig.raw.mend().await;
    assert_eq!(rig.good_batch(&job, 50, Pass::Forward).await.deleted, 3);
}
