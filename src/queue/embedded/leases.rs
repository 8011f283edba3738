//! The leases of processes: who may fetch, and whose deliveries are orphans.
//!
//! A process is lost if it ended its own lease, is known to be dead, or did not renew its lease while it was
//! watched. The loss is recorded, so that a process which comes back learns of it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::job::ProcessId;

use super::database::{Database, millis, now, time};
use super::role;
use super::row::{JobRow, batch, unreadable};
use crate::queue::delivery::Orphan;
use crate::queue::incarnation;
use crate::queue::lease_watch::{Lease, LeaseWatch};
use crate::queue::seen::{Overdue, ProcessRecord};

/// What this process knows about leases besides the file.
#[derive(Debug, Default)]
pub struct Leases {
    watch: Mutex<LeaseWatch>,
    /// Processes that got a lease here: if such a lease is missing in the file, it was lost and forgotten.
    granted: Mutex<HashSet<ProcessId>>,
}

impl Leases {
    /// Creates or renews a lease; `false` if it was lost before.
    pub async fn renew(
        &self,
        database: &Database,
        process: &ProcessRecord,
        ttl: Duration,
    ) -> Result<bool, sqlx::Error> {
        // While this is under way, possibly nobody can write. So that time does not count, and if this fails
        // or is dropped, nothing watched before counts.
        let watched = std::mem::take(&mut *self.watch.lock());
        let renewed = self.try_renew(database, process, ttl).await?;
        *self.watch.lock() = watched.rested(Instant::now());
        Ok(renewed)
    }

    async fn try_renew(
        &self,
        database: &Database,
        process: &ProcessRecord,
        ttl: Duration,
    ) -> Result<bool, sqlx::Error> {
        let mut tx = database.write().await?;
        // Read in the renewing transaction, so that nobody can declare the lease lost in between.
        let lost: Option<bool> = sqlx::query_scalar("SELECT lost FROM tikkun_processes WHERE id = ?1")
            .bind(process.id.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        // The lease is valid again in any case, and others see the renewal.
        sqlx::query(
            "INSERT INTO tikkun_processes
                 (id, host, pid, incarnation, queues, started_at, lease_until, ttl_ms, renewals)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)
             ON CONFLICT (id) DO UPDATE
             SET host = excluded.host, pid = excluded.pid, incarnation = excluded.incarnation,
                 queues = excluded.queues, lease_until = excluded.lease_until, ttl_ms = excluded.ttl_ms,
                 renewals = renewals + 1, lost = 0",
        )
        .bind(process.id.as_str())
        .bind(process.host.as_str())
        .bind(process.pid)
        .bind(incarnation::mark(process.pid))
        .bind(batch(&process.queues)?)
        .bind(process.started_at.timestamp_millis())
        .bind(now() + millis(ttl))
        .bind(millis(ttl))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let was_granted = !self.granted.lock().insert(process.id.clone());
        Ok(!lost.unwrap_or(was_granted))
    }

    /// Ends a lease: its unsettled deliveries become orphans at once, and without any the process is
    /// forgotten. Its roles become free.
    pub async fn end(&self, database: &Database, process: &ProcessId) -> Result<(), sqlx::Error> {
        let mut tx = database.write().await?;
        // Marked first, so that its deliveries belong to a lost process.
        sqlx::query("UPDATE tikkun_processes SET lost = 1 WHERE id = ?1")
            .bind(process.as_str())
            .execute(&mut *tx)
            .await?;
        role::forfeit(&mut tx, process).await?;
        forget_idle(&mut tx).await?;
        tx.commit().await?;
        self.granted.lock().remove(process);
        Ok(())
    }

    /// Unsettled deliveries of lost processes; lost processes without any are forgotten.
    pub async fn orphans(&self, database: &Database, max: u32) -> Result<Vec<Orphan>, sqlx::Error> {
        let (leases, any_lost) = read(database).await?;
        let over = self.watch.lock().look(&leases, Instant::now());
        let orphans = if any_lost || !over.is_empty() {
            let mut tx = database.write().await?;
            declare_lost(&mut tx, &over).await?;
            forget_idle(&mut tx).await?;
            let rows = unowned(&mut *tx, max).await?;
            tx.commit().await?;
            rows
        } else {
            unowned(database.readers(), max).await?
        };
        orphans
            .into_iter()
            .map(|row| row.into_delivery().map(|(delivery, process)| Orphan { delivery, process }))
            .collect()
    }
}

/// All leases that are not lost, and whether any are lost.
async fn read(database: &Database) -> Result<(Vec<Lease>, bool), sqlx::Error> {
    // One statement, so that the list is consistent.
    let rows: Vec<(String, u32, Option<String>, i64, i64, bool)> =
        sqlx::query_as("SELECT id, pid, incarnation, renewals, ttl_ms, lost FROM tikkun_processes")
            .fetch_all(database.readers())
            .await?;
    let any_lost = rows.iter().any(|(.., lost)| *lost);
    let lease = |(id, pid, mark, renewals, ttl_ms, _): (String, u32, Option<String>, i64, i64, bool)| Lease {
        process: id.into(),
        renewals,
        ttl: Duration::from_millis(u64::try_from(ttl_ms).unwrap_or_default()),
        gone: mark.is_some_and(|mark| incarnation::is_gone(pid, &mark)),
    };
    Ok((rows.into_iter().filter(|(.., lost)| !*lost).map(lease).collect(), any_lost))
}

async fn declare_lost(tx: &mut sqlx::SqliteConnection, over: &[Lease]) -> Result<(), sqlx::Error> {
    for lease in over {
        // Only if it was not renewed since it was read.
        let lost = sqlx::query("UPDATE tikkun_processes SET lost = 1 WHERE id = ?1 AND renewals = ?2")
            .bind(lease.process.as_str())
            .bind(lease.renewals)
            .execute(&mut *tx)
            .await?;
        if lost.rows_affected() > 0 {
            role::forfeit(tx, &lease.process).await?;
        }
    }
    Ok(())
}

async fn forget_idle(tx: &mut sqlx::SqliteConnection) -> Result<(), sqlx::Error> {
    // A lost process is kept while it has unsettled deliveries.
    sqlx::query(
        "DELETE FROM tikkun_processes
         WHERE lost AND id NOT IN (SELECT process FROM tikkun_jobs WHERE state = 'started')",
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn unowned(from: impl sqlx::SqliteExecutor<'_>, max: u32) -> Result<Vec<JobRow>, sqlx::Error> {
    // A delivery whose process has no valid lease is an orphan, even if the process is unknown.
    sqlx::query_as(
        "SELECT * FROM tikkun_jobs
         WHERE state = 'started' AND process NOT IN (SELECT id FROM tikkun_processes WHERE NOT lost)
         LIMIT ?1",
    )
    .bind(max)
    .fetch_all(from)
    .await
}

/// The processes with a valid lease.
pub async fn processes(database: &Database) -> Result<Vec<ProcessRecord>, sqlx::Error> {
    let listed = listed(database, true).await?;
    Ok(listed.into_iter().map(|(process, _)| process).collect())
}

/// The processes whose lease has run out, and that nobody has declared lost.
pub async fn overdue(database: &Database) -> Result<Vec<Overdue>, sqlx::Error> {
    let listed = listed(database, false).await?;
    Ok(listed
        .into_iter()
        .filter_map(|(process, mark)| Overdue::unless_gone(process, mark.as_deref()))
        .collect())
}

/// Id, host, pid, mark and queues of a process, when it started, and when its lease ends.
type Listed = (String, String, u32, Option<String>, String, i64, i64);

/// The processes that are not lost, each with its mark, and with a lease that is valid or has run out.
async fn listed(
    database: &Database,
    valid: bool,
) -> Result<Vec<(ProcessRecord, Option<String>)>, sqlx::Error> {
    // Ordered by start, so that the order is stable.
    let rows: Vec<Listed> = sqlx::query_as(
        "SELECT id, host, pid, incarnation, queues, started_at, lease_until FROM tikkun_processes
         WHERE NOT lost AND (lease_until > ?1) = ?2 ORDER BY started_at, id",
    )
    .bind(now())
    .bind(valid)
    .fetch_all(database.readers())
    .await?;
    rows.into_iter()
        .map(|(id, host, pid, mark, queues, started_at, lease_until)| {
            let process = ProcessRecord {
                id: id.into(),
                host,
                pid,
                queues: serde_json::from_str(&queues).map_err(unreadable)?,
                started_at: time(started_at),
                lease_until: time(lease_until),
            };
            Ok((process, mark))
        })
        .collect()
}
