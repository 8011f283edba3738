//! Work that would hold the server for too long in one script, done in steps.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::server::Server;
use crate::fault::Fault;
use crate::job::QueueName;
use crate::queue::seen::QueueCounts;

/// The server's word for the beginning and for the end of a look through all keys.
const FIRST_LOOK: &str = "0";

/// The most steps of a look through all keys, each of about a thousand, in one call.
const LOOKS: u32 = 10;

/// Lets go dependents that were too many for the script in which their job ended, in at most so many `steps`.
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

/// Puts at most `max` jobs that are due into their queues; how many, and for each queue where that failed, why.
pub(super) async fn promote(server: &Server, max: u32) -> Result<(u32, Vec<String>), Fault> {
    let host = gethostname::gethostname();
    let (mut promoted, mut troubles, mut queues) = (0, Vec::new(), Queues::default());
    loop {
        let mut call = server.prepare(&server.scripts.promote);
        call.arg(max - promoted).arg(host.to_string_lossy().as_ref()).arg(std::process::id());
        queues.step(&mut call);
        let (moved, some, rest): (u32, Vec<String>, Vec<String>) =
            server.link.invoke(&call, || "promote due jobs".to_owned()).await?;
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

/// As many queues as one script looks at.
const QUEUES_IN_A_STEP: usize = 1000;

/// The queues that are not looked at yet. The first step finds them: with less than a thousand it is the only one.
#[derive(Default)]
struct Queues(Vec<String>);

impl Queues {
    /// Names those of the next step.
    fn step(&mut self, call: &mut redis::ScriptInvocation<'_>) {
        for queue in self.0.drain(self.0.len().saturating_sub(QUEUES_IN_A_STEP)..) {
            call.arg(queue);
        }
    }

    /// Whether there are more, with those that the first step did not look at.
    fn has_more(&mut self, rest: Vec<String>) -> bool {
        self.0.extend(rest);
        !self.0.is_empty()
    }
}

/// A look through all keys, a part at a time.
pub(super) struct KeyLook {
    /// Where its next part begins.
    next: Mutex<String>,
}

impl Default for KeyLook {
    fn default() -> Self {
        Self { next: Mutex::new(FIRST_LOOK.to_owned()) }
    }
}

impl KeyLook {
    /// Forgets unique keys of jobs that ended or went in a way that nobody here saw.
    pub(super) async fn free_keys(&self, server: &Server) -> Result<(), Fault> {
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
