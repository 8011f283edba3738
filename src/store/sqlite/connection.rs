//! The file of the store, and its migrations.

use std::path::Path;

use sqlx::migrate::Migrator;

use super::references::ReferenceCache;
use crate::fault::{Fault, FaultKind};
use crate::migrations::{self, File};
use crate::sqlite::{self, Connections, Transaction, Tuning, kind};
use crate::store::Schema;

const TUNING: Tuning = Tuning { readers: 4, row_buffer: 50, pragmas: &[] };
/// The table of our migrations, apart from those of the web application.
const MIGRATIONS_TABLE: &str = "tikkun_store_migrations";
/// The files that create and update our tables.
const MIGRATIONS: [File; 9] = [
    (1, "application tables", include_str!("migrations/0001_application_tables.sql")),
    (2, "tikkun tables", include_str!("migrations/0002_tikkun_tables.sql")),
    (3, "parked objects", include_str!("migrations/0003_parked_objects.sql")),
    (4, "refused objects", include_str!("migrations/0004_refused_objects.sql")),
    (5, "newest error", include_str!("migrations/0005_newest_error.sql")),
    (10, "ended sessions", include_str!("migrations/0010_ended_sessions.sql")),
    (12, "kept state", include_str!("migrations/0012_kept_state.sql")),
    (20, "certificates", include_str!("migrations/0020_certificates.sql")),
    (30, "described deletions", include_str!("migrations/0030_described_deletions.sql")),
];

/// One open file.
pub(super) struct Database {
    file: sqlite::Database,
    /// The foreign keys that refer to attachments.
    pub(super) references: ReferenceCache,
}

impl Database {
    /// Opens the file, and checks or migrates its tables.
    pub(super) async fn open(path: &Path, schema: Schema) -> Result<Self, Fault> {
        let what = format!("open the store {}", path.display());
        let migrates = matches!(schema, Schema::Migrate | Schema::MigrateOrWarn);
        let file = sqlite::Database::open(path, TUNING, &what, migrates.then(migrator).as_ref()).await?;
        if !migrates && let Some(missing) = missing(&file).await {
            let text = format!(
                "{what}: {missing}; let it be made with RUN_MIGRATIONS_ON_START=1 or `store.migrate`"
            );
            if schema == Schema::Require {
                return Err(Fault::new(FaultKind::Permanent, text));
            }
            tracing::warn!("{text}");
        }
        Ok(Self { file, references: ReferenceCache::default() })
    }

    /// Begins a writing transaction. If another process locks the file for as long as the engine waits, the
    /// database counts as unavailable: nothing of this transaction was tried.
    pub(super) async fn write(&self, what: &str) -> Result<Transaction, Fault> {
        self.file.write().await.map_err(|error| match kind(&error) {
            FaultKind::Retryable => Fault::new(FaultKind::Unavailable, what).because(error),
            _ => sqlite::fault(error, what),
        })
    }

    /// Fails if the disk is full.
    pub(super) async fn room(&self) -> Result<(), sqlx::Error> {
        self.file.has_room().await
    }

    /// The connections for single statements that only read.
    pub(super) fn read(&self) -> &Connections {
        self.file.readers()
    }
}

/// Describes the table version that is missing.
async fn missing(file: &sqlite::Database) -> Option<String> {
    let newest = migrator().iter().map(|migration| migration.version).max()?;
    // A missing table counts as version 0.
    let found: i64 =
        sqlx::query_scalar("select coalesce(max(version), 0) from tikkun_store_migrations where success")
            .fetch_one(file.readers())
            .await
            .unwrap_or(0);
    (found < newest).then(|| format!("its tables are of version {found}, but version {newest} is needed"))
}

fn migrator() -> Migrator {
    migrations::migrator(MIGRATIONS_TABLE, &MIGRATIONS)
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;
    use crate::migrations::tests::assert_complete;

    #[test]
    fn every_migration_is_listed() {
        assert_complete(&MIGRATIONS, "src/store/sqlite/migrations");
    }
}
