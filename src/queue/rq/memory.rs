//! Detects data loss: our mark tells a server that lost everything from one on which a job was deleted.
//!
//! The first process to renew its lease on an empty server puts a mark there. A process that finds another
//! mark than before writes back its own data: its lease, its queues and its running jobs, under their
//! executions. Jobs that nobody runs are restored from the database by the leader of the reconciliation.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turns, MutexGuard};

use super::exchange::{Ended, Ends, Take, name_of};
use super::lease_record::written;
use super::server::Server;
use super::wire::{Hash, queue_list};
use crate::fault::{Fault, FaultKind};
use crate::job::ExecutionId;
use crate::queue::delivery::{Settled, Settlement};
use crate::queue::lent::Lent;
use crate::queue::seen::ProcessRecord;

/// What this process knows about the server's memory.
pub(super) struct Memory {
    server: Arc<Server>,
    known: Mutex<Known>,
    /// Only one task at a time writes back, so that a job which has ended meanwhile is not restored.
    turns: Turns<()>,
}

/// The mark, and the lease of this process.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// The last mark that was found; empty before the first lease.
    pub(super) mark: String,
    /// The process with the lease.
    process: Option<ProcessRecord>,
    /// The duration of the lease in milliseconds; 0 before the first.
    pub(super) ttl: u64,
}

/// A running job of this process, in the form to write back.
struct Held {
    execution: ExecutionId,
    worker: String,
    id: String,
    hash: Arc<Hash>,
}

impl Memory {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, known: Mutex::default(), turns: Turns::default() }
    }

    /// What is known now.
    pub(super) fn known(&self) -> Known {
        self.known.lock().clone()
    }

    /// Records the process of the lease, before the first renewal.
    pub(super) fn belongs_to(&self, process: &ProcessRecord, ttl: u64) {
        let mut known = self.known.lock();
        known.process = Some(process.clone());
        known.ttl = ttl;
    }

    /// Settles deliveries. One refused by a server that lost its data is written back and then settled.
    pub(super) async fn settle(&self, settlements: &[Settlement]) -> Result<Ended, Fault> {
        let before = self.known();
        let ended = self.server.settle(settlements).await?;
        self.settled(&before, settlements, ended).await
    }

    /// The same after the server has answered, whose memory was the one known `before`.
    pub(super) async fn settled(
        &self,
        before: &Known,
        settlements: &[Settlement],
        ended: Ended,
    ) -> Result<Ended, Fault> {
        let Ended { mut settled, mut more_to_release } = ended;
        let refused = settled.contains(&Settled::NotOurs);
        let forgot = if refused { self.forgot_since(before).await? } else { None };
        if forgot.is_some() {
            let pairs = settlements.iter().zip(&settled);
            let refused: Vec<_> = pairs
                .filter(|(_, settled)| **settled == Settled::NotOurs)
                .map(|(one, _)| one.clone())
                .collect();
            let again = self.server.settle(&refused).await?;
            more_to_release |= again.more_to_release;
            let mut again = again.settled.into_iter();
            for one in settled.iter_mut().filter(|settled| **settled == Settled::NotOurs) {
                *one = again.next().unwrap_or(Settled::NotOurs);
            }
        }
        self.server.forget(settlements);
        Ok(Ended { settled, more_to_release })
    }

    /// Settles, and takes jobs, which go back to their queue by themselves if nobody receives them. The answers to the
    /// settlements are those of the script.
    pub(super) async fn lend(self: &Arc<Self>, ends: Ends, take: Take) -> Result<(Vec<u8>, Lent), Fault> {
        let (memory, context) = (Arc::clone(self), name_of(&ends, Some(&take)));
        let calling = tokio::spawn(async move {
            let (answers, taken) = memory.server.exchange(&ends, Some(&take)).await?;
            let lent = Lent::new(taken, async move |returned| memory.settle(&returned).await.map(drop));
            Ok::<_, Fault>((answers, lent))
        });
        calling.await.map_err(|died| Fault::new(FaultKind::Retryable, context).because(died))?
    }

    /// Records the server's mark; returns whether the server has lost this process's data, which is then
    /// written back.
    pub(super) async fn found_mark(&self, mark: &str) -> Result<bool, Fault> {
        let known = self.known();
        if known.mark == mark {
            return Ok(false);
        }
        if !known.mark.is_empty() {
            tracing::warn!(
                process.id = known.process.as_ref().map(|process| process.id.as_str()),
                "Redis has forgotten everything (emptied, evicted, or started anew without its data): this process \
                 registers again and writes back the jobs that it runs; what waited there and has no row in \
                 background_jobs is lost"
            );
            let _turn = self.turns.lock().await;
            self.write_back().await?;
        }
        mark.clone_into(&mut self.known.lock().mark);
        Ok(!known.mark.is_empty())
    }

    /// `Some` if the server's memory is another one than `before`. The running jobs of this process are then
    /// restored, and nobody else writes back while the guard is held.
    async fn forgot_since(&self, before: &Known) -> Result<Option<MutexGuard<'_, ()>>, Fault> {
        if before.mark.is_empty() {
            return Ok(None);
        }
        let mut commands = redis::pipe();
        commands.hget(self.server.keys.memory(), "mark");
        let (mark,): (Option<String>,) =
            self.server.link.ask(&commands, || "look whether Redis remembers".to_owned()).await?;
        if mark.as_deref() == Some(&*before.mark) {
            return Ok(None);
        }
        let turn = self.turns.lock().await;
        self.write_back().await?;
        Ok(Some(turn))
    }

    /// Writes back the lease, the queues and the running jobs of this process where missing. Needs the guard.
    async fn write_back(&self) -> Result<(), Fault> {
        let known = self.known();
        let Some(process) = known.process else { return Ok(()) };
        let record = written(&process, known.ttl)?;
        let mut call = self.server.prepare(&self.server.scripts.write_back);
        call.arg(process.id.as_str()).arg(record).arg(known.ttl).arg(queue_list(&process.queues));
        let mut bytes = 0;
        for held in self.held_here() {
            let description = description(&held.id, &held.hash);
            let description = description.iter().map(|text| (&b"description"[..], text.as_bytes()));
            let fields: Vec<_> = held.hash.0.all().chain(description).collect();
            bytes += fields.iter().map(|(_, value)| value.len()).sum::<usize>();
            call.arg(held.execution.as_str()).arg(held.worker).arg(held.id).arg(held.hash.queue());
            call.arg(fields.len() * 2);
            for (name, value) in fields {
                call.arg(name).arg(value);
            }
        }
        let what = || "write back what Redis has forgotten".to_owned();
        let back: Vec<(String, String)> = self.server.link.invoke_heavy(&call, bytes, what).await?;
        for (id, queue) in back {
            tracing::warn!(
                job.id = id,
                queue.name = queue,
                "wrote back a running job that Redis had forgotten"
            );
        }
        Ok(())
    }

    /// Every job that one of our workers runs.
    fn held_here(&self) -> Vec<Held> {
        let lent = self.server.lent.lock();
        let held = |(execution, worker): (ExecutionId, String)| {
            let (id, hash) = lent.get(&execution).map(|lent| (lent.id.clone(), Arc::clone(&lent.hash)))?;
            Some(Held { execution, worker, id, hash })
        };
        self.server.workers.busy().into_iter().filter_map(held).collect()
    }
}

/// The field that a fetch leaves out, which can be derived.
fn description(id: &str, hash: &Hash) -> Option<String> {
    let (record, _) = hash.record(id, None, &super::codec::Limits::default());
    record.args.ok().map(|args| format!("{}{args}", record.kind))
}
