//! Unique keys: of several jobs with one key only the first comes in.
//!
//! A key is held while its job is open (triggers note the end) and until its period is over.

use sqlx::sqlite::SqliteConnection;

use crate::job::{JobId, NewJob};

use super::database::{Database, millis, now};

/// Drops up to `?2` keys that nobody holds at `?1`.
const FORGET: &str = "DELETE FROM tikkun_unique_keys WHERE name IN (
     SELECT name FROM tikkun_unique_keys WHERE NOT open AND until <= ?1 LIMIT ?2)";

/// Takes the job's key, if it has one, before the job is put in. Some: this other job holds it.
pub async fn claim(tx: &mut SqliteConnection, job: &NewJob) -> Result<Option<JobId>, sqlx::Error> {
    let Some(unique) = &job.unique else { return Ok(None) };
    let now = now();
    // A job that is there already holds its own key, or once did: it is not enqueued again either way.
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_jobs WHERE id = ?1)")
        .bind(job.id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    if exists {
        return Ok(None);
    }
    // One row at most, and nobody else can take the key meanwhile: the transaction writes.
    let holder: Option<String> =
        sqlx::query_scalar("SELECT job FROM tikkun_unique_keys WHERE name = ?1 AND (open OR until > ?2)")
            .bind(&unique.key)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(holder) = holder {
        return Ok(Some(holder.into()));
    }
    // Each key that comes drops two that are over: the table never outgrows the keys in force by much.
    sqlx::query(FORGET).bind(now).bind(2).execute(&mut *tx).await?;
    // Only over a key that nobody holds any more.
    sqlx::query("INSERT OR REPLACE INTO tikkun_unique_keys (name, job, open, until) VALUES (?1, ?2, 1, ?3)")
        .bind(&unique.key)
        .bind(job.id.as_str())
        .bind(unique.period.map_or(0, |period| now + millis(period)))
        .execute(tx)
        .await?;
    Ok(None)
}

/// Takes the key of a job that comes back, for as long as the job is open. Some: this other job holds it.
pub async fn reclaim(tx: &mut SqliteConnection, id: &JobId, key: &str) -> Result<Option<JobId>, sqlx::Error> {
    // Its own period may still run, which is no reason to refuse it.
    let holder: Option<String> = sqlx::query_scalar(
        "SELECT job FROM tikkun_unique_keys WHERE name = ?1 AND job <> ?2 AND (open OR until > ?3)",
    )
    .bind(key)
    .bind(id.as_str())
    .bind(now())
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(holder) = holder {
        return Ok(Some(holder.into()));
    }
    // Only over a key that nobody else holds; a period of its own goes on.
    sqlx::query(
        "INSERT INTO tikkun_unique_keys (name, job, open, until) VALUES (?1, ?2, 1, 0)
         ON CONFLICT (name) DO UPDATE SET open = 1, until = iif(job = excluded.job, until, 0),
             job = excluded.job",
    )
    .bind(key)
    .bind(id.as_str())
    .execute(tx)
    .await?;
    Ok(None)
}

/// Forgets up to `max` keys that nobody holds any more.
pub async fn forget(database: &Database, max: u32) -> Result<(), sqlx::Error> {
    let now = now();
    // Most calls find nothing: those take no lock.
    let any: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_unique_keys WHERE NOT open AND until <= ?1)")
            .bind(now)
            .fetch_one(database.readers())
            .await?;
    if any {
        // Judged again in the statement that deletes: a key that was taken anew stays.
        sqlx::query(FORGET).bind(now).bind(max).execute(database.writer()?).await?;
    }
    Ok(())
}
