//! The tables of our own, brought up to date; and those of the application, for a trial only.
//!
//! Nothing is made, and no right to make anything is needed, while everything is there.

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use super::application;
use super::connection::connect;
use super::fault::During;
use super::statement::{query, scalar, tuples};
use crate::config::PostgresSettings;
use crate::fault::{Fault, FaultKind};
use crate::store::Migrated;

/// The migrations, told apart from those of the web application by their table.
static MIGRATOR: Migrator = sqlx::migrate!("src/store/postgres/migrations");
/// The application's tables, as CONTRACT §4 has them.
const APPLICATION_TABLES: &str = include_str!("application_tables.sql");
/// Held for the length of a migration: the letters `tikkun` as a number.
const LOCK: i64 = 0x74_69_6b_6b_75_6e;

/// One process migrates at a time; the lock ends with the transaction.
const TAKE_LOCK: &str = "select pg_advisory_xact_lock($1)";

/// Whether the table of migrations is there, from the catalogue itself: a name that was looked up in vain
/// before the lock was held is remembered by the session as missing.
const HAS_TABLE: &str = "
    select exists (select 1 from pg_class where relname = 'tikkun_store_migrations' and pg_table_is_visible(oid))";

/// What has been done, and what it was made of.
const DONE: &str = "select version, checksum from tikkun_store_migrations where success order by version";

/// The table of migrations, in the form of sqlx's own.
const MAKE_TABLE: &str = "
    create table tikkun_store_migrations (
        version bigint primary key,
        description text not null,
        installed_on timestamptz not null default now(),
        success boolean not null,
        checksum bytea not null,
        execution_time bigint not null)";

/// Notes a migration in its own transaction.
const NOTE: &str = "
    insert into tikkun_store_migrations (version, description, success, checksum, execution_time)
    values ($1, $2, true, $3, -1)";

/// Brings the tables up to date, and makes those of the application first if that is asked for and none is
/// there.
///
/// # Errors
/// Unavailable when the database is; permanent when it was made by a newer version, when some but not all
/// tables of the application are there, or when the role may not make tables.
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

/// Brings our tables up to date, if they are not.
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

/// The versions that are not there yet.
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
    // All of them or none.
    sqlx::raw_sql(APPLICATION_TABLES).execute(&mut **tx).await.during(&what)?;
    Ok(true)
}

/// Applies what is missing, in the transaction that holds the lock: a second process waits for it and then
/// finds nothing to do.
async fn apply(tx: &mut Transaction<'_, Postgres>, what: &str) -> Result<Vec<i64>, Fault> {
    let done = done(tx, what).await?;
    let mut applied = Vec::new();
    if done.is_empty() && !has_table(tx, what).await? {
        query(MAKE_TABLE).execute(&mut **tx).await.during(what)?;
    }
    for migration in MIGRATOR.iter().filter(|one| !done.contains(&one.version)) {
        // A migration is text of ours from the file, run as a whole.
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

/// The versions that are there, each as this program knows it.
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
