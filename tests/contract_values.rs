//! Names and numbers that the application relies on: defaults of the deletion, tables and their constraints.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tikkun::config::{Settings, Sources};
use tikkun::deletion::DeleteReceipts;
use tikkun::job::background::{DELETE_RECEIPTS_ALL, Status};
use tikkun::job::{Job as _, Limit};
use tikkun::store::{Schema, open_sqlite};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn deletion_has_the_numbers_that_people_know() {
    let deletion = Settings::load(&Sources::none()).unwrap().settings.deletion;
    assert_eq!(deletion.batch, 50);
    assert_eq!(deletion.throttle, Duration::from_millis(200));
    assert_eq!(deletion.runtime_limit, seconds(300));
    assert_eq!(deletion.max_failures, 10);
    assert_eq!(deletion.timeout, Limit::After(seconds(30 * 60)));
    assert_eq!(deletion.result_ttl, Limit::After(seconds(300)));
    assert_eq!(deletion.failure_ttl, Limit::After(seconds(86_400)));
    assert_eq!(deletion.queue.as_str(), "maintenance");
}

#[test]
fn deletion_has_the_names_that_the_application_enqueues() {
    assert_eq!(DELETE_RECEIPTS_ALL, "delete_receipts_all");
    assert_eq!(DeleteReceipts::NAME, "server.jobs.delete_receipts_job.delete_receipts_batch_job");
}

#[test]
fn queues_come_in_the_order_of_their_priority() {
    let worker = Settings::load(&Sources::none()).unwrap().settings.worker;
    let names: Vec<_> = worker.queues.iter().map(|queue| queue.as_str()).collect();
    let expected =
        ["high", "default", "low", "receipts", "receipts_sync", "maintenance", "recordings", "broadcasts"];
    assert_eq!(names, expected);
}

async fn tables() -> (tempfile::TempDir, SqliteConnection) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tikkun.db");
    open_sqlite(&file, Schema::Migrate).await.unwrap();
    let raw = SqliteConnectOptions::new().filename(&file).foreign_keys(true).connect().await.unwrap();
    (folder, raw)
}

async fn columns(raw: &mut SqliteConnection, table: &'static str) -> BTreeSet<String> {
    let names: Vec<String> = sqlx::query_scalar("select name from pragma_table_info(?1)")
        .bind(table)
        .fetch_all(raw)
        .await
        .unwrap();
    names.into_iter().collect()
}

#[actix_rt::test]
async fn tables_have_the_applications_columns() {
    let (_folder, mut raw) = tables().await;
    let expected = [
        (
            "background_jobs",
            "id business_id requested_by_user_id job_type status total processed succeeded failed_count \
             last_error cursor created_at updated_at started_at finished_at heartbeat_at",
        ),
        (
            "receipts",
            "id business_id source gmail_message_id vendor_name amount currency invoice_number invoice_date \
             status attachment_id preview_attachment_id is_deleted deleted_at received_at created_at updated_at",
        ),
        (
            "attachments",
            "id business_id filename_original mime_type file_size storage_path purpose origin_module \
             is_deleted deleted_at created_at updated_at",
        ),
    ];
    for (table, names) in expected {
        let found = columns(&mut raw, table).await;
        for name in names.split_whitespace() {
            assert!(found.contains(name), "{table} has no column {name}");
        }
    }
}

#[actix_rt::test]
async fn a_status_beyond_the_six_is_refused() {
    let (_folder, mut raw) = tables().await;
    let insert =
        "insert into background_jobs (business_id, job_type, status) values (?1, 'delete_receipts_all', ?2)";
    for (business, status) in (1..).zip(Status::ALL) {
        let done = sqlx::query(insert).bind(business).bind(status.as_str()).execute(&mut raw).await;
        assert!(done.is_ok(), "{status}: {done:?}");
    }
    let refused = sqlx::query(insert).bind(99).bind("stuck").execute(&mut raw).await.unwrap_err();
    assert!(refused.to_string().contains("chk_job_status"), "{refused}");
}

#[actix_rt::test]
async fn a_tenant_has_one_active_job_of_a_type() {
    let (_folder, mut raw) = tables().await;
    let insert =
        "insert into background_jobs (business_id, job_type, status) values (7, 'delete_receipts_all', ?1)";
    for status in ["completed", "failed", "cancelled", "queued"] {
        sqlx::query(insert).bind(status).execute(&mut raw).await.unwrap();
    }
    for status in ["queued", "running", "paused"] {
        assert!(
            sqlx::query(insert).bind(status).execute(&mut raw).await.is_err(),
            "{status} is a second one"
        );
    }
}

#[actix_rt::test]
async fn tables_of_our_own_carry_the_prefix() {
    let (_folder, mut raw) = tables().await;
    let names: Vec<String> = sqlx::query_scalar("select name from sqlite_master where type = 'table'")
        .fetch_all(&mut raw)
        .await
        .unwrap();
    for name in names.iter().filter(|name| !name.starts_with("sqlite_")) {
        let theirs = ["background_jobs", "receipts", "attachments"].contains(&name.as_str());
        assert!(theirs || name.starts_with("tikkun_"), "{name}");
    }
}
