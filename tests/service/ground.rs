//! A data folder with tenants, and checks of it without the service's own code: exactly the expected receipts
//! are live and exactly the expected files exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, FromRow, Row as _};
use tikkun::job::{Args, NewJob};
use tikkun::queue::{Broker, open_embedded};
use tikkun::store::{Schema, open_sqlite};

use super::process::{Service, Start};
use super::s3::{self, BUCKET, KEY_ID, S3Server};

/// The function that carries a row.
pub const FUNCTION: &str = "server.jobs.delete_receipts_job.delete_receipts_batch_job";

/// One data folder, perhaps with a bucket beside it.
pub struct Ground {
    folder: tempfile::TempDir,
    db: SqlitePool,
    bucket: Option<S3Server>,
}

/// A tenant with receipts of every sort, and a neighbour who shares some of its attachments.
pub struct Tenant {
    pub id: i64,
    pub receipts: i64,
    /// Where its ids begin.
    pub base: i64,
}

/// A row of `background_jobs` with what is noted beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub status: String,
    pub total: i64,
    pub processed: i64,
    pub succeeded: i64,
    pub failed_count: i64,
    pub last_error: Option<String>,
    pub cursor: Option<String>,
    pub finished_at: Option<String>,
    pub attempt: i64,
    pub pause_reason: Option<String>,
    pub queue_job: Option<String>,
}

impl FromRow<'_, SqliteRow> for Row {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            status: row.try_get("status")?,
            total: row.try_get("total")?,
            processed: row.try_get("processed")?,
            succeeded: row.try_get("succeeded")?,
            failed_count: row.try_get("failed_count")?,
            last_error: row.try_get("last_error")?,
            cursor: row.try_get("cursor")?,
            finished_at: row.try_get("finished_at")?,
            attempt: row.try_get("attempt")?,
            pause_reason: row.try_get("pause_reason")?,
            queue_job: row.try_get("queue_job")?,
        })
    }
}

/// A job in the queue's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub queue: String,
    pub state: String,
    pub args: String,
    pub attempt: i64,
    pub failures: i64,
    pub orphaned: i64,
    pub result: Option<String>,
    pub error: Option<String>,
}

impl FromRow<'_, SqliteRow> for Entry {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            queue: row.try_get("queue")?,
            state: row.try_get("state")?,
            args: row.try_get("args")?,
            attempt: row.try_get("attempt")?,
            failures: row.try_get("failures")?,
            orphaned: row.try_get("orphaned")?,
            result: row.try_get("result")?,
            error: row.try_get("error")?,
        })
    }
}

const ROW: &str = "
    select j.status, coalesce(j.total, 0) as total, coalesce(j.processed, 0) as processed,
           coalesce(j.succeeded, 0) as succeeded, coalesce(j.failed_count, 0) as failed_count,
           j.last_error, j.cursor, j.finished_at, coalesce(n.attempt, 0) as attempt, n.pause_reason, n.queue_job
    from background_jobs j left join tikkun_background_jobs n on n.background_job_id = j.id where j.id = ?1";

const ENTRY: &str = "
    select id, queue, state, args, attempt, failures, orphaned, result, error from tikkun_jobs";

impl Ground {
    pub async fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap()).await
    }

    /// In a folder that is there already.
    pub async fn in_folder(folder: tempfile::TempDir) -> Self {
        let path = folder.path().join("tikkun.db");
        drop(open_sqlite(&path, Schema::Migrate).await.unwrap());
        drop(open_embedded(folder.path()).await.unwrap());
        fs::create_dir(folder.path().join("attachments")).unwrap();
        let db = SqlitePoolOptions::new().max_connections(2).connect_with(file(&path)).await.unwrap();
        Self { folder, db, bucket: None }
    }

    /// With objects in a bucket instead of a folder.
    pub async fn in_s3() -> Self {
        Self { bucket: Some(S3Server::start()), ..Self::new().await }
    }

    pub fn bucket(&self) -> &S3Server {
        self.bucket.as_ref().expect("a ground with a bucket")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn attachments(&self) -> PathBuf {
        self.path().join("attachments")
    }

    pub fn service(&self) -> Start {
        let start = Start::on(self.path());
        match &self.bucket {
            None => start,
            Some(bucket) => start
                .set("ATTACHMENT_STORAGE_DRIVER", "r2")
                .set("R2_ENDPOINT", &bucket.endpoint())
                .set("R2_BUCKET_NAME", BUCKET)
                .set("R2_ACCESS_KEY_ID", KEY_ID)
                .set("R2_SECRET_ACCESS_KEY", s3::SECRET),
        }
    }

    pub async fn run(&self, sql: impl Into<String>) {
        let sql = sql.into();
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&self.db).await;
        done.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    pub async fn number(&self, sql: impl Into<String>) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&self.db).await.unwrap()
    }

    async fn texts(&self, sql: &'static str) -> BTreeSet<String> {
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&self.db).await.unwrap();
        rows.into_iter().collect()
    }

    pub async fn row(&self, job: i64) -> Row {
        sqlx::query_as(ROW).bind(job).fetch_one(&self.db).await.unwrap()
    }

    pub async fn entries(&self) -> Vec<Entry> {
        let mut queue = self.connect("queue.db").await;
        sqlx::query_as(AssertSqlSafe(format!("{ENTRY} order by seq"))).fetch_all(&mut queue).await.unwrap()
    }

    /// The queue job that carries a row.
    pub async fn carrier(&self, job: i64) -> Entry {
        let id = self.row(job).await.queue_job.expect("a carrier");
        self.entries().await.into_iter().find(|entry| entry.id == id).expect("the carrier's entry")
    }

    /// A connection of its own to one of the files.
    pub async fn connect(&self, name: &str) -> SqliteConnection {
        SqliteConnection::connect_with(&file(&self.path().join(name))).await.unwrap()
    }

    /// Nobody else can write to one of the files until the lock is released.
    pub async fn lock(&self, name: &str) -> Lock {
        let mut holder = self.connect(name).await;
        sqlx::raw_sql("begin exclusive").execute(&mut holder).await.unwrap();
        Lock(holder)
    }

    /// The queue, as a program beside the service uses it.
    pub async fn broker(&self) -> Arc<dyn Broker> {
        open_embedded(self.path()).await.unwrap()
    }

    /// Puts the entry for a row into the queue, as the web application does.
    pub async fn enqueue(&self, id: &str, row: i64) {
        let args = Args::positional([serde_json::json!(row)]);
        let job = NewJob::new(id, "maintenance", FUNCTION, args);
        self.broker().await.enqueue(&[job]).await.unwrap();
    }

    /// The row that the web application would make: no cursor, no total.
    pub async fn plain_row(&self, tenant: &Tenant) -> i64 {
        self.number(format!(
            "insert into background_jobs (business_id, requested_by_user_id, job_type, updated_at)
             values ({}, 5, 'delete_receipts_all', strftime('%Y-%m-%d %H:%M:%f000', 'now')) returning id",
            tenant.id
        ))
        .await
    }

    /// Seeds a tenant. Every 4th receipt has a preview, every 10th shares its attachment with a live
    /// receipt of the neighbour, every 25th points to something that is no receipt's own.
    pub async fn tenant(&self, id: i64, receipts: i64) -> Tenant {
        let tenant = Tenant { id, receipts, base: id * 10_000 };
        let (base, neighbour) = (tenant.base, id + 1);
        self.run(format!(
            "begin immediate;
             create temp table n as with recursive n(i) as (select 1 union all select i + 1 from n where i < {receipts})
                 select i, iif(i % 25 = 0, 'contract', 'receipt_source') as purpose from n;
             insert into attachments (id, business_id, purpose, file_size, storage_path)
                 select {base} + i, {id}, purpose, 10, '{id}/' || purpose || '/2026/01/' || ({base} + i) || '.pdf' from n;
             insert into attachments (id, business_id, purpose, file_size, storage_path)
                 select {base} + 5000 + i, {id}, 'receipt_preview', 10,
                        '{id}/receipt_preview/2026/01/' || ({base} + 5000 + i) || '.png' from n where i % 4 = 0;
             insert into receipts (id, business_id, attachment_id, preview_attachment_id, created_at)
                 select {base} + i, {id}, {base} + i, iif(i % 4 = 0, {base} + 5000 + i, null), '2026-01-01 10:00:00' from n;
             insert into receipts (id, business_id, attachment_id, created_at)
                 select {base} + 8000 + i, {neighbour}, {base} + i, '2026-01-01 10:00:00' from n where i % 10 = 0;
             drop table n; commit;"
        ))
        .await;
        for key in self.texts("select storage_path from attachments").await {
            self.put(&key);
        }
        tenant
    }

    fn put(&self, key: &str) {
        if let Some(bucket) = &self.bucket {
            return bucket.put(key);
        }
        let path = self.attachments().join(key);
        if !path.exists() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "0123456789").unwrap();
        }
    }

    /// Waits until a row has this status.
    pub async fn becomes(&self, service: &mut Service, job: i64, status: &str) -> Row {
        let what = format!("row {job} to be {status}");
        service.until(&what, async |_| Some(self.row(job).await).filter(|row| row.status == status)).await
    }

    /// Waits until a row's batches have come so far.
    pub async fn processed(&self, service: &mut Service, job: i64, at_least: i64) -> Row {
        let what = format!("{at_least} receipts of row {job}");
        service
            .until(&what, async |_| Some(self.row(job).await).filter(|row| row.processed >= at_least))
            .await
    }

    /// Waits until the queue's entry for a row has ended.
    pub async fn carrier_ended(&self, service: &mut Service, job: i64) -> Entry {
        let ended = |entry: &Entry| matches!(entry.state.as_str(), "finished" | "failed" | "canceled");
        service.until("the queue job to end", async |_| Some(self.carrier(job).await).filter(ended)).await
    }

    /// Waits until the service has deleted every object it condemned. Objects of a process that died are
    /// held back for a minute; a test lets that minute pass at once.
    pub async fn drained(&self, service: &mut Service) {
        let left = "select count(*) from tikkun_cleanup_outbox";
        let rush = "update tikkun_cleanup_outbox set next_try_at = '2026-01-01 00:00:00.000000'
                    where last_error is null";
        service
            .until("an empty outbox", async |_| {
                self.run(rush).await;
                (self.number(left).await == 0).then_some(())
            })
            .await;
    }

    /// Waits until every deletion that has ended has its certificate.
    pub async fn certified(&self, service: &mut Service) {
        let due = "select count(*) from tikkun_background_jobs n join background_jobs j on j.id = n.background_job_id
                   where j.status in ('completed', 'failed', 'cancelled') and (n.certificate = 'due'
                       or n.certificate is not null and not exists (
                           select 1 from tikkun_cleanup_outbox o where o.background_job_id = j.id))";
        service
            .until("certificates of all deletions", async |_| (self.number(due).await == 0).then_some(()))
            .await;
    }

    /// Waits for the end of a deletion, and checks all that may and all that must not have happened.
    pub async fn completed(&self, service: &mut Service, job: i64, tenant: &Tenant) -> Row {
        let row = self.becomes(service, job, "completed").await;
        self.drained(service).await;
        self.is_deleted(tenant, &row).await;
        row
    }

    /// Exactly this tenant's receipts are gone, counted once each, with exactly their objects.
    pub async fn is_deleted(&self, tenant: &Tenant, row: &Row) {
        let counts = (row.total, row.processed, row.succeeded, row.failed_count);
        let all = tenant.receipts;
        assert_eq!(counts, (all, all, all, 0), "total, processed, succeeded, failed");
        assert_eq!(self.live(tenant.id).await, 0, "receipts left alive");
        assert!(row.finished_at.is_some());
        self.is_consistent().await;
        self.neighbour_is_whole(tenant).await;
        let kept =
            self.number(format!("select count(*) from attachments where business_id = {}", tenant.id)).await;
        let expected = (1..=all).filter(|i| i % 10 == 0 || i % 25 == 0).count();
        assert_eq!(kept, i64::try_from(expected).unwrap(), "attachments that somebody else still needs");
    }

    /// How many objects there are.
    pub fn files(&self) -> usize {
        self.there().len()
    }

    fn there(&self) -> BTreeSet<String> {
        self.bucket.as_ref().map_or_else(|| files(&self.attachments()), S3Server::keys)
    }

    pub async fn live(&self, tenant: i64) -> i64 {
        self.number(format!("select count(*) from receipts where business_id = {tenant} and not is_deleted"))
            .await
    }

    async fn neighbour_is_whole(&self, tenant: &Tenant) {
        assert_eq!(self.live(tenant.id + 1).await, tenant.receipts / 10, "the neighbour's receipts");
        let orphaned = format!(
            "select count(*) from receipts r where business_id = {} and not exists
             (select 1 from attachments a where a.id = r.attachment_id)",
            tenant.id + 1
        );
        assert_eq!(self.number(orphaned).await, 0, "the neighbour's attachments");
    }

    /// Every attachment has its file, and every file its attachment; nothing waits in the outbox.
    pub async fn is_consistent(&self) {
        assert_eq!(
            self.number("select count(*) from tikkun_cleanup_outbox").await,
            0,
            "objects in the outbox"
        );
        let wanted = self.texts("select storage_path from attachments").await;
        let there = self.there();
        let lost: Vec<_> = wanted.difference(&there).collect();
        let orphans: Vec<_> = there.difference(&wanted).collect();
        assert!(lost.is_empty() && orphans.is_empty(), "lost files: {lost:?}; orphan files: {orphans:?}");
    }
}

/// Keeps everybody else from writing.
pub struct Lock(SqliteConnection);

impl Lock {
    pub async fn release(mut self) {
        sqlx::raw_sql("rollback").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

/// How each file is opened.
pub fn file(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(Duration::from_secs(30))
}

/// The keys of all files under `root`.
fn files(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}
