//! The job that Tikkun replaces, and that may be used again: both read and write the same cursor and
//! counters.

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::ground::Ground;

/// It says that it works on a row.
const BEGIN: &str = "
    update background_jobs set status = 'running', started_at = coalesce(started_at, now() at time zone 'utc'),
        heartbeat_at = now() at time zone 'utc', updated_at = now() at time zone 'utc',
        total = case when coalesce(total, 0) > 0 then total else (
            select count(*) from receipts r
            where r.business_id = background_jobs.business_id and r.is_deleted = false) end
    where id = $1";
/// Where it stands.
const STAND: &str = "select business_id, cursor from background_jobs where id = $1";
/// The next fifty behind the cursor.
const NEXT: &str = "
    select id, attachment_id, preview_attachment_id from receipts
    where business_id = $1 and is_deleted = false and id > $2 order by id limit 50";
/// One receipt.
const MARK: &str = "
    update receipts set is_deleted = true, deleted_at = now() at time zone 'utc',
        updated_at = now() at time zone 'utc' where id = $1";
/// One attachment that no other receipt and no contract points to.
const DROP: &str = "
    delete from attachments a where id = $1 and purpose in ('receipt_source', 'receipt_preview')
        and not exists (select 1 from receipts r where r.is_deleted = false
            and (r.attachment_id = a.id or r.preview_attachment_id = a.id))
        and not exists (select 1 from contracts c where c.document_id = a.id)
    returning storage_path";
/// Cursor and counters after a batch.
const MOVE: &str = "
    update background_jobs set cursor = $2, processed = processed + $3, succeeded = succeeded + $3,
        heartbeat_at = now() at time zone 'utc', updated_at = now() at time zone 'utc' where id = $1";
/// All done.
const END: &str = "
    update background_jobs set status = 'completed', finished_at = now() at time zone 'utc',
        updated_at = now() at time zone 'utc' where id = $1";

/// Batches of the old job, as its ORM sends them. Answers the keys that it would delete from the storage, and
/// whether it came to the end.
async fn old_job(connection: &mut PgConnection, job: i64, batches: u32) -> (Vec<String>, bool) {
    sqlx::query(BEGIN).bind(job).execute(&mut *connection).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..batches {
        let mut tx = connection.begin().await.unwrap();
        let ended = old_batch(&mut tx, job, &mut keys).await;
        tx.commit().await.unwrap();
        if ended {
            return (keys, true);
        }
    }
    (keys, false)
}

async fn old_batch(tx: &mut PgConnection, job: i64, keys: &mut Vec<String>) -> bool {
    let (business, cursor): (i32, Option<String>) =
        sqlx::query_as(STAND).bind(job).fetch_one(&mut *tx).await.unwrap();
    let cursor: Value = serde_json::from_str(cursor.as_deref().unwrap_or("{}")).unwrap();
    let last_id = cursor["last_id"].as_i64().unwrap_or(0);
    let rows: Vec<(i32, Option<i32>, Option<i32>)> =
        sqlx::query_as(NEXT).bind(business).bind(last_id).fetch_all(&mut *tx).await.unwrap();
    let Some((last, ..)) = rows.last() else {
        sqlx::query(END).bind(job).execute(&mut *tx).await.unwrap();
        return true;
    };
    for (id, source, preview) in &rows {
        sqlx::query(MARK).bind(id).execute(&mut *tx).await.unwrap();
        for attachment in [source, preview].into_iter().flatten() {
            let gone = sqlx::query_scalar(DROP).bind(attachment).fetch_optional(&mut *tx).await;
            keys.extend::<Option<String>>(gone.unwrap());
        }
    }
    sqlx::query(MOVE)
        .bind(job)
        .bind(serde_json::json!({ "last_id": last }).to_string())
        .bind(i32::try_from(rows.len()).unwrap())
        .execute(&mut *tx)
        .await
        .unwrap();
    false
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
