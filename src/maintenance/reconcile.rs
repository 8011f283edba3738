//! Keeps the rows of background jobs and their queue jobs consistent.
//!
//! A row that needs a queue job and has none is enqueued again, unless its queue job was canceled: then the
//! row is cancelled. Queue jobs are read by the ids in the rows. The queues are searched only for rows that
//! have no queue job for a while, and results are remembered, so that the cost of a check depends on the rows
//! and not on the queues. Clocks of different hosts are not compared: a gap counts only if it stays unchanged
//! for a while on this process's clock. A queue job whose row is inactive needs nothing: its attempt is
//! refused and it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::rescuer_ports::RescuerPorts;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, JobId, JobRecord, JobState};
use crate::measure::list::JOBS_ENQUEUED_ANEW;
use crate::queue::{Enqueued, JobFilter};
use crate::store::{Person, PersonMove};
use crate::tracking::{AskPerson, TrackedKind};

/// The leader lease for the reconciliation.
const ROLE: &str = "reconcile";

/// The most rows per check.
const ROWS: u32 = 10_000;

/// A search may take this many times as long as another call.
const SEARCH: u32 = 20;

/// More than the clocks of a row and of its queue job differ in any time zones.
const ANY_ZONE: TimeDelta = TimeDelta::hours(15);

/// The time between two signs of life during a search.
const SIGN: Duration = Duration::from_millis(500);

/// Gaps that are not closed yet, and queue jobs that their rows do not name.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    gaps: Mutex<BTreeMap<BackgroundJobId, Suspect>>,
    entries: Mutex<BTreeMap<BackgroundJobId, JobId>>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    since: Instant,
    status: Status,
    attempt: u32,
}

impl Suspects {
    /// The rows that were gaps, without a change, for their grace period. Forgets rows that are no gaps.
    fn ripe<'a>(
        &self,
        gaps: &[&'a BackgroundJob],
        now: Instant,
        grace: impl Fn(&BackgroundJob) -> Duration,
    ) -> Vec<&'a BackgroundJob> {
        let mut seen = self.gaps.lock();
        let mut still = BTreeMap::new();
        let mut ripe = Vec::new();
        for row in gaps {
            let fresh = Suspect { since: now, status: row.status, attempt: row.note.attempt };
            let suspect = match seen.get(&row.id) {
                // A heartbeat alone is no change: it may come from a worker that has lost the queue job.
                Some(known) if (known.status, known.attempt) == (fresh.status, fresh.attempt) => *known,
                _ => fresh,
            };
            if now.saturating_duration_since(suspect.since) >= grace(row) {
                ripe.push(*row);
            } else {
                still.insert(row.id, suspect);
            }
        }
        *seen = still;
        ripe
    }

    /// The ids under which these rows may have queue jobs. Forgets all other rows.
    fn known_entries(&self, rows: &[BackgroundJob]) -> Vec<JobId> {
        let mut found = self.entries.lock();
        found.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let noted = rows.iter().filter_map(|row| row.note.queue_job.clone());
        let known: BTreeSet<_> = noted.chain(found.values().cloned()).collect();
        known.into_iter().collect()
    }
}

/// The input of a reconciliation.
pub(super) struct Look<'a> {
    /// The gaps of earlier checks.
    pub(super) suspects: &'a Suspects,
    /// The time limit of one call.
    pub(super) deadline: Duration,
    /// Whether the queue has lost its data, and the jobs of the rows are not all restored.
    pub(super) lost: bool,
}

/// Checks all active rows of one kind; returns whether no gap is left. A second run changes nothing.
pub(super) async fn reconcile(
    ports: &RescuerPorts,
    tracked: &TrackedKind,
    look: &Look<'_>,
) -> Result<bool, Fault> {
    let &Look { suspects, deadline, lost } = look;
    let lead = ports.broker.lead(ROLE, &ports.process, tracked.leadership_ttl);
    if !answer_in(deadline, "lead the reconciliation", lead).await? {
        return Ok(false);
    }
    ports.turn.beat();
    let jobs = &ports.store.background_jobs;
    // Rows first: a queue job that is created in between can only close a gap. If a row names an old id, it
    // merely looks like a gap, and its queue job is searched for.
    let rows = answer_in(deadline, "list active rows", jobs.active(&tracked.job_type, ROWS)).await?;
    first_looks(ports, &rows, deadline).await?;
    let known = suspects.known_entries(&rows);
    let entries = answer_in(deadline, "look at the rows' entries", ports.broker.open_of(&known)).await?;
    let carried: BTreeSet<_> = entries.iter().filter_map(|entry| tracked.row_of(entry)).collect();

    ports.turn.beat();
    let resting: Vec<_> =
        rows.iter().filter(|row| row.is_continuation()).map(|row| (row.id, row.note.attempt)).collect();
    let beaten = answer_in(deadline, "keep paused rows alive", jobs.beat(&resting)).await;
    is_done(beaten, None, "the heart of a row that waits for its continuation cannot beat now")?;

    let gaps: Vec<_> = rows.iter().filter(|row| row.needs_entry() && !carried.contains(&row.id)).collect();
    let ripe = suspects.ripe(&gaps, Instant::now(), |row| tracked.grace_of(row, lost));
    let mut all_closed = ripe.len() == gaps.len();
    let missing = without_entry(ports, tracked, suspects, ripe, deadline).await?;
    for row in heed_cancels(ports, tracked, missing, deadline).await? {
        ports.turn.beat();
        let enqueued = enqueue_anew(ports, tracked, look, row).await;
        all_closed &= is_done(enqueued, Some(row.id), "a row without an entry cannot be enqueued anew now")?;
    }
    Ok(all_closed)
}

/// Whether a step is done. One that fails for its row is logged and holds up no other; only an outage ends the check.
fn is_done<T>(step: Result<T, Fault>, row: Option<BackgroundJobId>, failed: &str) -> Result<bool, Fault> {
    match step {
        Ok(_) => Ok(true),
        Err(fault) if fault.kind() == FaultKind::Unavailable => Err(fault),
        Err(fault) => {
            let row = row.map(tracing::field::display);
            tracing::warn!(background_job = row, error = fault.chain(), "{failed}");
            Ok(false)
        }
    }
}

async fn enqueue_anew(
    ports: &RescuerPorts,
    tracked: &TrackedKind,
    &Look { deadline, lost, .. }: &Look<'_>,
    row: &BackgroundJob,
) -> Result<(), Fault> {
    // After a loss of data, all processes restore the job under the same id.
    let known = row.note.queue_job.clone().filter(|_| lost);
    let id = known.clone().unwrap_or_else(|| JobId::from(uuid::Uuid::new_v4().to_string()));
    if known.is_none() {
        let note = ports.store.background_jobs.carried_by(row.id, &id);
        answer_in(deadline, "note the new entry", note).await?;
        failpoint::reach("reconcile.noted");
    }
    let entry = [tracked.entry(id.clone(), row.id)];
    let made = answer_in(deadline, "enqueue a row anew", ports.broker.enqueue(&entry)).await?;
    if made.contains(&Enqueued::Accepted) {
        JOBS_ENQUEUED_ANEW.counter(&[]).increment(1);
        let what = if lost { FORGOTTEN } else { MISSING };
        tracing::warn!(background_job = %row.id, job.id = %id, queue.name = %tracked.queue, "{what}");
    }
    Ok(())
}

/// Records what exists for rows that do not say what they cover, before more arrives.
async fn first_looks(ports: &RescuerPorts, rows: &[BackgroundJob], deadline: Duration) -> Result<(), Fault> {
    let unbounded = |row: &&BackgroundJob| row.cursor.upper_id.is_none() && row.cursor.first_look.is_none();
    for row in rows.iter().filter(unbounded) {
        ports.turn.beat();
        let look = ports.store.background_jobs.look(row.id);
        let looked = answer_in(deadline, "look at a row for the first time", look).await;
        is_done(looked, Some(row.id), "what there was at the first look at a row cannot be noted now")?;
    }
    Ok(())
}

const MISSING: &str = "a row had no entry in its queue; enqueued it anew";
const FORGOTTEN: &str = "the queue has lost the entry of a row; wrote it anew from the database";

/// Those of the rows for which no queue job is found by a search.
async fn without_entry<'a>(
    ports: &RescuerPorts,
    tracked: &TrackedKind,
    suspects: &Suspects,
    mut rows: Vec<&'a BackgroundJob>,
    deadline: Duration,
) -> Result<Vec<&'a BackgroundJob>, Fault> {
    if rows.is_empty() {
        return Ok(rows);
    }
    let search = ports.broker.open_jobs(&tracked.kind);
    let entries = searched(ports, answer_in(deadline * SEARCH, "search for entries", search)).await?;
    for entry in entries {
        let Some(row) = tracked.row_of(&entry) else { continue };
        rows.retain(|other| other.id != row);
        suspects.entries.lock().insert(row, entry.id);
    }
    Ok(rows)
}

/// Gives signs of life during a search.
async fn searched<T>(ports: &RescuerPorts, search: impl Future<Output = T>) -> T {
    let mut search = pin!(search);
    loop {
        tokio::select! {
            found = &mut search => return found,
            () = tokio::time::sleep(SIGN) => ports.turn.beat(),
        }
    }
}

/// Cancels those of the rows whose queue job was canceled by the queue's own means, which know nothing of rows, and
/// returns the others. An entry that was canceled is not lost: nobody wants it to run.
async fn heed_cancels<'a>(
    ports: &RescuerPorts,
    tracked: &TrackedKind,
    rows: Vec<&'a BackgroundJob>,
    deadline: Duration,
) -> Result<Vec<&'a BackgroundJob>, Fault> {
    let canceled = if rows.is_empty() { Vec::new() } else { canceled(ports, tracked, deadline).await? };
    let mut others = Vec::new();
    for row in rows {
        let Some(entry) =
            canceled.iter().find(|entry| tracked.row_of(entry) == Some(row.id) && may_be_of(entry, row))
        else {
            others.push(row);
            continue;
        };
        tracing::warn!(
            background_job = %row.id, job.id = %entry.id,
            "a row's entry was canceled in its queue; the row is cancelled, too"
        );
        let (id, business_id) = (row.id, row.business_id);
        let (wish, by) = (PersonMove::Cancel, format!("the cancel of queue job {}", entry.id));
        let cancel = ports.tracker.send(AskPerson(Person { id, business_id, wish, by, queue_job: None }));
        let lost = |error| Err(Fault::new(FaultKind::Retryable, "the tracker restarts").because(error));
        let cancel = async { cancel.await.unwrap_or_else(lost) };
        let cancelled = answer_in(deadline, "cancel a row whose entry was canceled", cancel).await;
        is_done(cancelled, Some(row.id), "a row whose entry was canceled cannot be cancelled now")?;
    }
    Ok(others)
}

/// The canceled queue jobs of the kind, under either of its names.
async fn canceled(
    ports: &RescuerPorts,
    tracked: &TrackedKind,
    deadline: Duration,
) -> Result<Vec<JobRecord>, Fault> {
    let mut found = Vec::new();
    for kind in [tracked.kind.clone(), tracked.kind.short().into()] {
        let filter = JobFilter {
            state: Some(JobState::Canceled),
            kind: Some(kind),
            limit: ROWS,
            ..JobFilter::default()
        };
        let search = ports.broker.jobs(&filter);
        found.extend(
            searched(ports, answer_in(deadline * SEARCH, "search for canceled entries", search)).await?,
        );
    }
    Ok(found)
}

/// Whether a queue job may be of this row, and not of an earlier one with its id, by clocks that may be of any zone.
fn may_be_of(entry: &JobRecord, row: &BackgroundJob) -> bool {
    row.created_at.is_none_or(|made| made - entry.created_at <= ANY_ZONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Limit;
    use crate::job::background::{Cursor, Note, PauseReason};
    use crate::job::{BusinessId, Progress};

    fn row(id: i64, status: Status, reason: Option<PauseReason>) -> BackgroundJob {
        BackgroundJob {
            id: BackgroundJobId(id),
            business_id: BusinessId(1),
            requested_by_user_id: None,
            job_type: "delete_receipts_all".into(),
            status,
            progress: Progress::default(),
            last_error: None,
            cursor: Cursor::default(),
            created_at: None,
            updated_at: None,
            started_at: None,
            finished_at: None,
            heartbeat_at: None,
            note: Note { pause_reason: reason, ..Note::default() },
        }
    }

    #[test]
    fn only_rows_that_go_on_by_themselves_need_an_entry() {
        assert!(row(1, Status::Queued, None).needs_entry());
        assert!(row(1, Status::Running, None).needs_entry());
        assert!(row(1, Status::Paused, Some(PauseReason::Continuation)).needs_entry());
        assert!(!row(1, Status::Paused, Some(PauseReason::Person)).needs_entry());
        assert!(!row(1, Status::Paused, None).needs_entry());
        assert!(!row(1, Status::Completed, None).needs_entry());
    }

    #[test]
    fn a_gap_is_closed_once_and_only_after_it_stood_unchanged() {
        let (suspects, grace) = (Suspects::default(), Duration::from_secs(30));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut job = row(7, Status::Queued, None);
        assert!(suspects.ripe(&[&job], at(0), |_| grace).is_empty());
        job.note.attempt = 1;
        assert!(suspects.ripe(&[&job], at(40), |_| grace).is_empty(), "it moved meanwhile");
        job.updated_at = Some(chrono::DateTime::UNIX_EPOCH);
        let ripe = suspects.ripe(&[&job], at(70), |_| grace);
        assert_eq!(ripe.first().map(|row| row.id), Some(BackgroundJobId(7)), "a heartbeat is no carrier");
        drop(ripe);
        assert!(suspects.ripe(&[&job], at(71), |_| grace).is_empty(), "the second look changes nothing");
    }

    #[test]
    fn a_gap_that_closed_by_itself_is_forgotten() {
        let (suspects, grace) = (Suspects::default(), Duration::from_secs(30));
        let (start, job) = (Instant::now(), row(7, Status::Queued, None));
        suspects.ripe(&[&job], start, |_| grace);
        suspects.ripe(&[], start + grace, |_| grace);
        assert!(suspects.ripe(&[&job], start + grace * 2, |_| grace).is_empty());
    }

    #[test]
    fn after_a_loss_only_rows_that_somebody_works_on_wait_for_their_process() {
        let seconds = Duration::from_secs;
        let tracked = TrackedKind {
            job_type: "t".into(),
            kind: "k".into(),
            parameter: "row",
            queue: "q".into(),
            timeout: Limit::Never,
            result_ttl: Limit::Never,
            failure_ttl: Limit::Never,
            grace: seconds(30),
            grace_after_loss: seconds(15),
            leadership_ttl: seconds(90),
        };
        let graces = |status, reason| {
            let row = row(7, status, reason);
            (tracked.grace_of(&row, false).as_secs(), tracked.grace_of(&row, true).as_secs())
        };
        assert_eq!(graces(Status::Queued, None), (30, 0));
        assert_eq!(graces(Status::Paused, Some(PauseReason::Continuation)), (30, 0));
        assert_eq!(graces(Status::Running, None), (30, 15));
    }
}
