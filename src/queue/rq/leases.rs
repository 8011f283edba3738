//! The leases of processes, and RQ's registries of workers.
//!
//! A lease has expired if its score has passed on the server's clock, or if it was watched for its duration
//! without a renewal. The latter is needed after a failover to a server whose clock is behind, where scores
//! are too far ahead.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::lease_record::{Written, written};
use super::memory::Memory;
use super::server::{Fields, Server};
use super::troubles::Troubles;
use super::wire::{self, queue_list};
use crate::fault::{Fault, FaultKind};
use crate::job::{ExecutionId, ProcessId, QueueName};
use crate::queue::delivery::Orphan;
use crate::queue::lease_watch::{Lease, LeaseWatch};
use crate::queue::seen::{Overdue, ProcessRecord};

/// The time between two heartbeats in RQ's registries; RQ's own workers use 30 s.
const BEAT: Duration = Duration::from_secs(10);

/// The worker version that RQ's tools show.
const VERSION: &str = concat!("3.0.0+tikkun-", env!("CARGO_PKG_VERSION"));

/// What this process knows about leases besides the server.
#[derive(Default)]
pub(super) struct Leases {
    /// Processes that got a lease here, with their queues: if one is missing on the server, it was lost.
    granted: Mutex<HashMap<ProcessId, Vec<QueueName>>>,
    /// When the last heartbeat was written to RQ's registries.
    beaten: Mutex<Option<Instant>>,
    /// What was observed of all leases, and when.
    watch: Mutex<(LeaseWatch, Option<Instant>)>,
    /// Executions whose loss to other processes was logged already.
    told: Mutex<HashSet<String>>,
    /// Orphans that are left to others.
    left: Mutex<HashSet<ExecutionId>>,
    /// The executions that the last look for orphans has found.
    seen: Mutex<Vec<ExecutionId>>,
    /// The size of the largest orphan that was left because it is too large for an answer.
    too_large: Mutex<usize>,
}

impl Leases {
    /// Creates or renews a lease; `false` if it was lost before.
    pub(super) async fn renew(
        &self,
        (server, memory): (&Server, &Memory),
        process: &ProcessRecord,
        ttl: Duration,
    ) -> Result<bool, Fault> {
        let millis = wire::millis(ttl);
        let record = written(process, millis)?;
        let was_granted = self.granted.lock().contains_key(&process.id);
        // Jobs can be fetched once there is a lease, so the workers are registered before the first one.
        if !was_granted {
            self.tell_readers(server, process).await?;
        }
        let mut call = server.prepare(&server.scripts.renew);
        memory.belongs_to(process, millis);
        let new = uuid::Uuid::new_v4().simple().to_string();
        call.arg(process.id.as_str()).arg(record).arg(millis).arg(memory.known().mark).arg(new);
        let (before, mark): (i8, String) =
            server.link.invoke(&call, || format!("renew the lease of process {}", process.id)).await?;
        let forgot = memory.found_mark(&mark).await?;
        if forgot {
            *self.beaten.lock() = None;
        }
        self.granted.lock().insert(process.id.clone(), process.queues.clone());
        if was_granted {
            // The lease is valid, even if the heartbeat fails.
            if let Err(fault) = self.tell_readers(server, process).await {
                tracing::warn!(error = fault.chain(), "RQ's registers could not be told in time");
            }
        }
        Ok(match before {
            1 => true,
            0 => false,
            _ => forgot || !was_granted,
        })
    }

    /// Ends a lease: its unsettled deliveries become orphans.
    pub(super) async fn end(&self, server: &Server, process: &ProcessId) -> Result<(), Fault> {
        let queues = self.granted.lock().get(process).cloned().unwrap_or_default();
        let mut death = server.prepare(&server.scripts.death);
        death.arg(queue_list(&queues)).arg(server.workers.all());
        let mut call = server.prepare(&server.scripts.end_lease);
        call.arg(process.as_str());
        let _: u8 = server.link.invoke(&call, || format!("end the lease of process {process}")).await?;
        let _: u8 = server.link.invoke(&death, || "take RQ workers off the registers".to_owned()).await?;
        self.granted.lock().remove(process);
        *self.beaten.lock() = None;
        Ok(())
    }

    /// Retires all workers, each at the end of its job; on busy ones the time is recorded.
    pub(super) async fn leave(server: &Server) -> Result<(), Fault> {
        server.workers.retire_all();
        note_request(server).await
    }

    /// The bytes that the next look for orphans waits for at least.
    pub(super) fn size_of_orphans(&self) -> usize {
        *self.too_large.lock()
    }

    /// Leaves these orphans to others.
    pub(super) fn leave_to_others(&self, executions: Vec<ExecutionId>) {
        self.left.lock().extend(executions);
    }

    /// Deliveries of processes without a lease, but for those that are left to others. One that is too large for an
    /// answer comes with the next call. An unreadable queue does not block the others.
    pub(super) async fn orphans(
        &self,
        (server, memory): (&Server, &Memory),
        max: u32,
        troubles: &Troubles,
    ) -> Result<Vec<Orphan>, Fault> {
        // Those of the last look that were left to others are in nobody's hand here.
        for left in std::mem::take(&mut *self.seen.lock()) {
            server.lent.lock().remove(&left);
        }
        let ttl = memory.known().ttl;
        let over = self.over(server, ttl).await?;
        let mut call = server.prepare(&server.scripts.orphans);
        let size = self.size_of_orphans();
        let left: Vec<_> = self.left.lock().iter().map(ToString::to_string).collect();
        call.arg(max).arg(ttl).arg(size).arg(left.len()).arg(&left);
        for (process, record) in over {
            call.arg(process.as_str()).arg(record);
        }
        type Found = (String, String, String, String, Fields);
        // While writes fail, nobody can renew a lease. So observations count only if this call succeeds.
        let watched = std::mem::take(&mut *self.watch.lock());
        let (found, untold, too_large, standing): (Vec<Found>, Vec<String>, usize, Vec<String>) =
            server.link.invoke_heavy(&call, size, || "look for orphans".to_owned()).await?;
        *self.too_large.lock() = too_large;
        *self.left.lock() = standing.into_iter().map(ExecutionId::from).collect();
        *self.watch.lock() = watched;
        troubles.tell(untold, "whether jobs of a queue still run cannot be told");
        let orphan = |(execution, process, queue, id, fields): Found| {
            let (execution, process) = (ExecutionId::from(execution), ProcessId::from(process));
            let queue = QueueName::from(queue);
            // The hash of a job lent here is remembered, and the job may have ended meanwhile.
            let delivery = match self.granted.lock().contains_key(&process) {
                true => server.shown(execution, &queue, &id, fields),
                false => server.delivery(execution, &queue, &id, fields.into()),
            };
            Orphan { delivery, process }
        };
        let orphans: Vec<_> = found.into_iter().map(orphan).collect();
        *self.seen.lock() = orphans.iter().map(|one| one.delivery.execution.clone()).collect();
        Ok(orphans)
    }

    /// Checks all leases; returns those that have expired, with their records: those of processes of this
    /// host that are known to be dead, and those watched for their duration without a renewal. If a record
    /// has no duration, as from older versions, only its score counts. `ttl` is that of this process in
    /// milliseconds.
    async fn over(&self, server: &Server, ttl: u64) -> Result<Vec<(ProcessId, String)>, Fault> {
        let mut commands = redis::pipe();
        commands.zrange_withscores(server.keys.leases(), 0, -1).hgetall(server.keys.processes());
        let (scores, records): (Vec<(String, f64)>, HashMap<String, String>) =
            server.link.ask(&commands, || "look at leases".to_owned()).await?;
        let lease = |(process, score): &(String, f64)| {
            let written = records.get(process).and_then(|text| serde_json::from_str::<Written>(text).ok());
            let ttl_ms = written.as_ref().map_or(0, |written| written.ttl_ms);
            let renewal = written.as_ref().and_then(|written| written.renewal);
            Lease {
                process: ProcessId::from(process.as_str()),
                renewals: renewal.unwrap_or(*score as i64),
                ttl: Duration::from_millis(ttl_ms),
                gone: written.is_some_and(|written| written.is_gone()),
            }
        };
        let known = |lease: &Lease| !lease.ttl.is_zero() || lease.gone;
        let leases: Vec<_> = scores.iter().map(lease).filter(known).collect();
        let now = Instant::now();
        let mut guard = self.watch.lock();
        let (watch, looked) = &mut *guard;
        let gap = Duration::from_millis(ttl) / 2;
        // While this process could not check, possibly nobody could renew a lease.
        if looked.replace(now).is_none_or(|looked| now.duration_since(looked) > gap) {
            *watch = LeaseWatch::default();
        }
        let over = watch.look(&leases, now.into_std()).into_iter();
        let with_record =
            |lease: Lease| (records.get(lease.process.as_str()).cloned().unwrap_or_default(), lease.process);
        Ok(over.map(with_record).map(|(record, process)| (process, record)).collect())
    }

    /// Returns only outages; other faults of RQ's registries do not prevent work.
    async fn tell_readers(&self, server: &Server, process: &ProcessRecord) -> Result<(), Fault> {
        match self.beat(server, process).await {
            Err(fault) if fault.kind() != FaultKind::Unavailable => {
                tracing::warn!(
                    error = fault.chain(),
                    "RQ's registers could not be told that this process lives"
                );
                Ok(())
            }
            told => told,
        }
    }

    /// Writes heartbeats of this process's workers, with their jobs, to RQ's registries.
    async fn beat(&self, server: &Server, process: &ProcessRecord) -> Result<(), Fault> {
        let queues = queue_list(&process.queues);
        let retired = server.workers.retired();
        if !retired.is_empty() {
            let mut death = server.prepare(&server.scripts.death);
            death.arg(&queues).arg(&retired);
            let _: u8 = server.link.invoke(&death, || "take RQ workers off the registers".to_owned()).await?;
            // Only after success, since an interrupted call is repeated.
            server.workers.forget(&retired);
        }
        let due = |beaten: Option<Instant>| beaten.is_none_or(|at| at.elapsed() >= BEAT);
        if !due(*self.beaten.lock()) {
            return Ok(());
        }
        let mut birth = server.prepare(&server.scripts.birth);
        let names = server.workers.named_after(process);
        birth.arg(queues).arg(process.pid).arg(&process.host).arg(VERSION).arg(&names);
        let _: u8 = server.link.invoke(&birth, || "register RQ workers".to_owned()).await?;
        let mut beat = server.prepare(&server.scripts.beat);
        beat.arg(process.id.as_str()).arg(&names).arg(server.workers.retiring());
        let lost: Vec<String> = server.link.invoke(&beat, || "keep RQ workers alive".to_owned()).await?;
        let told = std::mem::replace(&mut *self.told.lock(), lost.iter().cloned().collect());
        for execution in lost.iter().filter(|execution| !told.contains(*execution)) {
            tracing::warn!(
                execution,
                "a running job was canceled, deleted or taken over by somebody else; it runs on, and where it stands is \
                 theirs to say"
            );
        }
        *self.beaten.lock() = Some(Instant::now());
        Ok(())
    }
}

/// Records on busy workers that they were asked to leave, and when.
pub(super) async fn note_request(server: &Server) -> Result<(), Fault> {
    let busy = server.workers.retiring();
    if busy.is_empty() {
        return Ok(());
    }
    let mut call = server.prepare(&server.scripts.asked_to_leave);
    call.arg(busy);
    let _: u8 = server.link.invoke(&call, || "note that RQ workers were asked to leave".to_owned()).await?;
    Ok(())
}

/// The processes with a valid lease.
pub(super) async fn processes(server: &Server) -> Result<Vec<ProcessRecord>, Fault> {
    Ok(listed(server, true).await?.into_iter().map(|written| written.process).collect())
}

/// The processes whose lease has run out, and that nobody has declared lost.
pub(super) async fn overdue(server: &Server) -> Result<Vec<Overdue>, Fault> {
    Ok(listed(server, false).await?.into_iter().filter_map(Written::overdue).collect())
}

/// The processes with a lease that is valid or has run out.
async fn listed(server: &Server, valid: bool) -> Result<Vec<Written>, Fault> {
    let mut call = server.prepare(&server.scripts.processes);
    call.arg(u8::from(valid));
    let found: Vec<(String, i64)> = server.link.invoke(&call, || "list processes".to_owned()).await?;
    let mut processes = Vec::with_capacity(found.len());
    for (text, until) in found {
        let mut written: Written = serde_json::from_str(&text).map_err(|error| {
            Fault::new(FaultKind::Permanent, format!("read the process `{text}`")).because(error)
        })?;
        let lease = &mut written.process.lease_until;
        *lease = wire::from_millis(until).unwrap_or(*lease);
        processes.push(written);
    }
    processes
        .sort_by(|a, b| (a.process.started_at, &a.process.id).cmp(&(b.process.started_at, &b.process.id)));
    Ok(processes)
}
