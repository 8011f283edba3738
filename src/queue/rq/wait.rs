//! Waiting for work without taking it: one connection for each queue, blocked on the server.
//!
//! Moving the head of a list to the head of the same list leaves it as it is, and wakes every waiter.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::link::{fault, is_spent, refusal};
use super::server::Server;
use crate::fault::Fault;
use crate::job::QueueName;

/// The longest that one call blocks: a connection that died silently is noticed that soon.
const BLOCK: Duration = Duration::from_secs(5);
/// The shortest that one call blocks, in seconds: zero blocks for ever, and Redis 6.2 cuts a millisecond down to zero.
pub(super) const LEAST: f64 = 0.005;
/// Time between two looks at a queue that is paused, or at one whose jobs cannot be taken.
const LOOK: Duration = Duration::from_millis(100);

/// What blocking once was good for.
enum Waited {
    /// There is something in the list.
    Work,
    /// So is there, but nobody may take it.
    HeldBack,
    /// There was nothing.
    InVain,
}

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
            match self.block(server, queue, left).await? {
                Waited::Work => return Ok(true),
                Waited::InVain if left.is_zero() => return Ok(false),
                // Paused while it waited: then there is nothing to fetch.
                Waited::InVain | Waited::HeldBack => {}
            }
        }
    }

    /// Blocks once; a connection that is given up in the middle is not used again.
    async fn block(&self, server: &Server, queue: &QueueName, left: Duration) -> Result<Waited, Fault> {
        let what = || format!("wait for `{queue}`");
        let longest = BLOCK.min(left);
        let idle = self.idle.lock().remove(queue);
        let mut connection = match idle {
            Some(connection) => connection,
            None => server.link.blocking(BLOCK).await.map_err(|error| fault(error, what()))?,
        };
        let list = server.keys.queue(queue.as_str());
        let seconds = longest.as_secs_f64().max(LEAST);
        // The looks wait behind it on the server, so that they cost no round trip when there is work.
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
                }
                // At its memory limit a server lets nobody wait so; what waits there frees memory when it has run.
                if refusal(&error).is_some_and(|(code, _)| code == "OOM") {
                    return look_again(server, queue, left).await;
                }
                Err(fault(error, what()))
            }
        }
    }
}

/// What to do where nobody can be woken: looks, and lets a moment pass when there is nothing.
async fn look_again(server: &Server, queue: &QueueName, left: Duration) -> Result<Waited, Fault> {
    let mut commands = redis::pipe();
    commands.exists(server.keys.queue(queue.as_str()));
    let (there,): (bool,) = server.link.ask(&commands, || format!("look into `{queue}`")).await?;
    if there {
        return Ok(Waited::Work);
    }
    tokio::time::sleep(LOOK.min(left)).await;
    Ok(Waited::InVain)
}

/// Asks whether everything is suspended, and whether this queue is paused.
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
