//! The statements for the clean-up outbox that are specific to PostgreSQL. Times are of the server's clock.

use async_trait::async_trait;
use sqlx::PgConnection;

use super::connection::Database;
use super::engine::number;
use super::fault::During;
use super::statement::query;
use crate::fault::Fault;
use crate::store::sql::engine::Sql;
use crate::store::sql::outbox::{OutboxSql, Postponed};

const POSTPONE: &str = "
    update tikkun_cleanup_outbox o
    set attempts = p.attempts, next_try_at = now() at time zone 'utc' + p.wait * interval '1 second',
        last_error = p.last_error, refused = p.refused, last_error_at = now() at time zone 'utc'
    from unnest($1::bigint[], $2::integer[], $3::double precision[], $4::text[], $5::boolean[])
        as p (id, attempts, wait, last_error, refused)
    where o.id = p.id";

#[async_trait]
impl OutboxSql for Database {
    // `offset 0`: a look-up for each object, whatever the planner thinks of their number. Keys differ if any byte does.
    const FORGET_NEEDED: Sql = "
    with due as materialized (
        select id, key from tikkun_cleanup_outbox
        where parked_at is null and next_try_at <= now() at time zone 'utc' and driver = $1 and bucket = $2
          and ($4 is null or background_job_id = $4)
        order by next_try_at, id limit $3
        for update skip locked),
    needed as materialized (
        select distinct due.id from due cross join lateral (
            select a.storage_path from attachments a where a.storage_path = due.key offset 0) a
        where a.storage_path::text collate \"C\" = due.key collate \"C\")
    delete from tikkun_cleanup_outbox where id in (select id from needed)
    returning id, key, background_job_id";

    // Skips objects that another process is claiming at the moment.
    const CLAIM: Sql = "
    update tikkun_cleanup_outbox o set next_try_at = now() at time zone 'utc' + $5 * interval '1 second'
    from (
        select id from tikkun_cleanup_outbox
        where parked_at is null and next_try_at <= now() at time zone 'utc' and driver = $1 and bucket = $2
          and ($4 is null or background_job_id = $4)
        order by next_try_at, id limit $3
        for update skip locked) due
    where o.id = due.id
    returning o.id, o.key";
    const CLAIM_OF_JOB: Sql = Self::CLAIM;

    const HASTEN: Sql = "
    update tikkun_cleanup_outbox set next_try_at = now() at time zone 'utc'
    where parked_at is null and next_try_at > now() at time zone 'utc' + $1 * interval '1 second' returning id";

    const CONFIRM: Sql = "delete from tikkun_cleanup_outbox where id = any($1)";

    const ATTEMPTS: Sql =
        "select id, attempts from tikkun_cleanup_outbox where id = any($1) order by id for update";

    const PARK: Sql = "
    update tikkun_cleanup_outbox set parked_at = coalesce(parked_at, now() at time zone 'utc')
    where id = any($1) returning id";

    const UNPARK: Sql = "
    update tikkun_cleanup_outbox
    set next_try_at = case when parked_at is null then next_try_at else now() at time zone 'utc' end, parked_at = null
    where id = any($1) returning id";

    const UNPARK_ALL: Sql = "
    update tikkun_cleanup_outbox set next_try_at = now() at time zone 'utc', parked_at = null
    where parked_at is not null returning id";

    async fn postpone(tx: &mut PgConnection, objects: &[Postponed<'_>], what: &str) -> Result<(), Fault> {
        query(POSTPONE)
            .bind(objects.iter().map(|one| one.object.id).collect::<Vec<_>>())
            .bind(objects.iter().map(|one| number(one.attempts)).collect::<Vec<_>>())
            .bind(objects.iter().map(|one| one.wait.as_secs_f64()).collect::<Vec<_>>())
            .bind(objects.iter().map(|one| one.object.error.as_str()).collect::<Vec<_>>())
            .bind(objects.iter().map(|one| one.object.refused).collect::<Vec<_>>())
            .execute(tx)
            .await
            .during(what)?;
        Ok(())
    }
}
