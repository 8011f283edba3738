//! The job that was there before us, and that may be there again tomorrow: it reads and writes the same
//! cursor and counters.

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::ground::Ground;

/// Batches of the old job, as its ORM sends them: it selects fifty receipts behind the cursor, updates each,
/// deletes each attachment that no other receipt points to, then moves cursor and counters, and commits.
/// Answers the keys that it would delete from the storage, and whether it came to the end.
async fn old_job(connection: &mut PgConnection, job: i64, batches: u32) -> (Vec<String>, bool) {
    let mut keys = Vec::new();
    sqlx::query(
        "update background_jobs set status = 'running', started_at = coalesce(started_at, now() at time zone 'utc'),
             heartbeat_at = now() at time zone 'utc', updated_at = now() at time zone 'utc' where id = $1",
    )
    .bind(job)
    .execute(&mut *connection)
    .await
    .unwrap();
    for _ in 0..batches {
        let mut tx = connection.begin().await.unwrap();
        let (business, cursor, total): (i32, Option<String>, Option<i32>) =
            sqlx::query_as("select business_id, cursor, total from background_jobs where id = $1")
                .bind(job)
                .fetch_one(&mut *tx)
                .await
                .unwrap();
        if total.unwrap_or(0) == 0 {
            let count = "update background_jobs set total = (select count(*) from receipts
                             where business_id = $2 and is_deleted = false) where id = $1";
            sqlx::query(count).bind(job).bind(business).execute(&mut *tx).await.unwrap();
        }
        let cursor: Value = serde_json::from_str(cursor.as_deref().unwrap_or("{}")).unwrap();
        let last_id = cursor["last_id"].as_i64().unwrap_or(0);
        let rows: Vec<(i32, Option<i32>, Option<i32>)> = sqlx::query_as(
            "select id, attachment_id, preview_attachment_id from receipts
             where business_id = $1 and is_deleted = false and id > $2 order by id limit 50",
        )
        .bind(business)
        .bind(last_id)
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        let Some((last, ..)) = rows.last() else {
            sqlx::query(
                "update background_jobs set status = 'completed', finished_at = now() at time zone 'utc',
                     updated_at = now() at time zone 'utc' where id = $1",
            )
            .bind(job)
            .execute(&mut *tx)
            .await
            .unwrap();
            tx.commit().await.unwrap();
            return (keys, true);
        };
        for (id, source, preview) in &rows {
            sqlx::query(
                "update receipts set is_deleted = true, deleted_at = now() at time zone 'utc',
                     updated_at = now() at time zone 'utc' where id = $1",
            )
            .bind(id)
            .execute(&mut *tx)
            .await
            .unwrap();
            for attachment in [source, preview].into_iter().flatten() {
                let gone: Option<String> = sqlx::query_scalar(
                    "delete from attachments a where id = $1 and purpose in ('receipt_source', 'receipt_preview')
                         and not exists (select 1 from receipts r where r.is_deleted = false
                             and (r.attachment_id = a.id or r.preview_attachment_id = a.id))
                         and not exists (select 1 from contracts c where c.document_id = a.id)
                     returning storage_path",
                )
                .bind(attachment)
                .fetch_optional(&mut *tx)
                .await
                .unwrap();
                keys.extend(gone);
            }
        }
        sqlx::query(
            "update background_jobs set cursor = $2, processed = processed + $3, succeeded = succeeded + $3,
                 heartbeat_at = now() at time zone 'utc', updated_at = now() at time zone 'utc' where id = $1",
        )
        .bind(job)
        .bind(serde_json::json!({ "last_id": last }).to_string())
        .bind(i32::try_from(rows.len()).unwrap())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }
    (keys, false)
}

#[tokio::test]
async fn old_job_then_ours_then_the_old_one_again_delete_each_receipt_once() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 500).await;
    let job: i64 = ground.application(&["request", "7"]).parse().unwrap();
    let mut connection = ground.connect().await;
    let (mut keys, ended) = old_job(&mut connection, job, 3).await;
    assert!(!ended);

    // Its worker is stopped; ours takes the queue. The heartbeat of the old one is soon too old.
    ground.run("update background_jobs set heartbeat_at = heartbeat_at - interval '10 minutes'").await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "200ms").start().await;
    ground.enqueue("entry", job).await;
    let ours = ground.processed(&mut service, job, 250).await;
    assert_eq!((ours.total, ours.succeeded, ours.failed_count), (500, ours.processed, 0));
    assert_eq!(service.terminate().await, Some(0));
    let row = ground.row(job).await;
    assert!(row.processed >= 250 && row.processed < 500, "stopped in the middle: {row:?}");
    let cursor: Value = serde_json::from_str(row.cursor.as_deref().unwrap()).unwrap();
    assert_eq!(cursor["last_id"], 70_000 + row.processed, "the old job reads where it stands");

    // The application goes back: the old job is enqueued for the same row.
    let (more, ended) = old_job(&mut connection, job, 100).await;
    keys.extend(more);
    assert!(ended);
    for key in keys {
        std::fs::remove_file(ground.data().join("attachments").join(key)).unwrap();
    }
    let row = ground.row(job).await;
    assert_eq!(row.status, "completed");
    let mut again = ground.service().start().await;
    ground.completed(&mut again, job, &tenant).await;
}
