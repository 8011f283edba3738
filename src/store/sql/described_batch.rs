//! The order of steps of one batch of a described deletion.
//!
//! A batch is first tried as a whole. If the database refuses a row, or leaves one without an error, the whole is rolled
//! back and run again in halves under savepoints until the rows that cannot be deleted are isolated; these are set aside.
//! Each part is complete by itself: children, rows, rows pointed to, objects.

use chrono::{DateTime, Utc};

use super::described_had::{DescribedScope, Removed};
use super::described_removal::{Part, Removal};
use super::described_rows::Covered;
use super::described_schema::{DescribedSql, foreign_keys};
use super::described_state::{lock, plain};
use super::engine::{Connection, Sql};
use crate::fault::{Fault, FaultKind};
use crate::job::Progress;
use crate::job::background::Status;
use crate::store::deletion::{LEFT_AS_IT_WAS, StepFault};
use crate::store::{DescribedBatch, DescribedOrder, DescribedOutcome, DescribedRow, Pass};

/// How many rows of other tables one transaction removes at most. What is more follows in the next ones.
const MOST_CHILDREN: u32 = 10_000;

const SET_ASIDE: Sql = "
    insert into tikkun_rows_set_aside (deletion_id, row_id, reason, created_at) values ($1, $2, $3, $4)
    on conflict (deletion_id, row_id) do update set reason = excluded.reason";

/// Moves cursor and counters, only while the row is running under this attempt.
const MOVE: Sql = "
    update tikkun_deletions
    set cursor = $3, total = $4, processed = $5, succeeded = $6, failed_count = $7, heartbeat_at = $8, updated_at = $8
    where id = $1 and attempt = $2 and status = 'running' returning id";

/// Whether everything is deleted at once, or in halves under savepoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    Whole,
    Split,
}

/// Deletes one batch in one transaction.
pub(super) async fn delete<E: DescribedSql>(
    engine: &E,
    order: &DescribedOrder,
) -> Result<DescribedOutcome, Fault> {
    match in_one_transaction(engine, order, Care::Whole).await {
        Err(StepFault::Refused(_)) => {}
        Err(StepFault::Fault(fault)) => return Err(fault),
        Ok(outcome) => return Ok(outcome),
    }
    plain(in_one_transaction(engine, order, Care::Split).await)
}

async fn in_one_transaction<E: DescribedSql>(
    engine: &E,
    order: &DescribedOrder,
    care: Care,
) -> Result<DescribedOutcome, StepFault> {
    let what = "commit a batch of a described deletion";
    let mut tx = engine.batch("begin a batch of a described deletion").await?;
    let outcome = steps::<E>(&mut tx, order, care).await?;
    if let DescribedOutcome::Deleted(_) = outcome {
        crate::failpoint::reach("described.before_commit");
    }
    // Where nothing was changed this ends the transaction, and its connection stays sound.
    E::commit(tx, what).await?;
    Ok(outcome)
}

async fn steps<E: DescribedSql>(
    tx: &mut E::Connection,
    order: &DescribedOrder,
    care: Care,
) -> Result<DescribedOutcome, StepFault> {
    let deletion = &order.deletion;
    let Some((row, now)) = lock::<E>(tx, order.id).await? else { return Ok(DescribedOutcome::NotOurs(None)) };
    if row.status != Status::Running || row.attempt != order.attempt {
        return Ok(DescribedOutcome::NotOurs(Some(row.status)));
    }
    if foreign_keys::<E>(tx, &deletion.tables).await? != deletion.foreign_keys {
        return Ok(DescribedOutcome::Outgrown);
    }
    let covered = Covered { dialect: E::DIALECT, deletion, row: &row };
    let after = match order.pass {
        Pass::Forward => row.cursor.as_deref(),
        Pass::Sweep => order.swept_to.as_deref(),
    };
    let ids = covered.take(tx, after, (order.pass, order.limit)).await?;
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(DescribedOutcome::Empty) };
    let mut batch =
        DescribedBatch { first_id: first.clone(), last_id: last.clone(), ..DescribedBatch::default() };
    batch.selected = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let removal = Removal(DescribedScope { deletion, tenant: row.tenant.as_deref(), order, now });
    let mut removed = Removed::within(MOST_CHILDREN);
    let done = match care {
        Care::Whole => match removal.part::<E>(tx, &ids, &mut removed).await? {
            Part::Complete => ids.len(),
            Part::InPart => 0,
        },
        Care::Split => halves::<E>(tx, &removal, &ids, &mut removed).await?,
    };
    let (done, rest) = ids.split_at(done);
    batch.in_part = !rest.is_empty();
    batch.set_aside = std::mem::take(&mut removed.refused);
    batch.deleted = u32::try_from(done.len().saturating_sub(batch.set_aside.len())).unwrap_or(u32::MAX);
    batch.others = removed.others;
    batch.condemned = removed.condemned;
    batch.kept_for = removed.kept_for.into_iter().collect();
    for (id, reason) in &batch.set_aside {
        let values = [order.id.into(), id.as_str().into(), reason.as_str().into(), now.into()];
        tx.run(SET_ASIDE, &values, "set a row aside").await?;
    }
    let moved = NewPosition { row: &row, done, pass: order.pass, now };
    batch.progress = moved.write::<E>(tx, order, &batch).await?;
    Ok(DescribedOutcome::Deleted(Box::new(batch)))
}

/// Deletes the rows in halves until each one that is refused stands alone. Returns how many of them are done; fewer than
/// all if so many others go with one that only a part of these went.
async fn halves<E: DescribedSql>(
    tx: &mut E::Connection,
    removal: &Removal<'_>,
    ids: &[String],
    removed: &mut Removed,
) -> Result<usize, StepFault> {
    const WHAT: &str = "divide a batch of a described deletion";
    let (mut open, mut done) = (vec![ids], 0);
    while let Some(part) = open.pop() {
        tx.run("savepoint step", &[], WHAT).await?;
        let mut these = Removed::within(removed.left);
        let outcome = removal.part::<E>(tx, part, &mut these).await;
        if let Err(StepFault::Refused(_)) = outcome {
            tx.run("rollback to savepoint step", &[], WHAT).await?;
        }
        if !matches!(outcome, Err(StepFault::Fault(_))) {
            tx.run("release savepoint step", &[], WHAT).await?;
        }
        match (outcome, part) {
            (Ok(Part::Complete), _) => {
                done += part.len();
                removed.add(these);
            }
            (Ok(Part::InPart), _) => {
                removed.add(these);
                return Ok(done);
            }
            (Err(StepFault::Refused(reason)), [id]) => {
                done += 1;
                removed.refused.push((id.clone(), reason));
            }
            (Err(StepFault::Refused(_)), _) => {
                let (left, right) = part.split_at(part.len() / 2);
                open.extend([right, left]);
            }
            (Err(fault), _) => return Err(fault),
        }
    }
    Ok(done)
}

/// The new position and counters of the deletion.
struct NewPosition<'a> {
    row: &'a DescribedRow,
    /// The rows of the batch that are done.
    done: &'a [String],
    pass: Pass,
    now: DateTime<Utc>,
}

impl NewPosition<'_> {
    async fn write<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        order: &DescribedOrder,
        batch: &DescribedBatch,
    ) -> Result<Progress, Fault> {
        let what = format!("move the cursor of the deletion {}", order.id);
        let before = self.row.progress;
        let failed = i64::try_from(batch.set_aside.len()).unwrap_or(i64::MAX);
        let processed = before.processed + i64::from(batch.deleted) + failed;
        let progress = Progress {
            total: before.total.max(processed),
            processed,
            succeeded: before.succeeded + i64::from(batch.deleted),
            failed: before.failed + failed,
        };
        // The sweep is behind the cursor, which stays.
        let last = self.done.last().filter(|_| self.pass == Pass::Forward);
        let cursor = last.map(String::as_str).or(self.row.cursor.as_deref());
        let values = [
            order.id.into(),
            order.attempt.into(),
            cursor.into(),
            progress.total.into(),
            progress.processed.into(),
            progress.succeeded.into(),
            progress.failed.into(),
            self.now.into(),
        ];
        match tx.first(MOVE, &values, &what).await? {
            Some(_) => Ok(progress),
            None => Err(Fault::new(FaultKind::Permanent, format!("{what}: {LEFT_AS_IT_WAS}"))),
        }
    }
}
