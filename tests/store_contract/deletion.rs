//! Tests of a batch.

use tikkun::fault::FaultKind;
use tikkun::job::background::Status;
use tikkun::store::{BatchOutcome, EndAttempt, Pass};

use super::rig::{OTHER, Rig, TENANT, keys, order, target};

pub async fn whole_deletion_counts_exactly_and_spares_what_others_need(rig: &Rig) {
    for id in 1..=7 {
        rig.attach(id, TENANT, "receipt_source").await;
    }
    rig.attach(8, TENANT, "contract").await;
    rig.attach(9, OTHER, "receipt_source").await;
    rig.attach(10, TENANT, "receipt_preview").await;
    rig.run("update attachments set storage_path = 'one/key' where id in (6, 7)").await;
    rig.receipt(1, TENANT, Some(1), Some(10)).await;
    rig.receipt(2, TENANT, Some(2), Some(2)).await;
    rig.receipt(3, TENANT, Some(3), None).await;
    rig.receipt(4, TENANT, Some(4), Some(5)).await;
    rig.receipt(5, TENANT, Some(6), None).await;
    rig.receipt(6, TENANT, Some(8), None).await;
    rig.receipt(7, TENANT, Some(9), None).await;
    rig.receipt(8, TENANT, None, None).await;
    rig.receipt(9, OTHER, Some(4), None).await;
    rig.receipt(10, OTHER, None, Some(5)).await;
    let job = rig.started().await;
    rig.receipt(11, TENANT, None, Some(3)).await;
    assert_eq!((job.progress.total, job.cursor.upper_id), (8, Some(8)));

    let batches = rig.delete_all(&job, 3).await;

    assert_eq!(
        keys(&batches),
        [
            "789/receipt_preview/2026/01/10.pdf",
            "789/receipt_source/2026/01/1.pdf",
            "789/receipt_source/2026/01/2.pdf"
        ]
    );
    assert_eq!(rig.attachments().await, [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(rig.live(TENANT).await, [11]);
    assert_eq!(rig.live(OTHER).await, [9, 10]);
    assert_eq!(
        batches.iter().map(|b| (b.first_id, b.last_id, b.selected, b.deleted)).collect::<Vec<_>>(),
        [(1, 3, 3, 3), (4, 6, 3, 3), (7, 8, 2, 2)]
    );
    let done = rig.get(job.id).await;
    let progress = done.progress;
    assert_eq!((progress.total, progress.processed, progress.succeeded, progress.failed), (8, 8, 8, 0));
    assert!(rig.store.background_jobs.end_attempt(job.id, 1, &EndAttempt::Completed).await.unwrap());
    let done = rig.get(job.id).await;
    assert_eq!((done.status, done.last_error), (Status::Completed, None));
    assert!(done.finished_at >= done.started_at && done.finished_at.is_some());
    assert_eq!(rig.store.outbox.summary(Some(TENANT)).await.unwrap().pending, 3);
    assert_eq!(rig.number("select sum(bytes) from tikkun_cleanup_outbox").await, 30);
    let stamped = "select count(*) from receipts where is_deleted is true
        and deleted_at is not null and updated_at = deleted_at";
    assert_eq!(rig.number(stamped).await, 8);
}

pub async fn receipts_above_the_upper_id_are_untouched(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    for id in 4..=6 {
        rig.receipt(id, TENANT, None, None).await;
    }
    rig.delete_all(&job, 2).await;
    assert_eq!(rig.live(TENANT).await, [4, 5, 6]);
}

pub async fn a_late_low_id_is_found_by_the_sweep(rig: &Rig) {
    for id in [1, 2, 5, 6] {
        rig.receipt(id, TENANT, None, None).await;
    }
    let job = rig.started().await;
    while rig.batch(&job, 2, Pass::Forward).await != BatchOutcome::Empty {}
    rig.receipt(4, TENANT, None, None).await;
    assert_eq!(rig.batch(&job, 2, Pass::Forward).await, BatchOutcome::Empty);
    let swept = rig.good_batch(&job, 2, Pass::Sweep).await;
    assert_eq!((swept.first_id, swept.last_id, swept.progress.total), (4, 4, 5));
    assert_eq!(rig.batch(&job, 2, Pass::Sweep).await, BatchOutcome::Empty);
    assert_eq!(rig.get(job.id).await.cursor.last_id, 6, "a sweep never moves the cursor back");
}

pub async fn a_null_deletion_mark_counts_as_live(rig: &Rig) {
    rig.attach(1, TENANT, "receipt_source").await;
    rig.receipt(1, TENANT, Some(1), None).await;
    rig.receipt(2, OTHER, Some(1), None).await;
    rig.receipt(3, TENANT, None, None).await;
    rig.run("update receipts set is_deleted = null").await;
    assert_eq!(rig.store.receipts.count_live(TENANT).await.unwrap(), 2);
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len()), (2, 0));
    assert_eq!(rig.attachments().await, [1]);
}

pub async fn an_older_attempt_commits_nothing(rig: &Rig) {
    rig.seed(3).await;
    let old = rig.started().await;
    let new = rig.begin(old.id).await;
    let outcome = rig.batch(&old, 50, Pass::Forward).await;
    assert_eq!(outcome, BatchOutcome::NotOurs(Some(Status::Running)));
    assert_eq!(rig.live(TENANT).await.len(), 3);
    assert_eq!(rig.good_batch(&new, 50, Pass::Forward).await.deleted, 3);
}

pub async fn a_row_cancelled_by_the_web_application_stops_the_batch(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    rig.good_batch(&job, 1, Pass::Forward).await;
    rig.set(job.id, "status = 'cancelled', finished_at = '2026-01-28 19:00:01.5'").await;
    let before = rig.get(job.id).await;
    for pass in [Pass::Forward, Pass::Sweep] {
        assert_eq!(rig.batch(&job, 50, pass).await, BatchOutcome::NotOurs(Some(Status::Cancelled)));
    }
    assert_eq!(rig.get(job.id).await, before);
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (2, 2));
    rig.run(&format!("delete from background_jobs where id = {}", job.id)).await;
    assert_eq!(rig.batch(&job, 50, Pass::Forward).await, BatchOutcome::NotOurs(None));
}

pub async fn an_unknown_table_keeps_its_attachment_and_is_reported(rig: &Rig) {
    rig.run("create table quotes (id integer primary key, file integer references attachments (id))").await;
    rig.run("create table \"odd 'one\" (\"a \"\"b\" integer references attachments (id) on delete cascade)")
        .await;
    rig.seed(4).await;
    rig.run("insert into quotes values (1, 2), (2, null)").await;
    rig.run("insert into \"odd 'one\" values (3), (3), (4)").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!(batch.kept_for, [("odd 'one.a \"b".to_owned(), 2), ("quotes.file".to_owned(), 1)]);
    assert_eq!((batch.deleted, rig.attachments().await), (4, vec![2, 3, 4]));
}

/// Attachments that were made from others, as previews are, by keys of each kind.
pub async fn an_attachment_that_refers_to_another_goes_along_with_it(rig: &Rig) {
    for (column, on_delete) in
        [("made_from", ""), ("first", "on delete set null"), ("page_of", "on delete cascade")]
    {
        rig.run(&format!(
            "alter table attachments add column {column} integer references attachments (id) {on_delete}"
        ))
        .await;
    }
    rig.seed(8).await;
    for id in [11, 12, 13, 15, 16] {
        rig.attach(id, TENANT, "receipt_preview").await;
    }
    for (receipt, preview) in [(1, 11), (2, 12), (3, 13), (6, 16)] {
        rig.run(&format!("update receipts set preview_attachment_id = {preview} where id = {receipt}")).await;
    }
    rig.receipt(30, OTHER, None, Some(13)).await;
    rig.run(
        "update attachments set made_from = 1 where id = 11;
         update attachments set first = 2 where id = 12;
         update attachments set made_from = 3 where id = 13;
         update attachments set first = 4 where id = 4;
         update attachments set page_of = 5 where id = 15;
         update attachments set page_of = 6 where id = 16;
         update attachments set made_from = 7 where id = 3;
         update attachments set storage_path = (select storage_path from attachments where id = 7) where id = 8",
    )
    .await;
    let plan = rig.store.receipts.plan(TENANT, &target()).await.unwrap();
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.withheld), (8, vec![]));
    let expected = [("attachments.made_from".to_owned(), 2), ("attachments.page_of".to_owned(), 1)];
    assert_eq!(batch.kept_for, expected, "what stays keeps what it was made from");
    assert_eq!(rig.attachments().await, [3, 5, 7, 8, 13, 15], "and what shares its object");
    assert_eq!((batch.condemned.len(), plan.attachments, plan.objects), (7, 7, 7));
}

pub async fn a_table_made_between_batches_is_heeded(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    assert_eq!(rig.good_batch(&job, 1, Pass::Forward).await.condemned.len(), 1);
    rig.run("create table quotes (id integer primary key, file integer references attachments (id))").await;
    rig.run("insert into quotes values (1, 2)").await;
    assert_eq!(rig.good_batch(&job, 1, Pass::Forward).await.kept_for, [("quotes.file".to_owned(), 1)]);
    assert_eq!(rig.good_batch(&job, 1, Pass::Forward).await.condemned.len(), 1);
    assert_eq!(rig.attachments().await, [2]);
}

pub async fn keys_of_others_stay_in_the_cursor(rig: &Rig) {
    rig.seed(2).await;
    let id = rig.web_row().await;
    rig.set(id, r#"cursor = '{"last_id": 0, "made_by": {"page": 3}}'"#).await;
    let job = rig.begin(id).await;
    rig.good_batch(&job, 50, Pass::Forward).await;
    let cursor = rig.get(id).await.cursor;
    assert_eq!((cursor.last_id, cursor.upper_id), (2, Some(2)));
    assert_eq!(cursor.other["made_by"]["page"], 3);
}

pub async fn a_row_without_a_key_leaves_no_object(rig: &Rig) {
    rig.seed(3).await;
    rig.run("update attachments set storage_path = null where id = 1").await;
    rig.run("update attachments set storage_path = '' where id in (2, 3)").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert!(batch.condemned.is_empty());
    assert!(rig.attachments().await.is_empty());
    assert_eq!(rig.store.outbox.summary(None).await.unwrap().pending, 0);
}

/// Receipts `1..=n`, each with an attachment of its own, and all attachments with one path.
async fn share_a_path(rig: &Rig, n: i64) {
    rig.seed(n).await;
    rig.run("update attachments set storage_path = 'one/key'").await;
}

pub async fn attachments_that_share_a_path_go_together_with_their_object(rig: &Rig) {
    for limit in [50, 2, 1] {
        rig.run("delete from receipts; delete from attachments; delete from tikkun_cleanup_outbox").await;
        share_a_path(rig, 3).await;
        let job = rig.started().await;
        let batches = rig.delete_all(&job, limit).await;
        assert_eq!(
            (keys(&batches), rig.attachments().await),
            (vec!["one/key".to_owned()], vec![]),
            "{limit}"
        );
        let last = batches.last().unwrap();
        assert_eq!((last.last_id, last.condemned.len()), (3, 1), "no sooner than with the last, {limit}");
        rig.set(job.id, "status = 'completed'").await;
    }
}

pub async fn a_path_that_something_live_shares_keeps_all_its_rows(rig: &Rig) {
    share_a_path(rig, 3).await;
    rig.run(&format!("update receipts set business_id = {OTHER} where id = 3")).await;
    rig.run(&format!("update attachments set business_id = {OTHER} where id = 3")).await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 50).await;
    assert_eq!((keys(&batches).len(), rig.attachments().await), (0, vec![1, 2, 3]));
}

pub async fn a_shared_path_goes_with_the_last_row_that_the_database_lets_go(rig: &Rig) {
    share_a_path(rig, 3).await;
    rig.raw.refuse("delete", "attachments", "old.id = 2").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, rig.attachments().await), (3, vec![2]));
    assert!(batch.condemned.is_empty(), "the row that stays has its object");
    rig.raw.allow("delete", "attachments").await;
    rig.receipt(4, TENANT, Some(2), None).await;
    rig.set_cursor(job.id, r#"{"last_id": 3, "upper_id": 4}"#).await;
    assert_eq!(keys(&[rig.good_batch(&job, 50, Pass::Forward).await]), ["one/key"]);
    assert!(rig.attachments().await.is_empty());
}

pub async fn the_row_shows_the_batchs_progress(rig: &Rig) {
    rig.seed(3).await;
    let job = rig.started().await;
    rig.set(job.id, "heartbeat_at = '2026-01-01 00:00:00', total = 1").await;
    let batch = rig.good_batch(&job, 2, Pass::Forward).await;
    let row = rig.get(job.id).await;
    assert_eq!(row.progress, batch.progress);
    assert_eq!((row.progress.total, row.progress.processed), (3, 2));
    assert!(row.heartbeat_at >= job.heartbeat_at && row.updated_at == row.heartbeat_at);
}

pub async fn a_cursor_without_an_upper_id_is_named(rig: &Rig) {
    rig.seed(1).await;
    let job = rig.started().await;
    rig.set_cursor(job.id, r#"{"last_id": 0}"#).await;
    let fault = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Permanent);
    assert!(fault.chain().contains("upper_id"), "{}", fault.chain());
    assert_eq!(rig.live(TENANT).await, [1]);
}
