//! The file, its connections and its migrations.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::time::Instant;

use super::fault::{During, kind};
use super::references::ReferenceCache;
use crate::fault::{Fault, FaultKind};
use crate::store::Schema;

/// How long a call waits for the writer, and the writer for another process.
const WAIT: Duration = Duration::from_secs(5);
/// How long an opening tries against other processes that open at the same time: switching to WAL
/// needs the file alone and answers busy at once.
const OPENING: Duration = Duration::from_secs(15);
/// Pause between such tries.
const PAUSE: Duration = Duration::from_millis(20);
/// Readers; they disturb neither the writer nor each other.
const READERS: u32 = 4;
/// Makes a transaction a writer from its first statement, so that a read in it cannot go stale.
const BEGIN: &str = "begin immediate";
/// Our migrations, told apart from those of the web application by this table.
const MIGRATIONS_TABLE: &str = "tikkun_store_migrations";

/// One open file.
pub(super) struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Which foreign keys lead to attachments.
    pub(super) references: ReferenceCache,
}

impl Database {
    /// Opens, and looks after the tables.
    pub(super) async fn open(path: &Path, schema: Schema) -> Result<Self, Fault> {
        let what = format!("open the store {}", path.display());
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(WAIT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let options = sqlx::ConnectOptions::disable_statement_logging(options);
        prepare(&options, &what, schema).await?;
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(WAIT)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        // A rollback that failed leaves a connection that only closing can mend.
        let writer = pool().max_connections(1).after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
        Ok(Self {
            writer: writer.connect_with(options.clone()).await.during(&what)?,
            reader: pool()
                .max_connections(READERS)
                .connect_with(options.read_only(true))
                .await
                .during(&what)?,
            references: ReferenceCache::default(),
        })
    }

    /// Begins a writing transaction. When another process has held the file for all of [`WAIT`], the
    /// database is out of reach: nothing of this transaction was even tried.
    pub(super) async fn write(&self, what: &str) -> Result<Transaction<'static, Sqlite>, Fault> {
        self.writer.begin_with(BEGIN).await.map_err(|error| match kind(&error) {
            FaultKind::Retryable => Fault::new(FaultKind::Unavailable, what).because(error),
            other => Fault::new(other, what).because(error),
        })
    }

    /// For a single statement that only reads.
    pub(super) fn read(&self) -> &SqlitePool {
        &self.reader
    }
}

/// Makes the file and migrates it, again and again while other processes do the same.
async fn prepare(options: &SqliteConnectOptions, what: &str, schema: Schema) -> Result<(), Fault> {
    let deadline = Instant::now() + OPENING;
    loop {
        match prepare_once(options, what, schema).await {
            Err(fault) if fault.kind() == FaultKind::Retryable && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

async fn prepare_once(options: &SqliteConnectOptions, what: &str, schema: Schema) -> Result<(), Fault> {
    let mut connection = SqliteConnection::connect_with(options).await.during(what)?;
    if matches!(schema, Schema::Migrate | Schema::MigrateOrWarn) {
        migrate(&mut connection, what).await?;
    } else if let Some(missing) = missing(&mut connection).await {
        let text =
            format!("{what}: {missing}; let it be made with RUN_MIGRATIONS_ON_START=1 or `store.migrate`");
        if schema == Schema::Require {
            return Err(Fault::new(FaultKind::Permanent, text));
        }
        tracing::warn!("{text}");
    }
    connection.close().await.during(what)
}

/// Which version of the tables is not there.
async fn missing(connection: &mut SqliteConnection) -> Option<String> {
    let newest = migrator().iter().map(|migration| migration.version).max()?;
    // A table that is not there at all counts as version 0.
    let found: i64 =
        sqlx::query_scalar("select coalesce(max(version), 0) from tikkun_store_migrations where success")
            .fetch_one(connection)
            .await
            .unwrap_or(0);
    (found < newest).then(|| format!("its tables are of version {found}, but version {newest} is needed"))
}

fn migrator() -> Migrator {
    let mut migrator: Migrator = sqlx::migrate!("src/store/sqlite/migrations");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

/// All migrations are one transaction: a second process waits for it and then finds nothing to do.
async fn migrate(connection: &mut SqliteConnection, what: &str) -> Result<(), Fault> {
    let mut tx = connection.begin_with(BEGIN).await.during(what)?;
    migrator().run_direct(None, &mut *tx, false).await.map_err(|error| migration_fault(error, what))?;
    tx.commit().await.during(what)
}

fn migration_fault(error: MigrateError, what: &str) -> Fault {
    let kind = match &error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => kind(cause),
        _ => FaultKind::Permanent,
    };
    Fault::new(kind, format!("{what}: bring its tables up to date")).because(error)
}
