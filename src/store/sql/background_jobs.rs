//! The port for `background_jobs` on any SQL engine.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::engine::{Connection as _, RowOf, Sql, Value};
use super::status_sql::{ONE, StatusSql};
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId};
use crate::store::row::{self, Cells as _, readable, select_jobs};
use crate::store::{BackgroundJobs, Begin, Begun, EndAttempt, NewRequest, Person, Requested, Watched};
use crate::store::{attempt_steps, person_steps};

/// The tenant's active row, or else its newest.
pub(super) const LATEST: &str = select_jobs!(
    "where j.business_id = $1 and j.job_type = $2
     order by j.status in ('queued', 'running', 'paused') desc, j.id desc limit 1"
);

/// Active rows of all tenants, from the partial unique index alone.
const ALL_ACTIVE: &str = select_jobs!(
    "where j.status in ('queued', 'running', 'paused') and j.job_type = $1 order by j.id limit $2"
);

/// The newest rows of all tenants in any status: those among the last ids of the table, and those with a note
/// of ours. However many rows of other types there are, only those ids are read, by primary key. A row that
/// fell behind them before we noted it is not found.
const NEWEST: &str = select_jobs!(
    "where j.job_type = $1 and j.id in (
         select id from (
             select id from background_jobs
             where id > (select coalesce(max(id), 0) from background_jobs) - 10000 and job_type = $1
             order by id desc limit $2) recent
         union
         select background_job_id from (
             select background_job_id from tikkun_background_jobs
             order by background_job_id desc limit $2) noted)
     order by j.id desc limit $2"
);

/// The statements that differ between engines.
#[async_trait]
pub trait JobsSql: StatusSql {
    /// Notes the queue job of a row that exists.
    const CARRIED_BY: Sql;
    /// A durable write that changes nothing else.
    const CHECK: Sql;
    /// The names of our own tables whose rows row security may hide from us; `None`: the engine has no row security.
    const HIDDEN: Option<Sql>;
    /// Deletes the row of such a write, if it leaves one.
    const CHECKED: Option<Sql>;

    /// Updates the heartbeats of rows that still have the attempt of the update, and returns their ids.
    async fn beat(
        tx: &mut Self::Connection,
        rows: &[(BackgroundJobId, u32)],
        what: &str,
    ) -> Result<Vec<i64>, Fault>;

    /// Writes the live figures of running rows, only under the newest attempt; a last error of `None` keeps
    /// the old one.
    async fn watch(tx: &mut Self::Connection, updates: &[Watched], what: &str) -> Result<(), Fault>;
}

/// Background jobs in one database.
pub(super) struct SqlBackgroundJobs<E>(pub(super) Arc<E>);

impl<E: JobsSql> SqlBackgroundJobs<E> {
    async fn rows(&self, sql: Sql, values: &[Value<'_>], what: String) -> Result<Vec<RowOf<E>>, Fault> {
        self.0.read_rows(sql, values, &what).await
    }
}

#[async_trait]
impl<E: JobsSql> BackgroundJobs for SqlBackgroundJobs<E> {
    async fn request(&self, request: &NewRequest) -> Result<Requested, Fault> {
        person_steps::request(&*self.0, request).await
    }

    async fn fail_unbegun(&self, id: BackgroundJobId, error: &str) -> Result<bool, Fault> {
        person_steps::fail_unbegun(&*self.0, id, error).await
    }

    async fn get(&self, id: BackgroundJobId) -> Result<Option<BackgroundJob>, Fault> {
        let found = self.rows(ONE, &[id.0.into()], format!("read background job {id}")).await?;
        found.first().map(row::job).transpose()
    }

    async fn latest(&self, business_id: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault> {
        let what = format!("read the latest {job_type} of business {business_id}");
        let found = self.rows(LATEST, &[business_id.0.into(), job_type.into()], what).await?;
        found.first().map(row::job).transpose()
    }

    async fn active(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault> {
        let what = format!("read active rows of {job_type}");
        let found = self.rows(ALL_ACTIVE, &[job_type.into(), max.into()], what).await?;
        Ok(found.iter().filter_map(readable).collect())
    }

    async fn newest(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault> {
        let what = format!("read the newest rows of {job_type}");
        let found = self.rows(NEWEST, &[job_type.into(), max.into()], what).await?;
        Ok(found.iter().filter_map(readable).collect())
    }

    async fn begin_attempt(&self, begin: &Begin) -> Result<Begun, Fault> {
        attempt_steps::begin(&*self.0, begin).await
    }

    async fn look(&self, id: BackgroundJobId) -> Result<(), Fault> {
        attempt_steps::look(&*self.0, id).await
    }

    async fn end_attempt(&self, id: BackgroundJobId, attempt: u32, end: &EndAttempt) -> Result<bool, Fault> {
        attempt_steps::end(&*self.0, id, attempt, end).await
    }

    async fn person(&self, person: &Person) -> Result<Option<Result<BackgroundJob, Status>>, Fault> {
        person_steps::wish(&*self.0, person).await
    }

    async fn revive(&self, id: BackgroundJobId, attempt: u32) -> Result<bool, Fault> {
        attempt_steps::revive(&*self.0, id, attempt).await
    }

    async fn beat(&self, rows: &[(BackgroundJobId, u32)]) -> Result<Vec<BackgroundJobId>, Fault> {
        let what = "move heartbeats";
        let ours = in_parts(rows, |part| async move {
            let mut tx = self.0.writing(what).await?;
            let ours = E::beat(&mut tx, part, what).await?;
            E::commit(tx, what).await?;
            Ok(ours)
        });
        let ours = ours.await?.concat();
        Ok(rows.iter().map(|(id, _)| *id).filter(|id| !ours.contains(&id.0)).collect())
    }

    async fn watch(&self, updates: &[Watched]) -> Result<(), Fault> {
        let what = "write what people watch";
        let written = in_parts(updates, |part| async move {
            let mut tx = self.0.writing(what).await?;
            E::watch(&mut tx, part, what).await?;
            E::commit(tx, what).await
        });
        written.await.map(|_| ())
    }

    async fn carried_by(&self, id: BackgroundJobId, queue_job: &JobId) -> Result<(), Fault> {
        let what = format!("note the carrier of background job {id}");
        let values = [id.0.into(), queue_job.as_str().into(), Value::Now];
        self.0.write_rows(E::CARRIED_BY, &values, &what).await?;
        Ok(())
    }

    async fn now(&self) -> Result<DateTime<Utc>, Fault> {
        let Some(sql) = E::NOW else { return Ok(Utc::now()) };
        let what = "read the database's time";
        row::now(&self.0.reading(what).await?.one(sql, &[], what).await?)
    }

    async fn check(&self) -> Result<(), Fault> {
        let what = "check that the store can be written to";
        self.0.has_room(what).await?;
        let mut tx = self.0.writing(what).await?;
        if let Some(sql) = E::HIDDEN
            && let Some(tables) = tx.one(sql, &[], what).await?.text("hidden")?
        {
            return Err(hidden(&tables));
        }
        let written = tx.first(E::CHECK, &[Value::Now], what).await?;
        if let (Some(row), Some(checked)) = (written, E::CHECKED) {
            tx.run(checked, &[row.number("id")?.into()], what).await?;
        }
        E::commit(tx, what).await
    }
}

/// Writes all rows at once. Where that is refused, it is repeated for halves, until each row that cannot be changed is
/// alone and all others are written; then the fault is that of the first such row.
async fn in_parts<'a, R, T, F>(rows: &'a [R], write: impl Fn(&'a [R]) -> F) -> Result<Vec<T>, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let (mut written, mut refused, mut open) = (Vec::new(), None, vec![rows]);
    while let Some(part) = open.pop() {
        match write(part).await {
            Ok(answer) => written.push(answer),
            Err(fault) if fault.kind() != FaultKind::Permanent => return Err(fault),
            Err(_) if part.len() > 1 => {
                let (left, right) = part.split_at(part.len() / 2);
                open.extend([right, left]);
            }
            Err(fault) => refused = refused.or(Some(fault)),
        }
    }
    refused.map_or(Ok(written), Err)
}

/// The fault for tables of ours in which this role sees or changes less than all rows: jobs would not be found, and
/// objects would wait in silence.
fn hidden(tables: &str) -> Fault {
    let text = format!(
        "row security is on for {tables}, without a policy by which this role sees and changes all rows; these tables \
         are Tikkun's own: `alter table … disable row level security`, or a policy `for all to …` with `using (true)`"
    );
    Fault::new(FaultKind::Permanent, text)
}
