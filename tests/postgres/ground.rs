//! A database with tenants, a data folder with their files, and checks of both that do not use the service's
//! own code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection, Row as _};
use tikkun::job::{Args, NewJob};
use tikkun::queue::{Broker, open_embedded};

use super::process::{Service, Start};
use super::s3::S3Server;
use super::server::Server;

/// The function that carries a row.
pub const FUNCTION: &str = "server.jobs.delete_receipts_job.delete_receipts_batch_job";

/// One database and one data folder, perhaps with a bucket beside it.
pub struct Ground<'a> {
    pub server: &'a Server,
    pub database: String,
    folder: tempfile::TempDir,
    bucket: Option<S3Server>,
}

/// A tenant with receipts of every sort, and a neighbour who shares some of its attachments.
pub struct Tenant {
    pub id: i64,
    pub receipts: i64,
}

/// A row of `background_jobs` with the fence that is noted beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub status: String,
    pub total: i32,
    pub processed: i32,
    pub succeeded: i32,
    pub failed_count: i32,
    pub last_error: Option<String>,
    pub cursor: Option<String>,
    pub attempt: i32,
}

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            status: row.try_get("status")?,
            total: row.try_get("total")?,
            processed: row.try_get("processed")?,
            succeeded: row.try_get("succeeded")?,
            failed_count: row.try_get("failed_count")?,
            last_error: row.try_get("last_error")?,
            cursor: row.try_get("cursor")?,
            attempt: row.try_get("attempt")?,
        })
    }
}

impl Ground<'static> {
    /// On the server that all tests share.
    pub async fn new() -> Self {
        Self::on(Server::shared()).await
    }
}

impl<'a> Ground<'a> {
    /// A database that SQLAlchemy has made.
    pub async fn on(server: &'a Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("attachments")).unwrap();
        let ground = Self { server, database: server.empty_database().await, folder, bucket: None };
        ground.application(&["make"]);
        ground
    }

    /// With objects in a bucket instead of a folder.
    pub async fn with_bucket(server: &'a Server) -> Self {
        Self { bucket: Some(S3Server::start()), ..Self::on(server).await }
    }

    pub fn bucket(&self) -> &S3Server {
        self.bucket.as_ref().expect("a ground with a bucket")
    }

    /// What the application's own program answers.
    pub fn application(&self, arguments: &[&str]) -> String {
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python/bin/python");
        assert!(
            python.is_file(),
            "{} is missing: `tests/run` installs what the tests need",
            python.display()
        );
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/application.py");
        let (command, rest) = arguments.split_first().unwrap();
        let done =
            Command::new(python).arg(script).arg(command).arg(self.sqlalchemy_url()).args(rest).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    pub fn sqlalchemy_url(&self) -> String {
        self.server.url(&self.database).replacen("postgres://", "postgresql+psycopg://", 1)
    }

    /// The service, told where the database is as the application is told.
    pub fn service(&self) -> Start {
        Start::on(self.folder.path())
            .set("DATABASE_URL", &self.sqlalchemy_url())
            .set("TIKKUN_STORE__ACQUIRE_TIMEOUT", "1s")
    }

    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    fn attachments(&self) -> PathBuf {
        self.data().join("attachments")
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.server.url(&self.database)).await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        self.server.run(&self.database, sql).await;
    }

    pub async fn number(&self, sql: impl Into<String>) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&mut self.connect().await).await.unwrap()
    }

    pub async fn row(&self, job: i64) -> Row {
        let sql = "select j.status, coalesce(j.total, 0) as total, coalesce(j.processed, 0) as processed,
                          coalesce(j.succeeded, 0) as succeeded, coalesce(j.failed_count, 0) as failed_count,
                          j.last_error, j.cursor, coalesce(n.attempt, 0) as attempt
                   from background_jobs j left join tikkun_background_jobs n on n.background_job_id = j.id
                   where j.id = $1";
        sqlx::query_as(sql).bind(job).fetch_one(&mut self.connect().await).await.unwrap()
    }

    /// Inserts the row of a deletion in a transaction of the web application.
    pub async fn request_in(&self, open: &mut PgConnection, tenant: i64) -> i64 {
        let insert = "insert into background_jobs
                (business_id, job_type, status, total, processed, succeeded, failed_count, created_at)
            values ($1, 'delete_receipts_all', 'queued', 0, 0, 0, 0, now() at time zone 'utc') returning id";
        let row: i32 = sqlx::query_scalar(insert).bind(tenant).fetch_one(open).await.unwrap();
        row.into()
    }

    /// Puts the entry for a row into the queue, as the web application does.
    pub async fn enqueue(&self, id: &str, row: i64) {
        let broker: Arc<dyn Broker> = open_embedded(self.data()).await.unwrap();
        let args = Args::positional([serde_json::json!(row)]);
        broker.enqueue(&[NewJob::new(id, "maintenance", FUNCTION, args)]).await.unwrap();
    }

    /// Seeds a tenant. Every 4th receipt has a preview, every 10th shares its attachment with a live
    /// receipt of the neighbour, every 25th points to something that is no receipt's own, and a contract
    /// refers to the attachment of every 7th.
    pub async fn tenant(&self, id: i64, receipts: i64) -> Tenant {
        let (base, neighbour) = (id * 10_000, id + 1);
        self.run(&format!(
            "begin;
             insert into businesses (id, name) values ({id}, 'ours'), ({neighbour}, 'the neighbour');
             create temp table n as
                 select i, case when i % 25 = 0 then 'contract' else 'receipt_source' end as purpose
                 from generate_series(1, {receipts}) i;
             insert into attachments (id, business_id, purpose, file_size, storage_path)
                 select {base} + i, {id}, purpose, 10, '{id}/' || purpose || '/2026/01/' || ({base} + i) || '.pdf' from n;
             insert into attachments (id, business_id, purpose, file_size, storage_path)
                 select {base} + 5000 + i, {id}, 'receipt_preview', 10,
                        '{id}/receipt_preview/2026/01/' || ({base} + 5000 + i) || '.png' from n where i % 4 = 0;
             insert into receipts (id, business_id, attachment_id, preview_attachment_id, created_at)
                 select {base} + i, {id}, {base} + i, case when i % 4 = 0 then {base} + 5000 + i end,
                        '2026-01-01 10:00:00' from n;
             insert into receipts (id, business_id, attachment_id, created_at)
                 select {base} + 8000 + i, {neighbour}, {base} + i, '2026-01-01 10:00:00' from n where i % 10 = 0;
             insert into contracts (document_id) select {base} + i from n where i % 7 = 0;
             commit"
        ))
        .await;
        for key in self.keys().await {
            self.put(&key);
        }
        Tenant { id, receipts }
    }

    fn put(&self, key: &str) {
        if let Some(bucket) = &self.bucket {
            return bucket.put(key);
        }
        let path = self.attachments().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "0123456789").unwrap();
    }

    async fn keys(&self) -> BTreeSet<String> {
        let keys = sqlx::query_scalar("select storage_path from attachments");
        let keys: Vec<String> = keys.fetch_all(&mut self.connect().await).await.unwrap();
        keys.into_iter().collect()
    }

    /// Waits until a row has this status.
    pub async fn becomes(&self, service: &mut Service, job: i64, status: &str) -> Row {
        let what = format!("row {job} to be {status}");
        service.until(&what, async |_| Some(self.row(job).await).filter(|row| row.status == status)).await
    }

    /// Waits until a row's batches have come so far.
    pub async fn processed(&self, service: &mut Service, job: i64, at_least: i32) -> Row {
        let what = format!("{at_least} receipts of row {job}");
        service
            .until(&what, async |_| Some(self.row(job).await).filter(|row| row.processed >= at_least))
            .await
    }

    /// Waits for the end of a deletion, and checks all that may and all that must not have happened.
    pub async fn completed(&self, service: &mut Service, job: i64, tenant: &Tenant) -> Row {
        let row = self.becomes(service, job, "completed").await;
        let left = "select count(*) from tikkun_cleanup_outbox";
        let rush = "update tikkun_cleanup_outbox set next_try_at = '2026-01-01' where last_error is null";
        service
            .until("an empty outbox", async |_| {
                self.run(rush).await;
                (self.number(left).await == 0).then_some(())
            })
            .await;
        self.is_deleted(tenant, &row).await;
        row
    }

    /// Exactly this tenant's receipts are gone, counted once each, with exactly their objects.
    pub async fn is_deleted(&self, tenant: &Tenant, row: &Row) {
        let counts = (row.total, row.processed, row.succeeded, row.failed_count);
        let all = i32::try_from(tenant.receipts).unwrap();
        assert_eq!(counts, (all, all, all, 0), "total, processed, succeeded, failed");
        assert_eq!(self.live(tenant.id).await, 0, "receipts left alive");
        self.neighbour_is_whole(tenant).await;
        let kept =
            self.number(format!("select count(*) from attachments where business_id = {}", tenant.id)).await;
        let needed = |i: &i64| i % 10 == 0 || i % 25 == 0 || i % 7 == 0;
        let expected = (1..=tenant.receipts).filter(needed).count();
        assert_eq!(kept, i64::try_from(expected).unwrap(), "attachments that somebody else still needs");
        self.files_and_rows_agree().await;
    }

    pub async fn neighbour_is_whole(&self, tenant: &Tenant) {
        assert_eq!(self.live(tenant.id + 1).await, tenant.receipts / 10, "the neighbour's receipts");
        let orphaned = format!(
            "select count(*) from receipts where business_id = {} and attachment_id is null",
            tenant.id + 1
        );
        assert_eq!(self.number(orphaned).await, 0, "the neighbour's attachments");
    }

    /// Every attachment has its object, and every object its attachment.
    pub async fn files_and_rows_agree(&self) {
        let wanted = self.keys().await;
        let there = self.bucket.as_ref().map_or_else(|| files(&self.attachments()), S3Server::keys);
        let lost: Vec<_> = wanted.difference(&there).collect();
        let orphans: Vec<_> = there.difference(&wanted).collect();
        assert!(lost.is_empty() && orphans.is_empty(), "lost files: {lost:?}; orphan files: {orphans:?}");
    }

    pub async fn live(&self, tenant: i64) -> i64 {
        self.number(format!("select count(*) from receipts where business_id = {tenant} and not is_deleted"))
            .await
    }
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
