//! One open SQLite file: one connection that writes, a few that read.
//!
//! - Every writing transaction begins immediately: if it read first and then wrote, it would fail at once
//!   while another process writes, in spite of the busy timeout.
//! - A connection whose transaction did not end is closed. On a full disk SQLite rolls back by itself, so
//!   that our rollback fails; such a connection refuses every later transaction.
//! - All connections are closed after a transaction that was not ended on purpose, or after a disk error. A
//!   connection opened while the disk (or only the log) was read-only stays read-only, and one that has read
//!   a file while it was being copied there treats it as corrupt long after it is complete.
//! - Who opens a file to write after an error, or while room is scarce, copies its log into it, as far as nobody reads
//!   older data. A log that has filled the disk would stay otherwise: SQLite copies it only after a commit. While room
//!   is scarce the log is kept short, for one whose pages make the file longer cannot be copied once it has taken the
//!   last of it.
//! - What adds leaves room to what works off: on a disk filled to its last byte no log can be copied and no row become
//!   longer, so that nothing that is there could ever go.
//! - What SQLite notes and sorts for a statement stays in memory: `/tmp` may be full, or in a container missing or
//!   read-only, while the data folder has room. The old pages of a batch are bounded, as are the lists.
//! - Where the path is a link, the room that counts is that of the disk on which the file itself lies, with its log.
//! - Nothing is written to a file that is no longer at its path, because no other process would read it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use super::connections::{Connections, Transaction, WAIT};
use super::fault::{During, fault, is_no_database, kind};
use super::room;
use super::wal_index::WalIndex;
use crate::fault::{Fault, FaultKind};

/// A log that has grown longer, because somebody read for long, is cut when it is begun anew: twice what the busiest
/// of our files lets gather.
const LONG_LOG: u64 = 32 * 1024 * 1024;
/// With less room the disk counts as full: a small write may still find some in a log, where a request or a batch does
/// not.
const FULL: u64 = 1024 * 1024;
/// With less room nothing is added. Who works off what is there needs some for the logs of two files, of about a MiB
/// each, and for rows that become longer before they go; and the other file is not to count as full.
const RESERVE: u64 = 4 * 1024 * 1024;
/// With less room nothing long is kept of what ends: what ended is dropped in it, and the other file is not to count as
/// full.
const FOR_DROPS: u64 = 2 * 1024 * 1024;
/// The pages after which a log is copied while room is scarce, and then begun anew.
const LOG: u64 = 250 * 4096;
/// The bytes of the file that are free to be used again. What is written there needs no room but that of the log.
const FREE: &str = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size";
/// How long opening is retried while other processes open the file: switching to WAL needs exclusive access
/// and fails with "busy" at once.
const OPENING: Duration = Duration::from_secs(15);
/// The pause between these attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// Locks for writing from the start, so that a read in the transaction cannot become stale.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// The settings that the queue and the store choose for themselves.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// The number of reading connections; they block neither the writer nor each other.
    pub readers: u32,
    /// The number of rows buffered between SQLite's thread and the caller.
    pub row_buffer: usize,
    /// Settings of the writer in addition to the common ones.
    pub pragmas: &'static [(&'static str, &'static str)],
}

/// One open file.
#[derive(Debug)]
pub struct Database {
    writer: Connections,
    readers: Connections,
    /// Connections for users' searches, which may take long and must not delay the service.
    people: Connections,
    reading: SqliteConnectOptions,
    place: Place,
    /// Held while the room of the disk is looked at.
    checking: Arc<Mutex<()>>,
}

/// Where the file is.
#[derive(Debug)]
struct Place {
    /// As given.
    path: PathBuf,
    /// Without links, as SQLite follows them.
    file: PathBuf,
    /// The device and inode that it had when it was opened.
    opened: (u64, u64),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: fs::canonicalize(path)?, opened: inode(path)? })
    }

    /// Fails if the file was removed or replaced: the connections still use the opened file, and anything
    /// written there would be lost.
    fn check(&self) -> Result<(), sqlx::Error> {
        if inode(&self.path).is_ok_and(|there| there == self.opened) {
            return Ok(());
        }
        Err(sqlx::Error::Io(io::Error::other(format!(
            "the file {} was removed, or another put in its place, while it was in use: put it back, or start this \
             process again",
            self.path.display()
        ))))
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let there = fs::metadata(path)?;
    Ok((there.dev(), there.ino()))
}

impl Database {
    /// Opens the file, creates it if missing, and with a `migrator` updates its tables; retries while other
    /// processes do the same.
    ///
    /// # Errors
    /// The error names `what` was done.
    pub async fn open(
        path: &Path,
        tuning: Tuning,
        what: &str,
        migrator: Option<&Migrator>,
    ) -> Result<Self, Fault> {
        let deadline = Instant::now() + OPENING;
        // One that is not there yet is made at its path.
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let common = connection(path, &file, tuning);
        let writer = loop {
            let writer = writer(tuning, common.clone());
            writer.keep_log_short(room::is_scarce(&file));
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
        let reading = common.pragma("query_only", "on");
        let read_only = || Connections::new(tuning.readers, reading.clone(), false);
        let (readers, people) = (read_only(), read_only());
        let place = Place::of(path).map_err(sqlx::Error::Io).during(what)?;
        Ok(Self { writer, readers, people, reading, place, checking: Arc::default() })
    }

    /// Begins a writing transaction; there is no other writer until it ends.
    pub async fn write(&self) -> Result<Transaction, sqlx::Error> {
        self.writer()?.begin_with(BEGIN).await
    }

    /// The connection for single writing statements; each is a transaction of its own.
    pub fn writer(&self) -> Result<&Connections, sqlx::Error> {
        self.place.check()?;
        self.writer.keep_log_short(room::is_scarce(&self.place.file));
        Ok(&self.writer)
    }

    /// Fails if adding so many bytes would leave too little to those who work off what is there. Looks only while
    /// room is scarce, for taking room costs time. Cancel safe.
    pub async fn has_room_to_add(&self, bytes: impl FnOnce() -> u64 + Send) -> Result<(), sqlx::Error> {
        if !room::is_scarce(&self.place.file) {
            return Ok(());
        }
        self.has_room_of(RESERVE.saturating_add(bytes())).await
    }

    /// The same for jobs that end and leave so many bytes: they may take more of the room, but not the last of it,
    /// without which nothing could be dropped.
    pub async fn has_room_to_end(&self, bytes: usize) -> Result<(), sqlx::Error> {
        if bytes == 0 || !room::is_scarce(&self.place.file) {
            return Ok(());
        }
        // Once in the log, and then in the file.
        let twice = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2);
        self.has_room_of(FOR_DROPS.saturating_add(twice)).await
    }

    /// Fails if the disk is full, though a small write may still find room. Cancel safe.
    pub async fn has_room(&self) -> Result<(), sqlx::Error> {
        self.has_room_of(FULL).await
    }

    /// The pages of the file that are free count as room, too, if the log finds its own.
    async fn has_room_of(&self, needed: u64) -> Result<(), sqlx::Error> {
        match self.looked(needed).await {
            Err(full) if full.kind() == io::ErrorKind::StorageFull => {
                let free: i64 = sqlx::query_scalar(FREE).fetch_one(&self.readers).await.unwrap_or(0);
                let for_log = LOG.saturating_sub(room::log(&self.place.file));
                let beyond = needed.saturating_sub(free.unsigned_abs()).max(for_log);
                if beyond < needed { self.looked(beyond).await } else { Err(full) }
            }
            looked => looked,
        }
        .map_err(sqlx::Error::Io)
    }

    /// Looks whether the disk has so many bytes left.
    async fn looked(&self, needed: u64) -> io::Result<()> {
        let (file, alone) = (self.place.file.clone(), Arc::clone(&self.checking).lock_owned().await);
        let (answer, answered) = oneshot::channel();
        // A thread of its own, for the disk may not answer; only one at a time.
        std::thread::spawn(move || {
            let _ = answer.send(room::check(&file, needed));
            drop(alone);
        });
        answered.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// The connections for single reading statements; they do not wait for the writer.
    pub fn readers(&self) -> &Connections {
        &self.readers
    }

    /// The connections for users' queries, which may take long; the service's own reads do not wait for them.
    pub fn people(&self) -> &Connections {
        &self.people
    }

    /// A separate reading connection outside the pools.
    pub async fn private_line(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.reading.connect().await
    }
}

/// Runs all migrations in one transaction: one process migrates, the others find it done.
async fn prepare(writer: &Connections, migrator: Option<&Migrator>, what: &str) -> Result<(), Fault> {
    let mut connection = writer.acquire().await.map_err(|error| match error {
        // A long log is copied on a slow disk. That goes on, and the next connection need not wait for it.
        sqlx::Error::PoolTimedOut => Fault::new(FaultKind::Retryable, what).because(error),
        // A file that is no database and was never used: probably a wrong path.
        _ if is_no_database(&error) => Fault::new(FaultKind::Permanent, what).because(error),
        _ => fault(error, what),
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

fn connection(path: &Path, file: &Path, tuning: Tuning) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(WAIT)
        .pragma("temp_store", "memory")
        .row_buffer_size(tuning.row_buffer)
        .disable_statement_logging();
    match WalIndex::copied_on_write(file) {
        Some(index) => index.before_each(options),
        None => options,
    }
}

fn writer(tuning: Tuning, common: SqliteConnectOptions) -> Connections {
    let options = common
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("journal_size_limit", LONG_LOG.to_string());
    let options = tuning.pragmas.iter().fold(options, |options, (name, value)| options.pragma(*name, *value));
    Connections::new(1, options, true)
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
        // Limits the size of the file for this connection.
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
        // The new connection does not have the limit.
        let mut tx = database.write().await.unwrap();
        sqlx::query(FILL).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// On a disk that the log has filled nothing is committed, after which SQLite would copy the log.
    #[tokio::test]
    async fn log_is_begun_anew_by_the_writer_after_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let never = Tuning { pragmas: &[("wal_autocheckpoint", "0")], ..TUNING };
        let database = Database::open(&path, never, "open a file", None).await.unwrap();
        let table = sqlx::query("CREATE TABLE filling (bytes BLOB)");
        table.execute(database.writer().unwrap()).await.unwrap();
        // More than 32 MiB of log, and a few pages of file.
        let fill = async |times: u32| {
            for _ in 0..times {
                let fill = sqlx::query("UPDATE filling SET bytes = randomblob(4000000)");
                fill.execute(database.writer().unwrap()).await.unwrap();
            }
        };
        sqlx::query(FILL).execute(database.writer().unwrap()).await.unwrap();
        let log = || fs::metadata(path.with_extension("db-wal")).unwrap().len();
        let mut reader = database.readers().begin().await.unwrap();
        sqlx::query("SELECT count(*) FROM filling").fetch_one(&mut *reader).await.unwrap();
        fill(10).await;
        let full = log();
        reader.rollback().await.unwrap();
        fill(1).await;
        let longer = log();
        assert!(longer > full, "nothing copies it by itself");
        drop(database.write().await.unwrap());
        fill(1).await;
        assert!(log() < full, "it was begun anew, and its room given back: {} of {longer}", log());
    }

    /// The last of the room may have gone to the log, however short it is.
    #[tokio::test]
    async fn log_of_any_length_is_begun_anew_after_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let database = opened(&path).await;
        let fill = async || {
            sqlx::query(FILL).execute(database.writer().unwrap()).await.unwrap();
        };
        for _ in 0..20 {
            fill().await;
        }
        // The last connection that is closed would copy it, too.
        let mut other = database.readers().acquire().await.unwrap();
        sqlx::query("SELECT count(*) FROM filling").fetch_one(&mut *other).await.unwrap();
        let log = || fs::metadata(path.with_extension("db-wal")).unwrap().len();
        let long = log();
        drop(database.write().await.unwrap());
        fill().await;
        assert!(log() <= long, "the room of the log is used again: {} and {long}", log());
    }

    #[tokio::test]
    async fn log_is_cut_and_kept_short_while_room_is_scarce() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let database = opened(&path).await;
        // As long as it becomes before SQLite copies it.
        let fill = async || {
            for _ in 0..600 {
                sqlx::query(FILL).execute(&database.writer).await.unwrap();
            }
        };
        let log = || fs::metadata(path.with_extension("db-wal")).unwrap().len();
        fill().await;
        assert!(log() > 2 << 20, "{}", log());
        database.writer.keep_log_short(true);
        fill().await;
        assert!(log() < 1100 << 10, "{}", log());
        database.writer.keep_log_short(false);
        fill().await;
        assert!(log() > 2 << 20, "{}", log());
    }

    /// It may be long, and the disk busy.
    /// As while a connection copies a long log on a slow disk.
    #[tokio::test]
    async fn opening_is_tried_again_when_a_connection_takes_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        let _held = database.writer().unwrap().acquire().await.unwrap();
        let fault = prepare(&database.writer, None, "open a file").await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Retryable, "{}", fault.chain());
    }

    #[tokio::test]
    async fn log_is_not_copied_at_a_start_while_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let database = opened(&path).await;
        for _ in 0..300 {
            sqlx::query(FILL).execute(database.writer().unwrap()).await.unwrap();
        }
        let before = fs::metadata(&path).unwrap().len();
        opened(&path).await;
        assert_eq!(fs::metadata(&path).unwrap().len(), before);
    }

    #[tokio::test]
    async fn writer_whose_commit_fails_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        let mut tx = database.write().await.unwrap();
        // The commit finds no transaction, and neither does the rollback.
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
        // Simulates a connection opened on a read-only disk: the transaction begins, but cannot write.
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
        // A copy truncates the file and fills it little by little. Only the file's own bytes change.
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
            // A connection opened in such a state keeps these settings.
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
        // A setting of the connection shows whether it is still the same one.
        sqlx::query("PRAGMA cache_size = -77").execute(database.writer().unwrap()).await.unwrap();
        database.write().await.unwrap().rollback().await.unwrap();
        let mut tx = database.write().await.unwrap();
        let kept: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(kept, -77);
    }

    /// A page of the file that is mapped ends the process when the disk fails to give it, instead of one statement.
    #[tokio::test]
    async fn no_page_of_a_file_is_mapped_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let database = opened(&folder.path().join("file.db")).await;
        for connections in [database.readers(), database.people(), database.writer().unwrap()] {
            let mapped =
                sqlx::query_scalar::<_, i64>("PRAGMA mmap_size").fetch_one(connections).await.unwrap();
            assert_eq!(mapped, 0);
        }
    }

    #[tokio::test]
    async fn file_behind_a_link_has_its_log_and_its_room_where_it_lies() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (link, file) = (here.path().join("file.db"), there.path().join("another.db"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        // The first time there is no file yet.
        for _ in 0..2 {
            let database = opened(&link).await;
            assert_eq!(database.place.file, fs::canonicalize(&file).unwrap());
            assert!(there.path().join("another.db-wal").exists());
            database.has_room().await.unwrap();
            let full = database.has_room_of(1 << 60).await.unwrap_err().to_string();
            assert!(full.contains("another.db"), "{full}");
        }
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1, "nothing is made beside the link");
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
