//! Who lives: our own lease for each process, and RQ's registers of its workers beside it.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::server::{Fields, Server};
use super::wire;
use crate::fault::{Fault, FaultKind};
use crate::job::{ExecutionId, ProcessId, QueueName};
use crate::queue::broker::{Orphan, ProcessRecord};

/// Time between two signs of life in RQ's registries, whose own rule is 30 s.
const BEAT: Duration = Duration::from_secs(10);

/// What RQ's readers show as the worker's version.
const VERSION: &str = concat!("3.0.0+tikkun-", env!("CARGO_PKG_VERSION"));

/// What this process knows of leases beyond the server.
#[derive(Default)]
pub(super) struct Leases {
    /// Who got a lease here: one that is missing on the server was lost and forgotten.
    granted: Mutex<HashSet<ProcessId>>,
    /// When RQ's registers were last told that this process lives.
    beaten: Mutex<Option<Instant>>,
}

impl Leases {
    /// Makes or renews a lease; `false` when it was lost before.
    pub(super) async fn renew(
        &self,
        server: &Server,
        process: &ProcessRecord,
        ttl: Duration,
    ) -> Result<bool, Fault> {
        let record = serde_json::to_string(process)
            .map_err(|error| Fault::new(FaultKind::Permanent, "write down a process").because(error))?;
        let mut call = server.prepare(&server.scripts.renew);
        call.arg(process.id.as_str()).arg(record).arg(wire::millis(ttl));
        let before: i8 =
            server.link.invoke(&call, || format!("renew the lease of process {}", process.id)).await?;
        let was_granted = !self.granted.lock().insert(process.id.clone());
        if let Err(fault) = self.beat(server, process).await {
            tracing::warn!(error = fault.chain(), "RQ's registers could not be told that this process lives");
        }
        Ok(match before {
            1 => true,
            0 => false,
            _ => !was_granted,
        })
    }

    /// Ends a lease: what is unsettled is an orphan from now on.
    pub(super) async fn end(&self, server: &Server, process: &ProcessId) -> Result<(), Fault> {
        let mut death = server.prepare(&server.scripts.death);
        let queues: Vec<QueueName> = processes(server)
            .await?
            .into_iter()
            .filter(|record| record.id == *process)
            .flat_map(|record| record.queues)
            .collect();
        // Those that were retired and are still on the registers go, too.
        let (retiring, retired) = server.workers.leaving();
        death.arg(queue_list(&queues)).arg(server.workers.names()).arg(retiring).arg(retired);
        let mut call = server.prepare(&server.scripts.end_lease);
        call.arg(process.as_str());
        let _: u8 = server.link.invoke(&call, || format!("end the lease of process {process}")).await?;
        let _: u8 = server.link.invoke(&death, || "take RQ workers off the registers".to_owned()).await?;
        self.granted.lock().remove(process);
        *self.beaten.lock() = None;
        Ok(())
    }

    /// Tells RQ's readers that the workers of this process live, and what they run.
    async fn beat(&self, server: &Server, process: &ProcessRecord) -> Result<(), Fault> {
        let queues = queue_list(&process.queues);
        let (retiring, retired) = server.workers.leaving();
        if !retired.is_empty() {
            let mut death = server.prepare(&server.scripts.death);
            death.arg(&queues).arg(retired);
            let _: u8 = server.link.invoke(&death, || "take RQ workers off the registers".to_owned()).await?;
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
        beat.arg(process.id.as_str()).arg(&names).arg(retiring);
        let lost: Vec<String> = server.link.invoke(&beat, || "keep RQ workers alive".to_owned()).await?;
        for execution in lost {
            tracing::warn!(
                execution,
                "a running job was taken off RQ's registers by somebody else; its end will not count"
            );
        }
        *self.beaten.lock() = Some(Instant::now());
        Ok(())
    }
}

fn queue_list(queues: &[QueueName]) -> String {
    queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(",")
}

/// Processes whose lease holds.
pub(super) async fn processes(server: &Server) -> Result<Vec<ProcessRecord>, Fault> {
    let call = server.prepare(&server.scripts.processes);
    let found: Vec<(String, i64)> = server.link.invoke(&call, || "list processes".to_owned()).await?;
    let mut processes = Vec::with_capacity(found.len());
    for (text, until) in found {
        let mut record: ProcessRecord = serde_json::from_str(&text).map_err(|error| {
            Fault::new(FaultKind::Permanent, format!("read the process `{text}`")).because(error)
        })?;
        record.lease_until = wire::from_millis(until).unwrap_or(record.lease_until);
        processes.push(record);
    }
    processes.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
    Ok(processes)
}

/// Deliveries of processes without a lease.
pub(super) async fn orphans(server: &Server, max: u32) -> Result<Vec<Orphan>, Fault> {
    let mut call = server.prepare(&server.scripts.orphans);
    call.arg(max);
    let found: Vec<(String, String, String, String, Fields)> =
        server.link.invoke(&call, || "look for orphans".to_owned()).await?;
    let orphan = |(execution, process, _, id, fields): (String, String, String, String, Fields)| Orphan {
        delivery: server.delivery(ExecutionId::from(execution), &id, fields),
        process: ProcessId::from(process),
    };
    Ok(found.into_iter().map(orphan).collect())
}
