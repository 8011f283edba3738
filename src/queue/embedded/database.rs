//! The queue's file, and the form of times in it.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::fault::{Fault, FaultKind};
use crate::migrations::{File, migrator};
use crate::sqlite::Tuning;

pub use crate::sqlite::{Database, fault};

const FILE: &str = "queue.db";
const MIGRATIONS_TABLE: &str = "tikkun_queue_migrations";
/// The files that create and update our tables.
const MIGRATIONS: [File; 9] = [
    (1, "queue", include_str!("migrations/0001_queue.sql")),
    (2, "upkeep", include_str!("migrations/0002_upkeep.sql")),
    (3, "forwarding", include_str!("migrations/0003_forwarding.sql")),
    (4, "attempts", include_str!("migrations/0004_attempts.sql")),
    (5, "settled", include_str!("migrations/0005_settled.sql")),
    (6, "retries asked", include_str!("migrations/0006_retries_asked.sql")),
    (7, "waits", include_str!("migrations/0007_waits.sql")),
    (8, "told", include_str!("migrations/0008_told.sql")),
    (9, "scheduled", include_str!("migrations/0009_scheduled.sql")),
];

const TUNING: Tuning = Tuning {
    // Reads are rare compared with writes; more readers would only use memory.
    readers: 2,
    // A whole batch, so that neither SQLite's thread nor ours waits for the other.
    row_buffer: 256,
    pragmas: &[
        // The number of log pages (4 KiB) before they are moved into the file. Each move is a sync, and under
        // load SQLite's default of 1000 is reached several times a second.
        ("wal_autocheckpoint", "4000"),
        // The writer's page cache in KiB (negative by SQLite's convention): the active ends of the indexes.
        ("cache_size", "-8000"),
    ],
};

/// Opens the file in `folder`, creates what is missing and updates its tables.
pub async fn open(folder: &Path) -> Result<Database, Fault> {
    let refused = |error: Fault| {
        let kind = if error.kind() == FaultKind::Unavailable { FaultKind::Permanent } else { error.kind() };
        Fault::new(kind, format!("open the queue in folder `{}`", folder.display())).because(error)
    };
    tokio::fs::create_dir_all(folder).await.map_err(|error| {
        Fault::new(FaultKind::Permanent, format!("make the folder `{}`", folder.display())).because(error)
    })?;
    let migrator = migrator(MIGRATIONS_TABLE, &MIGRATIONS);
    let what = format!("open {FILE}");
    Database::open(&folder.join(FILE), TUNING, &what, Some(&migrator)).await.map_err(refused)
}

/// A stored time further ahead than this was written before the clock was set back; milliseconds.
pub const SLACK: i64 = 1000;

/// The host's clock, the only one that this broker uses; milliseconds since the epoch.
pub fn now() -> i64 {
    Utc::now().timestamp_millis()
}

/// A duration in milliseconds, limited to what SQLite can add to a time.
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
    use crate::migrations::tests::assert_complete;

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_a_permanent_fault_that_names_it() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("file").join("queue");
        std::fs::write(here.path().join("file"), "in the way").unwrap();
        let fault = open(&folder).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Permanent);
        assert!(fault.chain().contains(&folder.display().to_string()), "{}", fault.chain());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_a_permanent_fault_that_names_its_folder() {
        let here = tempfile::tempdir().unwrap();
        std::fs::create_dir(here.path().join(FILE)).unwrap();
        let fault = open(here.path()).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Permanent);
        assert!(fault.chain().contains(&here.path().display().to_string()), "{}", fault.chain());
    }

    #[test]
    fn every_migration_is_listed() {
        assert_complete(&MIGRATIONS, "src/queue/embedded/migrations");
    }

    #[tokio::test]
    async fn every_table_carries_our_prefix_and_every_write_reaches_the_disk() {
        let here = tempfile::tempdir().unwrap();
        let database = open(here.path()).await.unwrap();
        let strangers: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'tikkun\\_%' ESCAPE '\\'",
        )
        .fetch_all(database.readers())
        .await
        .unwrap();
        assert_eq!(strangers, Vec::<String>::new());
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(database.writer().unwrap()).await.unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }
}
