//! Waiting for work without taking it: one connection for each queue, blocked on the server.
//!
//! Moving the head of a list to the head of the same list leaves it as it is, and wakes every waiter.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::link::{fault, is_of_connection};
use super::server::Server;
use crate::fault::Fault;
use crate::job::QueueName;

/// The longest that one call blocks: a connection that died silently is noticed that soon.
const BLOCK: Duration = Duration::from_secs(5);
/// Time between two looks at a queue that is paused, or at one whose jobs cannot be taken.
const LOOK: Duration = Duration::from_millis(100);

/// Connections that wait, by queue, while nobody waits on them.
#[derive(Default)]
pub(super) struct Waiters {
    idle: Mutex<HashMap<QueueName, MultiplexedConnection>>,
}

impl Waiters {
    /// As [`Broker::wait`](crate::queue::Broker::wait).
    pub(super) async fn wait(
        &self,
        server: &Server,
        queue: &QueueName,
        patience: Duration,
    ) -> Result<bool, Fault> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if is_held_back(server, queue).await? {
                if left.is_zero() {
                    return Ok(false);
                }
                tokio::time::sleep(LOOK.min(left)).await;
                continue;
            }
            if self.block(server, queue, left).await? {
                // Paused while it waited: then there is nothing to fetch.
                if !is_held_back(server, queue).await? {
                    return Ok(true);
                }
            } else if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Blocks once; a connection that is given up in the middle is not used again.
    async fn block(&self, server: &Server, queue: &QueueName, left: Duration) -> Result<bool, Fault> {
        let what = || format!("wait for `{queue}`");
        let longest = BLOCK.min(left);
        let idle = self.idle.lock().remove(queue);
        let mut connection = match idle {
            Some(connection) => connection,
            None => server.link.blocking(BLOCK).await.map_err(|error| fault(error, what()))?,
        };
        let list = server.keys.queue(queue.as_str());
        // Zero would block for ever.
        let seconds = longest.as_secs_f64().max(0.001);
        let mut command = redis::cmd("BLMOVE");
        command.arg(&list).arg(&list).arg("LEFT").arg("LEFT").arg(seconds);
        let answer: redis::RedisResult<Option<Vec<u8>>> = command.query_async(&mut connection).await;
        match answer {
            Ok(head) => {
                self.idle.lock().insert(queue.clone(), connection);
                Ok(head.is_some())
            }
            Err(error) => {
                if !is_of_connection(&error) {
                    self.idle.lock().insert(queue.clone(), connection);
                }
                Err(fault(error, what()))
            }
        }
    }
}

/// Whether nothing may be fetched from the queue now.
async fn is_held_back(server: &Server, queue: &QueueName) -> Result<bool, Fault> {
    let mut commands = redis::pipe();
    commands.exists(server.keys.suspended()).hexists(server.keys.paused(), queue.as_str());
    let (suspended, paused): (bool, bool) =
        server.link.ask(&commands, || format!("look whether `{queue}` is paused")).await?;
    Ok(suspended || paused)
}
