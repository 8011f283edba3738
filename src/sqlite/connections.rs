//! Connections to one file. A connection that was open during an error is not used again, because its view of
//! the file may stay wrong.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, TryFutureExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteQueryResult,
    SqliteRow, SqliteStatement, SqliteTypeInfo,
};
use sqlx::{Connection, Either, Execute, Executor, SqlStr};

use super::fault::kind;
use crate::fault::FaultKind;

/// How long a call waits for a connection, and the writer for another process: well above the length of our
/// transactions, below the callers' deadlines.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// Copies the log into the file without waiting for anybody, so that the next write begins the log anew.
const COPY_LOG: &str = "PRAGMA wal_checkpoint(PASSIVE)";
/// Copies the log at every MiB, and cuts one that was longer when it is begun anew.
const KEEP_LOG_SHORT: &str = "PRAGMA wal_autocheckpoint = 250; PRAGMA journal_size_limit = 1048576";

/// How long after its age was taken a connection may be looked at, on a busy machine. Younger ones than an error are
/// closed, too, for that long.
const BUSY: Duration = Duration::from_secs(1);

/// A pool of connections to one file. Single statements run on any free one.
#[derive(Debug)]
pub struct Connections {
    pool: SqlitePool,
    trouble: Arc<Trouble>,
    log: Arc<ShortLog>,
}

/// Whether the log is to be kept short, and whether the writer's connection does so.
#[derive(Debug, Default)]
struct ShortLog {
    wanted: AtomicBool,
    kept: AtomicBool,
}

/// The time of the last error; older connections are closed.
#[derive(Debug, Default)]
struct Trouble(Mutex<Option<Instant>>);

/// A transaction. Dropping it rolls it back, and counts as an error.
#[derive(Debug)]
pub struct Transaction {
    doubt: Doubt,
    tx: sqlx::Transaction<'static, Sqlite>,
}

/// Records an error when dropped, unless its transaction has ended properly.
#[derive(Debug)]
struct Doubt {
    trouble: Arc<Trouble>,
    ended: bool,
}

impl Connections {
    /// A pool of at most `most` connections, opened on demand. One that writes begins with copying the log after an
    /// error and while the log is to be short: at other times a start need not wait for that.
    pub(super) fn new(most: u32, options: SqliteConnectOptions, writes: bool) -> Self {
        let (trouble, log) = (Arc::new(Trouble::default()), Arc::new(ShortLog::default()));
        let (known, known_before) = (Arc::clone(&trouble), Arc::clone(&trouble));
        let (opened, used) = (Arc::clone(&log), Arc::clone(&log));
        let pool = SqlitePoolOptions::new()
            .max_connections(most)
            .acquire_timeout(WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let short = opened.begin() && writes;
                let copies = short || writes && known_before.is_noted();
                Box::pin(async move {
                    // Whatever refuses it refuses the next write as well, and is reported there.
                    if copies {
                        let _ = sqlx::raw_sql(COPY_LOG).execute(&mut *connection).await;
                    }
                    if short {
                        let _ = sqlx::raw_sql(KEEP_LOG_SHORT).execute(connection).await;
                    }
                    Ok(())
                })
            })
            .before_acquire(move |_, connection| {
                let usable = !known.was_within(connection.age) && used.is_as_wanted();
                Box::pin(async move { Ok(usable) })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Waits until a pending rollback has been tried.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_lazy_with(options);
        Self { pool, trouble, log }
    }

    /// Whether connections that write keep the log short from now on. One that does not is replaced.
    pub(super) fn keep_log_short(&self, short: bool) {
        self.log.wanted.store(short, Ordering::Relaxed);
    }

    /// Begins a transaction with one snapshot of the file.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction with this statement.
    pub(super) async fn begin_with(&self, statement: &'static str) -> Result<Transaction, sqlx::Error> {
        let tx = self.pool.begin_with(statement).await.inspect_err(|error| self.trouble.hear(error))?;
        Ok(Transaction { doubt: Doubt { trouble: Arc::clone(&self.trouble), ended: false }, tx })
    }
}

impl Deref for Connections {
    type Target = SqlitePool;

    fn deref(&self) -> &Self::Target {
        &self.pool
    }
}

impl ShortLog {
    /// What the connection that is opened is to do.
    fn begin(&self) -> bool {
        let short = self.wanted.load(Ordering::Relaxed);
        self.kept.store(short, Ordering::Relaxed);
        short
    }

    fn is_as_wanted(&self) -> bool {
        self.kept.load(Ordering::Relaxed) == self.wanted.load(Ordering::Relaxed)
    }
}

impl Trouble {
    fn note(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Records an error, except a lock of another process and a wait for a connection.
    fn hear(&self, error: &sqlx::Error) {
        if kind(error) == FaultKind::Unavailable && !matches!(error, sqlx::Error::PoolTimedOut) {
            self.note();
        }
    }

    fn is_noted(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Whether a connection that had this `age` may have been open then.
    fn was_within(&self, age: Duration) -> bool {
        self.0.lock().is_some_and(|last| last.elapsed() <= age + BUSY)
    }
}

impl<'p> Executor<'p> for &'_ Connections {
    type Database = Sqlite;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<SqliteQueryResult, SqliteRow>, sqlx::Error>>
    where
        E: 'q + Execute<'q, Sqlite>,
    {
        let trouble = Arc::clone(&self.trouble);
        Box::pin(self.pool.fetch_many(query).inspect_err(move |error| trouble.hear(error)))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<SqliteRow>, sqlx::Error>>
    where
        E: 'q + Execute<'q, Sqlite>,
    {
        let trouble = Arc::clone(&self.trouble);
        self.pool.fetch_optional(query).inspect_err(move |error| trouble.hear(error)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [SqliteTypeInfo],
    ) -> BoxFuture<'e, Result<SqliteStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let trouble = Arc::clone(&self.trouble);
        self.pool.prepare_with(sql, parameters).inspect_err(move |error| trouble.hear(error)).boxed()
    }
}

impl Transaction {
    /// Commits the changes.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { mut doubt, tx } = self;
        tx.commit().await?;
        doubt.ended = true;
        Ok(())
    }

    /// Rolls the changes back.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        let Self { mut doubt, tx } = self;
        tx.rollback().await?;
        doubt.ended = true;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &Self::Target {
        &self.tx
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.tx
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        if !self.ended {
            self.trouble.note();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_that_is_looked_at_late_is_still_one_that_was_open_during_the_error() {
        let trouble = Trouble::default();
        assert!(!trouble.was_within(Duration::from_secs(60)));
        // It was opened a moment before the error, and its age was taken half a second ago.
        *trouble.0.lock() = Some(Instant::now() - Duration::from_millis(500));
        assert!(trouble.was_within(Duration::from_millis(1)));
        *trouble.0.lock() = Some(Instant::now() - Duration::from_secs(60));
        assert!(trouble.was_within(Duration::from_secs(61)));
        assert!(!trouble.was_within(Duration::from_secs(50)));
    }
}
