//! The statements that change a row's status, as text. Each runs in a transaction that has locked the row.

use super::engine::{Engine, Sql};
use crate::store::row::select_jobs;

/// The statements that differ between engines.
pub trait StatusSql: Engine {
    /// Locks a row against all other writers until the commit; `None`: the transaction is the only writer.
    const LOCK: Option<Sql>;
    /// Changes a row: `move_row!`.
    const MOVE: Sql;
    /// Notes a new fence and where it starts from: `note_start!`, with what must come before it.
    const NOTE_START: Sql;
    /// Facts about the clocks behind creation times; `None`: all are in UTC.
    const CLOCKS: Option<Sql>;
    /// What the creation times of the live receipts at the first look show.
    const SEEN: Sql;
    /// The number of live receipts of a request, and the last of them.
    const COVERED: Sql;
    /// The number of live receipts that an earlier row set aside, and the last of them.
    const SET_ASIDE_OF: Sql;
}

/// Notes the new fence and the start position, and clears the live figures of the last attempt. A certificate is due
/// from now on. What was counted for it stays, unless nothing is processed: then it is of an older row with this id.
macro_rules! note_start {
    ($before:literal) => {
        concat!(
            $before,
            "insert into tikkun_background_jobs as n
        (background_job_id, attempt, queue_job, barren_attempts, start_last_id, start_processed, updated_at,
         certificate)
    values ($1, $2, $3, $4, $5, $6, $7, 'due')
    on conflict (background_job_id) do update set
        attempt = excluded.attempt, queue_job = excluded.queue_job, barren_attempts = excluded.barren_attempts,
        start_last_id = excluded.start_last_id, start_processed = excluded.start_processed, kept = null,
        pause_reason = null, waiting_for = null, rate = null, eta_seconds = null, ended = null,
        cancelled_by_person = false, updated_at = excluded.updated_at, certificate = 'due',
        receipts_counted = case when excluded.start_processed > 0 then n.receipts_counted else 0 end,
        attachments_removed = case when excluded.start_processed > 0 then n.attachments_removed else 0 end,
        attachments_referenced =
            case when excluded.start_processed > 0 then n.attachments_referenced else 0 end,
        objects_condemned = case when excluded.start_processed > 0 then n.objects_condemned else 0 end,
        objects_needed = case when excluded.start_processed > 0 then n.objects_needed else 0 end"
        )
    };
}
pub(in crate::store) use note_start;

/// Changes a row only from the status that was decided upon; `started_at` keeps its first value. With what `last_error` is
/// for the error `$4`, and where nothing is wrong.
macro_rules! move_row {
    ($error:expr, $nothing:literal) => {
        concat!(
            "
    update background_jobs
    set status = $3, last_error = case when $9 then coalesce(",
            $error,
            ", ",
            $nothing,
            ") else last_error end, finished_at = $5,
        started_at = coalesce(started_at, $6), heartbeat_at = coalesce($7, heartbeat_at), updated_at = $8
    where id = $1 and status = $2"
        )
    };
}
pub(in crate::store) use move_row;

/// The row with its note, both as last committed before the lock was held: a statement of its own, for
/// one that had to wait for the lock would see the new row beside the old note.
pub(super) const ONE: &str = select_jobs!("where j.id = $1");

/// The tenant's active row; the unique index allows only one.
pub(super) const ACTIVE: &str = select_jobs!(
    "where j.business_id = $1 and j.job_type = $2 and j.status in ('queued', 'running', 'paused')"
);

/// The end of the newest attempt, by which a repeated end is known.
pub(super) const NOTE_END: &str = "
    update tikkun_background_jobs
    set ended = $3, pause_reason = $4, waiting_for = null, rate = null, eta_seconds = null,
        barren_attempts = coalesce($5, barren_attempts), updated_at = $6, changed_by = coalesce($7, changed_by)
    where background_job_id = $1 and attempt = $2";

/// Forgets where an attempt began that is over although the database refuses its end: it has not died.
pub(super) const NOTE_UNENDED: &str = "
    update tikkun_background_jobs set start_last_id = null, start_processed = null
    where background_job_id = $1 and attempt = $2";

/// Notes a revival; there is no second one before a successful batch.
pub(super) const NOTE_REVIVED: &str = "
    update tikkun_background_jobs
    set revived = true, ended = null, pause_reason = null, certificate = 'due', updated_at = $2
    where background_job_id = $1";

/// Notes a user's request; one without a queue job keeps the noted queue job. A certificate is due, if it ends the row.
pub(super) const NOTE_PERSON: &str = "
    insert into tikkun_background_jobs as n
        (background_job_id, pause_reason, changed_by, cancelled_by_person, queue_job, updated_at, certificate)
    values ($1, $2, $3, $4, $5, $6, 'due')
    on conflict (background_job_id) do update set
        pause_reason = excluded.pause_reason, changed_by = excluded.changed_by,
        cancelled_by_person = excluded.cancelled_by_person,
        queue_job = coalesce(excluded.queue_job, n.queue_job), waiting_for = null, rate = null,
        eta_seconds = null, updated_at = excluded.updated_at, certificate = 'due'";

/// Notes the queue job of a new row, in the row's own transaction. It replaces the note of an older row with
/// this id from before the table was emptied.
pub(super) const NOTE_QUEUE_JOB: &str = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at, certificate)
    values ($1, $2, $3, 'due')
    on conflict (background_job_id) do update set
        attempt = 0, queue_job = excluded.queue_job, barren_attempts = 0, kept = null, start_last_id = null,
        start_processed = null, revived = false, pause_reason = null, waiting_for = null, rate = null,
        eta_seconds = null, ended = null, changed_by = null, cancelled_by_person = false,
        updated_at = excluded.updated_at, certificate = 'due', receipts_counted = 0,
        attachments_removed = 0, attachments_referenced = 0, objects_condemned = 0, objects_needed = 0";

/// Notes that a row has failed before an attempt began, so that it is not revived. It has a certificate, too.
pub(super) const NOTE_UNBEGUN: &str = "
    insert into tikkun_background_jobs (background_job_id, ended, updated_at, certificate)
    values ($1, 'failed', $2, 'due')
    on conflict (background_job_id) do update set
        ended = excluded.ended, pause_reason = null, updated_at = excluded.updated_at, certificate = 'due'";

/// Whether the tenant has another row that would violate the unique index.
pub(super) const OTHER_ACTIVE: &str = "
    select exists (select 1 from background_jobs
    where business_id = $1 and job_type = $2 and id <> $3 and status in ('queued', 'running', 'paused')) as other";

/// The tenant's live receipt with so many higher ones, by index.
pub(super) const NEWEST: &str = "
    select cast(id as bigint) as newest from receipts where business_id = $1 and is_deleted is not true
    order by id desc limit 1 offset $2";

/// Writes coverage and total of a row of the web application, and counters that were overwritten. Receipts are not
/// counted before the first batch.
pub(super) const COVER: &str = "
    update background_jobs set cursor = $2, total = $3, processed = $4, succeeded = $5, failed_count = $6
    where id = $1";

/// The tenant's newest `$3` ids up to one, as at most `$4` ranges without a gap, the highest first.
pub(super) const THERE: &str = "
    select cast(min(id) as bigint) as first_id, cast(max(id) as bigint) as last_id
    from (select id, id + row_number() over (order by id desc) as run
          from (select id from receipts where business_id = $1 and is_deleted is not true and id <= $2
                order by id desc limit $3) newest) runs
    group by run order by last_id desc limit $4";

/// Inserts a queued row; returns nothing if the unique index already has an active one.
pub(super) const INSERT: &str = "
    insert into background_jobs
        (business_id, requested_by_user_id, job_type, status, total, processed, succeeded, failed_count,
         cursor, created_at, updated_at)
    values ($1, $2, $3, 'queued', $4, 0, 0, 0, $5, $6, $6)
    on conflict do nothing
    returning cast(id as bigint) as made";
