//! A fresh store, and functions that act as the web application with plain SQL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use tikkun::blob::BlobTarget;
use tikkun::config::PostgresSettings;
use tikkun::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL};
use tikkun::job::{BackgroundJobId, BusinessId};
use tikkun::store::{
    Batch, BatchOrder, BatchOutcome, Begin, Begun, Coverage, NewRequest, Pass, Requested, Schema, Store,
    open_postgres, open_sqlite,
};

use super::server::Server;

pub const TENANT: BusinessId = BusinessId(789);
pub const OTHER: BusinessId = BusinessId(790);

/// Plain SQL, as the web application writes it.
#[async_trait]
pub trait Raw: Send + Sync {
    /// Runs statements; the error text of the database where they fail.
    async fn try_run(&self, sql: &str) -> Result<(), String>;
    /// Reads one column of numbers.
    async fn numbers(&self, sql: &str) -> Vec<Option<i64>>;
    /// Makes the database refuse every change of rows of `table` for which `condition` holds of `old`;
    /// `on` is `update` or `delete`.
    async fn refuse(&self, on: &str, table: &str, condition: &str);
    /// Makes the database leave such rows as they are, without an error.
    async fn ignore(&self, on: &str, table: &str, condition: &str);
    /// Makes the database take a receipt's mark back after each update for which `condition` holds of `new`.
    async fn revive(&self, condition: &str);
    /// Makes the database put such attachments back after they were deleted.
    async fn restore(&self, condition: &str);
    /// Makes the database run `statement` after each such change; `condition` and statement speak of `old` and `new`.
    async fn after(&self, on: &str, table: &str, condition: &str, statement: &str);
    /// Takes such a refusal back.
    async fn allow(&self, on: &str, table: &str);
    /// Makes an update of the receipt 2 break off more than its own statement, until it is mended.
    async fn break_off(&self);
    /// Takes that back.
    async fn mend(&self);
    /// The seconds between two times, as SQL.
    fn seconds(&self, from: &str, to: &str) -> String;
}

pub struct Rig {
    pub store: Store,
    pub raw: Box<dyn Raw>,
    /// Where the file lies, for what only a file can do; elsewhere it is empty.
    pub path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

pub async fn sqlite() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open_sqlite(&path, Schema::Migrate).await.unwrap();
    Rig { store, raw: Box::new(SqliteRaw(raw_pool(&path).await)), path, _folder: Some(folder) }
}

pub async fn postgres() -> Rig {
    let server = Server::shared();
    postgres_on(&server.settings(&server.database().await)).await
}

/// A store in a database that has its tables.
pub async fn postgres_on(settings: &PostgresSettings) -> Rig {
    let opened = open_postgres(settings, Schema::Require).await;
    let store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let pool = PgPoolOptions::new().max_connections(2);
    let raw = PostgresRaw(pool.connect(settings.url.expose_secret()).await.unwrap());
    Rig { store, raw: Box::new(raw), path: PathBuf::new(), _folder: None }
}

pub async fn raw_pool(path: &Path) -> SqlitePool {
    let options =
        SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(Duration::from_secs(20));
    SqlitePoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
}

struct SqliteRaw(SqlitePool);

#[async_trait]
impl Raw for SqliteRaw {
    async fn try_run(&self, sql: &str) -> Result<(), String> {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&self.0).await.map(|_| ()).map_err(|e| e.to_string())
    }

    async fn numbers(&self, sql: &str) -> Vec<Option<i64>> {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&self.0).await.unwrap()
    }

    async fn refuse(&self, on: &str, table: &str, condition: &str) {
        let sql = format!(
            "create trigger refuse_{on}_{table} before {on} on {table} when {condition}
             begin select raise(abort, 'this row is sealed'); end"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn ignore(&self, on: &str, table: &str, condition: &str) {
        let sql = format!(
            "create trigger ignore_{on}_{table} before {on} on {table} when {condition}
             begin select raise(ignore); end"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn revive(&self, condition: &str) {
        let sql = format!(
            "create trigger revive after update of is_deleted on receipts when new.is_deleted and {condition}
             begin update receipts set is_deleted = 0 where id = new.id; end"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn restore(&self, condition: &str) {
        let sql = format!(
            "create trigger restore after delete on attachments when {condition} begin
             insert into attachments (id, business_id, purpose, storage_path)
             values (old.id, old.business_id, old.purpose, old.storage_path); end"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn after(&self, on: &str, table: &str, condition: &str, statement: &str) {
        let sql = format!(
            "create trigger after_{on}_{table} after {on} on {table} when {condition} begin {statement}; end"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn allow(&self, on: &str, table: &str) {
        self.try_run(&format!("drop trigger refuse_{on}_{table}")).await.unwrap();
    }

    async fn break_off(&self) {
        self.try_run(
            "create trigger harsh before update on receipts when old.id = 2
             begin select raise(rollback, 'all or nothing'); end",
        )
        .await
        .unwrap();
    }

    async fn mend(&self) {
        self.try_run("drop trigger harsh").await.unwrap();
    }

    fn seconds(&self, from: &str, to: &str) -> String {
        format!("cast(round((julianday({to}) - julianday({from})) * 86400) as integer)")
    }
}

struct PostgresRaw(PgPool);

#[async_trait]
impl Raw for PostgresRaw {
    async fn try_run(&self, sql: &str) -> Result<(), String> {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&self.0).await.map(|_| ()).map_err(|e| e.to_string())
    }

    async fn numbers(&self, sql: &str) -> Vec<Option<i64>> {
        let sql = format!("select (answer.n)::bigint from ({sql}) as answer (n)");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.0).await.unwrap()
    }

    async fn refuse(&self, on: &str, table: &str, condition: &str) {
        let sql = format!(
            "create or replace function seal() returns trigger language plpgsql as
             $$ begin raise exception 'this row is sealed'; end $$;
             create trigger refuse_{on}_{table} before {on} on {table} for each row when ({condition})
             execute function seal()"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn ignore(&self, on: &str, table: &str, condition: &str) {
        let sql = format!(
            "create or replace function ignore() returns trigger language plpgsql as $$ begin return null; end $$;
             create trigger ignore_{on}_{table} before {on} on {table} for each row when ({condition})
             execute function ignore()"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn revive(&self, condition: &str) {
        let sql = format!(
            "create function revive() returns trigger language plpgsql as
             $$ begin update receipts set is_deleted = false where id = new.id; return null; end $$;
             create trigger revive after update of is_deleted on receipts for each row
             when (new.is_deleted and {condition}) execute function revive()"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn restore(&self, condition: &str) {
        let sql = format!(
            "create function restore() returns trigger language plpgsql as
             $$ begin insert into attachments select old.*; return null; end $$;
             create trigger restore after delete on attachments for each row when ({condition})
             execute function restore()"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn after(&self, on: &str, table: &str, condition: &str, statement: &str) {
        let sql = format!(
            "create function after_{on}_{table}() returns trigger language plpgsql as
             $$ begin {statement}; return null; end $$;
             create trigger after_{on}_{table} after {on} on {table} for each row when ({condition})
             execute function after_{on}_{table}()"
        );
        self.try_run(&sql).await.unwrap();
    }

    async fn allow(&self, on: &str, table: &str) {
        self.try_run(&format!("drop trigger refuse_{on}_{table} on {table}")).await.unwrap();
    }

    async fn break_off(&self) {
        self.try_run(
            "create function hang_up() returns trigger language plpgsql as
             $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
             create trigger harsh before update on receipts for each row when (old.id = 2)
             execute function hang_up()",
        )
        .await
        .unwrap();
    }

    async fn mend(&self) {
        self.try_run("drop trigger harsh on receipts").await.unwrap();
    }

    fn seconds(&self, from: &str, to: &str) -> String {
        format!("round(extract(epoch from {to} - {from}))::bigint")
    }
}

pub fn target() -> BlobTarget {
    BlobTarget { driver: "local".into(), bucket: "attachments".into() }
}

impl Rig {
    pub async fn run(&self, sql: &str) {
        self.raw.try_run(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.raw.numbers(sql).await[0].unwrap()
    }

    pub async fn ids(&self, sql: &str) -> Vec<i64> {
        self.raw.numbers(sql).await.into_iter().flatten().collect()
    }

    /// Attachments still there, by id.
    pub async fn attachments(&self) -> Vec<i64> {
        self.ids("select id from attachments order by id").await
    }

    pub async fn live(&self, tenant: BusinessId) -> Vec<i64> {
        self.ids(&format!(
            "select id from receipts where business_id = {tenant} and is_deleted is not true order by id"
        ))
        .await
    }

    /// An attachment with an object of its own.
    pub async fn attach(&self, id: i64, tenant: BusinessId, purpose: &str) {
        self.run(&format!(
            "insert into attachments (id, business_id, purpose, file_size, storage_path)
             values ({id}, {tenant}, '{purpose}', 10, '{tenant}/{purpose}/2026/01/{id}.pdf')"
        ))
        .await;
    }

    /// A live receipt.
    pub async fn receipt(&self, id: i64, tenant: BusinessId, source: Option<i64>, preview: Option<i64>) {
        let sql = |id: Option<i64>| id.map_or("null".to_owned(), |id| id.to_string());
        self.run(&format!(
            "insert into receipts (id, business_id, attachment_id, preview_attachment_id, is_deleted, created_at)
             values ({id}, {tenant}, {}, {}, false, '2026-01-01 10:00:00')",
            sql(source),
            sql(preview)
        ))
        .await;
    }

    /// Live receipts `1..=n`, each with an attachment of the same id.
    pub async fn seed(&self, n: i64) {
        for id in 1..=n {
            self.attach(id, TENANT, "receipt_source").await;
            self.receipt(id, TENANT, Some(id), None).await;
        }
    }

    /// A row as the web application makes it.
    pub async fn web_row(&self) -> BackgroundJobId {
        self.web_row_of(Utc::now()).await
    }

    /// A row that the web application made then.
    pub async fn web_row_of(&self, at: DateTime<Utc>) -> BackgroundJobId {
        let at = at.format("%Y-%m-%dT%H:%M:%S%.6f");
        self.run(&format!(
            "insert into background_jobs (business_id, job_type, created_at, updated_at)
             values ({TENANT}, '{DELETE_RECEIPTS_ALL}', '{at}', '{at}')"
        ))
        .await;
        BackgroundJobId(self.number("select max(id) from background_jobs").await)
    }

    pub async fn set(&self, id: BackgroundJobId, assignments: &str) {
        self.run(&format!("update background_jobs set {assignments} where id = {id}")).await;
    }

    /// A cursor as of an earlier version of Tikkun, which keeps no copy of it.
    pub async fn set_cursor(&self, id: BackgroundJobId, cursor: &str) {
        self.set(id, &format!("cursor = '{cursor}'")).await;
        self.run(&format!("update tikkun_background_jobs set kept = null where background_job_id = {id}"))
            .await;
    }

    pub async fn get(&self, id: BackgroundJobId) -> BackgroundJob {
        self.store.background_jobs.get(id).await.unwrap().unwrap()
    }

    /// As carried by an entry of this moment.
    pub async fn try_begin(&self, id: BackgroundJobId, queue_job: &str) -> Begun {
        self.try_begin_of(id, queue_job, Some(Utc::now())).await
    }

    /// As carried by an entry that was made then.
    pub async fn try_begin_of(
        &self,
        id: BackgroundJobId,
        queue_job: &str,
        entry_at: Option<DateTime<Utc>>,
    ) -> Begun {
        let begin = Begin {
            id,
            queue_job: queue_job.into(),
            entry_at,
            stale_after: Duration::from_secs(120),
            max_barren: 3,
        };
        self.store.background_jobs.begin_attempt(&begin).await.unwrap()
    }

    pub async fn begin(&self, id: BackgroundJobId) -> BackgroundJob {
        match self.try_begin(id, "q1").await {
            Begun::Started(job) => *job,
            refused => panic!("{refused:?}"),
        }
    }

    /// A running row that covers what is there.
    pub async fn started(&self) -> BackgroundJob {
        let id = self.web_row().await;
        self.begin(id).await
    }

    pub fn request_of(&self, queue_job: &str) -> NewRequest {
        NewRequest {
            business_id: TENANT,
            user_id: Some(5),
            job_type: DELETE_RECEIPTS_ALL.into(),
            queue_job: queue_job.into(),
            covers: Coverage::Everything,
        }
    }

    pub async fn request(&self, queue_job: &str) -> Requested {
        self.store.background_jobs.request(&self.request_of(queue_job)).await.unwrap()
    }

    pub async fn batch(&self, job: &BackgroundJob, limit: u32, pass: Pass) -> BatchOutcome {
        self.store.receipts.delete_batch(&order(job, limit, pass)).await.unwrap()
    }

    pub async fn good_batch(&self, job: &BackgroundJob, limit: u32, pass: Pass) -> Batch {
        match self.batch(job, limit, pass).await {
            BatchOutcome::Deleted(batch) => *batch,
            other => panic!("{other:?}"),
        }
    }

    /// All batches of both passes.
    pub async fn delete_all(&self, job: &BackgroundJob, limit: u32) -> Vec<Batch> {
        let mut batches = Vec::new();
        for pass in [Pass::Forward, Pass::Sweep] {
            loop {
                match self.batch(job, limit, pass).await {
                    BatchOutcome::Deleted(batch) => batches.push(*batch),
                    BatchOutcome::Empty => break,
                    BatchOutcome::NotOurs(status) => panic!("not ours: {status:?}"),
                }
            }
        }
        batches
    }
}

pub fn order(job: &BackgroundJob, limit: u32, pass: Pass) -> BatchOrder {
    BatchOrder { job: job.id, attempt: job.note.attempt, limit, pass, target: target() }
}

pub fn keys(batches: &[Batch]) -> Vec<String> {
    let mut keys: Vec<_> = batches.iter().flat_map(|b| &b.condemned).map(|c| c.key.clone()).collect();
    keys.sort();
    keys
}
