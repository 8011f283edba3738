//! Positions in a queue: the next one at either end, for many jobs of one transaction.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;

use crate::job::QueueEnd;

/// The ends of the queues to which this transaction adds jobs. Use it within one writing transaction only, so
/// that nobody else can move the ends meanwhile.
#[derive(Debug, Default)]
pub struct Places {
    ends: HashMap<String, (i64, i64)>,
}

impl Places {
    /// The next free position at `end` of `queue`.
    pub async fn next(
        &mut self,
        tx: &mut SqliteConnection,
        queue: &str,
        end: QueueEnd,
    ) -> Result<i64, sqlx::Error> {
        if !self.ends.contains_key(queue) {
            let ends = read_ends(tx, queue).await?;
            self.ends.insert(queue.to_owned(), ends);
        }
        let (first, last) = self.ends.entry(queue.to_owned()).or_default();
        let taken = match end {
            QueueEnd::Head => first,
            QueueEnd::Tail => last,
        };
        *taken += if end == QueueEnd::Head { -1 } else { 1 };
        Ok(*taken)
    }
}

async fn read_ends(tx: &mut SqliteConnection, queue: &str) -> Result<(i64, i64), sqlx::Error> {
    // Two searches at the ends of the index, whatever the length of the queue.
    sqlx::query_as(
        "SELECT coalesce((SELECT min(position) FROM tikkun_jobs WHERE state = 'queued' AND queue = ?1), 0),
                coalesce((SELECT max(position) FROM tikkun_jobs WHERE state = 'queued' AND queue = ?1), 0)",
    )
    .bind(queue)
    .fetch_one(tx)
    .await
}
