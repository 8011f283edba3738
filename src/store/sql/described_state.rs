//! The state of described deletions in `tikkun_deletions`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::described_schema::DescribedSql;
use super::engine::{Connection, Sql, Value};
use crate::fault::{Fault, FaultKind};
use crate::job::JobId;
use crate::job::background::{PauseReason, Status};
use crate::store::deletion::StepFault;
use crate::store::described::FittedColumn;
use crate::store::described::dialect::name;
use crate::store::row::{self, Cells};
use crate::store::{BeginDescribed, BegunDescribed, DescribedRow, EndDescribed};

/// The columns of a row.
const ROW: &str = "
    select id, tenant, status, reason, attempt, requested_at, cursor, bound, coalesce(total, 0) as total, processed,
           succeeded, failed_count, kept, queue_job, last_error, heartbeat_at
    from tikkun_deletions ";

/// The open row of a request, or the one that this queue job has ended.
const OF_REQUEST: &str = "
    where name = $1 and coalesce(tenant, '') = coalesce($2, '')
      and (status in ('queued', 'running', 'paused') or queue_job = $3)
    order by case when queue_job = $3 then 0 else 1 end, id desc limit 1";

/// Makes the row of a request, unless there is an open one.
const INSERT: Sql = "
    insert into tikkun_deletions
        (name, tenant, status, requested_at, bound, attempt, queue_job, created_at, started_at, heartbeat_at, updated_at)
    values ($1, $2, 'running', $3, $4, 1, $5, $6, $6, $6, $6)
    on conflict do nothing returning id";

const START: Sql = "
    update tikkun_deletions
    set status = 'running', reason = null, attempt = attempt + 1, queue_job = $2, heartbeat_at = $3, updated_at = $3,
        started_at = coalesce(started_at, $3)
    where id = $1 returning id";

const BEAT: Sql = "
    update tikkun_deletions set heartbeat_at = $3, updated_at = $3
    where id = $1 and attempt = $2 and status = 'running' returning id";

const END: Sql = "
    update tikkun_deletions
    set status = $3, reason = $4, last_error = $5, heartbeat_at = $6, updated_at = $6,
        finished_at = case when $3 = 'paused' then null else $6 end
    where id = $1 and attempt = $2 and status = 'running' returning id";

const FAIL: Sql = "
    update tikkun_deletions
    set status = 'failed', reason = null, last_error = $2, finished_at = $3, updated_at = $3
    where queue_job = $1 and (status = 'running' or (status = 'paused' and reason = 'continuation')) returning id";

const NOTE: Sql = "
    update tikkun_deletions set total = coalesce($2, total), kept = coalesce($3, kept) where id = $1 returning id";

const FIRST_SET_ASIDE: Sql = "select row_id, reason from tikkun_rows_set_aside where deletion_id = $1 order by created_at, row_id limit 1";

/// A row with what the beginning of an attempt looks at.
struct Found {
    row: DescribedRow,
    is_continuation: bool,
    heartbeat_at: Option<DateTime<Utc>>,
}

fn found(cells: &impl Cells) -> Result<Found, Fault> {
    let (id, word) = (cells.needed("id")?, cells.text("status")?.unwrap_or_default());
    let unknown =
        || Fault::new(FaultKind::Permanent, format!("deletion {id} has the unknown status `{word}`"));
    let row = DescribedRow {
        id,
        tenant: cells.text("tenant")?,
        status: Status::parse(&word).ok_or_else(unknown)?,
        attempt: row::count(cells, "attempt")?,
        requested_at: cells.time("requested_at")?.unwrap_or_default(),
        cursor: cells.text("cursor")?,
        bound: cells.text("bound")?,
        progress: row::progress(cells)?,
        kept: cells.number("kept")?,
        queue_job: cells.text("queue_job")?.map(JobId::from),
        last_error: cells.text("last_error")?,
    };
    let reason = cells.text("reason")?;
    let is_continuation = reason.as_deref().and_then(PauseReason::parse) == Some(PauseReason::Continuation);
    Ok(Found { row, is_continuation, heartbeat_at: cells.time("heartbeat_at")? })
}

/// The database's time.
async fn now<E: DescribedSql>(tx: &mut E::Connection, what: &str) -> Result<DateTime<Utc>, Fault> {
    match E::NOW {
        Some(sql) => row::now(&tx.one(sql, &[], what).await?),
        None => Ok(Utc::now()),
    }
}

/// What an attempt may do with the row that it finds.
#[derive(Debug, PartialEq)]
enum Entry {
    Start,
    Carried(JobId),
    AtRest,
}

fn entry(found: &Found, queue_job: &JobId, stale_after: Duration, now: DateTime<Utc>) -> Entry {
    let stale_after = TimeDelta::from_std(stale_after).unwrap_or(TimeDelta::MAX);
    let is_silent = found.heartbeat_at.is_none_or(|beat| now - beat > stale_after);
    let carried = found.row.queue_job.as_ref().filter(|by| *by != queue_job && !is_silent);
    match found.row.status {
        Status::Queued => Entry::Start,
        Status::Paused if !found.is_continuation => Entry::AtRest,
        Status::Running | Status::Paused => carried.map_or(Entry::Start, |by| Entry::Carried(by.clone())),
        Status::Completed | Status::Failed | Status::Cancelled => Entry::AtRest,
    }
}

/// Begins an attempt.
pub(super) async fn begin<E: DescribedSql>(
    engine: &E,
    begin: &BeginDescribed,
) -> Result<BegunDescribed, Fault> {
    let one = begin.deletion.description();
    let what = format!("begin the deletion {}", one.name);
    let mut tx = engine.writing(&what).await?;
    let now = now::<E>(&mut tx, &what).await?;
    let tenant = begin.tenant.as_deref();
    let request = [one.name.as_str().into(), tenant.into(), begin.queue_job.as_str().into()];
    let sql = format!("{ROW}{OF_REQUEST}{}", E::DIALECT.locked(false));
    let open = plain(tx.composed(sql, &request, &what).await)?;
    let id = match open.first().map(found).transpose()? {
        None => {
            let bound = bound::<E>(&mut tx, begin, &what).await?;
            let requested_at = begin.entry_at.map_or(now, |at| at.min(now));
            let values = [
                one.name.as_str().into(),
                tenant.into(),
                requested_at.into(),
                bound.as_deref().into(),
                begin.queue_job.as_str().into(),
                now.into(),
            ];
            let made = tx.first(INSERT, &values, &what).await?;
            let lost =
                || Fault::new(FaultKind::Retryable, format!("{what}: another request began in this moment"));
            made.ok_or_else(lost)?.needed("id")?
        }
        Some(found) => match entry(&found, &begin.queue_job, begin.stale_after, now) {
            Entry::Carried(by) => {
                E::commit(tx, &what).await?;
                return Ok(BegunDescribed::Carried { by });
            }
            Entry::AtRest => {
                E::commit(tx, &what).await?;
                return Ok(BegunDescribed::AtRest(Box::new(found.row)));
            }
            Entry::Start => {
                let values = [found.row.id.into(), begin.queue_job.as_str().into(), now.into()];
                tx.one(START, &values, &what).await?.needed("id")?
            }
        },
    };
    let row = read::<E>(&mut tx, id, &what).await?;
    E::commit(tx, &what).await?;
    let gone = || Fault::new(FaultKind::Retryable, format!("{what}: its row is gone"));
    row.map(|row| BegunDescribed::Started(Box::new(row))).ok_or_else(gone)
}

/// The highest id that there is now, where ids grow with time.
async fn bound<E: DescribedSql>(
    tx: &mut E::Connection,
    begin: &BeginDescribed,
    what: &str,
) -> Result<Option<String>, Fault> {
    let deletion = &begin.deletion;
    // Other ids are no higher where they are newer.
    if !deletion.rows.key.as_ref().is_some_and(FittedColumn::is_whole_number) {
        return Ok(None);
    }
    let (id, table) = (name(&deletion.description().id), name(&deletion.description().table));
    let highest = E::DIALECT.as_text(&format!("max({id})"));
    let (of, values) = match (&deletion.tenant, begin.tenant.as_deref()) {
        (Some(column), Some(tenant)) => {
            let place = E::DIALECT.of_text("$1", &column.sql_type);
            (format!(" where {} = {place}", name(&column.name)), vec![tenant.into()])
        }
        _ => (String::new(), Vec::new()),
    };
    let rows =
        plain(tx.composed(format!("select {highest} as bound from {table}{of}"), &values, what).await)?;
    let highest = rows.first().map(|row| row.text("bound")).transpose()?.flatten();
    // Without a row there is nothing to delete.
    Ok(Some(highest.unwrap_or_else(|| "0".to_owned())))
}

async fn read<E: DescribedSql>(
    tx: &mut E::Connection,
    id: i64,
    what: &str,
) -> Result<Option<DescribedRow>, Fault> {
    let rows = plain(tx.composed(format!("{ROW}where id = $1"), &[id.into()], what).await)?;
    Ok(rows.first().map(found).transpose()?.map(|found| found.row))
}

/// The locked row of a batch with the database's time.
pub(super) async fn lock<E: DescribedSql>(
    tx: &mut E::Connection,
    id: i64,
) -> Result<Option<(DescribedRow, DateTime<Utc>)>, Fault> {
    let what = format!("lock the deletion {id}");
    let sql = format!("{ROW}where id = $1{}", E::DIALECT.locked(false));
    let rows = plain(tx.composed(sql, &[id.into()], &what).await)?;
    let Some(found) = rows.first().map(found).transpose()? else { return Ok(None) };
    Ok(Some((found.row, now::<E>(tx, &what).await?)))
}

/// Gives a sign of life, and reads the row.
pub(super) async fn beat<E: DescribedSql>(
    engine: &E,
    id: i64,
    attempt: u32,
) -> Result<Option<DescribedRow>, Fault> {
    let what = format!("look at the deletion {id}");
    let mut tx = engine.writing(&what).await?;
    let now = now::<E>(&mut tx, &what).await?;
    tx.rows(BEAT, &[id.into(), attempt.into(), now.into()], &what).await?;
    let row = read::<E>(&mut tx, id, &what).await?;
    E::commit(tx, &what).await?;
    Ok(row)
}

/// Ends an attempt.
pub(super) async fn end<E: DescribedSql>(
    engine: &E,
    (id, attempt): (i64, u32),
    end: &EndDescribed,
) -> Result<bool, Fault> {
    let what = format!("end the deletion {id}");
    let (status, reason, error) = match end {
        EndDescribed::Completed { but } => (Status::Completed, None, but.as_deref()),
        EndDescribed::Continuation => (Status::Paused, Some(PauseReason::Continuation.as_str()), None),
    };
    let mut tx = engine.writing(&what).await?;
    let now = now::<E>(&mut tx, &what).await?;
    let values =
        [id.into(), attempt.into(), status.as_str().into(), reason.into(), error.into(), Value::from(now)];
    let ended = tx.first(END, &values, &what).await?.is_some();
    E::commit(tx, &what).await?;
    Ok(ended)
}

/// Fails the open row of a queue job.
pub(super) async fn fail<E: DescribedSql>(engine: &E, queue_job: &JobId, error: &str) -> Result<(), Fault> {
    let what = format!("fail the deletion of the queue job {queue_job}");
    let mut tx = engine.writing(&what).await?;
    let now = now::<E>(&mut tx, &what).await?;
    tx.rows(FAIL, &[queue_job.as_str().into(), error.into(), now.into()], &what).await?;
    E::commit(tx, &what).await
}

/// Notes what was counted.
pub(super) async fn note<E: DescribedSql>(
    engine: &E,
    id: i64,
    total: Option<i64>,
    kept: Option<i64>,
) -> Result<(), Fault> {
    let what = format!("note what the deletion {id} covers");
    engine.write_rows(NOTE, &[id.into(), total.into(), kept.into()], &what).await.map(drop)
}

/// The first row that was set aside.
pub(super) async fn first_set_aside<E: DescribedSql>(
    engine: &E,
    id: i64,
) -> Result<Option<(String, String)>, Fault> {
    let what = format!("read what the deletion {id} set aside");
    let rows = engine.read_rows(FIRST_SET_ASIDE, &[id.into()], &what).await?;
    let first = rows
        .first()
        .map(|row| Ok((row.text("row_id")?.unwrap_or_default(), row.text("reason")?.unwrap_or_default())));
    first.transpose()
}

/// The answer to a statement that changes no row of the application: no row can have refused it.
pub(super) fn plain<T>(answer: Result<T, StepFault>) -> Result<T, Fault> {
    answer.map_err(|fault| match fault {
        StepFault::Fault(fault) => fault,
        StepFault::Refused(why) => {
            Fault::new(FaultKind::Permanent, "read for a described deletion").because(why)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Progress;

    fn row(status: Status, is_continuation: bool, silent: i64) -> Found {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let row = DescribedRow {
            id: 1,
            tenant: None,
            status,
            attempt: 1,
            requested_at: now,
            cursor: None,
            bound: None,
            progress: Progress::default(),
            kept: None,
            queue_job: Some("mine".into()),
            last_error: None,
        };
        Found { row, is_continuation, heartbeat_at: Some(now - TimeDelta::seconds(silent)) }
    }

    fn of(found: &Found, queue_job: &str) -> Entry {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        entry(found, &queue_job.into(), Duration::from_secs(120), now)
    }

    #[test]
    fn running_row_belongs_to_its_queue_job_until_it_is_silent() {
        let running = row(Status::Running, false, 60);
        assert_eq!(of(&running, "mine"), Entry::Start, "after a crash");
        assert_eq!(of(&running, "other"), Entry::Carried("mine".into()));
        assert_eq!(of(&row(Status::Running, false, 121), "other"), Entry::Start);
        let rests = row(Status::Paused, true, 60);
        assert_eq!((of(&rests, "mine"), of(&rests, "other")), (Entry::Start, Entry::Carried("mine".into())));
    }

    #[test]
    fn row_that_a_person_paused_or_that_has_ended_is_at_rest() {
        for status in [Status::Paused, Status::Cancelled, Status::Failed, Status::Completed] {
            assert_eq!(of(&row(status, false, 999), "mine"), Entry::AtRest, "{status}");
        }
        assert_eq!(of(&row(Status::Queued, false, 0), "other"), Entry::Start);
    }
}
