//! The order of steps of one batch, the same for every database; adapters hold only the statements.
//!
//! A batch is first tried as a whole: lock the receipts, find the attachments that only they need, and change
//! everything in one step. If the database refuses to change a row, or leaves one unchanged without an error,
//! the whole is rolled back and run again step by step: each step is split under savepoints until the rows
//! that cannot be changed are isolated. Any other fault rolls the batch back and ends it.

use std::collections::BTreeMap;

use super::attempt::{is_newest, seen};
use super::deletion::{
    BatchCounts, Change, DeletionTx, Deletions, Kept, LEFT_AS_IT_WAS, LockedJob, Moved, Scope, StepFault,
    Taken, UNLINKED, Unreferenced,
};
use super::outbox::Condemned;
use super::receipts::{Batch, BatchOrder, BatchOutcome, Pass, SetAside};
use crate::fault::{Fault, FaultKind};
use crate::job::background::{AttachmentsKept, Cursor, Status};
use crate::job::{Progress, ReceiptId};
use crate::user_log::USER_LOG;

/// The most characters of a reason in the cursor.
const LONGEST_REASON: usize = 300;

/// Deletes one batch in one transaction; see [`Receipts::delete_batch`](super::Receipts::delete_batch).
pub(super) async fn run_batch<D: Deletions>(db: &D, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
    match run_once(db, order).await {
        Err(fault) if db.forgets_statements(&fault) => run_once(db, order).await,
        done => done,
    }
}

async fn run_once<D: Deletions>(db: &D, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
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

/// Whether everything is changed at once, or step by step under savepoints.
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
    if seen(row.status) != Status::Running || !is_newest(order.attempt, row.attempt) {
        return Ok(BatchOutcome::NotOurs(Some(row.status)));
    }
    let scope = scope(&row, order)?;
    if scope.only_set_aside_of.is_some() && scope.pass == Pass::Sweep {
        // A retry of set-aside receipts has a fixed list, so that no late receipts can be added.
        return Ok(BatchOutcome::Empty);
    }
    let taken = tx.take(&scope, order.limit.max(1)).await?;
    let (Some(&first_id), Some(&last_id)) = (taken.ids.first(), taken.ids.last()) else {
        return Ok(BatchOutcome::Empty);
    };
    let selected = count(taken.ids.len());
    tracing::info!(
        target: USER_LOG, { job.id = %order.job, receipts = selected, first_id, last_id },
        "🔄 [RECEIPTS_DELETE] Processing batch: {selected} receipts (IDs {first_id}-{last_id})"
    );
    let batch = Batch { first_id, last_id, selected, progress: row.progress, ..Batch::default() };
    let delete = Delete { row: &row, scope: &scope, taken };
    let batch = match care {
        Care::Whole => delete.whole(tx, batch).await?,
        Care::Split => delete.split(tx, batch).await?,
    };
    crate::failpoint::reach("deletion.after_outbox");
    Ok(BatchOutcome::Deleted(Box::new(batch)))
}

/// The work of a batch whose receipts are known.
struct Delete<'a> {
    row: &'a LockedJob,
    scope: &'a Scope<'a>,
    taken: Taken,
}

impl Delete<'_> {
    /// Changes everything in one step.
    async fn whole<T: DeletionTx>(&self, tx: &mut T, mut batch: Batch) -> Result<Batch, StepFault> {
        let receipts = self.taken.live.as_slice();
        if !self.passed_by(tx).await?.is_empty() {
            return Err(StepFault::Refused(LEFT_AS_IT_WAS.to_owned()));
        }
        let Unreferenced { condemnable, kept_for, withheld, shared } =
            tx.needless(self.scope, receipts, &[]).await?;
        crate::failpoint::reach("deletion.after_mark");
        batch.deleted = count(receipts.len());
        let (cursor, progress) = self.advanced(&mut batch, kept_for, withheld);
        let attachments = condemnable.as_slice();
        let moved = Some(self.moved(&cursor, progress, BatchCounts::of(&batch, attachments)));
        batch.condemned =
            tx.change(self.scope, &Change { receipts, marked: &[], attachments, moved }).await?;
        if !shared.is_empty() && !tx.strays(&[], &shared).await?.is_empty() {
            return Err(StepFault::Refused(UNLINKED.to_owned()));
        }
        batch.progress = progress;
        Ok(batch)
    }

    /// Works step by step, and splits steps whose rows are refused. A receipt that cannot be marked stays
    /// live and keeps its attachments.
    async fn split<T: DeletionTx>(&self, tx: &mut T, mut batch: Batch) -> Result<Batch, StepFault> {
        let before = tx.needless(self.scope, &self.taken.live, &[]).await?;
        let mut marked = in_parts(tx, self.scope, Step::Mark, &self.taken.live).await?;
        let passed_by = self.passed_by(tx).await?;
        marked.refused.extend(passed_by.into_iter().map(|id| (id, LEFT_AS_IT_WAS.to_owned())));
        crate::failpoint::reach("deletion.after_mark");
        batch.deleted = count(marked.changed.len());
        batch.set_aside = marked.refused.iter().map(SetAside::from).collect();
        if !batch.set_aside.is_empty() {
            tx.set_aside(self.scope, &batch.set_aside).await?;
        }
        let Unreferenced { condemnable, kept_for, mut withheld, .. } =
            tx.needless(self.scope, &marked.changed, &before.condemnable).await?;
        withheld.extend(tx.strays(&before.condemnable, &before.shared).await?);
        let gone = in_parts(tx, self.scope, Step::Condemn { of: &marked.changed }, &condemnable).await?;
        for reason in gone.refused.into_values() {
            *withheld.entry(reason).or_default() += 1;
        }
        batch.condemned = gone.condemned;
        let (cursor, progress) = self.advanced(&mut batch, kept_for, withheld);
        let moved = Some(self.moved(&cursor, progress, BatchCounts::of(&batch, &gone.changed)));
        tx.change(self.scope, &Change { moved, marked: &marked.changed, ..Change::default() }).await?;
        batch.progress = progress;
        Ok(batch)
    }

    /// Receipts of the batch that could not be locked and are still live: a policy of row security shows them
    /// but forbids changes. Receipts that were deleted meanwhile do not count.
    async fn passed_by<T: DeletionTx>(&self, tx: &mut T) -> Result<Vec<i64>, Fault> {
        let Taken { ids, live } = &self.taken;
        let others: Vec<i64> = ids.iter().filter(|id| live.binary_search(id).is_err()).copied().collect();
        if others.is_empty() {
            return Ok(others);
        }
        tx.still_live(self.scope, &others).await
    }

    /// The cursor and the counters after the batch. Also records in the batch which attachments stay.
    fn advanced(&self, batch: &mut Batch, kept_for: Kept, withheld: Kept) -> (Cursor, Progress) {
        let (cursor, before) = (&self.row.cursor, self.row.progress);
        let kept = kept_in_all(cursor.attachments_kept.clone(), &withheld);
        batch.kept_for = kept_for.into_iter().collect();
        batch.withheld = withheld.into_iter().collect();
        let processed = before.processed + i64::from(batch.selected);
        let progress = Progress {
            total: before.total.max(processed),
            processed,
            succeeded: before.succeeded + i64::from(batch.deleted),
            failed: before.failed + i64::from(count(batch.set_aside.len())),
        };
        let last_id = cursor.last_id.max(batch.last_id);
        let uncounted = self.row.uncounted(self.scope.job, processed);
        (Cursor { last_id, uncounted, attachments_kept: kept, ..cursor.clone() }, progress)
    }

    fn moved<'a>(&self, cursor: &'a Cursor, progress: Progress, counts: BatchCounts) -> Moved<'a> {
        Moved { cursor, progress, recovered: self.row.recovering, counts }
    }
}

/// The attachments that the database withheld in all batches so far.
fn kept_in_all(before: Option<AttachmentsKept>, withheld: &Kept) -> Option<AttachmentsKept> {
    let Some((first, _)) = withheld.first_key_value() else { return before };
    let before = before.unwrap_or_else(|| AttachmentsKept {
        count: 0,
        reason: first.chars().take(LONGEST_REASON).collect(),
    });
    let more: i64 = withheld.values().copied().map(i64::from).sum();
    Some(AttachmentsKept { count: before.count + more, ..before })
}

fn scope<'a>(row: &'a LockedJob, order: &'a BatchOrder) -> Result<Scope<'a>, Fault> {
    if let Some(reason) = row.cursor.foreign_to(row.business_id) {
        return Err(Fault::new(FaultKind::Permanent, reason));
    }
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
        dated: row.cursor.dated,
        there: &row.cursor.there,
        only_set_aside_of: row.cursor.set_aside_of,
        target: &order.target,
        now: row.now,
    })
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl From<(&i64, &String)> for SetAside {
    fn from((id, reason): (&i64, &String)) -> Self {
        Self { receipt: ReceiptId(*id), reason: reason.clone() }
    }
}

/// A step that the database may refuse because of single rows.
#[derive(Clone, Copy)]
enum Step<'a> {
    Mark,
    /// The attachments of these receipts, which are marked already.
    Condemn {
        of: &'a [i64],
    },
}

/// The result of a step.
#[derive(Default)]
struct Done {
    /// Rows that were changed.
    changed: Vec<i64>,
    condemned: Vec<Condemned>,
    /// Rows that cannot be changed, with the reasons.
    refused: BTreeMap<i64, String>,
}

/// Takes a step for all `ids`. Where it is refused, it is repeated for halves until each refused row is
/// isolated: about 2 log n more attempts for each such row.
async fn in_parts<T: DeletionTx>(
    tx: &mut T,
    scope: &Scope<'_>,
    step: Step<'_>,
    ids: &[i64],
) -> Result<Done, StepFault> {
    let mut done = Done::default();
    let mut open: Vec<&[i64]> = if ids.is_empty() { Vec::new() } else { vec![ids] };
    while let Some(part) = open.pop() {
        tx.savepoint().await?;
        let change = match step {
            Step::Mark => Change { receipts: part, marked: &done.changed, ..Change::default() },
            Step::Condemn { of } => Change { attachments: part, marked: of, ..Change::default() },
        };
        let changed = tx.change(scope, &change).await;
        match (changed, part) {
            (Ok(mut condemned), _) => {
                tx.release().await?;
                done.changed.extend_from_slice(part);
                done.condemned.append(&mut condemned);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::blob::BlobTarget;
    use crate::job::{BackgroundJobId, BusinessId};

    /// A database that records each step, refuses to mark receipt 2, and does not lock receipt 9.
    #[derive(Clone)]
    struct Script {
        steps: Arc<Mutex<Vec<String>>>,
        ids: Vec<i64>,
        /// Whether the next statement fails because its prepared form is outdated.
        outgrown: Arc<Mutex<bool>>,
    }

    impl Script {
        fn new(ids: impl IntoIterator<Item = i64>) -> Self {
            Self { steps: Arc::default(), ids: ids.into_iter().collect(), outgrown: Arc::default() }
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

        fn forgets_statements(&self, fault: &Fault) -> bool {
            fault.to_string() == "outgrown"
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
                now: chrono::DateTime::UNIX_EPOCH,
            }))
        }

        async fn take(&mut self, _: &Scope<'_>, _: u32) -> Result<Taken, Fault> {
            self.note("take");
            if std::mem::take(&mut *self.outgrown.lock()) {
                return Err(Fault::new(FaultKind::Permanent, "outgrown"));
            }
            let live = self.ids.iter().filter(|id| **id != 9).copied().collect();
            Ok(Taken { ids: self.ids.clone(), live })
        }

        async fn needless(&mut self, _: &Scope<'_>, gone: &[i64], _: &[i64]) -> Result<Unreferenced, Fault> {
            self.note("look");
            Ok(Unreferenced { condemnable: gone.to_vec(), ..Unreferenced::default() })
        }

        async fn still_live(&mut self, _: &Scope<'_>, ids: &[i64]) -> Result<Vec<i64>, Fault> {
            self.note(format!("look again {ids:?}"));
            Ok(ids.to_vec())
        }

        async fn strays(&mut self, _: &[i64], _: &[i64]) -> Result<Kept, Fault> {
            self.note("count");
            Ok(Kept::new())
        }

        async fn change(&mut self, _: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault> {
            if !change.receipts.is_empty() {
                self.note(format!("mark {:?}", change.receipts));
            }
            if !change.attachments.is_empty() {
                self.note(format!("condemn {:?}", change.attachments));
            }
            if let Some(moved) = &change.moved {
                self.note(format!("move to {}", moved.cursor.last_id));
            }
            if change.receipts.contains(&2) {
                return Err(StepFault::Refused("sealed".into()));
            }
            Ok(change.attachments.iter().map(|id| Condemned { id: *id, key: id.to_string() }).collect())
        }

        async fn set_aside(&mut self, _: &Scope<'_>, rows: &[SetAside]) -> Result<(), Fault> {
            self.note(format!("set aside {}", rows.len()));
            Ok(())
        }

        async fn plain(&mut self, statement: &'static str) -> Result<(), Fault> {
            self.note(match statement.split(' ').next() {
                Some("savepoint") => "(",
                Some("release") => ")",
                _ => "undone)",
            });
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
        assert_eq!(steps, "begin lock take look mark [1, 3] condemn [1, 3] move to 3 commit");
    }

    #[tokio::test]
    async fn a_refusal_starts_the_batch_over_with_care() {
        let (outcome, steps) = run(&Script::new(1..=4), 1).await;
        let expected = "begin lock take look mark [1, 2, 3, 4] condemn [1, 2, 3, 4] move to 4 rollback \
            begin lock take look ( mark [1, 2, 3, 4] undone) ( mark [1, 2] undone) ( mark [1] ) ( mark [2] undone) \
            ( mark [3, 4] ) set aside 1 look count ( condemn [1, 3, 4] ) move to 4 commit";
        assert_eq!(steps, expected);
        let BatchOutcome::Deleted(batch) = outcome else { panic!("{outcome:?}") };
        let expected = Progress { total: 4, processed: 4, succeeded: 3, failed: 1 };
        assert_eq!((batch.progress, batch.condemned.len()), (expected, 3));
    }

    #[tokio::test]
    async fn a_receipt_that_cannot_be_locked_and_is_live_is_set_aside() {
        let (outcome, steps) = run(&Script::new([1, 9]), 1).await;
        let expected = "begin lock take look again [9] rollback \
            begin lock take look ( mark [1] ) look again [9] set aside 1 look count ( condemn [1] ) move to 9 commit";
        assert_eq!(steps, expected);
        let BatchOutcome::Deleted(batch) = outcome else { panic!("{outcome:?}") };
        let expected = Progress { total: 2, processed: 2, succeeded: 1, failed: 1 };
        assert_eq!((batch.progress, batch.set_aside[0].receipt), (expected, ReceiptId(9)));
    }

    #[tokio::test]
    async fn a_statement_that_the_tables_have_outgrown_is_tried_anew_at_once_and_once_only() {
        let script = Script::new([1]);
        *script.outgrown.lock() = true;
        let (_, steps) = run(&script, 1).await;
        assert_eq!(
            steps,
            "begin lock take rollback begin lock take look mark [1] condemn [1] move to 1 commit"
        );
    }

    #[test]
    fn what_the_database_withheld_adds_up_under_its_first_reason() {
        let withheld = |count| Kept::from([("a guard".to_owned(), count), ("b".to_owned(), 1)]);
        let kept = kept_in_all(None, &withheld(2));
        let kept = kept_in_all(kept, &withheld(3));
        assert_eq!(kept, Some(AttachmentsKept { count: 7, reason: "a guard".into() }));
    }

    #[tokio::test]
    async fn nothing_is_touched_when_the_fence_has_moved_on_or_nothing_is_left() {
        let (outcome, steps) = run(&Script::new([1]), 2).await;
        assert_eq!(
            (outcome, steps.as_str()),
            (BatchOutcome::NotOurs(Some(Status::Running)), "begin lock rollback")
        );
        let (outcome, steps) = run(&Script::new([]), 1).await;
        assert_eq!((outcome, steps.as_str()), (BatchOutcome::Empty, "begin lock take rollback"));
    }
}
