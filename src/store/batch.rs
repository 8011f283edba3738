//! The order of steps of one batch, written once for every database; adapters hold only the statements.
//!
//! A batch first runs whole, without savepoints. When the database refuses to change some row, all of
//! it is rolled back and run again with every refusable step split under savepoints until the rows
//! that cannot be changed stand alone. Any other fault ends the batch, rolled back.

use std::collections::BTreeMap;

use chrono::Utc;

use super::deletion::{Candidates, DeletionTx, Deletions, LockedJob, Moved, Scope, StepFault};
use super::outbox::Condemned;
use super::receipts::{Batch, BatchOrder, BatchOutcome, Pass, SetAside};
use crate::fault::{Fault, FaultKind};
use crate::job::background::{Cursor, Status};
use crate::job::{Progress, ReceiptId};
use crate::story::STORY;

/// Deletes one batch in one transaction; see [`Receipts::delete_batch`](super::Receipts::delete_batch).
pub(super) async fn run_batch<D: Deletions>(db: &D, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
    match in_one_transaction(db, order, Care::Whole).await {
        Err(StepFault::Refused(_)) => {}
        Err(StepFault::Fault(fault)) => return Err(fault),
        Ok(outcome) => return Ok(outcome),
    }
    in_one_transaction(db, order, Care::Split).await.map_err(|fault| match fault {
        StepFault::Fault(fault) => fault,
        StepFault::Refused(reason) => {
            Fault::new(FaultKind::Permanent, format!("delete a batch of job {}", order.job)).because(reason)
        }
    })
}

/// Whether refusable steps run at once or split under savepoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    Whole,
    Split,
}

async fn in_one_transaction<D: Deletions>(
    db: &D,
    order: &BatchOrder,
    care: Care,
) -> Result<BatchOutcome, StepFault> {
    let mut tx = db.begin().await?;
    match steps(&mut tx, order, care).await {
        Ok(BatchOutcome::Deleted(batch)) => {
            crate::failpoint::reach("deletion.before_commit");
            tx.commit().await?;
            Ok(BatchOutcome::Deleted(batch))
        }
        unchanged => {
            tx.rollback().await;
            unchanged
        }
    }
}

async fn steps<T: DeletionTx>(tx: &mut T, order: &BatchOrder, care: Care) -> Result<BatchOutcome, StepFault> {
    let Some(row) = tx.lock_job(order.job).await? else { return Ok(BatchOutcome::NotOurs(None)) };
    if row.status != Status::Running || row.attempt != order.attempt {
        return Ok(BatchOutcome::NotOurs(Some(row.status)));
    }
    let scope = scope(&row, order)?;
    if scope.only_set_aside_of.is_some() && scope.pass == Pass::Sweep {
        // A list that is written down gets no latecomers.
        return Ok(BatchOutcome::Empty);
    }
    let ids = tx.select_ids(&scope, order.limit.max(1)).await?;
    let (Some(&first_id), Some(&last_id)) = (ids.first(), ids.last()) else { return Ok(BatchOutcome::Empty) };
    tracing::info!(
        target: STORY, { job.id = %order.job, receipts = ids.len(), first_id, last_id },
        "🔄 [RECEIPTS_DELETE] Processing batch: {} receipts (IDs {first_id}-{last_id})", ids.len()
    );

    let marked = change(tx, &scope, (Step::Mark, care), &ids).await?;
    crate::failpoint::reach("deletion.after_mark");
    let set_aside: Vec<SetAside> = marked.refused.iter().map(SetAside::from).collect();
    if !set_aside.is_empty() {
        tx.set_aside(&scope, &set_aside).await?;
    }
    let gone: Vec<i64> = ids.iter().copied().filter(|id| !marked.refused.contains_key(id)).collect();
    let (condemned, kept_for) = condemn(tx, &scope, care, &gone).await?;
    crate::failpoint::reach("deletion.after_outbox");

    let mut batch = Batch {
        first_id,
        last_id,
        selected: count(ids.len()),
        deleted: marked.changed,
        set_aside,
        condemned,
        kept_for: kept_for.into_iter().collect(),
        progress: row.progress,
    };
    batch.progress = advanced(row.progress, &batch);
    let cursor = Cursor { last_id: row.cursor.last_id.max(last_id), ..row.cursor };
    let moved = Moved {
        job: order.job,
        cursor: &cursor,
        progress: batch.progress,
        recovered: row.recovering,
        now: scope.now,
    };
    tx.move_cursor(&moved).await?;
    Ok(BatchOutcome::Deleted(Box::new(batch)))
}

fn scope<'a>(row: &LockedJob, order: &'a BatchOrder) -> Result<Scope<'a>, Fault> {
    let upper_id = row.cursor.upper_id.ok_or_else(|| {
        let context = format!(
            "the cursor `{}` of job {} has no upper_id: somebody rewrote it during the attempt",
            row.cursor, order.job
        );
        Fault::new(FaultKind::Permanent, context)
    })?;
    Ok(Scope {
        job: order.job,
        business_id: row.business_id,
        pass: order.pass,
        last_id: row.cursor.last_id,
        upper_id,
        only_set_aside_of: row.cursor.set_aside_of,
        target: &order.target,
        now: Utc::now(),
    })
}

fn advanced(before: Progress, batch: &Batch) -> Progress {
    let processed = before.processed + i64::from(batch.selected);
    Progress {
        total: before.total.max(processed),
        processed,
        succeeded: before.succeeded + i64::from(batch.deleted),
        failed: before.failed + i64::from(count(batch.set_aside.len())),
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl From<(&i64, &String)> for SetAside {
    fn from((id, reason): (&i64, &String)) -> Self {
        Self { receipt: ReceiptId(*id), reason: reason.clone() }
    }
}

async fn condemn<T: DeletionTx>(
    tx: &mut T,
    scope: &Scope<'_>,
    care: Care,
    receipts: &[i64],
) -> Result<(Vec<Condemned>, BTreeMap<String, u32>), StepFault> {
    if receipts.is_empty() {
        return Ok(Default::default());
    }
    let Candidates { condemnable, mut kept_for } = tx.candidates(scope, receipts).await?;
    if condemnable.is_empty() {
        return Ok((Vec::new(), kept_for));
    }
    let done = change(tx, scope, (Step::Condemn, care), &condemnable).await?;
    for reason in done.refused.into_values() {
        *kept_for.entry(reason).or_default() += 1;
    }
    Ok((done.condemned, kept_for))
}

/// A step that the database may refuse because of single rows.
#[derive(Clone, Copy)]
enum Step {
    Mark,
    Condemn,
}

/// What a step did.
#[derive(Default)]
struct Done {
    changed: u32,
    condemned: Vec<Condemned>,
    /// Rows that cannot be changed, each with its reason.
    refused: BTreeMap<i64, String>,
}

/// Takes a step for all `ids` at once or, with care, for halves of halves, until each refused row
/// stands alone: about 2 log n more tries for each such row.
async fn change<T: DeletionTx>(
    tx: &mut T,
    scope: &Scope<'_>,
    (step, care): (Step, Care),
    ids: &[i64],
) -> Result<Done, StepFault> {
    if care == Care::Whole {
        return take(tx, scope, step, ids).await;
    }
    let mut done = Done::default();
    let mut open = vec![ids];
    while let Some(part) = open.pop() {
        tx.savepoint().await?;
        match (take(tx, scope, step, part).await, part) {
            (Ok(mut part), _) => {
                tx.release().await?;
                done.changed += part.changed;
                done.condemned.append(&mut part.condemned);
            }
            (Err(StepFault::Refused(reason)), [id]) => {
                tx.rollback_to().await?;
                done.refused.insert(*id, reason);
            }
            (Err(StepFault::Refused(_)), _) => {
                tx.rollback_to().await?;
                let (left, right) = part.split_at(part.len() / 2);
                open.extend([right, left]);
            }
            (Err(fault), _) => return Err(fault),
        }
    }
    Ok(done)
}

async fn take<T: DeletionTx>(
    tx: &mut T,
    scope: &Scope<'_>,
    step: Step,
    ids: &[i64],
) -> Result<Done, StepFault> {
    Ok(match step {
        Step::Mark => Done { changed: tx.mark(scope, ids).await?, ..Done::default() },
        Step::Condemn => Done { condemned: tx.condemn(scope, ids).await?, ..Done::default() },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::blob::BlobTarget;
    use crate::job::{BackgroundJobId, BusinessId};

    /// Writes down each step; refuses to mark the receipt 2.
    #[derive(Clone)]
    struct Script {
        steps: Arc<Mutex<Vec<String>>>,
        ids: Vec<i64>,
    }

    impl Script {
        fn new(ids: impl IntoIterator<Item = i64>) -> Self {
            Self { steps: Arc::default(), ids: ids.into_iter().collect() }
        }

        fn note(&self, step: impl Into<String>) {
            self.steps.lock().push(step.into());
        }
    }

    #[async_trait]
    impl Deletions for Script {
        type Tx = Self;

        async fn begin(&self) -> Result<Self, Fault> {
            self.note("begin");
            Ok(self.clone())
        }
    }

    #[async_trait]
    impl DeletionTx for Script {
        async fn lock_job(&mut self, _: BackgroundJobId) -> Result<Option<LockedJob>, Fault> {
            self.note("lock");
            Ok(Some(LockedJob {
                business_id: BusinessId(7),
                status: Status::Running,
                attempt: 1,
                progress: Progress::default(),
                cursor: Cursor { upper_id: Some(9), ..Cursor::default() },
                recovering: false,
            }))
        }

        async fn select_ids(&mut self, _: &Scope<'_>, _: u32) -> Result<Vec<i64>, Fault> {
            self.note("select");
            Ok(self.ids.clone())
        }

        async fn mark(&mut self, _: &Scope<'_>, ids: &[i64]) -> Result<u32, StepFault> {
            self.note(format!("mark {ids:?}"));
            if ids.contains(&2) { Err(StepFault::Refused("sealed".into())) } else { Ok(count(ids.len())) }
        }

        async fn candidates(&mut self, _: &Scope<'_>, ids: &[i64]) -> Result<Candidates, Fault> {
            self.note("candidates");
            Ok(Candidates { condemnable: ids.to_vec(), kept_for: BTreeMap::new() })
        }

        async fn condemn(&mut self, _: &Scope<'_>, ids: &[i64]) -> Result<Vec<Condemned>, StepFault> {
            self.note(format!("condemn {ids:?}"));
            Ok(ids.iter().map(|id| Condemned { id: *id, key: id.to_string() }).collect())
        }

        async fn set_aside(&mut self, _: &Scope<'_>, rows: &[SetAside]) -> Result<(), Fault> {
            self.note(format!("set aside {}", rows.len()));
            Ok(())
        }

        async fn move_cursor(&mut self, moved: &Moved<'_>) -> Result<(), Fault> {
            self.note(format!("move to {}", moved.cursor.last_id));
            Ok(())
        }

        async fn savepoint(&mut self) -> Result<(), Fault> {
            self.note("(");
            Ok(())
        }

        async fn release(&mut self) -> Result<(), Fault> {
            self.note(")");
            Ok(())
        }

        async fn rollback_to(&mut self) -> Result<(), Fault> {
            self.note("undone)");
            Ok(())
        }

        async fn commit(self) -> Result<(), Fault> {
            self.note("commit");
            Ok(())
        }

        async fn rollback(self) {
            self.note("rollback");
        }
    }

    async fn run(script: &Script, attempt: u32) -> (BatchOutcome, String) {
        let target = BlobTarget { driver: "local".into(), bucket: "b".into() };
        let order = BatchOrder { job: BackgroundJobId(1), attempt, limit: 9, pass: Pass::Forward, target };
        let outcome = run_batch(script, &order).await.unwrap();
        let steps = script.steps.lock().join(" ");
        (outcome, steps)
    }

    #[tokio::test]
    async fn a_good_batch_needs_no_savepoint() {
        let (_, steps) = run(&Script::new([1, 3]), 1).await;
        assert_eq!(steps, "begin lock select mark [1, 3] candidates condemn [1, 3] move to 3 commit");
    }

    #[tokio::test]
    async fn a_refusal_starts_the_batch_over_with_care() {
        let (outcome, steps) = run(&Script::new(1..=4), 1).await;
        let expected = "begin lock select mark [1, 2, 3, 4] rollback \
            begin lock select ( mark [1, 2, 3, 4] undone) ( mark [1, 2] undone) ( mark [1] ) ( mark [2] undone) \
            ( mark [3, 4] ) set aside 1 candidates ( condemn [1, 3, 4] ) move to 4 commit";
        assert_eq!(steps, expected);
        let BatchOutcome::Deleted(batch) = outcome else { panic!("{outcome:?}") };
        let expected = Progress { total: 4, processed: 4, succeeded: 3, failed: 1 };
        assert_eq!((batch.progress, batch.condemned.len()), (expected, 3));
    }

    #[tokio::test]
    async fn nothing_is_touched_when_the_fence_has_moved_on_or_nothing_is_left() {
        let (outcome, steps) = run(&Script::new([1]), 2).await;
        assert_eq!(
            (outcome, steps.as_str()),
            (BatchOutcome::NotOurs(Some(Status::Running)), "begin lock rollback")
        );
        let (outcome, steps) = run(&Script::new([]), 1).await;
        assert_eq!((outcome, steps.as_str()), (BatchOutcome::Empty, "begin lock select rollback"));
    }
}
