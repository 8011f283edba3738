//! The statements of a deletion batch, as text.
//!
//! A list of ids is a subselect and so unknown to the planner, and `business_id + 0` matches no index.
//! Otherwise the planner would compare the list with the index of all the tenant's rows, in each batch.

use super::beneath_sql::{beneath, names, unlockable};
use super::reference_sql::{
    bound, bound_by, hides, holders, judged, like_receipts, of_receipts, onto_attachments, policy_of_b, read,
};
use crate::store::sql::deletion_steps::TakeSql;

/// Locks the receipts that the given text selects: until the commit nobody can change those that are still
/// live, nor link, change or delete the tenant's attachments that they point to. Rows of each table are
/// locked in the order of their ids, so that two batches cannot deadlock.
macro_rules! take {
    ($chosen:literal) => {
        concat!(
            "
    with chosen as materialized (",
            $chosen,
            "),
    live as materialized (
        select r.id, r.attachment_id, r.preview_attachment_id from receipts r
        where r.id = any(array(select id from chosen)) and r.business_id + 0 = $1 and r.is_deleted is not true
        order by r.id for no key update),
    pointed as materialized (
        select attachment_id as id from live where attachment_id is not null
        union select preview_attachment_id from live where preview_attachment_id is not null),
    held as materialized (
        select a.id from attachments a
        where a.id = any(array(select id from pointed)) and a.business_id + 0 = $1
          and a.purpose in ('receipt_source', 'receipt_preview')
        order by a.id for update)
    select array(select id::bigint from chosen), array(select id::bigint from live),
           array(select id::bigint from pointed), array(select id::bigint from held)"
        )
    };
}

/// The row and its fence as committed, locked against changes until our commit, and the policies that bind us, the
/// relations that we mean, and those of them whose rows nobody can lock. A row without a note was never begun by Tikkun.
pub(super) const LOCK_JOB: &str = concat!(
    "
    select j.business_id, j.status, j.cursor, coalesce(j.total, 0) as total,
           coalesce(j.processed, 0) as processed, coalesce(j.succeeded, 0) as succeeded,
           coalesce(j.failed_count, 0) as failed_count, n.attempt,
           (n.revived or n.barren_attempts > 0) as recovering, n.kept, now() at time zone 'utc' as now, (",
    bound_by!(),
    ") as bound_by, (",
    names!(),
    ") as names, (
           select string_agg(concat(named, ' (by the view ', relname, ')'), ', ' order by named, relname) from ",
    unlockable!(),
    " u) as unlockable
    from background_jobs j join tikkun_background_jobs n on n.background_job_id = j.id
    where j.id = $1
    for no key update of j, n"
);

/// The reason for which nothing is deleted.
pub(super) const UNLOCKABLE: &str = "these relations are views that PostgreSQL cannot update by itself, such as unions, joins and groups, so that \
    their rows cannot be locked and a file could go that somebody just begins to use; nothing is deleted";

/// The statements that take receipts. They order by the table's column, not by the result's column, because
/// the index has that order.
pub(super) const TAKE: TakeSql = TakeSql {
    forward: take!(
        "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id > $3 and r.id <= $4
       and (cardinality($5::bigint[]) = 0 or width_bucket(r.id::bigint, $5::bigint[]) % 2 = 1)
     order by r.id limit $2"
    ),
    dated_forward: take!(
        "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id > $3 and r.id <= $4
       and (cardinality($5::bigint[]) = 0 or width_bucket(r.id::bigint, $5::bigint[]) % 2 = 1)
       and (r.created_at <= $6 or r.created_at > $8 or (r.created_at is null and $7))
     order by r.id limit $2"
    ),
    sweep: take!(
        "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id <= $3
       and (cardinality($5::bigint[]) = 0 or width_bucket(r.id::bigint, $5::bigint[]) % 2 = 1)
       and not exists (select 1 from tikkun_set_aside s where s.background_job_id = $4 and s.receipt_id = r.id)
     order by r.id limit $2"
    ),
    dated_sweep: take!(
        "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id <= $3
       and (cardinality($5::bigint[]) = 0 or width_bucket(r.id::bigint, $5::bigint[]) % 2 = 1)
       and (r.created_at <= $6 or r.created_at > $8 or (r.created_at is null and $7))
       and not exists (select 1 from tikkun_set_aside s where s.background_job_id = $4 and s.receipt_id = r.id)
     order by r.id limit $2"
    ),
    set_aside: take!(
        "select r.id from tikkun_set_aside s join receipts r on r.id = s.receipt_id
     where s.background_job_id = $4 and s.receipt_id > $3 and r.business_id = $1 and r.is_deleted is not true
     order by s.receipt_id limit $2"
    ),
};

/// Marks receipts of the tenant, whatever the list contains, and clears their pointers to attachments that
/// are deleted; otherwise the foreign keys would update a receipt once per attachment. Deletes the rows of
/// attachments, and writes their objects to the outbox unless a remaining row shares the object; keys differ
/// if any byte does, whatever the column's collation says. Moves the job's row from its locked values, only
/// while it is running, and counts what is gone in our note, with our own copy of the row. All or nothing.
macro_rules! change {
    ($status:literal) => {
        concat!(
            "
    with marked as (
        update receipts set is_deleted = true, deleted_at = $1, updated_at = $1,
            attachment_id =
                case when attachment_id in (select unnest($4::bigint[])) then null else attachment_id end,
            preview_attachment_id =
                case when preview_attachment_id in (select unnest($4::bigint[])) then null else preview_attachment_id end
        where id = any((select $3::bigint[])::bigint[]) and business_id + 0 = $2 and is_deleted is not true),
    gone as (
        delete from attachments where id = any((select $4::bigint[])::bigint[]) and business_id + 0 = $2
        returning id, storage_path, file_size),
    moved as (
        update background_jobs
        set cursor = $9, total = $10, processed = $11, succeeded = $12, failed_count = $13,
            updated_at = $1, heartbeat_at = $1
        where id = $5 and ",
            $status,
            " and $9 is not null),
    written as (
        insert into tikkun_cleanup_outbox
            (background_job_id, business_id, driver, bucket, key, bytes, condemned_at, next_try_at)
        select $5, $2, $6, $7, storage_path, file_size, $1, $8
        from gone g
        where coalesce(storage_path, '') <> ''
          and not exists (select 1 from gone o
                          where o.storage_path::text collate \"C\" = g.storage_path::text collate \"C\" and o.id < g.id)
          and not exists (select 1 from attachments o
                          where o.storage_path = g.storage_path and o.id not in (select id from gone))
        order by id
        returning id, key),
    counted as (
        update tikkun_background_jobs
        set receipts_counted = receipts_counted + $14,
            attachments_removed = attachments_removed + cardinality($4::bigint[]),
            attachments_referenced = attachments_referenced + $15,
            objects_condemned = objects_condemned + (select count(*) from written), kept = $16
        where background_job_id = $5)
    select id, key from written order by id"
        )
    };
}

pub(super) const CHANGE: &str = change!("status = 'running'");

/// The same, not noticing that the row was cancelled: `check.cancel`.
pub(super) const CHANGE_CANCELLED: &str = change!("status in ('running', 'cancelled')");

/// Looks at the rows after the change, effects of triggers included. Whether all receipts are deleted, or none is live
/// whoever has it, and no policy may hide one. How many attachments still exist or now use the object of a deleted one;
/// live receipts point to one, and deleted ones do although a foreign key should have cleared the pointer, which a
/// trigger can prevent. And whether the job's row has moved. All this of the same relations as at the start.
pub(super) const STANDING: &str = concat!(
    "
    select (select count(*) filter (where business_id + 0 = $1 and is_deleted is true) = cardinality($2::bigint[])
                or (count(*) filter (where is_deleted is not true) = 0 and not (",
    hides!("select to_regclass('receipts')::oid"),
    "))
            from receipts where id = any((select $2::bigint[])::bigint[])),
           (select count(*) from attachments where id = any((select $3::bigint[])::bigint[]))
           + (select count(*) from attachments where storage_path = any((select $6::text[])::text[]))
           + (select count(*) from receipts r
              where (r.attachment_id = any((select $3::bigint[])::bigint[])
                     or r.preview_attachment_id = any((select $3::bigint[])::bigint[]))
                and (r.is_deleted is not true or (
                     select count(*) from pg_constraint c
                     where c.contype = 'f' and c.conrelid = to_regclass('receipts')
                       and c.confrelid = to_regclass('attachments')) > 1)),
           exists (select 1 from background_jobs where id = $4 and processed = $5 and cursor = $7), (",
    names!(),
    ")"
);

/// Receipts of a list that are live now.
pub(super) const STILL_LIVE: &str = "
    select id::bigint from receipts
    where id = any((select $2::bigint[])::bigint[]) and business_id + 0 = $1 and is_deleted is not true
    order by id";

/// How many attachments of a list do not exist now, and to how many of another list that do no receipt points.
pub(super) const STRAYS: &str = "
    select (select count(*) from unnest($1::bigint[]) as one (id)
            where not exists (select 1 from attachments a where a.id = one.id)),
           (select count(*) from attachments a
            where a.id = any((select $2::bigint[])::bigint[])
              and not exists (select 1 from receipts r where r.attachment_id = a.id)
              and not exists (select 1 from receipts r where r.preview_attachment_id = a.id))";

/// Marks live receipts of the tenant, whatever the list contains.
pub(super) const MARK: &str = "
    update receipts set is_deleted = true, deleted_at = $1, updated_at = $1
    where id = any((select $2::bigint[])::bigint[]) and business_id + 0 = $3 and is_deleted is not true";

/// Writes the objects of attachments that are about to be deleted, except those that a remaining row shares.
pub(super) const WRITE_OUTBOX: &str = "
    insert into tikkun_cleanup_outbox
        (background_job_id, business_id, driver, bucket, key, bytes, condemned_at, next_try_at)
    select $1, $2, $3, $4, a.storage_path, a.file_size, $5, $6 from attachments a
    where a.id = any((select $7::bigint[])::bigint[]) and coalesce(a.storage_path, '') <> ''
      and not exists (select 1 from attachments o where o.storage_path = a.storage_path and o.id <> a.id
                      and o.storage_path::text collate \"C\" = a.storage_path::text collate \"C\"
                      and (o.id < a.id or not o.id = any((select $7::bigint[])::bigint[])))
    order by a.id
    returning id, key";

/// Clears the pointers to attachments that are about to be deleted from receipts that were deleted earlier in
/// the same batch, because not every foreign key does so.
pub(super) const UNLINK: &str = "
    update receipts set
        attachment_id =
            case when attachment_id in (select unnest($2::bigint[])) then null else attachment_id end,
        preview_attachment_id =
            case when preview_attachment_id in (select unnest($2::bigint[])) then null else preview_attachment_id end
    where id = any((select $1::bigint[])::bigint[]) and business_id + 0 = $3 and is_deleted is true
      and (attachment_id in (select unnest($2::bigint[])) or preview_attachment_id in (select unnest($2::bigint[])))";

/// Deletes attachments of the tenant; foreign keys clear the pointers of other receipts.
pub(super) const DROP_ATTACHMENTS: &str =
    "delete from attachments where id = any((select $1::bigint[])::bigint[]) and business_id + 0 = $2";

/// How many attachments of a list row security hides from us or forbids to lock, although receipts point to
/// them.
pub(super) const NOT_SHOWN: &str = concat!(
    "
    select count(*) from unnest($1::bigint[]) as p (id)
    where exists (select 1 from ",
    bound!("select to_regclass('attachments')::oid"),
    " b) and not exists (
        select 1 from attachments a
        where a.id = p.id and (a.business_id is distinct from $2::bigint
              or a.purpose is null or a.purpose not in ('receipt_source', 'receipt_preview')))"
);
/// The reason why such an attachment stays.
pub(super) const NOT_TO_BE_LOCKED: &str =
    "a policy of row security on attachments hides it or lets nobody lock it; `tikkun doctor` names it";

/// A receipt is set aside once per job, with its newest reason.
pub(super) const SET_ASIDE: &str = "
    insert into tikkun_set_aside (background_job_id, receipt_id, reason, created_at)
    select $1, aside.receipt_id, aside.reason, $2 from unnest($3::bigint[], $4::text[]) as aside (receipt_id, reason)
    on conflict (background_job_id, receipt_id) do update set reason = excluded.reason";
