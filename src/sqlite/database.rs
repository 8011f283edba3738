//! One open file: one connection that writes, a few that read.
//!
//! - Every writing transaction begins immediately: one that reads first and then writes would fail at once when
//!   another process writes, in spite of the busy timeout.
//! - A connection whose transaction did not end is given up. On a full disk SQLite rolls back by itself, so that
//!   the rollback that follows fails; such a connection refuses every later transaction.
//! - So is every connection after a transaction that was not ended on purpose, or after an answer that blames the disk:
//!   one that was opened while the disk was read-only, be it only its log, stays read-only for as long as it lives, and
//!   one that has read a file which was being copied there takes it for broken long after it is whole.
//! - Nothing is written to a file that is not at its path any more: nobody else would ever read it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;

use super::connections::{Connections, Transaction, WAIT};
use super::fault::{During, fault, is_no_database, kind};
use crate::fault::{Fault, FaultKind};

/// How long an opening tries against other processes that open at the same time: switching to WAL needs the file
/// alone and answers busy at once.
const OPENING: Duration = Duration::from_secs(15);
/// Pause between such tries.
const PAUSE: Duration = Duration::from_millis(20);
/// Makes a transaction a writer from its first statement, so that a read in it cannot go stale.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// What the users of the engine choose for themselves.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Connections that read at the same time; they disturb neither the writer nor each other.
    pub readers: u32,
    /// Rows that may wait between SQLite's thread and us.
    pub row_buffer: usize,
    /// Settings of the writer beyond those that every writer has.
    pub pragmas: &'static [(&'static str, &'static str)],
}

/// One open file.
#[derive(Debug)]
pub struct Database {
    writer: Connections,
    readers: Connections,
    /// Whose searches may take long, and keep nobody else waiting.
    people: Connections,
    reading: SqliteConnectOptions,
    place: Place,
}

/// Where the file is, and which one was there when it was opened: device and inode.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    opened: (u64, u64),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), opened: (there.dev(), there.ino()) })
    }

    /// The connections go on with the file that they have opened, also after it was removed or another was put in its
    /// place; whatever they wrote would be lost with them.
    fn check(&self) -> Result<(), sqlx::Error> {
        if Self::of(&self.path).is_ok_and(|there| there.opened == self.opened) {
            return Ok(());
        }
        Err(sqlx::Error::Io(io::Error::other(format!(
            "the file {} was removed, or another put in its place, while it was in use: put it back, or start this \
             process again",
            self.path.display()
        ))))
    }
}

impl Database {
    /// Opens the file and makes it where it is missing, and brings its tables up to date where there is a
    /// `migrator`; again and again while other processes do the same.
    ///
    /// # Errors
    /// Says that it happened while doing `what`.
    pub async fn open(
        path: &Path,
        tuning: Tuning,
        what: &str,
        migrator: Option<&Migrator>,
    ) -> Result<Self, Fault> {
        let deadline = Instant::now() + OPENING;
        let writer = loop {
            let writer = writer(path, tuning);
            match prepare(&writer, migrator, what).await {
                Ok(()) => break writer,
                Err(fault) => {
                    writer.close().await;
                    if fault.kind() != FaultKind::Retryable || Instant::now() >= deadline {
                        return Err(fault);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let reading = connection(path, tuning).pragma("query_only", "on");
        let read_only = || Connections::new(tuning.readers, reading.clone());
        let (readers, people) = (read_only(), read_only());
        let place = Place::of(path).map_err(sqlx::Error::Io).during(what)?;
        Ok(Self { writer, readers, people, reading, place })
    }

    /// Begins a transaction that may write; nobody else writes until it ends.
    pub async fn write(&self) -> Result<Transaction, sqlx::Error> {
        self.writer()?.begin_with(BEGIN).await
    }

    /// For single statements that write; each is a transaction of its own.
    pub fn writer(&self) -> Result<&Connections, sqlx::Error> {
        self.place.check()?;
        Ok(&self.writer)
    }

    /// For single statements that read; they wait for no writer.
    pub fn readers(&self) -> &Connections {
        &self.readers
    }

    /// For what people look at, which may take long: nothing that the service itself reads waits for it.
    pub fn people(&self) -> &Connections {
        &self.people
    }

    /// A connection of its own that reads, outside the pools.
    pub async fn private_line(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.reading.connect().await
    }
}

/// All migrations are one transaction: of several processes one migrates, the others find it done.
async fn prepare(writer: &Connections, migrator: Option<&Migrator>, what: &str) -> Result<(), Fault> {
    let mut connection = writer.acquire().await.map_err(|error| match is_no_database(&error) {
        // Nobody has ever read this file: a wrong path, most likely.
        true => Fault::new(FaultKind::Permanent, what).because(error),
        false => fault(error, what),
    })?;
    let Some(migrator) = migrator else { return Ok(()) };
    let mut tx = connection.begin_with(BEGIN).await.during(what)?;
    migrator.run_direct(None, &mut *tx, false).await.map_err(|error| {
        let kind = match &error {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => kind(cause),
            _ => FaultKind::Permanent,
        };
        Fault::new(kind, format!("{what}: bring its tables up to date")).because(error)
    })?;
    tx.commit().await.during(what)
}

fn connection(path: &Path, tuning: Tuning) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(WAIT)
        .row_buffer_size(tuning.row_buffer)
        .disable_statement_logging()
}

fn writer(path: &Path, tuning: Tuning) -> Connections {
    let options = connection(path, tuning)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    let options = tuning.pragmas.iter().fold(options, |options, (name, value)| options.pragma(*name, *value));
    Connections::new(1, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNING: Tuning = Tuning { readers: 1, row_buffer: 16, pragmas: &[] };
    const FILL: &str = "INSERT INTO filling (bytes) VALUES (zeroblob(4096))";

    async fn opened(path: &Path) -> Database {
        let database = Database::open(path, TUNING, "open a file", None).await.unwrap();
        let table = sqlx::query("CREATE TABLE IF NOT EXISTS filling (bytes BLOB)");
        table.execute(database.writer().unwrap()).await.unwrap();
        database
    }

    #[tokio::test]
    async fn writer_whose_rollback_fails_on_a_full_disk_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        // The file may not grow any more, for as long as this connection lives.
        sqlx::query("PRAGMA max_page_count = 4").execute(database.writer().unwrap()).await.unwrap();
        let mut tx = database.write().await.unwrap();
        let full = loop {
            if let Err(error) = sqlx::query(FILL).execute(&mut *tx).await {
                break error;
            }
        };
        assert_eq!(kind(&full), FaultKind::Unavailable, "{full}");
        // SQLite has ended the transaction itself, and the rollback finds none.
        drop(tx);
        // The new connection knows nothing of the limit: there is room again.
        let mut tx = database.write().await.unwrap();
        sqlx::query(FILL).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn writer_whose_commit_fails_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        let mut tx = database.write().await.unwrap();
        // Whatever ended it: the commit finds no transaction, and neither does the rollback.
        sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap_err();
        let mut tx = database.write().await.unwrap();
        sqlx::query(FILL).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn reader_whose_transaction_did_not_end_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        let mut tx = database.readers().begin().await.unwrap();
        sqlx::raw_sql("COMMIT").execute(&mut *tx).await.unwrap();
        drop(tx);
        let tx = database.readers().begin_with("BEGIN").await;
        assert!(tx.is_ok(), "{:?}", tx.err());
    }

    #[tokio::test]
    async fn writer_that_was_opened_read_only_is_given_up_once_a_transaction_has_failed() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        // What a connection is that was opened while the disk was read-only: the transaction begins, and no more.
        let mut tx = database.write().await.unwrap();
        sqlx::query("PRAGMA query_only = on").execute(&mut *tx).await.unwrap();
        let refused = sqlx::query(FILL).execute(&mut *tx).await.unwrap_err();
        assert_eq!(kind(&refused), FaultKind::Unavailable, "{refused}");
        drop(tx);
        let mut tx = database.write().await.unwrap();
        sqlx::query(FILL).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn reader_that_saw_a_file_which_was_being_copied_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let database = opened(&path).await;
        sqlx::query(FILL).execute(database.writer().unwrap()).await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(database.writer().unwrap()).await.unwrap();
        let whole = fs::read(&path).unwrap();
        let length = || sqlx::query_scalar::<_, i64>("SELECT sum(length(bytes)) FROM filling");
        // A copy empties the file and fills it little by little. Nothing but the file's own bytes changes.
        fs::write(&path, &whole[..4096]).unwrap();
        let broken = length().fetch_one(database.readers()).await.unwrap_err();
        assert_eq!(kind(&broken), FaultKind::Unavailable, "{broken}");
        let mut tx = database.people().begin().await.unwrap();
        length().fetch_one(&mut *tx).await.unwrap_err();
        drop(tx);
        fs::write(&path, &whole).unwrap();
        assert_eq!(length().fetch_one(database.readers()).await.unwrap(), 4096);
        assert_eq!(length().fetch_one(database.people()).await.unwrap(), 4096);
        assert_eq!(length().fetch_one(database.writer().unwrap()).await.unwrap(), 4096);
    }

    #[tokio::test]
    async fn connection_whose_answer_blames_the_disk_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        for connections in [database.readers(), database.people(), database.writer().unwrap()] {
            // What a connection has that was opened in bad times, it keeps.
            sqlx::query("PRAGMA query_only = on").execute(connections).await.unwrap();
            sqlx::query("PRAGMA cache_size = -77").execute(connections).await.unwrap();
            let refused = sqlx::query(FILL).execute(connections).await.unwrap_err();
            assert_eq!(kind(&refused), FaultKind::Unavailable, "{refused}");
            let size: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(connections).await.unwrap();
            assert_ne!(size, -77, "it is another connection");
        }
    }

    #[tokio::test]
    async fn writer_is_kept_after_a_rollback_that_was_meant() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        // A setting of the connection shows whether it is the same one.
        sqlx::query("PRAGMA cache_size = -77").execute(database.writer().unwrap()).await.unwrap();
        database.write().await.unwrap().rollback().await.unwrap();
        let mut tx = database.write().await.unwrap();
        let kept: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(kept, -77);
    }

    #[tokio::test]
    async fn nothing_is_written_to_a_file_that_is_not_at_its_path_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("file.db"), folder.path().join("away.db"));
        let database = opened(&path).await;
        fs::rename(&path, &away).unwrap();
        let removed = database.write().await.unwrap_err();
        assert_eq!(kind(&removed), FaultKind::Unavailable, "{removed}");
        assert!(!path.exists(), "no other file is made in its place");
        fs::write(&path, "another").unwrap();
        let replaced = database.writer().unwrap_err();
        assert!(replaced.to_string().contains("another put in its place"), "{replaced}");
        fs::rename(&away, &path).unwrap();
        let mut tx = database.write().await.unwrap();
        sqlx::query(FILL).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}
