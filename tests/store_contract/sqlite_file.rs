//! Guarantees that only an SQLite file gives.

use chrono::{FixedOffset, TimeDelta, Utc};
use tikkun::fault::FaultKind;
use tikkun::store::{Begun, Pass, Schema, open_sqlite};

use super::attempts::broken_row_is_named;
use super::rig::{Rig, TENANT, raw_pool, sqlite};

#[tokio::test]
async fn a_reopened_store_goes_on_where_it_was() {
    let rig = sqlite().await;
    rig.seed(5).await;
    let job = rig.started().await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    let before = rig.get(job.id).await;
    let mut again = rig;
    again.store = open_sqlite(&again.path, Schema::Migrate).await.unwrap();
    assert_eq!(again.get(job.id).await, before);
    again.delete_all(&job, 2).await;
    assert!(again.live(TENANT).await.is_empty());
}

#[test]
fn eight_first_openings_at_once_all_succeed() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    start.wait();
                    runtime.block_on(async {
                        let store = open_sqlite(&path, Schema::Migrate)
                            .await
                            .unwrap_or_else(|e| panic!("{}", e.chain()));
                        store.background_jobs.check().await.unwrap_or_else(|e| panic!("{}", e.chain()));
                    });
                });
            }
        });
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_permanent_and_a_missing_folder_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "this is not a database, and long enough to be told from an empty one".repeat(20))
        .unwrap();
    let fault = open_sqlite(&path, Schema::Migrate).await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
    let fault = open_sqlite(&folder.path().join("no/such/store.db"), Schema::Migrate).await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{}", fault.chain());
    assert!(fault.to_string().contains("store.db"));
}

#[tokio::test]
async fn our_migrations_keep_to_their_own_table() {
    let rig = sqlite().await;
    let raw = raw_pool(&rig.path).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by 1",
    )
    .fetch_all(&raw)
    .await
    .unwrap();
    assert_eq!(
        tables,
        [
            "attachments",
            "background_jobs",
            "receipts",
            "tikkun_background_jobs",
            "tikkun_certificates",
            "tikkun_cleanup_outbox",
            "tikkun_deletions",
            "tikkun_ended_sessions",
            "tikkun_rows_set_aside",
            "tikkun_set_aside",
            "tikkun_store_check",
            "tikkun_store_migrations"
        ]
    );
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&raw).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_time_that_is_none_is_named_and_hides_no_other_row() {
    let rig = sqlite().await;
    let id = rig.web_row().await;
    rig.set(id, "created_at = 'yesterday'").await;
    rig.run("insert into background_jobs (business_id, job_type, status) values (5, 'delete_receipts_all', 'queued')")
        .await;
    broken_row_is_named(&rig, id, "yesterday").await;
    let active = rig.store.background_jobs.active("delete_receipts_all", 10).await.unwrap();
    assert_eq!(active.iter().map(|job| job.business_id.0).collect::<Vec<_>>(), [5]);
}

#[tokio::test]
async fn creation_times_of_other_zones_are_reckoned_to_utc() {
    let rig = sqlite().await;
    rig.seed(1).await;
    let requested = Utc::now() - TimeDelta::hours(2);
    let zoned = |minutes: i64, hours: i32| {
        let zone = FixedOffset::east_opt(hours * 3600).unwrap();
        (requested + TimeDelta::minutes(minutes))
            .with_timezone(&zone)
            .format("%Y-%m-%dT%H:%M:%S%.6f%:z")
            .to_string()
    };
    for (id, made) in [(2, zoned(-30, 7)), (3, zoned(30, -5)), (4, zoned(60, 0))] {
        rig.run(&format!(
            "insert into receipts (id, business_id, created_at) values ({id}, {TENANT}, '{made}')"
        ))
        .await;
    }
    let id = rig.web_row_of(requested).await;
    let Begun::Started(job) = rig.try_begin_of(id, "q1", Some(requested)).await else { panic!() };
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(2), 2));
    rig.delete_all(&job, 2).await;
    assert_eq!(rig.live(TENANT).await, [3, 4], "they came after the request");
}

/// Receipts whose creation time is no date, as an application's accident leaves them: seconds, milliseconds, words and
/// a zone by its name.
async fn dateless(rig: &Rig) {
    rig.seed(3).await;
    let seconds = Utc::now().timestamp();
    let made = [format!("{seconds}"), format!("{seconds}.25"), format!("{seconds}000")];
    let words = ["'just now'".to_owned(), format!("'{} IST'", Utc::now().format("%Y-%m-%d %H:%M:%S+%H"))];
    for (id, made) in (4..).zip(made.into_iter().chain(words)) {
        rig.run(&format!(
            "insert into receipts (id, business_id, created_at) values ({id}, {TENANT}, {made})"
        ))
        .await;
    }
}

#[tokio::test]
async fn a_creation_time_that_is_no_date_tells_as_little_as_none() {
    let rig = sqlite().await;
    dateless(&rig).await;
    let requested = Utc::now() - TimeDelta::hours(2);
    let late = rig.web_row_of(requested).await;
    let Begun::Started(job) = rig.try_begin_of(late, "q1", Some(requested)).await else { panic!() };
    assert_eq!((job.progress.total, job.cursor.left.as_ref().map(|left| left.receipts)), (3, Some(5)));
    rig.delete_all(&job, 2).await;
    assert_eq!(rig.live(TENANT).await, [4, 5, 6, 7, 8], "they may have come after the request");
    rig.set(job.id, "status = 'completed'").await;

    let soon = rig.started().await;
    assert_eq!((soon.progress.total, &soon.cursor.left), (5, &None));
    rig.delete_all(&soon, 2).await;
    assert!(rig.live(TENANT).await.is_empty(), "all of them were there");
}

/// As where an index was added to a table that had rows, and was never built.
#[tokio::test]
async fn receipts_that_an_index_for_full_text_out_of_step_refuses_are_set_aside() {
    let rig = sqlite().await;
    rig.seed(20).await;
    rig.run(
        "update receipts set vendor_name = 'shop ' || id;
         create virtual table found using fts5(vendor_name, content = 'receipts', content_rowid = 'id');
         create trigger find after update on receipts begin
             insert into found (found, rowid, vendor_name) values ('delete', old.id, old.vendor_name);
             insert into found (rowid, vendor_name) values (new.id, new.vendor_name);
         end",
    )
    .await;
    let batch = rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len()), (0, 20));
    assert!(batch.set_aside.iter().all(|one| one.reason.contains("malformed")), "{:?}", batch.set_aside);
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (20, 20));
}
