//! The port onto the clean-up outbox, on PostgreSQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::connection::Database;
use super::fault::During;
use super::statement::{query, scalar, tuples};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::{BackgroundJobId, Backoff, BusinessId};
use crate::store::outbox_row::outbox_row;
use crate::store::row::Cells as _;
use crate::store::{CleanupOutbox, Condemned, OutboxRow, OutboxSummary, StillThere};

/// Due objects of one store, and of one job where one is named, oldest first, held back from everybody
/// else in the same statement, by the server's clock; what somebody else is taking at this moment is passed over.
const CLAIM: &str = "
    update tikkun_cleanup_outbox o set next_try_at = now() at time zone 'utc' + $1 * interval '1 second'
    from (
        select id from tikkun_cleanup_outbox
        where parked_at is null and next_try_at <= now() at time zone 'utc' and driver = $2 and bucket = $3
          and ($5::bigint is null or background_job_id = $5)
        order by next_try_at, id limit $4
        for update skip locked) due
    where o.id = due.id
    returning o.id, o.key";

/// Objects that are gone; a row that is not there was confirmed before.
const CONFIRM: &str = "delete from tikkun_cleanup_outbox where id = any($1)";

/// How often each was tried, and nobody can count another try before our commit.
const ATTEMPTS: &str =
    "select id, attempts from tikkun_cleanup_outbox where id = any($1) order by id for update";

/// One more attempt for each, with its own error and next try.
const POSTPONE: &str = "
    update tikkun_cleanup_outbox o
    set attempts = p.attempts, next_try_at = now() at time zone 'utc' + p.wait * interval '1 second',
        last_error = p.last_error, refused = p.refused, last_error_at = now() at time zone 'utc'
    from unnest($1::bigint[], $2::integer[], $3::double precision[], $4::text[], $5::boolean[])
        as p (id, attempts, wait, last_error, refused)
    where o.id = p.id";

/// How many are left and since when, of all or of one tenant.
const SUMMARY: &str = "
    select count(*) filter (where parked_at is null) as pending,
           min(condemned_at) filter (where parked_at is null) as oldest,
           count(*) filter (where parked_at is null and refused) as refused,
           count(*) filter (where parked_at is not null) as parked
    from tikkun_cleanup_outbox where ($1::bigint is null or business_id = $1)";

/// The newest error among those left, the first in an index that has nothing but errors.
const NEWEST_ERROR: &str = "
    select last_error from tikkun_cleanup_outbox
    where ($1::bigint is null or business_id = $1) and last_error is not null and parked_at is null
    order by last_error_at desc, id desc limit 1";

/// A page of the outbox; ids grow with the time of the condemnation.
const LIST: &str = "
    select id, background_job_id, business_id, driver, bucket, key, bytes, condemned_at, attempts,
           next_try_at, parked_at, last_error
    from tikkun_cleanup_outbox order by id limit $1";

/// Sets aside; what is aside keeps its time.
const PARK: &str = "
    update tikkun_cleanup_outbox set parked_at = coalesce(parked_at, now() at time zone 'utc')
    where id = any($1) returning id";

/// Puts back; what was not aside keeps its next try.
const UNPARK: &str = "
    update tikkun_cleanup_outbox
    set next_try_at = case when parked_at is null then next_try_at else now() at time zone 'utc' end, parked_at = null
    where id = any($1) returning id";

/// Puts all back.
const UNPARK_ALL: &str = "
    update tikkun_cleanup_outbox set next_try_at = now() at time zone 'utc', parked_at = null
    where parked_at is not null returning id";

/// The outbox in one database.
pub(super) struct PostgresOutbox {
    database: Arc<Database>,
}

impl PostgresOutbox {
    /// On open connections.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Runs a statement with the ids where there are some.
    async fn change(
        &self,
        statement: &'static str,
        ids: Option<&[i64]>,
        what: &str,
    ) -> Result<Vec<i64>, Fault> {
        let mut tx = self.database.write(what).await?;
        let statement = scalar(statement);
        let statement = match ids {
            Some(ids) => statement.bind(ids.to_vec()),
            None => statement,
        };
        let mut changed: Vec<i64> = statement.fetch_all(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)?;
        changed.sort_unstable();
        Ok(changed)
    }
}

#[async_trait]
impl CleanupOutbox for PostgresOutbox {
    async fn claim(
        &self,
        target: &BlobTarget,
        job: Option<BackgroundJobId>,
        max: u32,
        hold: Duration,
    ) -> Result<Vec<Condemned>, Fault> {
        let what = "claim objects from the outbox";
        let mut tx = self.database.write(what).await?;
        let mut rows: Vec<(i64, String)> = tuples(CLAIM)
            .bind(hold.as_secs_f64())
            .bind(&target.driver)
            .bind(&target.bucket)
            .bind(i64::from(max))
            .bind(job.map(|job| job.0))
            .fetch_all(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)?;
        rows.sort_unstable();
        Ok(rows.into_iter().map(|(id, key)| Condemned { id, key }).collect())
    }

    async fn confirm(&self, ids: &[i64]) -> Result<(), Fault> {
        let what = "confirm deleted objects";
        let mut tx = self.database.write(what).await?;
        query(CONFIRM).bind(ids).execute(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)
    }

    async fn postpone(&self, failed: &[StillThere], backoff: &Backoff) -> Result<(), Fault> {
        let what = "postpone objects that could not be deleted";
        let ids: Vec<i64> = failed.iter().map(|object| object.id).collect();
        let mut tx = self.database.write(what).await?;
        let attempts: Vec<(i64, i32)> = tuples(ATTEMPTS).bind(&ids).fetch_all(&mut *tx).await.during(what)?;
        let attempts: HashMap<i64, i32> = attempts.into_iter().collect();
        let (mut ids, mut tries, mut waits) = (Vec::new(), Vec::new(), Vec::new());
        let (mut errors, mut refused) = (Vec::new(), Vec::new());
        for object in failed {
            let Some(tried) = attempts.get(&object.id).map(|tried| tried.saturating_add(1)) else { continue };
            ids.push(object.id);
            tries.push(tried);
            waits.push(backoff.delay(tried.unsigned_abs(), fastrand::f64()).as_secs_f64());
            errors.push(object.error.as_str());
            refused.push(object.refused);
        }
        query(POSTPONE)
            .bind(ids)
            .bind(tries)
            .bind(waits)
            .bind(errors)
            .bind(refused)
            .execute(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)
    }

    async fn summary(&self, business_id: Option<BusinessId>) -> Result<OutboxSummary, Fault> {
        let what = "sum up the outbox";
        let tenant = business_id.map(|tenant| tenant.0);
        let mut tx = self.database.read(what).await?;
        let sums = query(SUMMARY).bind(tenant).fetch_one(&mut *tx).await.during(what)?;
        let last_error: Option<String> =
            scalar(NEWEST_ERROR).bind(tenant).fetch_optional(&mut *tx).await.during(what)?;
        Ok(OutboxSummary {
            pending: sums.needed("pending")?.unsigned_abs(),
            oldest: sums.time("oldest")?,
            last_error,
            refused: sums.needed("refused")?.unsigned_abs(),
            parked: sums.needed("parked")?.unsigned_abs(),
        })
    }

    async fn list(&self, max: u32) -> Result<Vec<OutboxRow>, Fault> {
        let what = "list the outbox";
        let mut tx = self.database.read(what).await?;
        let rows = query(LIST).bind(i64::from(max)).fetch_all(&mut *tx).await;
        rows.during(what)?.iter().map(outbox_row).collect()
    }

    async fn park(&self, ids: &[i64]) -> Result<Vec<i64>, Fault> {
        self.change(PARK, Some(ids), "park objects").await
    }

    async fn unpark(&self, ids: Option<&[i64]>) -> Result<Vec<i64>, Fault> {
        let statement = if ids.is_some() { UNPARK } else { UNPARK_ALL };
        self.change(statement, ids, "unpark objects").await
    }
}
