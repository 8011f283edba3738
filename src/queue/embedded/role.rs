//! Leaderships: at most one process at a time does what one is enough for.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use crate::job::ProcessId;

use super::database::{Database, millis, now, time};
use crate::queue::seen::LeadershipState;

/// Takes or renews `role`; `false` when another holds it.
pub async fn lead(
    database: &Database,
    role: &str,
    process: &ProcessId,
    ttl: Duration,
) -> Result<bool, sqlx::Error> {
    let now = now();
    // One statement: of two that find the role free only one gets it. A tick in the future is from before the clock was set
    // back: its leader is believed from now on for as long as it had asked for, and no longer.
    let holder: Option<String> = sqlx::query_scalar(
        "INSERT INTO tikkun_roles (role, holder, lease_until, last_tick) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (role) DO UPDATE
         SET holder = iif(holder = excluded.holder OR lease_until <= excluded.last_tick, excluded.holder, holder),
             lease_until = iif(holder = excluded.holder OR lease_until <= excluded.last_tick, excluded.lease_until,
                               excluded.last_tick + lease_until - last_tick),
             last_tick = excluded.last_tick
         WHERE holder = excluded.holder OR lease_until <= excluded.last_tick OR last_tick > excluded.last_tick
         RETURNING holder",
    )
    .bind(role)
    .bind(process.as_str())
    .bind(now + millis(ttl))
    .bind(now)
    .fetch_optional(database.writer()?)
    .await?;
    Ok(holder.as_deref() == Some(process.as_str()))
}

/// Gives `role` up, if `process` has it; when it last ticked stays known.
pub async fn resign(database: &Database, role: &str, process: &ProcessId) -> Result<(), sqlx::Error> {
    // Another's leadership is left alone.
    sqlx::query("UPDATE tikkun_roles SET lease_until = 0 WHERE role = ?1 AND holder = ?2")
        .bind(role)
        .bind(process.as_str())
        .execute(database.writer()?)
        .await?;
    Ok(())
}

/// Takes every role from a process that is lost: nobody waits for a leader who is known to be dead.
pub async fn forfeit(connection: &mut SqliteConnection, process: &ProcessId) -> Result<(), sqlx::Error> {
    // In the transaction that declares it lost: a leader whose lease lives keeps its roles.
    sqlx::query("UPDATE tikkun_roles SET lease_until = 0 WHERE holder = ?1")
        .bind(process.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Who holds `role`.
pub async fn leadership(database: &Database, role: &str) -> Result<Option<LeadershipState>, sqlx::Error> {
    // One row at most: the role is the key.
    let row: Option<(String, i64, i64)> =
        sqlx::query_as("SELECT holder, lease_until, last_tick FROM tikkun_roles WHERE role = ?1")
            .bind(role)
            .fetch_optional(database.readers())
            .await?;
    Ok(row.map(|(holder, lease_until, last_tick)| LeadershipState {
        holder: holder.into(),
        ttl: Duration::from_millis(u64::try_from(lease_until - now()).unwrap_or_default()),
        last_tick: Some(time(last_tick)),
    }))
}
