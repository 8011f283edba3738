//! The file: one connection that writes, a few that read, and what their errors mean.
//!
//! Every writing transaction begins immediately: one that reads first and then writes would fail at
//! once when another process writes, in spite of the busy timeout.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite, Transaction};

use crate::fault::{Fault, FaultKind};

const FILE: &str = "queue.db";
const MIGRATIONS_TABLE: &str = "tikkun_queue_migrations";

/// Longest wait for a connection, and for another process to finish its transaction: well above any
/// transaction of ours, below the deadlines of callers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries to open a file that another process is just making.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Reading is rare beside writing; more would only hold memory.
const READERS: u32 = 2;
/// Rows that may wait between SQLite's thread and us; a whole batch, so that neither waits for the other.
const ROW_BUFFER: usize = 256;
/// Pages (4 KiB) of log before they are moved into the file: each move is a sync, SQLite's own 1000 are
/// reached several times a second under load.
const CHECKPOINT_PAGES: &str = "4000";
/// The writer's page cache in KiB (negative by SQLite's convention): the hot ends of the indexes.
const CACHE: &str = "-8000";

// SQLite's primary result codes, https://sqlite.org/rescode.html.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IO_ERROR: i32 = 10;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;

/// One open queue file.
#[derive(Debug)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Whose searches may take long, and keep no listener waiting.
    people: SqlitePool,
    file: PathBuf,
}

impl Database {
    /// Opens the file in `folder`, makes what is missing and brings its tables up to date.
    pub async fn open(folder: &Path) -> Result<Self, Fault> {
        let refused = |error: Fault| {
            let kind =
                if error.kind() == FaultKind::Unavailable { FaultKind::Permanent } else { error.kind() };
            Fault::new(kind, format!("open the queue in folder `{}`", folder.display())).because(error)
        };
        tokio::fs::create_dir_all(folder).await.map_err(|error| {
            Fault::new(FaultKind::Permanent, format!("make the folder `{}`", folder.display())).because(error)
        })?;
        let file = folder.join(FILE);
        let writer = Self::open_writer(&file).await.map_err(refused)?;
        let read_only = || pool(READERS).connect_lazy_with(connection(&file).pragma("query_only", "on"));
        let (readers, people) = (read_only(), read_only());
        Ok(Self { writer, readers, people, file })
    }

    /// Several processes may make the file at once; changing the journal mode does not wait for them,
    /// so this tries again.
    async fn open_writer(file: &Path) -> Result<SqlitePool, Fault> {
        let began = Instant::now();
        loop {
            match Self::try_open_writer(file).await {
                Err(fault) if fault.kind() == FaultKind::Retryable && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(OPEN_AGAIN_AFTER).await;
                }
                opened => return opened,
            }
        }
    }

    async fn try_open_writer(file: &Path) -> Result<SqlitePool, Fault> {
        let options = connection(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("cache_size", CACHE);
        let writer =
            pool(1).connect_with(options).await.map_err(|error| fault(error, format!("open {FILE}")))?;
        migrate(&writer).await?;
        Ok(writer)
    }

    /// A transaction that may write; nobody else writes until it ends. Dropped: rolled back.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        // Waits for its turn, then nothing it has read can change before it commits.
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// For single statements that write; each is a transaction of its own.
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// For single statements that read; they wait for no writer.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// For what people look at, which may take long: nothing that the service itself reads waits for it.
    pub fn people(&self) -> &SqlitePool {
        &self.people
    }

    /// A connection of its own, outside the pools.
    pub async fn private_line(&self) -> Result<SqliteConnection, sqlx::Error> {
        connection(&self.file).pragma("query_only", "on").connect().await
    }
}

fn connection(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(PATIENCE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
}

fn pool(size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

async fn migrate(writer: &SqlitePool) -> Result<(), Fault> {
    let context = || format!("bring the tables of {FILE} up to date");
    let mut migrator = sqlx::migrate!("src/queue/embedded/migrations");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    // One transaction around all of it: of several processes one migrates, the others find it done.
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| fault(error, context()))?;
    migrator.run_direct(None, &mut *tx, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => fault(error, context()),
        other => Fault::new(FaultKind::Permanent, context()).because(other),
    })?;
    tx.commit().await.map_err(|error| fault(error, context()))
}

/// What `error` means to the caller who tried `context`.
pub fn fault(error: sqlx::Error, context: impl Into<String>) -> Fault {
    let kind = match &error {
        sqlx::Error::Database(refusal) => of_code(refusal.code().as_deref()),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => FaultKind::Unavailable,
        _ => FaultKind::Permanent,
    };
    Fault::new(kind, context).because(error)
}

fn of_code(code: Option<&str>) -> FaultKind {
    // The low byte of an extended code is its primary code.
    match code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
        Some(BUSY | LOCKED) => FaultKind::Retryable,
        Some(FULL | IO_ERROR | CANNOT_OPEN | READONLY) => FaultKind::Unavailable,
        _ => FaultKind::Permanent,
    }
}

/// The host's clock, the only one this broker reads; milliseconds since the epoch.
pub fn now() -> i64 {
    Utc::now().timestamp_millis()
}

/// A span in milliseconds; what is longer than SQLite can count is as long as it can count.
pub fn millis(span: Duration) -> i64 {
    // Half of the range, so that adding it to a time cannot overflow.
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

/// A stored time.
pub fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_primary_code() {
        assert_eq!(of_code(Some("5")), FaultKind::Retryable);
        assert_eq!(of_code(Some("517")), FaultKind::Retryable, "busy with a snapshot");
        assert_eq!(of_code(Some("13")), FaultKind::Unavailable);
        assert_eq!(of_code(Some("778")), FaultKind::Unavailable, "a write that failed");
        assert_eq!(of_code(Some("19")), FaultKind::Permanent);
        assert_eq!(of_code(None), FaultKind::Permanent);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_a_permanent_fault_that_names_it() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("file").join("queue");
        std::fs::write(here.path().join("file"), "in the way").unwrap();
        let fault = Database::open(&folder).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Permanent);
        assert!(fault.chain().contains(&folder.display().to_string()), "{}", fault.chain());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_a_permanent_fault_that_names_its_folder() {
        let here = tempfile::tempdir().unwrap();
        std::fs::create_dir(here.path().join(FILE)).unwrap();
        let fault = Database::open(here.path()).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Permanent);
        assert!(fault.chain().contains(&here.path().display().to_string()), "{}", fault.chain());
    }

    #[tokio::test]
    async fn every_table_carries_our_prefix_and_every_write_reaches_the_disk() {
        let here = tempfile::tempdir().unwrap();
        let database = Database::open(here.path()).await.unwrap();
        let strangers: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'tikkun\\_%' ESCAPE '\\'",
        )
        .fetch_all(database.readers())
        .await
        .unwrap();
        assert_eq!(strangers, Vec::<String>::new());
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(database.writer()).await.unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }
}
