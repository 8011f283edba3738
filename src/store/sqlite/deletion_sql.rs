//! The statements of a deletion batch, as text.

use super::list::there;
use super::moment::dated;
use crate::store::sql::deletion_steps::TakeSql;

/// The row, unchanged until the commit because the transaction is the only writer.
pub(super) const LOCK_JOB: &str = "
    select j.business_id, j.status, j.cursor, coalesce(j.total, 0) as total,
           coalesce(j.processed, 0) as processed, coalesce(j.succeeded, 0) as succeeded,
           coalesce(j.failed_count, 0) as failed_count, coalesce(n.attempt, 0) as attempt,
           coalesce(n.revived or n.barren_attempts > 0, 0) as recovering, n.kept,
           (select schema_version from pragma_schema_version) as schema_version
    from background_jobs j left join tikkun_background_jobs n on n.background_job_id = j.id
    where j.id = ?1";

/// The statements that take receipts.
pub(super) const TAKE: TakeSql = TakeSql {
    forward: concat!(
        "select id from receipts
     where business_id = $1 and is_deleted is not true and id > $3 and id <= $4
       and ",
        there!("$5"),
        "
     order by id limit $2"
    ),
    dated_forward: concat!(
        "select id from receipts
     where business_id = $1 and is_deleted is not true and id > $3 and id <= $4
       and ",
        there!("$5"),
        " and ",
        dated!("$6", "$7", "$8"),
        "
     order by id limit $2"
    ),
    sweep: concat!(
        "select id from receipts
     where business_id = $1 and is_deleted is not true and id <= $3
       and ",
        there!("$5"),
        "
       and not exists (select 1 from tikkun_set_aside s where s.background_job_id = $4 and s.receipt_id = receipts.id)
     order by id limit $2"
    ),
    dated_sweep: concat!(
        "select id from receipts
     where business_id = $1 and is_deleted is not true and id <= $3
       and ",
        there!("$5"),
        " and ",
        dated!("$6", "$7", "$8"),
        "
       and not exists (select 1 from tikkun_set_aside s where s.background_job_id = $4 and s.receipt_id = receipts.id)
     order by id limit $2"
    ),
    set_aside: "
    select r.id from tikkun_set_aside s cross join receipts r on r.id = s.receipt_id
    where s.background_job_id = $4 and s.receipt_id > $3
      and +r.business_id = $1 and r.is_deleted is not true
    order by s.receipt_id limit $2",
};

/// Marks live receipts of the tenant, whatever the list contains.
pub(super) const MARK: &str = "
    update receipts set is_deleted = 1, deleted_at = ?1, updated_at = ?1
    where id in (select value from json_each(?2)) and +business_id = ?3 and is_deleted is not true";

/// Receipts of a list that are live now.
pub(super) const STILL_LIVE: &str = "
    select r.id from json_each(?1) one cross join receipts r on r.id = one.value
    where +r.business_id = ?2 and r.is_deleted is not true order by r.id";

/// How many of a list are live now, whoever has them: effects of triggers included.
pub(super) const LEFT: &str = "
    select count(*) from json_each(?1) one cross join receipts r on r.id = one.value
    where r.is_deleted is not true";

/// How many attachments of a list do not exist now, and to how many of another list that do no receipt points.
pub(super) const STRAYS: &str = "
    select (select count(*) from json_each(?1) one where one.value not in (select id from attachments)),
           (select count(*) from json_each(?2) one
            where one.value in (select id from attachments)
              and not exists (select 1 from receipts r where r.attachment_id = one.value)
              and not exists (select 1 from receipts r where r.preview_attachment_id = one.value))";

/// How many attachments of a list a live receipt points to: a trigger may have linked one.
pub(super) const LINKED: &str = "
    select count(*) from json_each(?1) one
    where exists (select 1 from receipts r where r.attachment_id = one.value and r.is_deleted is not true)
       or exists (select 1 from receipts r where r.preview_attachment_id = one.value and r.is_deleted is not true)";

/// How many attachments of a list still exist, or are pointed to although a foreign key should have cleared
/// the pointer; and how many others now use an object that is to be deleted.
pub(super) const THERE: &str = "
    select (select count(*) from json_each(?1) one where one.value in (select id from attachments)
            or exists (select 1 from receipts r where r.attachment_id = one.value)
            or exists (select 1 from receipts r where r.preview_attachment_id = one.value))
         + (select count(*) from json_each(?2) one cross join attachments o on o.storage_path = one.value)";

/// Writes each object to the outbox before its attachment is deleted, in the same transaction. An object that
/// a remaining attachment shares is not written; one that several share is written once.
pub(super) const WRITE_OUTBOX: &str = "
    insert into tikkun_cleanup_outbox
        (background_job_id, business_id, driver, bucket, key, bytes, condemned_at, next_try_at)
    select ?1, a.business_id, ?2, ?3, a.storage_path, a.file_size, ?4, ?5
    from json_each(?6) gone cross join attachments a on a.id = gone.value
    where coalesce(a.storage_path, '') <> ''
      and not exists (
          select 1 from attachments o where o.storage_path = a.storage_path and o.id <> a.id
          and (o.id < a.id or o.id not in (select value from json_each(?6))))
    returning id, key";

/// Deletes condemned rows; foreign keys clear the pointers of receipts.
pub(super) const DROP_ATTACHMENTS: &str =
    "delete from attachments where id in (select value from json_each(?1))";

/// A receipt is set aside once per job, with its newest reason.
pub(super) const SET_ASIDE: &str = "
    insert into tikkun_set_aside (background_job_id, receipt_id, reason, created_at)
    select ?1, value ->> 0, value ->> 1, ?2 from json_each(?3) where true
    on conflict (background_job_id, receipt_id) do update set reason = excluded.reason";

/// Whether the row has moved, effects of triggers included.
pub(super) const MOVED: &str =
    "select exists (select 1 from background_jobs where id = $1 and cursor = $2 and processed = $3) as moved";
