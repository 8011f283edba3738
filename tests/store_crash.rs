//! A batch that dies at any of its points has changed nothing, and the next one is right.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is how a test speaks")]

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteConnectOptions;
use tikkun::blob::BlobTarget;
use tikkun::job::BackgroundJobId;
use tikkun::store::{BatchOrder, BatchOutcome, Begin, Begun, Pass, Schema, open_sqlite};

/// What a death must not change.
const SNAPSHOT: &str = "
    select (select count(*) from receipts where is_deleted is not true) || ' live, '
        || (select count(*) from attachments) || ' attachments, '
        || (select count(*) from tikkun_cleanup_outbox) || ' objects, '
        || (select cursor || processed from background_jobs)";

async fn snapshot(raw: &mut SqliteConnection) -> String {
    sqlx::query_scalar(SNAPSHOT).fetch_one(raw).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_dies_at_any_point_has_changed_nothing() {
    let scenario = fail::FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open_sqlite(&path, Schema::Migrate).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&path).busy_timeout(Duration::from_secs(10));
    let mut raw = <SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    sqlx::raw_sql(
        "insert into attachments (id, business_id, purpose, storage_path)
             select value, 7, 'receipt_source', 'key/' || value from json_each('[1,2,3,4,5,6,7,8,9,10]');
         insert into receipts (business_id, attachment_id, created_at)
             select 7, id, null from attachments;
         insert into background_jobs (business_id, job_type) values (7, 'delete_receipts_all');",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let begin = Begin {
        id: BackgroundJobId(1),
        queue_job: "q".into(),
        stale_after: Duration::from_secs(60),
        max_barren: 9,
    };
    for point in ["deletion.after_mark", "deletion.after_outbox", "deletion.before_commit"] {
        let Begun::Started(job) = store.background_jobs.begin_attempt(&begin).await.unwrap() else {
            unreachable!("the row starts")
        };
        let order = Arc::new(BatchOrder {
            job: job.id,
            attempt: job.note.attempt,
            limit: 3,
            pass: Pass::Forward,
            target: BlobTarget { driver: "local".into(), bucket: "b".into() },
        });
        let before = snapshot(&mut raw).await;
        fail::cfg(point, "panic").unwrap();
        let (receipts, doomed) = (Arc::clone(&store.receipts), Arc::clone(&order));
        let died = tokio::spawn(async move { receipts.delete_batch(&doomed).await }).await;
        assert!(died.unwrap_err().is_panic(), "{point}");
        fail::remove(point);
        assert_eq!(snapshot(&mut raw).await, before, "{point}");
        let next = store.receipts.delete_batch(&order).await.unwrap();
        assert!(matches!(next, BatchOutcome::Deleted(batch) if batch.deleted == 3), "{point}");
    }
    assert!(snapshot(&mut raw).await.starts_with("1 live, 1 attachments, 9 objects"));
    scenario.teardown();
}
