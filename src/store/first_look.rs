//! The first look at a request, and the coverage that results, in the transaction that begins its attempt.

use chrono::{DateTime, Utc};

use super::coverage::{Known, Reading};
use super::sql::status_sql::StatusSql;
use super::sql::status_tx::StatusTx;
use crate::fault::Fault;
use crate::job::BusinessId;
use crate::job::background::{BackgroundJob, Cursor, Dated, FirstLook, LeftAlone};

/// The start of a range of all ids.
const ALL: i64 = i64::MIN;
/// A look that is kept searches only so many of the newest receipts for those after the request: it must not take long.
const LOOKED_AT: i64 = 10_000;

/// The first look at a row: the one in its cursor, or now.
pub(super) async fn first_look(
    tx: &mut StatusTx<impl StatusSql>,
    job: &BackgroundJob,
    now: DateTime<Utc>,
) -> Result<FirstLook, Fault> {
    if let Some(look) = job.cursor.first_look {
        return Ok(look);
    }
    let newest_id = tx.newest(job.business_id, 0).await?.unwrap_or(0);
    Ok(FirstLook { newest_id, at: now, before_id: None })
}

/// The first look, as kept for an attempt that begins later. Until then, a transaction that began before the request
/// may commit receipts with older times and lower ids than others that came after it.
pub(super) async fn kept_look(
    tx: &mut StatusTx<impl StatusSql>,
    job: &BackgroundJob,
    now: DateTime<Utc>,
) -> Result<FirstLook, Fault> {
    let look = first_look(tx, job, now).await?;
    let known = Known { look, entry: None, row: job.created_at, clocks: tx.clocks().await? };
    if known.one_clock().is_none() {
        return Ok(look);
    }
    let lowest = tx.newest(job.business_id, LOOKED_AT).await?.unwrap_or(ALL);
    let seen = tx.seen(job.business_id, lowest..=look.newest_id, &known.reading()).await?;
    Ok(FirstLook { before_id: seen.first_after.map(|_| seen.before.unwrap_or(0)), ..look })
}

/// The coverage of a request made now.
#[derive(Default)]
pub(super) struct AllThereIs {
    /// How many receipts.
    pub(super) receipts: i64,
    /// The last of them.
    pub(super) newest: Option<i64>,
    /// If creation times are on one clock, the times of what was there.
    pub(super) dated: Option<Dated>,
    /// The newest ids of what was there: another receipt among them came later, whatever its time.
    pub(super) there: Vec<i64>,
}

/// The coverage of a request made now.
pub(super) async fn all_there_is(
    tx: &mut StatusTx<impl StatusSql>,
    tenant: BusinessId,
    now: DateTime<Utc>,
) -> Result<AllThereIs, Fault> {
    let Some(newest) = tx.newest(tenant, 0).await? else { return Ok(AllThereIs::default()) };
    let reading = Reading::of_request_at(now);
    let seen = tx.seen(tenant, ALL..=newest, &reading).await?;
    let one_clock = tx.clocks().await?.comparable && seen.by_hand == 0;
    // What is there may have been dated by a clock that is ahead; what comes from now on has a later time.
    let until = if seen.other_clock { reading.possible } else { reading.clock_until };
    let dated = Dated { until, undated: reading.undated, beyond: None };
    let there = tx.there(tenant, newest).await?;
    Ok(AllThereIs { receipts: seen.live, newest: Some(newest), dated: one_clock.then_some(dated), there })
}

/// The coverage of a row that does not state it: its cursor with the coverage, and the number of receipts.
pub(super) async fn bound(
    tx: &mut StatusTx<impl StatusSql>,
    job: &BackgroundJob,
    entry: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(Cursor, i64), Fault> {
    let look = first_look(tx, job, now).await?;
    let mut known = Known { look, entry, row: job.created_at, clocks: tx.clocks().await? };
    let mut reading = known.reading();
    let mut seen = tx.seen(job.business_id, ALL..=look.newest_id, &reading).await?;
    if seen.other_clock && known.seems_behind() {
        // No receipt confirms the zone that the row seems to use: probably its queue job was enqueued again
        // after whole hours.
        known.clocks.row_in_zone = false;
        reading = known.reading();
        seen = tx.seen(job.business_id, ALL..=look.newest_id, &reading).await?;
    }
    if let Some(latest) = seen.latest.filter(|_| seen.other_clock) {
        reading = known.of_two_clocks(reading, latest);
        seen = tx.seen(job.business_id, ALL..=look.newest_id, &reading).await?;
    }
    // The limit is an id that was seen. Ids between it and the first newer one may have been taken by a transaction
    // that is not committed yet and that dates its receipts by its own beginning.
    let before = seen.first_after.map(|_| seen.before.unwrap_or(0));
    let before_then = look.before_id.filter(|_| known.one_clock().is_some());
    let upper = [before, before_then].into_iter().flatten().fold(look.newest_id, i64::min);
    // What comes later under a low id, as from a transaction that was open then, is recognised by its time where
    // receipts do not contradict the clock of the request.
    let after = reading.after.filter(|_| !seen.other_clock);
    let dated =
        Dated { until: after.unwrap_or(reading.possible), undated: reading.undated, beyond: reading.beyond };
    let all = reading.undated && seen.by_hand == 0;
    let dated = (after.is_some() || !all).then_some(dated);
    let covered = match upper == look.newest_id {
        true if all => seen.live,
        _ => tx.covered(job.business_id, Some(upper), dated.as_ref(), &[]).await?.0,
    };
    let left = LeftAlone { receipts: seen.live - covered, because: known.because(&reading, &seen) };
    let left = Some(left).filter(|left| left.receipts > 0);
    if let Some(left) = &left {
        tracing::warn!(background_job = %job.id, upper_id = upper, "{left}");
    } else if known.one_clock().is_none() {
        tracing::info!(
            background_job = %job.id, upper_id = upper, first_look = %look.at,
            "the times of receipts cannot be compared with that of the request; what the first look saw is covered"
        );
    }
    let cursor = Cursor {
        upper_id: Some(upper),
        bounds_of: Some(job.business_id),
        bounds_for: Some(job.id),
        first_look: None,
        dated,
        left,
        ..job.cursor.clone()
    };
    Ok((cursor, covered))
}
