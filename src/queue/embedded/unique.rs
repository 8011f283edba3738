//! Unique keys: of several jobs with one key only the first is enqueued.
//!
//! A key is held while its job is open (triggers record the end) and until its period has passed.

use sqlx::sqlite::SqliteConnection;

use crate::job::{JobId, NewJob};

use super::database::{Database, SLACK, millis, now};

/// Deletes up to `?2` keys that are not held at `?1`.
const FORGET: &str = "DELETE FROM tikkun_unique_keys WHERE name IN (
     SELECT name FROM tikkun_unique_keys WHERE NOT open AND until <= ?1 LIMIT ?2)";

/// Takes the key of a job, if it has one, before it is enqueued. `Some`: this other job holds it.
pub async fn claim(tx: &mut SqliteConnection, job: &NewJob) -> Result<Option<JobId>, sqlx::Error> {
    let Some(unique) = &job.unique else { return Ok(None) };
    let now = now();
    // A job with this id exists, so it will not be enqueued again, whoever holds the key.
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_jobs WHERE id = ?1)")
        .bind(job.id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    if exists {
        return Ok(None);
    }
    follow_clock(tx, &unique.key, now).await?;
    // At most one row, and nobody else can take the key meanwhile, because the transaction writes.
    let holder: Option<String> =
        sqlx::query_scalar("SELECT job FROM tikkun_unique_keys WHERE name = ?1 AND (open OR until > ?2)")
            .bind(&unique.key)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(holder) = holder {
        return Ok(Some(holder.into()));
    }
    // Each new key deletes two expired ones, so that the table does not grow much beyond the keys in use.
    sqlx::query(FORGET).bind(now).bind(2).execute(&mut *tx).await?;
    // Replaces only a key that is not held any more.
    sqlx::query("INSERT OR REPLACE INTO tikkun_unique_keys (name, job, open, until, since) VALUES (?1, ?2, 1, ?3, ?4)")
        .bind(&unique.key)
        .bind(job.id.as_str())
        .bind(unique.period.map_or(0, |period| now + millis(period)))
        .bind(now)
        .execute(tx)
        .await?;
    Ok(None)
}

/// Takes the key of a job that is put back, while the job is open. `Some`: this other job holds it.
pub async fn reclaim(tx: &mut SqliteConnection, id: &JobId, key: &str) -> Result<Option<JobId>, sqlx::Error> {
    let now = now();
    follow_clock(tx, key, now).await?;
    // Its own period may still run, and does not prevent this.
    let holder: Option<String> = sqlx::query_scalar(
        "SELECT job FROM tikkun_unique_keys WHERE name = ?1 AND job <> ?2 AND (open OR until > ?3)",
    )
    .bind(key)
    .bind(id.as_str())
    .bind(now)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(holder) = holder {
        return Ok(Some(holder.into()));
    }
    // Replaces only a key that no other job holds; its own period goes on.
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

/// Lets a period that began before the clock was set back run from `now` on.
async fn follow_clock(tx: &mut SqliteConnection, key: &str, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE tikkun_unique_keys SET until = ?2 + until - since, since = ?2 WHERE name = ?1 AND since > ?2 + ?3",
    )
    .bind(key)
    .bind(now)
    .bind(SLACK)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes up to `max` keys that are not held any more.
pub async fn forget(database: &Database, max: u32) -> Result<(), sqlx::Error> {
    let now = now();
    // Most calls find nothing, and take no lock.
    let any: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_unique_keys WHERE NOT open AND until <= ?1)")
            .bind(now)
            .fetch_one(database.readers())
            .await?;
    if any {
        // Checked again in the deleting statement, so that a key which was taken again stays.
        sqlx::query(FORGET).bind(now).bind(max).execute(database.writer()?).await?;
    }
    Ok(())
}
