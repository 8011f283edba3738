//! Work that would block the server for too long in one script, done in steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::server::Server;
use super::taken::tell_of_dropped;
use crate::fault::Fault;
use crate::job::QueueName;
use crate::queue::seen::QueueCounts;

/// The cursor of the server at the beginning and at the end of a scan.
const FIRST_LOOK: &str = "0";

/// The most steps of a scan in one call, each of about a thousand keys.
const LOOKS: u32 = 10;

/// Releases the dependents that were too many for the call that settled. The end is written; if this is interrupted, a
/// record on the server lets any process finish it.
pub(super) fn release_the_rest(server: &Arc<Server>) {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        if let Err(fault) = release(&server, u32::MAX).await {
            tracing::warn!(error = fault.chain(), "dependents of ended jobs are let go later");
        }
    });
}

/// Releases dependents that were too many for the script which ended their job, in up to `steps` steps.
pub(super) async fn release(server: &Server, steps: u32) -> Result<(), Fault> {
    for _ in 0..steps {
        let call = server.prepare(&server.scripts.release);
        let is_more: u8 = server.link.invoke(&call, || "let dependents go".to_owned()).await?;
        if is_more == 0 {
            break;
        }
    }
    Ok(())
}

/// The queue of a scheduled entry that was given up, its id, why, and whether that is a loss. Names may be any bytes.
type GivenUp = (Vec<u8>, (Vec<u8>, String, bool));

/// Moves at most `max` due jobs to their queues; returns how many, and the error of each queue that failed.
pub(super) async fn promote(server: &Server, max: u32) -> Result<(u32, Vec<String>), Fault> {
    let host = gethostname::gethostname();
    let (mut promoted, mut troubles, mut queues) = (0, Vec::new(), Queues::default());
    loop {
        let mut call = server.prepare(&server.scripts.promote);
        call.arg(max - promoted).arg(host.to_string_lossy().as_ref()).arg(std::process::id());
        queues.step(&mut call);
        let (moved, some, rest, given_up): (u32, Vec<String>, Vec<String>, Vec<GivenUp>) =
            server.link.invoke(&call, || "promote due jobs".to_owned()).await?;
        for (queue, (id, reason, is_loss)) in given_up {
            let [queue, id] = [queue, id].map(|name| String::from_utf8_lossy(&name).into_owned());
            tell_of_dropped(&queue, (id, reason, is_loss));
        }
        promoted = max.min(promoted + moved);
        troubles.extend(some);
        if !queues.has_more(rest) || promoted == max {
            return Ok((promoted, troubles));
        }
    }
}

/// Counts the jobs of every queue by state.
pub(super) async fn counts(server: &Server) -> Result<BTreeMap<QueueName, QueueCounts>, Fault> {
    type Row = (String, u64, u64, u64, u64, u64, u64);
    let (mut counts, mut queues) = (BTreeMap::new(), Queues::default());
    loop {
        let mut call = server.prepare(&server.scripts.counts);
        queues.step(&mut call);
        let (rest, rows): (Vec<String>, Vec<Row>) =
            server.people.invoke(&call, || "count jobs".to_owned()).await?;
        let row = |(queue, queued, scheduled, started, finished, failed, canceled): Row| {
            (QueueName::from(queue), QueueCounts { queued, scheduled, started, finished, failed, canceled })
        };
        counts.extend(rows.into_iter().map(row));
        if !queues.has_more(rest) {
            return Ok(counts);
        }
    }
}

/// The number of queues per script.
const QUEUES_IN_A_STEP: usize = 1000;

/// The queues not processed yet. The first step finds them; with less than a thousand there is only one step.
#[derive(Default)]
struct Queues(Vec<String>);

impl Queues {
    /// Adds the queues of the next step to the call.
    fn step(&mut self, call: &mut redis::ScriptInvocation<'_>) {
        for queue in self.0.drain(self.0.len().saturating_sub(QUEUES_IN_A_STEP)..) {
            call.arg(queue);
        }
    }

    /// Adds those that the first step left, and returns whether there are more.
    fn has_more(&mut self, rest: Vec<String>) -> bool {
        self.0.extend(rest);
        !self.0.is_empty()
    }
}

/// A scan of all keys, in parts.
pub(super) struct KeyLook {
    /// The cursor of the next part.
    next: Mutex<String>,
}

impl Default for KeyLook {
    fn default() -> Self {
        Self { next: Mutex::new(FIRST_LOOK.to_owned()) }
    }
}

impl KeyLook {
    /// Deletes unique keys of jobs that foreign programs ended or deleted. If the caller `comes_again` at once, it is
    /// left to the last of its calls: a part of the scan costs as much as a whole call to drop jobs.
    pub(super) async fn free_keys(&self, server: &Server, comes_again: bool) -> Result<(), Fault> {
        if comes_again {
            return Ok(());
        }
        for _ in 0..LOOKS {
            let mut call = server.prepare(&server.scripts.free_keys);
            call.arg(&*self.next.lock());
            let next: String =
                server.link.invoke(&call, || "look for unique keys that nobody holds".to_owned()).await?;
            let is_end = next == FIRST_LOOK;
            *self.next.lock() = next;
            if is_end {
                break;
            }
        }
        Ok(())
    }
}
