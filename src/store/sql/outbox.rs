//! The port for the clean-up outbox, on any SQL engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::engine::{Connection as _, Engine, Sql, Value};
use crate::blob::BlobTarget;
use crate::fault::{Fault, FaultKind};
use crate::job::{BackgroundJobId, Backoff, BusinessId};
use crate::store::row::{self, Cells};
use crate::store::{CleanupOutbox, Condemned, OutboxRow, OutboxSummary, StillThere};

/// How many objects are left, and since when.
macro_rules! summary {
    ($which:literal) => {
        concat!(
            "
    select count(*) filter (where parked_at is null) as pending,
           min(condemned_at) filter (where parked_at is null) as oldest,
           count(*) filter (where parked_at is null and refused) as refused,
           count(*) filter (where parked_at is not null) as parked
    from tikkun_cleanup_outbox ",
            $which
        )
    };
}
const SUMMARY: &str = summary!("");
const SUMMARY_OF_TENANT: &str = summary!("where business_id = $1");

/// The newest error among the objects left, by an index that contains only rows with errors.
const NEWEST_ERROR: &str = "
    select last_error from tikkun_cleanup_outbox
    where ($1 is null or business_id = $1) and last_error is not null and parked_at is null
    order by last_error_at desc, id desc limit 1";

/// Counts an object that stays, for the certificate of its deletion.
const COUNT_NEEDED: &str =
    "update tikkun_background_jobs set objects_needed = objects_needed + 1 where background_job_id = $1";

/// A page of the outbox; ids grow with the time of condemnation.
const LIST: &str = "
    select id, background_job_id, business_id, driver, bucket, key, bytes, condemned_at, attempts,
           next_try_at, parked_at, last_error
    from tikkun_cleanup_outbox order by id limit $1";

/// An object with its next attempt.
pub struct Postponed<'a> {
    /// The object, with its error.
    pub object: &'a StillThere,
    /// The number of attempts.
    pub attempts: u32,
    /// The delay until its next attempt.
    pub wait: Duration,
}

/// The statements that differ between engines.
#[async_trait]
pub trait OutboxSql: Engine {
    /// Forgets those of the due objects that would be claimed next, of one store or one job, whose path a row of
    /// attachments has again.
    const FORGET_NEEDED: Sql;
    /// Claims due objects of one store, oldest first, and reserves them in the same statement.
    const CLAIM: Sql;
    /// Claims those of one job.
    const CLAIM_OF_JOB: Sql;
    /// Makes objects due that wait for longer than a time.
    const HASTEN: Sql;
    /// Deletes rows of objects that are gone; a missing row was confirmed before.
    const CONFIRM: Sql;
    /// The number of attempts of each object, locked until our commit.
    const ATTEMPTS: Sql;
    /// Sets objects aside; objects already aside keep their time.
    const PARK: Sql;
    /// Puts objects back; objects that were not aside keep the time of their next attempt.
    const UNPARK: Sql;
    /// Puts all objects back.
    const UNPARK_ALL: Sql;

    /// Records one more attempt for each, with its own error and next attempt.
    async fn postpone(tx: &mut Self::Connection, objects: &[Postponed<'_>], what: &str) -> Result<(), Fault>;
}

/// The outbox in one database.
pub(super) struct SqlOutbox<E>(pub(super) Arc<E>);

impl<E: OutboxSql> SqlOutbox<E> {
    /// Runs a statement and returns the ids of the changed rows.
    async fn change(&self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<Vec<i64>, Fault> {
        let changed = self.0.write_rows(sql, values, what).await?;
        let mut ids = changed.iter().map(|row| row.needed("id")).collect::<Result<Vec<_>, _>>()?;
        ids.sort_unstable();
        Ok(ids)
    }
}

#[async_trait]
impl<E: OutboxSql> CleanupOutbox for SqlOutbox<E> {
    async fn claim(
        &self,
        target: &BlobTarget,
        job: Option<BackgroundJobId>,
        max: u32,
        hold: Duration,
    ) -> Result<Vec<Condemned>, Fault> {
        let what = "claim objects from the outbox";
        let mut tx = self.0.writing(what).await?;
        let due = [
            target.driver.as_str().into(),
            target.bucket.as_str().into(),
            max.into(),
            job.map(|job| job.0).into(),
            Value::Now,
        ];
        loop {
            let needed = tx.rows(E::FORGET_NEEDED, &due, what).await?;
            let Some(first) = needed.first() else { break };
            for object in &needed {
                tx.run(COUNT_NEEDED, &[object.needed("background_job_id")?.into()], what).await?;
            }
            tracing::warn!(
                objects = needed.len(),
                key = text(first, "key")?,
                "objects that were to be deleted stay: rows of attachments have their paths again"
            );
        }
        let sql = if job.is_some() { E::CLAIM_OF_JOB } else { E::CLAIM };
        let values = [
            target.driver.as_str().into(),
            target.bucket.as_str().into(),
            max.into(),
            job.map(|job| job.0).into(),
            Value::After(hold),
            Value::Now,
        ];
        let claimed = condemned(&tx.rows(sql, &values, what).await?)?;
        E::commit(tx, what).await?;
        Ok(claimed)
    }

    async fn hasten(&self, longest: Duration) -> Result<usize, Fault> {
        let what = "look for objects that wait for too long";
        Ok(self.change(E::HASTEN, &[Value::After(longest), Value::Now], what).await?.len())
    }

    async fn confirm(&self, ids: &[i64]) -> Result<(), Fault> {
        self.0.write_rows(E::CONFIRM, &[Value::Ids(ids)], "confirm deleted objects").await?;
        Ok(())
    }

    async fn postpone(&self, failed: &[StillThere], backoff: &Backoff) -> Result<(), Fault> {
        let what = "postpone objects that could not be deleted";
        let ids: Vec<i64> = failed.iter().map(|object| object.id).collect();
        let mut tx = self.0.writing(what).await?;
        let found = tx.rows(E::ATTEMPTS, &[Value::Ids(&ids)], what).await?;
        let tried = found.iter().map(|row| Ok((row.needed("id")?, row::count(row, "attempts")?)));
        let tried: HashMap<i64, u32> = tried.collect::<Result<_, Fault>>()?;
        let postponed = failed.iter().filter_map(|object| {
            let attempts = tried.get(&object.id)?.saturating_add(1);
            Some(Postponed { object, attempts, wait: backoff.delay(attempts, fastrand::f64()) })
        });
        E::postpone(&mut tx, &postponed.collect::<Vec<_>>(), what).await?;
        E::commit(tx, what).await
    }

    async fn summary(&self, business_id: Option<BusinessId>) -> Result<OutboxSummary, Fault> {
        let what = "sum up the outbox";
        let tenant = business_id.map(|tenant| tenant.0);
        let mut tx = self.0.reading(what).await?;
        let sums = match tenant {
            Some(tenant) => tx.one(SUMMARY_OF_TENANT, &[tenant.into()], what).await?,
            None => tx.one(SUMMARY, &[], what).await?,
        };
        let newest = tx.first(NEWEST_ERROR, &[tenant.into()], what).await?;
        E::end(tx, what).await?;
        Ok(OutboxSummary {
            pending: sums.needed("pending")?.unsigned_abs(),
            oldest: sums.time("oldest")?,
            last_error: newest.map(|row| row.text("last_error")).transpose()?.flatten(),
            refused: sums.needed("refused")?.unsigned_abs(),
            parked: sums.needed("parked")?.unsigned_abs(),
        })
    }

    async fn list(&self, max: u32) -> Result<Vec<OutboxRow>, Fault> {
        let rows = self.0.read_rows(LIST, &[max.into()], "list the outbox").await?;
        rows.iter().map(outbox_row).collect()
    }

    async fn park(&self, ids: &[i64]) -> Result<Vec<i64>, Fault> {
        self.change(E::PARK, &[Value::Ids(ids), Value::Now], "park objects").await
    }

    async fn unpark(&self, ids: Option<&[i64]>) -> Result<Vec<i64>, Fault> {
        let what = "unpark objects";
        match ids {
            Some(ids) => self.change(E::UNPARK, &[Value::Ids(ids), Value::Now], what).await,
            None => self.change(E::UNPARK_ALL, &[Value::Now], what).await,
        }
    }
}

/// Objects from the columns `id` and `key`.
pub fn condemned(rows: &[impl Cells]) -> Result<Vec<Condemned>, Fault> {
    let object = |row: &_| Ok(Condemned { id: Cells::needed(row, "id")?, key: text(row, "key")? });
    let mut objects = rows.iter().map(object).collect::<Result<Vec<_>, Fault>>()?;
    objects.sort_unstable_by_key(|object| object.id);
    Ok(objects)
}

fn text(row: &impl Cells, column: &str) -> Result<String, Fault> {
    Ok(row.text(column)?.unwrap_or_default())
}

/// The row as values.
fn outbox_row(found: &impl Cells) -> Result<OutboxRow, Fault> {
    let at = |column| {
        found
            .time(column)?
            .ok_or_else(|| Fault::new(FaultKind::Permanent, format!("a row of the outbox has no {column}")))
    };
    Ok(OutboxRow {
        id: found.needed("id")?,
        job: BackgroundJobId(found.needed("background_job_id")?),
        business_id: BusinessId(found.needed("business_id")?),
        target: BlobTarget { driver: text(found, "driver")?, bucket: text(found, "bucket")? },
        key: text(found, "key")?,
        bytes: found.number("bytes")?,
        condemned_at: at("condemned_at")?,
        attempts: row::count(found, "attempts")?,
        next_try_at: at("next_try_at")?,
        parked_at: found.time("parked_at")?,
        last_error: found.text("last_error")?,
    })
}

/// The time `by` after `now`; if the calendar cannot hold it, ten years later, which sorts after all others.
pub fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let decade = chrono::Duration::days(3650);
    now + chrono::Duration::from_std(by).map_or(decade, |by| by.min(decade))
}
