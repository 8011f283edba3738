//! Waits for work without taking it: one connection for each queue, blocked on the server.
//!
//! Moving the head of a list to the head of the same list leaves the list unchanged, and wakes every waiter.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::link::{fault, is_of_connection, is_spent, refusal};
use super::server::Server;
use crate::fault::Fault;
use crate::job::QueueName;

/// The longest block of one call; a connection that died silently is noticed after this time.
const BLOCK: Duration = Duration::from_secs(5);
/// The shortest block, in seconds: zero blocks for ever, and Redis 6.2 rounds a millisecond down to zero.
pub(super) const LEAST: f64 = 0.005;
/// The time between two checks of a queue that is paused, or whose jobs cannot be taken.
const LOOK: Duration = Duration::from_millis(100);

/// The result of one blocking call.
enum Waited {
    /// There are jobs in the list.
    Work,
    /// There are jobs, but they may not be taken.
    HeldBack,
    /// There are no jobs.
    InVain,
}

/// Waiting connections that are not in use, by queue.
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
            match self.block(server, queue, left).await? {
                Waited::Work => return Ok(true),
                Waited::InVain if left.is_zero() => return Ok(false),
                // Paused meanwhile, so there is nothing to fetch.
                Waited::InVain | Waited::HeldBack => {}
            }
        }
    }

    /// Blocks once; a connection whose call was dropped is not used again.
    async fn block(&self, server: &Server, queue: &QueueName, left: Duration) -> Result<Waited, Fault> {
        let what = || format!("wait for `{queue}`");
        let longest = BLOCK.min(left);
        let idle = self.idle.lock().remove(queue);
        let was_idle = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            // If the others that we have are refused, too, that look tells.
            None => match server.link.own(BLOCK).await {
                Ok(connection) => connection,
                Err(_) => return look_now_and_then(server, queue, longest).await,
            },
        };
        let list = server.keys.queue(queue.as_str());
        let seconds = longest.as_secs_f64().max(LEAST);
        // The checks follow in the same pipeline, so that they cost no round trip when there is work.
        let mut commands = redis::pipe();
        commands.cmd("BLMOVE").arg(&list).arg(&list).arg("LEFT").arg("LEFT").arg(seconds);
        look(&mut commands, server, queue);
        let answer: redis::RedisResult<(Option<Vec<u8>>, bool, bool)> =
            commands.query_async(&mut connection).await;
        match answer {
            Ok((head, suspended, paused)) => {
                self.idle.lock().insert(queue.clone(), connection);
                Ok(match (head, suspended || paused) {
                    (None, _) => Waited::InVain,
                    (Some(_), true) => Waited::HeldBack,
                    (Some(_), false) => Waited::Work,
                })
            }
            Err(error) => {
                if !is_spent(&error) {
                    self.idle.lock().insert(queue.clone(), connection);
                } else if was_idle {
                    // Jobs may have run for hours since its last use. Only a new one shows whether the server is away.
                    return Ok(Waited::InVain);
                }
                // A server at its memory limit refuses to block; running the waiting jobs frees memory. One at its limit
                // of clients takes no further connection; what we have of them serves all queues.
                let refused_to_block = refusal(&error).is_some_and(|(code, _)| code == "OOM");
                if refused_to_block || is_of_connection(&error) {
                    return look_now_and_then(server, queue, longest).await;
                }
                Err(fault(error, what()))
            }
        }
    }
}

/// Used if the server cannot wake us: looks into the queue again and again over the shared connection.
async fn look_now_and_then(server: &Server, queue: &QueueName, longest: Duration) -> Result<Waited, Fault> {
    let end = Instant::now() + longest;
    loop {
        let mut commands = redis::pipe();
        commands.exists(server.keys.queue(queue.as_str()));
        let (there,): (bool,) = server.link.ask(&commands, || format!("look into `{queue}`")).await?;
        if there {
            return Ok(Waited::Work);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Waited::InVain);
        }
        tokio::time::sleep(LOOK.min(left)).await;
    }
}

/// Requests whether everything is suspended, and whether this queue is paused.
fn look(commands: &mut redis::Pipeline, server: &Server, queue: &QueueName) {
    commands.exists(server.keys.suspended()).hexists(server.keys.paused(), queue.as_str());
}

/// Whether nothing may be fetched from the queue now.
async fn is_held_back(server: &Server, queue: &QueueName) -> Result<bool, Fault> {
    let mut commands = redis::pipe();
    look(&mut commands, server, queue);
    let (suspended, paused): (bool, bool) =
        server.link.ask(&commands, || format!("look whether `{queue}` is paused")).await?;
    Ok(suspended || paused)
}
