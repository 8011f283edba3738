//! The statements for `background_jobs` that are specific to PostgreSQL.

use async_trait::async_trait;
use sqlx::PgConnection;

use super::connection::Database;
use super::engine::number;
use super::fault::During;
use super::reference_sql::hides_some;
use super::statement::{query, scalar};
use super::status_sql::fitting;
use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::store::Watched;
use crate::store::sql::background_jobs::JobsSql;
use crate::store::sql::engine::Sql;

/// Updates only rows that still have the attempt of the update, by the newest row and fence, and returns
/// their ids. Rows are locked in the order of their ids, so that deadlocks cannot occur. The time is the
/// server's.
const BEAT: &str = "
    with ours as materialized (
        select j.id
        from unnest($1::bigint[], $2::integer[]) as beat (id, attempt)
        join background_jobs j on j.id = beat.id
        join tikkun_background_jobs n on n.background_job_id = beat.id and n.attempt = beat.attempt
        where j.status = 'running' or (j.status = 'paused' and n.pause_reason = 'continuation')
        order by j.id
        for no key update of j, n)
    update background_jobs set heartbeat_at = now() at time zone 'utc', updated_at = now() at time zone 'utc'
    from ours where background_jobs.id = ours.id
    returning background_jobs.id::bigint";

/// Locks row and fence first, in the order of their ids.
const WATCH: &str = concat!(
    "
    with ours as materialized (
        select j.id, w.waiting_for, w.rate, w.eta_seconds, w.last_error
        from unnest($1::bigint[], $2::integer[], $3::text[], $4::double precision[], $5::double precision[],
                    $6::text[]) as w (id, attempt, waiting_for, rate, eta_seconds, last_error)
        join background_jobs j on j.id = w.id
        join tikkun_background_jobs n on n.background_job_id = w.id and n.attempt = w.attempt
        where j.status = 'running'
        order by j.id
        for no key update of j, n),
    notes as (
        update tikkun_background_jobs n
        set waiting_for = ours.waiting_for, rate = ours.rate, eta_seconds = ours.eta_seconds,
            updated_at = now() at time zone 'utc'
        from ours where n.background_job_id = ours.id)
    update background_jobs set last_error = ",
    fitting!("ours.last_error"),
    ", updated_at = now() at time zone 'utc'
    from ours where background_jobs.id = ours.id and ours.last_error is not null"
);

/// Those of our own tables whose row security lets this role see or change less than all rows.
const HIDDEN: &str = concat!(
    "
    select string_agg(t.relname::text, ', ' order by t.relname::text) as hidden
    from pg_class t
    where t.oid in (to_regclass('tikkun_background_jobs'), to_regclass('tikkun_set_aside'),
                    to_regclass('tikkun_cleanup_outbox'), to_regclass('tikkun_ended_sessions'),
                    to_regclass('tikkun_store_check'), to_regclass('tikkun_certificates'), to_regclass('tikkun_deletions'),
                    to_regclass('tikkun_rows_set_aside'))
      and ",
    hides_some!("t.oid"),
);

#[async_trait]
impl JobsSql for Database {
    const CARRIED_BY: Sql = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at)
    select id, $2, now() at time zone 'utc' from background_jobs where id = $1
    on conflict (background_job_id) do update set
        queue_job = excluded.queue_job, updated_at = excluded.updated_at";

    // Each process writes its own row, so that none waits for another.
    const CHECK: Sql = "
    insert into tikkun_store_check (id, checked_at)
    values (floor(random() * 2000000000)::integer, now() at time zone 'utc') returning id";
    const HIDDEN: Option<Sql> = Some(HIDDEN);
    const CHECKED: Option<Sql> = Some("delete from tikkun_store_check where id = $1");

    async fn beat(
        tx: &mut PgConnection,
        rows: &[(BackgroundJobId, u32)],
        what: &str,
    ) -> Result<Vec<i64>, Fault> {
        let ids: Vec<i64> = rows.iter().map(|(id, _)| id.0).collect();
        let attempts: Vec<i32> = rows.iter().map(|(_, attempt)| number(*attempt)).collect();
        scalar(BEAT).bind(ids).bind(attempts).fetch_all(tx).await.during(what)
    }

    async fn watch(tx: &mut PgConnection, updates: &[Watched], what: &str) -> Result<(), Fault> {
        query(WATCH)
            .bind(updates.iter().map(|watched| watched.id.0).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| number(watched.attempt)).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.waiting_for.clone()).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.rate).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.eta_seconds).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.last_error.clone()).collect::<Vec<_>>())
            .execute(tx)
            .await
            .during(what)?;
        Ok(())
    }
}
