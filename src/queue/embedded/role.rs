//! Leader leases: at most one process at a time holds a role.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use crate::job::ProcessId;

use super::database::{Database, millis, now, time};
use crate::queue::seen::LeadershipState;

/// Takes or renews `role`; `false` if another process holds it.
pub async fn lead(
    database: &Database,
    role: &str,
    process: &ProcessId,
    ttl: Duration,
) -> Result<bool, sqlx::Error> {
    let now = now();
    // One statement: if two processes find the role free, only one gets it. A tick in the future was made
    // before the clock was set back; then the lease counts from now, for the duration that the leader had
    // asked for.
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

/// Gives up `role`, if `process` has it; the last tick is kept.
pub async fn resign(database: &Database, role: &str, process: &ProcessId) -> Result<(), sqlx::Error> {
    // Another process's lease is not changed.
    sqlx::query("UPDATE tikkun_roles SET lease_until = 0 WHERE role = ?1 AND holder = ?2")
        .bind(role)
        .bind(process.as_str())
        .execute(database.writer()?)
        .await?;
    Ok(())
}

/// Takes all roles from a lost process, so that others need not wait for a dead leader.
pub async fn forfeit(connection: &mut SqliteConnection, process: &ProcessId) -> Result<(), sqlx::Error> {
    // Runs in the transaction that declares the process lost: a leader with a valid lease keeps its roles.
    sqlx::query("UPDATE tikkun_roles SET lease_until = 0 WHERE holder = ?1")
        .bind(process.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// The holder of `role`.
pub async fn leadership(database: &Database, role: &str) -> Result<Option<LeadershipState>, sqlx::Error> {
    // At most one row, because the role is the key.
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
