//! The port onto the clean-up outbox, on SQLite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;

use super::connection::Database;
use super::fault::During;
use super::{list, moment};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::{BackgroundJobId, Backoff, BusinessId};
use crate::store::outbox_row::{later, outbox_row};
use crate::store::row::Cells as _;
use crate::store::{CleanupOutbox, Condemned, OutboxRow, OutboxSummary, StillThere};

/// Due objects of one store, oldest first, held back from everybody else in the same statement.
const CLAIM: &str = "
    update tikkun_cleanup_outbox set next_try_at = ?1
    where id in (
        select id from tikkun_cleanup_outbox
        where parked_at is null and next_try_at <= ?2 and driver = ?3 and bucket = ?4
        order by next_try_at, id limit ?5)
    returning id, key";

/// The same of one job.
const CLAIM_OF_JOB: &str = "
    update tikkun_cleanup_outbox set next_try_at = ?1
    where id in (
        select id from tikkun_cleanup_outbox
        where background_job_id = ?6 and parked_at is null and next_try_at <= ?2 and driver = ?3 and bucket = ?4
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
    set attempts = p.value ->> 1, next_try_at = p.value ->> 2, last_error = p.value ->> 3, refused = p.value ->> 4,
        last_error_at = ?2
    from json_each(?1) p
    where tikkun_cleanup_outbox.id = p.value ->> 0";

/// How many are left and since when.
const SUMMARY: &str = "
    select count(*) filter (where parked_at is null) as pending,
           min(condemned_at) filter (where parked_at is null) as oldest,
           count(*) filter (where parked_at is null and refused) as refused,
           count(*) filter (where parked_at is not null) as parked
    from tikkun_cleanup_outbox";

/// The same of one tenant.
const SUMMARY_OF_TENANT: &str = "
    select count(*) filter (where parked_at is null) as pending,
           min(condemned_at) filter (where parked_at is null) as oldest,
           count(*) filter (where parked_at is null and refused) as refused,
           count(*) filter (where parked_at is not null) as parked
    from tikkun_cleanup_outbox where business_id = ?1";

/// The newest error among those left, the first in an index that has nothing but errors.
const NEWEST_ERROR: &str = "
    select last_error from tikkun_cleanup_outbox
    where (?1 is null or business_id = ?1) and last_error is not null and parked_at is null
    order by last_error_at desc, id desc limit 1";

/// A page of the outbox; ids grow with the time of the condemnation.
const LIST: &str = "
    select id, background_job_id, business_id, driver, bucket, key, bytes, condemned_at, attempts,
           next_try_at, parked_at, last_error
    from tikkun_cleanup_outbox order by id limit ?1";

/// Sets aside; what is aside keeps its time.
const PARK: &str = "
    update tikkun_cleanup_outbox set parked_at = coalesce(parked_at, ?1)
    where id in (select value from json_each(?2)) returning id";

/// Puts back; what was not aside keeps its next try.
const UNPARK: &str = "
    update tikkun_cleanup_outbox
    set next_try_at = case when parked_at is null then next_try_at else ?1 end, parked_at = null
    where id in (select value from json_each(?2)) returning id";

/// Puts all back.
const UNPARK_ALL: &str = "
    update tikkun_cleanup_outbox set next_try_at = ?1, parked_at = null
    where parked_at is not null returning id";

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

    async fn postpone(&self, failed: &[StillThere], backoff: &Backoff) -> Result<(), Fault> {
        let what = "postpone objects that could not be deleted";
        let now = Utc::now();
        let ids: Vec<i64> = failed.iter().map(|object| object.id).collect();
        let mut tx = self.database.write(what).await?;
        let attempts: Vec<(i64, u32)> =
            sqlx::query_as(ATTEMPTS).bind(list::json(&ids)?).fetch_all(&mut *tx).await.during(what)?;
        let attempts: std::collections::HashMap<i64, u32> = attempts.into_iter().collect();
        let rows: Vec<_> = failed
            .iter()
            .filter_map(|object| {
                let tried = attempts.get(&object.id)?.saturating_add(1);
                let next = later(now, backoff.delay(tried, fastrand::f64()));
                Some((object.id, tried, moment::to_text(next), &object.error, object.refused))
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
            Some(tenant) => sqlx::query(SUMMARY_OF_TENANT).bind(tenant.0),
            None => sqlx::query(SUMMARY),
        };
        let sums = query.fetch_one(&mut *tx).await.during(what)?;
        let last_error: Option<String> = sqlx::query_scalar(NEWEST_ERROR)
            .bind(business_id.map(|tenant| tenant.0))
            .fetch_optional(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)?;
        Ok(OutboxSummary {
            pending: sums.needed("pending")?.unsigned_abs(),
            oldest: sums.time("oldest")?,
            last_error,
            refused: sums.needed("refused")?.unsigned_abs(),
            parked: sums.needed("parked")?.unsigned_abs(),
        })
    }

    async fn list(&self, max: u32) -> Result<Vec<OutboxRow>, Fault> {
        let rows = sqlx::query(LIST).bind(max).fetch_all(self.database.read()).await;
        rows.during("list the outbox")?.iter().map(outbox_row).collect()
    }

    async fn park(&self, ids: &[i64]) -> Result<Vec<i64>, Fault> {
        self.change(sqlx::query_scalar(PARK), Some(ids), "park objects").await
    }

    async fn unpark(&self, ids: Option<&[i64]>) -> Result<Vec<i64>, Fault> {
        let statement = if ids.is_some() { UNPARK } else { UNPARK_ALL };
        self.change(sqlx::query_scalar(statement), ids, "unpark objects").await
    }
}

/// A statement that answers with ids.
type Ids<'q> = sqlx::query::QueryScalar<'q, sqlx::Sqlite, i64, sqlx::sqlite::SqliteArguments>;

impl SqliteOutbox {
    /// Runs a statement with the time, and the ids where there are some.
    async fn change(&self, statement: Ids<'_>, ids: Option<&[i64]>, what: &str) -> Result<Vec<i64>, Fault> {
        let mut tx = self.database.write(what).await?;
        let statement = statement.bind(moment::to_text(Utc::now()));
        let statement = match ids {
            Some(ids) => statement.bind(list::json(ids)?),
            None => statement,
        };
        let mut changed = statement.fetch_all(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)?;
        changed.sort_unstable();
        Ok(changed)
    }
}
