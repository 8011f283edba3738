//! Creates and updates our tables, and for tests also those of the application.
//!
//! If everything exists, nothing is created, and no right to create anything is needed.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use super::application;
use super::connection::connect;
use super::fault::During;
use super::statement::{query, scalar, tuples};
use crate::config::PostgresSettings;
use crate::fault::{Fault, FaultKind};
use crate::migrations::{File, migrator};
use crate::store::Migrated;

/// Our migrations; their table distinguishes them from those of the web application.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| migrator("tikkun_store_migrations", &MIGRATIONS));
/// The files that create and update our tables.
const MIGRATIONS: [File; 8] = [
    (1, "tikkun tables", include_str!("migrations/0001_tikkun_tables.sql")),
    (2, "refused objects", include_str!("migrations/0002_refused_objects.sql")),
    (3, "newest error", include_str!("migrations/0003_newest_error.sql")),
    (10, "ended sessions", include_str!("migrations/0010_ended_sessions.sql")),
    (11, "store check", include_str!("migrations/0011_store_check.sql")),
    (12, "kept state", include_str!("migrations/0012_kept_state.sql")),
    (20, "certificates", include_str!("migrations/0020_certificates.sql")),
    (30, "described deletions", include_str!("migrations/0030_described_deletions.sql")),
];
/// The application's tables, as in CONTRACT §4.
const APPLICATION_TABLES: &str = include_str!("application_tables.sql");
/// The lock key of a migration: the letters `tikkun` as a number.
const LOCK: i64 = 0x74_69_6b_6b_75_6e;

/// Only one process migrates at a time; the lock ends with the transaction.
const TAKE_LOCK: &str = "select pg_advisory_xact_lock($1)";

/// Whether the table of migrations exists, read from the catalogue: a session remembers a failed lookup by
/// name from before the lock as missing.
const HAS_TABLE: &str = "
    select exists (select 1 from pg_class where relname = 'tikkun_store_migrations' and pg_table_is_visible(oid))";

/// The applied migrations with their checksums.
const DONE: &str = "select version, checksum from tikkun_store_migrations where success order by version";

/// The table of migrations, in sqlx's own form.
const MAKE_TABLE: &str = "
    create table tikkun_store_migrations (
        version bigint primary key,
        description text not null,
        installed_on timestamptz not null default now(),
        success boolean not null,
        checksum bytea not null,
        execution_time bigint not null)";

/// Records a migration in its own transaction.
const NOTE: &str = "
    insert into tikkun_store_migrations (version, description, success, checksum, execution_time)
    values ($1, $2, true, $3, -1)";

/// Updates our tables; if requested, first creates those of the application, if none of them exists.
///
/// Unavailable when the database is; permanent when a newer version made the tables, when only some tables of
/// the application exist, or when the role may not create tables.
pub async fn migrate(settings: &PostgresSettings, application_tables: bool) -> Result<Migrated, Fault> {
    let what = format!("bring the tables of {} up to date", settings.place);
    let (mut connection, _) = connect(settings).await?;
    let mut tx = connection.begin().await.during(&what)?;
    query(TAKE_LOCK).bind(LOCK).execute(&mut *tx).await.during(&what)?;
    let application = application_tables && make_application_tables(&mut tx, settings).await?;
    let versions = apply(&mut tx, &what).await?;
    tx.commit().await.during(&what)?;
    connection.close().await.during(&what)?;
    Ok(Migrated { application, versions })
}

/// Updates our tables, if they are outdated.
pub(super) async fn bring_up_to_date(connection: &mut PgConnection, place: &str) -> Result<(), Fault> {
    if pending(connection, place).await?.is_empty() {
        return Ok(());
    }
    let what = format!("bring the tables of {place} up to date");
    let mut tx = connection.begin().await.during(&what)?;
    query(TAKE_LOCK).bind(LOCK).execute(&mut *tx).await.during(&what)?;
    apply(&mut tx, &what).await?;
    tx.commit().await.during(&what)
}

/// The versions that are not applied yet.
pub(super) async fn pending(connection: &mut PgConnection, place: &str) -> Result<Vec<i64>, Fault> {
    let what = format!("look at the tables of {place}");
    let mut tx = connection.begin().await.during(&what)?;
    let done = done(&mut tx, &what).await?;
    tx.commit().await.during(&what)?;
    Ok(MIGRATOR.iter().map(|one| one.version).filter(|version| !done.contains(version)).collect())
}

async fn make_application_tables(
    tx: &mut Transaction<'_, Postgres>,
    settings: &PostgresSettings,
) -> Result<bool, Fault> {
    let what = format!("make the application's tables in {}", settings.place);
    let there = application::present(tx, &what).await?;
    match there.as_slice() {
        [] => {}
        [_, _, _] => return Ok(false),
        some => {
            let text = format!(
                "{what}: {} of them is there already, and tables are never made beside those of an application; \
                 `--with-application-tables` is for an empty database",
                some.join(" and ")
            );
            return Err(Fault::new(FaultKind::Permanent, text));
        }
    }
    // All tables or none.
    sqlx::raw_sql(APPLICATION_TABLES).execute(&mut **tx).await.during(&what)?;
    Ok(true)
}

/// Applies missing migrations in the transaction that holds the lock. A second process waits for it and finds
/// nothing to do.
async fn apply(tx: &mut Transaction<'_, Postgres>, what: &str) -> Result<Vec<i64>, Fault> {
    let done = done(tx, what).await?;
    let mut applied = Vec::new();
    if done.is_empty() && !has_table(tx, what).await? {
        query(MAKE_TABLE).execute(&mut **tx).await.during(what)?;
    }
    for migration in MIGRATOR.iter().filter(|one| !done.contains(&one.version)) {
        // A migration is our own SQL file, run as a whole.
        sqlx::raw_sql(AssertSqlSafe(migration.sql.as_str())).execute(&mut **tx).await.during(what)?;
        query(NOTE)
            .bind(migration.version)
            .bind(&*migration.description)
            .bind(&*migration.checksum)
            .execute(&mut **tx)
            .await
            .during(what)?;
        applied.push(migration.version);
    }
    Ok(applied)
}

async fn has_table(tx: &mut Transaction<'_, Postgres>, what: &str) -> Result<bool, Fault> {
    scalar(HAS_TABLE).fetch_one(&mut **tx).await.during(what)
}

/// The applied versions, each known to this program with its checksum.
async fn done(tx: &mut Transaction<'_, Postgres>, what: &str) -> Result<Vec<i64>, Fault> {
    if !has_table(tx, what).await? {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, Vec<u8>)> = tuples(DONE).fetch_all(&mut **tx).await.during(what)?;
    for (version, checksum) in &rows {
        let known = MIGRATOR.iter().find(|one| one.version == *version);
        if known.is_none_or(|one| *one.checksum != **checksum) {
            let text = format!(
                "{what}: its tables are of version {version} of another release; use that release or a newer one"
            );
            return Err(Fault::new(FaultKind::Permanent, text));
        }
    }
    Ok(rows.into_iter().map(|(version, _)| version).collect())
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;
    use crate::migrations::tests::assert_complete;

    #[test]
    fn every_migration_is_listed() {
        assert_complete(&MIGRATIONS, "src/store/postgres/migrations");
    }
}
