//! The statements for the clean-up outbox that are specific to SQLite.

use async_trait::async_trait;
use chrono::Utc;
use sqlx::SqliteConnection;

use super::connection::Database;
use super::fault::During;
use super::{list, moment};
use crate::fault::Fault;
use crate::store::sql::engine::Sql;
use crate::store::sql::outbox::{OutboxSql, Postponed, later};

/// Claims due objects of one store that match the given condition.
macro_rules! claim {
    ($which:literal) => {
        concat!(
            "
    update tikkun_cleanup_outbox set next_try_at = $5
    where id in (
        select id from tikkun_cleanup_outbox
        where ",
            $which,
            "parked_at is null and next_try_at <= $6 and driver = $1 and bucket = $2
        order by next_try_at, id limit $3)
    returning id, key"
        )
    };
}

const POSTPONE: &str = "
    update tikkun_cleanup_outbox
    set attempts = p.value ->> 1, next_try_at = p.value ->> 2, last_error = p.value ->> 3, refused = p.value ->> 4,
        last_error_at = $2
    from json_each($1) p
    where tikkun_cleanup_outbox.id = p.value ->> 0";

#[async_trait]
impl OutboxSql for Database {
    const FORGET_NEEDED: Sql = "
    delete from tikkun_cleanup_outbox where id in (
        select due.id from (
            select id, key from tikkun_cleanup_outbox
            where ($4 is null or background_job_id = $4)
              and parked_at is null and next_try_at <= $5 and driver = $1 and bucket = $2
            order by next_try_at, id limit $3) due
        where exists (select 1 from attachments a where a.storage_path = due.key))
    returning id, key, background_job_id";
    const CLAIM: Sql = claim!("");
    const CLAIM_OF_JOB: Sql = claim!("background_job_id = $4 and ");

    const HASTEN: Sql = "
    update tikkun_cleanup_outbox set next_try_at = $2 where parked_at is null and next_try_at > $1 returning id";

    const CONFIRM: Sql = "delete from tikkun_cleanup_outbox where id in (select value from json_each($1))";

    const ATTEMPTS: Sql =
        "select id, attempts from tikkun_cleanup_outbox where id in (select value from json_each($1))";

    const PARK: Sql = "
    update tikkun_cleanup_outbox set parked_at = coalesce(parked_at, $2)
    where id in (select value from json_each($1)) returning id";

    const UNPARK: Sql = "
    update tikkun_cleanup_outbox
    set next_try_at = case when parked_at is null then next_try_at else $2 end, parked_at = null
    where id in (select value from json_each($1)) returning id";

    const UNPARK_ALL: Sql = "
    update tikkun_cleanup_outbox set next_try_at = $1, parked_at = null
    where parked_at is not null returning id";

    async fn postpone(tx: &mut SqliteConnection, objects: &[Postponed<'_>], what: &str) -> Result<(), Fault> {
        let now = Utc::now();
        let row = |one: &Postponed<'_>| {
            let next = moment::to_text(later(now, one.wait));
            (one.object.id, one.attempts, next, one.object.error.clone(), one.object.refused)
        };
        let rows = list::json(&objects.iter().map(row).collect::<Vec<_>>())?;
        let postpone = sqlx::query(POSTPONE).bind(rows).bind(moment::to_text(now));
        postpone.execute(tx).await.during(what)?;
        Ok(())
    }
}
