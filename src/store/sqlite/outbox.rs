//! The port onto the clean-up outbox, on SQLite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::fault::During;
use super::{list, moment};
use crate::blob::BlobTarget;
use crate::fault::{Fault, FaultKind};
use crate::job::{BackgroundJobId, Backoff, BusinessId};
use crate::store::{CleanupOutbox, Condemned, OutboxSummary};

/// Due objects of one store, oldest first, held back from everybody else in the same statement.
const CLAIM: &str = "
    update tikkun_cleanup_outbox set next_try_at = ?1
    where id in (
        select id from tikkun_cleanup_outbox
        where next_try_at <= ?2 and driver = ?3 and bucket = ?4
        order by next_try_at, id limit ?5)
    returning id, key";

/// The same of one job.
const CLAIM_OF_JOB: &str = "
    update tikkun_cleanup_outbox set next_try_at = ?1
    where id in (
        select id from tikkun_cleanup_outbox
        where background_job_id = ?6 and next_try_at <= ?2 and driver = ?3 and bucket = ?4
        order by next_try_at, id limit ?5)
    returning id, key";

/// Objects that are gone; a row that is not there was confirmed before.
const CONFIRM: &str = "delete from tikkun_cleanup_outbox where id in (select value from json_each(?1))";

/// How often each was tried.
const ATTEMPTS: &str =
    "select id, attempts from tikkun_cleanup_outbox where id in (select value from json_each(?1))";

/// One more attempt for each, with its own error and next try.
const POSTPONE: &str = "
    update tikkun_cleanup_outbox
    set attempts = p.value ->> 1, next_try_at = p.value ->> 2, last_error = p.value ->> 3, last_error_at = ?2
    from json_each(?1) p
    where tikkun_cleanup_outbox.id = p.value ->> 0";

/// How many are left and since when.
const SUMMARY: &str = "select count(*), min(condemned_at) from tikkun_cleanup_outbox";

/// The same of one tenant.
const SUMMARY_OF_TENANT: &str =
    "select count(*), min(condemned_at) from tikkun_cleanup_outbox where business_id = ?1";

/// The newest error among those left.
const NEWEST_ERROR: &str = "
    select last_error from tikkun_cleanup_outbox
    where (?1 is null or business_id = ?1) and last_error is not null
    order by last_error_at desc, id desc limit 1";

/// The outbox in one file.
pub(super) struct SqliteOutbox {
    database: Arc<Database>,
}

impl SqliteOutbox {
    /// On an open file.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl CleanupOutbox for SqliteOutbox {
    async fn claim(
        &self,
        target: &BlobTarget,
        job: Option<BackgroundJobId>,
        max: u32,
        hold: Duration,
    ) -> Result<Vec<Condemned>, Fault> {
        let what = "claim objects from the outbox";
        let now = Utc::now();
        let mut tx = self.database.write(what).await?;
        let query = sqlx::query_as(if job.is_some() { CLAIM_OF_JOB } else { CLAIM })
            .bind(moment::to_text(later(now, hold)))
            .bind(moment::to_text(now))
            .bind(&target.driver)
            .bind(&target.bucket)
            .bind(max);
        let query = match job {
            Some(job) => query.bind(job.0),
            None => query,
        };
        let mut rows: Vec<(i64, String)> = query.fetch_all(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)?;
        rows.sort_unstable();
        Ok(rows.into_iter().map(|(id, key)| Condemned { id, key }).collect())
    }

    async fn confirm(&self, ids: &[i64]) -> Result<(), Fault> {
        let what = "confirm deleted objects";
        let mut tx = self.database.write(what).await?;
        sqlx::query(CONFIRM).bind(list::json(ids)?).execute(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)
    }

    async fn postpone(&self, failed: &[(i64, String)], backoff: &Backoff) -> Result<(), Fault> {
        let what = "postpone objects that could not be deleted";
        let now = Utc::now();
        let ids: Vec<i64> = failed.iter().map(|(id, _)| *id).collect();
        let mut tx = self.database.write(what).await?;
        let attempts: Vec<(i64, u32)> =
            sqlx::query_as(ATTEMPTS).bind(list::json(&ids)?).fetch_all(&mut *tx).await.during(what)?;
        let attempts: std::collections::HashMap<i64, u32> = attempts.into_iter().collect();
        let rows: Vec<_> = failed
            .iter()
            .filter_map(|(id, error)| {
                let tried = attempts.get(id)?.saturating_add(1);
                let next = later(now, backoff.delay(tried, fastrand::f64()));
                Some((id, tried, moment::to_text(next), error))
            })
            .collect();
        sqlx::query(POSTPONE)
            .bind(list::json(&rows)?)
            .bind(moment::to_text(now))
            .execute(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)
    }

    async fn summary(&self, business_id: Option<BusinessId>) -> Result<OutboxSummary, Fault> {
        let what = "sum up the outbox";
        let mut tx = self.database.read().begin().await.during(what)?;
        let query = match business_id {
            Some(tenant) => sqlx::query_as(SUMMARY_OF_TENANT).bind(tenant.0),
            None => sqlx::query_as(SUMMARY),
        };
        let (pending, oldest): (i64, Option<String>) = query.fetch_one(&mut *tx).await.during(what)?;
        let last_error: Option<String> = sqlx::query_scalar(NEWEST_ERROR)
            .bind(business_id.map(|tenant| tenant.0))
            .fetch_optional(&mut *tx)
            .await
            .during(what)?;
        let oldest = oldest.map(|text| {
            moment::parse(&text).ok_or_else(|| {
                Fault::new(FaultKind::Permanent, format!("{what}: no time in condemned_at: `{text}`"))
            })
        });
        Ok(OutboxSummary { pending: pending.unsigned_abs(), oldest: oldest.transpose()?, last_error })
    }
}

/// A delay too long for a calendar becomes ten years, which sorts behind every other.
fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let decade = chrono::Duration::days(3650);
    now + chrono::Duration::from_std(by).map_or(decade, |by| by.min(decade))
}
