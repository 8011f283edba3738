//! The marks of schedules, which change only together with the due jobs.

use std::collections::BTreeMap;

use crate::queue::upkeep::{ScheduleMark, ScheduleStep};

use super::database::{Database, time};
use super::enqueue::{enqueue_in, room_for};

/// A row of `tikkun_schedules`.
type MarkRow = (String, String, i64, Option<i64>);

/// Every mark, by schedule.
pub async fn marks(database: &Database) -> Result<BTreeMap<String, ScheduleMark>, sqlx::Error> {
    // One statement, so that the marks are consistent.
    let rows: Vec<MarkRow> = sqlx::query_as("SELECT name, rule, until, last FROM tikkun_schedules")
        .fetch_all(database.readers())
        .await?;
    Ok(rows.into_iter().map(mark).collect())
}

fn mark((name, rule, until, last): MarkRow) -> (String, ScheduleMark) {
    (name, ScheduleMark { rule, until: time(until), last: last.map(time) })
}

/// Takes one step; `false` if the mark is not as the step expects.
pub async fn step(database: &Database, step: &ScheduleStep) -> Result<bool, sqlx::Error> {
    database.has_room_to_add(|| room_for(&step.jobs)).await?;
    let mut tx = database.write().await?;
    // Read in the writing transaction: if two processes saw the same mark, only one moves it.
    let row: Option<MarkRow> =
        sqlx::query_as("SELECT name, rule, until, last FROM tikkun_schedules WHERE name = ?1")
            .bind(&step.name)
            .fetch_optional(&mut *tx)
            .await?;
    if row.map(|row| mark(row).1) != step.from {
        return Ok(false);
    }
    enqueue_in(&mut tx, &step.jobs).await?;
    // In the transaction of the jobs: each marked time has exactly one job.
    sqlx::query("INSERT OR REPLACE INTO tikkun_schedules (name, rule, until, last) VALUES (?1, ?2, ?3, ?4)")
        .bind(&step.name)
        .bind(&step.to.rule)
        .bind(step.to.until.timestamp_millis())
        .bind(step.to.last.map(|last| last.timestamp_millis()))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}
