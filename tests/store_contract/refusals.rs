//! Tests of rows that the database refuses to change.

use tikkun::fault::FaultKind;
use tikkun::job::ReceiptId;
use tikkun::job::background::{BackgroundJob, Status};
use tikkun::store::{BatchOutcome, EndAttempt, Pass};

use super::rig::{OTHER, Rig, TENANT, keys, order};

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
    assert_eq!(batch.withheld.len(), 1);
    assert!(batch.withheld[0].0.contains("this row is sealed") && batch.withheld[0].1 == 2);
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

/// Receipts 4 and 11 of 20 stay live; they keep their attachments, are set aside, and the sweep ends.
async fn two_of_twenty_stay(rig: &Rig, job: &BackgroundJob) {
    let batch = rig.good_batch(job, 50, Pass::Forward).await;
    let aside: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
    assert_eq!((batch.selected, batch.deleted, aside), (20, 18, vec![4, 11]));
    assert!(batch.set_aside[0].reason.contains("left it as it was"), "{:?}", batch.set_aside);
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![4, 11], vec![4, 11]));
    assert_eq!((batch.condemned.len(), batch.withheld), (18, vec![]));
    assert_eq!(rig.number("select count(*) from tikkun_cleanup_outbox").await, 18);
    assert_eq!(rig.batch(job, 50, Pass::Forward).await, BatchOutcome::Empty);
    assert_eq!(rig.batch(job, 50, Pass::Sweep).await, BatchOutcome::Empty);
    let progress = rig.get(job.id).await.progress;
    assert_eq!((progress.total, progress.processed, progress.succeeded, progress.failed), (20, 20, 18, 2));
}

pub async fn a_receipt_that_a_trigger_keeps_without_an_error_is_set_aside(rig: &Rig) {
    rig.seed(20).await;
    rig.raw.ignore("update", "receipts", "old.id in (4, 11)").await;
    two_of_twenty_stay(rig, &rig.started().await).await;
}

pub async fn a_receipt_whose_mark_is_taken_back_at_once_is_set_aside(rig: &Rig) {
    rig.seed(20).await;
    rig.raw.revive("new.id in (4, 11)").await;
    two_of_twenty_stay(rig, &rig.started().await).await;
}

pub async fn a_receipt_that_is_kept_without_an_error_is_set_aside_in_the_sweep_too(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    rig.set(job.id, r#"cursor = '{"last_id": 3, "upper_id": 3}'"#).await;
    rig.raw.ignore("update", "receipts", "old.id <> 2").await;
    let swept = rig.good_batch(&job, 50, Pass::Sweep).await;
    assert_eq!((swept.deleted, swept.set_aside.len(), swept.condemned.len()), (1, 2, 1));
    assert_eq!(rig.batch(&job, 50, Pass::Sweep).await, BatchOutcome::Empty);
}

pub async fn receipts_that_are_all_kept_without_an_error_end_both_passes(rig: &Rig) {
    rig.seed(7).await;
    rig.raw.ignore("update", "receipts", "old.business_id = 789").await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 5).await;
    assert_eq!(batches.iter().map(|batch| batch.set_aside.len()).collect::<Vec<_>>(), [5, 2]);
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (7, 7));
}

/// Attachments 4 and 11 of 20 stay with their objects, and the cursor says so.
async fn two_attachments_stay(rig: &Rig) {
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), batch.set_aside.len()), (20, 18, 0));
    assert_eq!(rig.attachments().await, [4, 11]);
    let objects =
        "select count(*) from tikkun_cleanup_outbox where key like '%/4.pdf' or key like '%/11.pdf'";
    assert_eq!(rig.number(objects).await, 0, "no object of a row that is there");
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert_eq!((kept.count, batch.withheld.iter().map(|(_, count)| count).sum::<u32>()), (2, 2));
    assert!(batch.withheld.iter().any(|(reason, _)| *reason == kept.reason), "{kept:?} {:?}", batch.withheld);
}

pub async fn an_attachment_that_a_trigger_keeps_without_an_error_keeps_its_object(rig: &Rig) {
    rig.seed(20).await;
    rig.raw.ignore("delete", "attachments", "old.id in (4, 11)").await;
    two_attachments_stay(rig).await;
}

pub async fn an_attachment_that_comes_back_at_once_keeps_its_object(rig: &Rig) {
    rig.seed(20).await;
    rig.raw.restore("old.id in (4, 11)").await;
    two_attachments_stay(rig).await;
}

pub async fn a_job_row_that_does_not_move_is_a_fault_and_nothing_happened(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    rig.raw.ignore("update", "background_jobs", "old.id > 0").await;
    let fault = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (3, 3));
    let ended = rig.store.background_jobs.end_attempt(job.id, job.note.attempt, &EndAttempt::Completed).await;
    assert!(ended.unwrap_err().chain().contains("left it as it was"), "it is not said to have ended");
}

pub async fn what_may_keep_rows_is_named(rig: &Rig) {
    assert_eq!(rig.store.receipts.hindrances().await.unwrap(), Vec::<String>::new());
    rig.raw.ignore("update", "receipts", "old.id = 4").await;
    rig.raw.restore("old.id = 4").await;
    assert_eq!(
        rig.store.receipts.hindrances().await.unwrap(),
        ["trigger ignore_update_receipts on receipts", "trigger restore on attachments"]
    );
}

pub async fn newest_keys_are_those_of_the_last_attachments_that_have_one(rig: &Rig) {
    assert_eq!(rig.store.receipts.newest_keys(2).await.unwrap(), Vec::<String>::new());
    rig.seed(6).await;
    rig.run("update attachments set storage_path = null where id = 6").await;
    rig.run("update attachments set storage_path = '' where id = 4").await;
    let key = |id: i64| format!("{TENANT}/receipt_source/2026/01/{id}.pdf");
    assert_eq!(rig.store.receipts.newest_keys(2).await.unwrap(), [key(5), key(3)]);
}

pub async fn a_completed_row_says_what_is_missing_or_nothing(rig: &Rig) {
    let job = rig.started().await;
    rig.set(job.id, "last_error = 'a deadlock that is over'").await;
    assert!(rig.store.background_jobs.end_attempt(job.id, 1, &EndAttempt::Completed).await.unwrap());
    assert_eq!(rig.get(job.id).await.last_error, None);
    let job = rig.started().await;
    rig.set(job.id, "last_error = 'a deadlock that is over'").await;
    let end = EndAttempt::CompletedBut { error: "2 of 20".into() };
    for _ in 0..2 {
        assert!(rig.store.background_jobs.end_attempt(job.id, 1, &end).await.unwrap());
    }
    let row = rig.get(job.id).await;
    assert_eq!((row.status.as_str(), row.last_error.as_deref()), ("completed", Some("2 of 20")));
}

pub async fn an_attachment_whose_pointer_a_trigger_keeps_stays(rig: &Rig) {
    rig.seed(20).await;
    rig.receipt(30, TENANT, Some(4), None).await;
    rig.receipt(31, TENANT, None, Some(11)).await;
    rig.run("update receipts set is_deleted = true where id in (30, 31)").await;
    rig.raw.ignore("update", "receipts", "old.id in (30, 31)").await;
    two_attachments_stay(rig).await;
}

pub async fn an_object_that_a_copy_of_its_attachment_takes_over_stays(rig: &Rig) {
    rig.seed(20).await;
    let copy = "insert into attachments (id, business_id, purpose, storage_path)
        values (old.id + 1000, 790, 'trash', old.storage_path)";
    rig.raw.after("delete", "attachments", "old.id in (4, 11)", copy).await;
    two_attachments_stay(rig).await;
}

pub async fn a_live_receipt_that_a_trigger_links_to_an_attachment_keeps_it(rig: &Rig) {
    rig.seed(20).await;
    let job = rig.started().await;
    rig.receipt(30, TENANT, None, None).await;
    let link = "update receipts set attachment_id = old.attachment_id where id = 30";
    rig.raw.after("update", "receipts", "old.id = 4 and new.is_deleted", link).await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), batch.set_aside.len()), (20, 19, 0));
    assert_eq!(rig.ids("select attachment_id from receipts where id = 30").await, [4]);
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![30], vec![4]));
}

pub async fn a_cursor_that_a_trigger_keeps_is_a_fault_and_nothing_happened(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    let back = "update background_jobs set cursor = old.cursor where id = new.id";
    rig.raw.after("update", "background_jobs", "new.processed > old.processed", back).await;
    let fault = rig.store.receipts.delete_batch(&order(&job, 2, Pass::Forward)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (3, 3));
}

pub async fn a_status_that_a_trigger_keeps_is_a_fault_and_nothing_happened(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    let back = "update background_jobs set status = old.status where id = old.id";
    rig.raw.after("update", "background_jobs", "new.status = 'completed'", back).await;
    let (jobs, attempt) = (&rig.store.background_jobs, job.note.attempt);
    let kept = jobs.end_attempt(job.id, attempt, &EndAttempt::Completed).await.unwrap_err();
    assert!(
        kept.kind() == FaultKind::Permanent && kept.chain().contains("left it as it was"),
        "{}",
        kept.chain()
    );
    assert_eq!(rig.get(job.id).await.finished_at, None);
    let end = EndAttempt::Failed { error: kept.chain() };
    assert!(jobs.end_attempt(job.id, attempt, &end).await.unwrap(), "what the trigger lets through is done");
    assert_eq!(rig.get(job.id).await.status, Status::Failed);
}

pub async fn a_receipt_that_a_later_mark_revives_is_not_counted_as_deleted(rig: &Rig) {
    rig.seed(9).await;
    let revive = "update receipts set is_deleted = false where id = 4";
    rig.raw.after("update", "receipts", "new.id = 9 and new.is_deleted", revive).await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), batch.condemned.len()), (8, 1, 8));
    assert_eq!(rig.live(TENANT).await, rig.attachments().await, "what lives has its attachment");
    assert_eq!(rig.batch(&job, 50, Pass::Sweep).await, BatchOutcome::Empty);
}

pub async fn an_attachment_whose_end_revives_a_receipt_stays(rig: &Rig) {
    rig.seed(9).await;
    let revive = "update receipts set is_deleted = false where id = 4";
    rig.raw.after("delete", "attachments", "old.storage_path like '%/4.pdf'", revive).await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), rig.live(TENANT).await), (9, 8, vec![]));
    assert_eq!(batch.withheld.iter().map(|(_, count)| count).sum::<u32>(), 1);
    assert_eq!(rig.attachments().await, [4]);
}

/// What an application does that keeps no files of deleted receipts.
async fn drop_attachments_with_their_receipts(rig: &Rig) {
    let drop = "delete from attachments where id = old.attachment_id";
    rig.raw.after("update", "receipts", "new.is_deleted", drop).await;
}

pub async fn attachments_that_a_trigger_drops_with_their_receipts_leave_no_object(rig: &Rig) {
    rig.seed(9).await;
    drop_attachments_with_their_receipts(rig).await;
    let batch = rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), rig.attachments().await), (9, 9, vec![]));
    assert_eq!(rig.number("select count(*) from tikkun_cleanup_outbox").await, 9);
}

pub async fn objects_that_a_trigger_keeps_from_being_noted_are_reported(rig: &Rig) {
    rig.seed(9).await;
    drop_attachments_with_their_receipts(rig).await;
    rig.raw.refuse("update", "receipts", "old.id = 4").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), rig.attachments().await), (8, 1, vec![4]));
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert!(kept.count == 8 && kept.reason.contains("before the objects could be noted"), "{kept:?}");
}

/// Values that are to be unique beside a mark of deletion: what was deleted once, made again, is deleted again, and
/// receipts of one batch have one time of deletion.
pub async fn a_receipt_that_is_unique_among_the_deleted_is_set_aside(rig: &Rig) {
    rig.seed(9).await;
    rig.run("update receipts set gmail_message_id = 'a' where id in (1, 4)").await;
    rig.run("update receipts set gmail_message_id = 'b' where id in (5, 7)").await;
    rig.run("update receipts set is_deleted = true where id = 1").await;
    rig.run("update receipts set is_deleted = null where id = 7").await;
    rig.run("create unique index by_mark on receipts (business_id, gmail_message_id, is_deleted)").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    let aside: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
    assert_eq!((batch.deleted, aside), (6, vec![4, 7]));
    assert!(batch.set_aside[0].reason.to_lowercase().contains("unique"), "{:?}", batch.set_aside);
    assert_eq!(
        (rig.live(TENANT).await, rig.batch(&job, 50, Pass::Sweep).await),
        (vec![4, 7], BatchOutcome::Empty)
    );
    assert!([4, 7].iter().all(|id| {
        !keys(std::slice::from_ref(&batch)).iter().any(|key| key.ends_with(&format!("/{id}.pdf")))
    }));
}

/// What an application does that keeps deleted receipts in a table of their own.
async fn archive_what_is_marked(rig: &Rig, columns: &str) {
    let away = format!(
        "insert into receipts_archive select {columns} from receipts where id = new.id;
         delete from receipts where id = new.id"
    );
    rig.raw.after("update", "receipts", "new.is_deleted", &away).await;
}

pub async fn a_receipt_that_its_mark_takes_out_of_the_table_is_deleted(rig: &Rig) {
    rig.seed(20).await;
    rig.run("create table receipts_archive as select * from receipts where 1 = 0").await;
    archive_what_is_marked(rig, "*").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 10, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), batch.set_aside), (10, 10, vec![]));
    // The rest goes step by step, because of 14; the attachment 17 is needed elsewhere.
    rig.raw.refuse("update", "receipts", "old.id = 14").await;
    rig.receipt(30, OTHER, Some(17), None).await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    let aside: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
    assert_eq!((batch.deleted, batch.condemned.len(), aside), (9, 8, vec![14]));
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![14], vec![14, 17]));
    assert_eq!(rig.ids("select attachment_id from receipts where id = 30").await, [17]);
    assert_eq!(rig.number("select count(*) from receipts_archive").await, 19);
    assert_eq!(rig.number("select count(*) from tikkun_cleanup_outbox").await, 18);
    assert_eq!(rig.batch(&job, 50, Pass::Sweep).await, BatchOutcome::Empty);
    let row = rig.get(job.id).await;
    assert_eq!((row.progress.succeeded, row.progress.failed, row.cursor.attachments_kept), (19, 1, None));
}

pub async fn an_attachment_that_an_archive_of_receipts_refers_to_stays_and_is_reported(rig: &Rig) {
    rig.seed(9).await;
    rig.run("create table receipts_archive (id integer, file integer references attachments (id))").await;
    archive_what_is_marked(rig, "id, attachment_id").await;
    rig.raw.refuse("update", "receipts", "old.id = 4").await;
    let batch = rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), batch.condemned.len()), (8, 1, 0));
    assert_eq!(batch.kept_for, [("receipts_archive.file".to_owned(), 8)]);
    assert_eq!(rig.attachments().await.len(), 9);
}

pub async fn a_receipt_that_its_mark_gives_to_another_tenant_alive_is_set_aside(rig: &Rig) {
    rig.seed(9).await;
    let give = format!("update receipts set business_id = {OTHER}, is_deleted = false where id = 4");
    rig.raw.after("update", "receipts", "new.id = 4 and new.is_deleted", &give).await;
    let batch = rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), rig.attachments().await), (8, 1, vec![4]));
}

/// Attachments 1 and 20 share a path, their receipts are deleted in different batches, and each mark takes the pointer
/// away: no batch can know the other's.
async fn the_two_that_share_a_path_are_reported(rig: &Rig) {
    rig.run("update attachments set storage_path = '789/receipt_source/2026/01/1.pdf' where id = 20").await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 10).await;
    assert_eq!(batches.iter().map(|batch| batch.deleted).sum::<u32>(), 20);
    assert_eq!((keys(&batches).len(), rig.attachments().await), (18, vec![1, 20]));
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert!(kept.count == 2 && kept.reason.contains("share their storage_path"), "{kept:?}");
}

pub async fn attachments_of_one_path_whose_pointers_a_trigger_clears_are_reported(rig: &Rig) {
    rig.seed(20).await;
    let unlink = "update receipts set attachment_id = null where id = new.id";
    rig.raw.after("update", "receipts", "new.is_deleted and new.attachment_id is not null", unlink).await;
    the_two_that_share_a_path_are_reported(rig).await;
}

pub async fn attachments_of_one_path_whose_receipts_are_archived_are_reported(rig: &Rig) {
    rig.seed(20).await;
    rig.run("create table receipts_archive as select * from receipts where 1 = 0").await;
    archive_what_is_marked(rig, "*").await;
    the_two_that_share_a_path_are_reported(rig).await;
}
