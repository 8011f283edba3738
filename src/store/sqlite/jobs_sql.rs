//! The statements for `background_jobs` that are specific to SQLite.

use async_trait::async_trait;
use chrono::Utc;
use serde_json::json;
use sqlx::SqliteConnection;

use super::connection::Database;
use super::fault::During;
use super::{list, moment};
use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::store::Watched;
use crate::store::sql::background_jobs::JobsSql;
use crate::store::sql::engine::Sql;

/// Updates only rows that still have the attempt of the update, and returns their ids.
const BEAT: &str = "
    update background_jobs set heartbeat_at = ?2, updated_at = ?2
    where id in (
        select n.background_job_id
        from json_each(?1) beat cross join tikkun_background_jobs n
            on n.background_job_id = beat.value ->> 0 and n.attempt = beat.value ->> 1
        cross join background_jobs j on j.id = n.background_job_id
        where j.status = 'running' or (j.status = 'paused' and n.pause_reason = 'continuation'))
    returning id";

/// Writes the live figures of running rows, only under the newest attempt.
const WATCH_NOTE: &str = "
    update tikkun_background_jobs
    set waiting_for = w.value ->> 'waiting_for', rate = w.value ->> 'rate',
        eta_seconds = w.value ->> 'eta_seconds', updated_at = ?2
    from json_each(?1) w
    where background_job_id = w.value ->> 'id' and attempt = w.value ->> 'attempt'
      and exists (select 1 from background_jobs j where j.id = background_job_id and j.status = 'running')";

/// Writes the last error of running rows, only under the newest attempt; null keeps the old one.
const WATCH_ERROR: &str = "
    update background_jobs set last_error = w.value ->> 'last_error', updated_at = ?2
    from json_each(?1) w cross join tikkun_background_jobs n on n.background_job_id = w.value ->> 'id'
    where background_jobs.id = n.background_job_id and n.attempt = w.value ->> 'attempt'
      and background_jobs.status = 'running' and w.value ->> 'last_error' is not null";

#[async_trait]
impl JobsSql for Database {
    const CARRIED_BY: Sql = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at)
    select id, $2, $3 from background_jobs where id = $1
    on conflict (background_job_id) do update set
        queue_job = excluded.queue_job, updated_at = excluded.updated_at";

    const CHECK: Sql = "
    insert into tikkun_store_check (id, checked_at) values (1, $1)
    on conflict (id) do update set checked_at = excluded.checked_at";
    const HIDDEN: Option<Sql> = None;
    const CHECKED: Option<Sql> = None;

    async fn beat(
        tx: &mut SqliteConnection,
        rows: &[(BackgroundJobId, u32)],
        what: &str,
    ) -> Result<Vec<i64>, Fault> {
        let beat = sqlx::query_scalar(BEAT).bind(list::json(rows)?).bind(moment::to_text(Utc::now()));
        beat.fetch_all(tx).await.during(what)
    }

    async fn watch(tx: &mut SqliteConnection, updates: &[Watched], what: &str) -> Result<(), Fault> {
        let updates = list::json(&updates.iter().map(as_json).collect::<Vec<_>>())?;
        let now = moment::to_text(Utc::now());
        for statement in [WATCH_NOTE, WATCH_ERROR] {
            sqlx::query(statement).bind(&updates).bind(&now).execute(&mut *tx).await.during(what)?;
        }
        Ok(())
    }
}

fn as_json(watched: &Watched) -> serde_json::Value {
    json!({
        "id": watched.id,
        "attempt": watched.attempt,
        "waiting_for": watched.waiting_for,
        "rate": watched.rate,
        "eta_seconds": watched.eta_seconds,
        "last_error": watched.last_error,
    })
}
