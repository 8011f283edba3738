//! A batch that dies at any point has changed nothing, and the next one is correct.
#![cfg(feature = "failpoints")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is how a test speaks"
)]

#[path = "servers/postgres.rs"]
#[allow(dead_code, missing_docs, reason = "other test binaries use the rest")]
mod server;

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tikkun::blob::BlobTarget;
use tikkun::certificate::Issuer;
use tikkun::job::BackgroundJobId;
use tikkun::store::{
    BatchOrder, BatchOutcome, Begin, Begun, EndAttempt, Pass, Schema, Store, open_postgres, open_sqlite,
};

use crate::server::Server;

/// What a death must not change.
const SNAPSHOT: &str = "
    select (select count(*) from receipts where is_deleted is not true) || ' live, '
        || (select count(*) from attachments) || ' attachments, '
        || (select count(*) from tikkun_cleanup_outbox) || ' objects, '
        || (select cursor || processed from background_jobs)";

/// Ten receipts, each with an attachment of its own, and the row of their deletion.
const SEED: &str = "
    insert into attachments (id, business_id, purpose, storage_path)
        with recursive n (i) as (select 1 union all select i + 1 from n where i < 10)
        select i, 7, 'receipt_source', 'key/' || i from n;
    insert into receipts (business_id, attachment_id, created_at) select 7, id, null from attachments;
    insert into background_jobs (business_id, job_type) values (7, 'delete_receipts_all');";

#[tokio::test]
async fn a_batch_on_sqlite_that_dies_at_any_point_has_changed_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open_sqlite(&path, Schema::Migrate).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&path).busy_timeout(Duration::from_secs(10));
    let mut raw = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(SEED).execute(&mut raw).await.unwrap();
    dies_at_any_point(&store, async || sqlx::query_scalar(SNAPSHOT).fetch_one(&mut raw).await.unwrap()).await;
}

#[tokio::test]
async fn a_batch_on_postgres_that_dies_at_any_point_has_changed_nothing() {
    let server = Server::start();
    let database = server.database().await;
    let store = open_postgres(&server.settings(&database), Schema::Migrate).await.unwrap();
    let mut raw = PgConnection::connect(&server.url(&database)).await.unwrap();
    sqlx::raw_sql(SEED).execute(&mut raw).await.unwrap();
    dies_at_any_point(&store, async || sqlx::query_scalar(SNAPSHOT).fetch_one(&mut raw).await.unwrap()).await;
}

async fn dies_at_any_point(store: &Store, mut snapshot: impl AsyncFnMut() -> String) {
    let scenario = fail::FailScenario::setup();
    let begin = Begin {
        id: BackgroundJobId(1),
        queue_job: "q".into(),
        entry_at: Some(chrono::Utc::now()),
        stale_after: Duration::from_secs(60),
        max_barren: 9,
    };
    for point in ["deletion.after_mark", "deletion.after_outbox", "deletion.before_commit"] {
        let Begun::Started(job) = store.background_jobs.begin_attempt(&begin).await.unwrap() else {
            panic!("the row starts")
        };
        let order = Arc::new(BatchOrder {
            job: job.id,
            attempt: job.note.attempt,
            limit: 3,
            pass: Pass::Forward,
            target: BlobTarget { driver: "local".into(), bucket: "b".into() },
        });
        let before = snapshot().await;
        fail::cfg(point, "panic").unwrap();
        let (receipts, doomed) = (Arc::clone(&store.receipts), Arc::clone(&order));
        // Nobody who asks is taken down with it.
        let died = tokio::spawn(async move { receipts.delete_batch(&doomed).await }).await.unwrap();
        assert!(died.unwrap_err().chain().contains("panic at"), "{point}");
        fail::remove(point);
        assert_eq!(snapshot().await, before, "{point}");
        let next = store.receipts.delete_batch(&order).await.unwrap();
        assert!(matches!(next, BatchOutcome::Deleted(batch) if batch.deleted == 3), "{point}");
    }
    assert!(snapshot().await.starts_with("1 live, 1 attachments, 9 objects"));
    a_certificate_that_dies_is_still_due(store).await;
    scenario.teardown();
}

/// The end is committed; whoever issues the certificate dies, and another process issues it.
async fn a_certificate_that_dies_is_still_due(store: &Store) {
    let id = BackgroundJobId(1);
    let job = store.background_jobs.get(id).await.unwrap().unwrap();
    assert!(store.background_jobs.end_attempt(id, job.note.attempt, &EndAttempt::Completed).await.unwrap());
    fail::cfg("certificate.before_commit", "panic").unwrap();
    let certificates = Arc::clone(&store.certificates);
    let died = tokio::spawn(async move { certificates.issue(id, &Issuer::default()).await }).await.unwrap();
    assert!(died.unwrap_err().chain().contains("panic at"));
    fail::remove("certificate.before_commit");
    assert!(store.certificates.chain(0, 9).await.unwrap().is_empty());
    assert_eq!(store.certificates.due(9).await.unwrap(), [id]);
    let issued = store.certificates.issue(id, &Issuer::default()).await.unwrap().unwrap();
    assert_eq!(store.certificates.chain(0, 9).await.unwrap(), [issued]);
    assert!(store.certificates.due(9).await.unwrap().is_empty());
}
