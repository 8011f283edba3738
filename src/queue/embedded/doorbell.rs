//! Wakes waiting listeners: at once for work from this process, and within 250 ms for work from others.
//!
//! One watcher looks on behalf of all listeners, and only while one waits: it asks SQLite whether anything
//! was written since, which reads no table.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Notify;

use crate::job::QueueName;

use super::database::Database;
use super::look;

/// How often work from other processes is looked for: soon enough for users, and too rarely to cause load.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The pause after the file could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The bells, one for each queue that has ever been waited for.
#[derive(Debug, Default)]
pub struct Doorbell {
    bells: Mutex<HashMap<QueueName, Arc<Notify>>>,
    waiting: AtomicUsize,
    someone_came: Notify,
}

/// Counts one waiting listener until dropped.
pub struct Waiting<'a>(&'a Doorbell);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Doorbell {
    /// The bell of `queue`. Listen first and then look for work, so that no ring is missed.
    pub fn of(&self, queue: &QueueName) -> Arc<Notify> {
        let mut bells = self.bells.lock();
        if let Some(bell) = bells.get(queue) {
            return Arc::clone(bell);
        }
        Arc::clone(bells.entry(queue.clone()).or_default())
    }

    /// Wakes all listeners of `queue`.
    pub fn ring(&self, queue: &QueueName) {
        if let Some(bell) = self.bells.lock().get(queue) {
            bell.notify_waiters();
        }
    }

    /// Keeps the watcher active.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.someone_came.notify_one();
        Waiting(self)
    }

    /// Completes when a listener waits.
    async fn someone_waits(&self) {
        while self.waiting.load(Ordering::SeqCst) == 0 {
            self.someone_came.notified().await;
        }
    }

    /// Rings for work from other processes. Runs until aborted.
    pub async fn watch(self: Arc<Self>, database: Arc<Database>) {
        loop {
            if let Err(error) = self.watch_over(&database).await {
                tracing::warn!(%error, "cannot see what other processes enqueue; trying again");
            }
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }

    async fn watch_over(&self, database: &Database) -> Result<(), sqlx::Error> {
        let mut line = database.private_line().await?;
        // Writes made while nobody waited show as a difference in the first check.
        let mut seen = None;
        loop {
            self.someone_waits().await;
            let version = Some(data_version(&mut line).await?);
            if version != seen {
                for queue in with_work(&mut line).await? {
                    self.ring(&queue);
                }
                seen = version;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn data_version(line: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    // Differs from the last answer on this connection if another connection has committed since.
    sqlx::query_scalar("PRAGMA data_version").fetch_one(line).await
}

async fn with_work(line: &mut SqliteConnection) -> Result<Vec<QueueName>, sqlx::Error> {
    // Read after the version: a commit in between rings twice instead of never.
    let names: Vec<String> = sqlx::query_scalar(look::QUEUES_WITH_WORK).fetch_all(line).await?;
    Ok(names.into_iter().map(QueueName::from).collect())
}
