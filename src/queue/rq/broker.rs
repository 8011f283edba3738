//! The port, on Redis in RQ's own format.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::lent::Lent;
use super::server::{Fields, Server};
use super::wait::Waiters;
use super::wire;
use crate::fault::{Fault, FaultKind};
use crate::job::{ExecutionId, JobId, JobRecord, JobState, KindName, NewJob, ProcessId, QueueName};
use crate::queue::broker::{
    Broker, Delivery, Enqueued, JobFilter, LeadershipState, Orphan, ProcessRecord, QueueCounts, Requeued,
    Settled, Settlement,
};
use crate::queue::upkeep::{Budget, PausedQueue, ScheduleMark, ScheduleStep};

/// Time between two signs of life in RQ's registries, whose own rule is 30 s.
const BEAT: Duration = Duration::from_secs(10);

/// The broker.
pub(super) struct Rq {
    server: Arc<Server>,
    waiters: Waiters,
    /// Who got a lease here: one that is missing on the server was lost and forgotten.
    granted: Mutex<HashSet<ProcessId>>,
    /// When RQ's registries were last told that this process lives.
    beaten: Mutex<Option<Instant>>,
}

/// How far a schedule has come, as it is written down.
#[derive(Serialize, Deserialize)]
struct StoredMark {
    rule: String,
    until: i64,
    last: Option<i64>,
}

impl Rq {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server: Arc::new(server),
            waiters: Waiters::default(),
            granted: Mutex::default(),
            beaten: Mutex::default(),
        }
    }

    /// Tells RQ's readers that the workers of this process live, and what they run.
    async fn beat(&self, process: &ProcessRecord) -> Result<(), Fault> {
        let due = |beaten: Option<Instant>| beaten.is_none_or(|at| at.elapsed() >= BEAT);
        if !due(*self.beaten.lock()) {
            return Ok(());
        }
        let server = &self.server;
        let queues = queue_list(&process.queues);
        let mut birth = server.prepare(&server.scripts.birth);
        let names = server.workers.named_after(process);
        birth.arg(queues).arg(process.pid).arg(&process.host).arg(VERSION).arg(&names);
        let _: u8 = server.link.invoke(&birth, || "register RQ workers".to_owned()).await?;
        let mut beat = server.prepare(&server.scripts.beat);
        beat.arg(process.id.as_str()).arg(&names);
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

/// What RQ's readers show as the worker's version.
const VERSION: &str = concat!("3.0.0+tikkun-", env!("CARGO_PKG_VERSION"));

fn queue_list(queues: &[QueueName]) -> String {
    queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(",")
}

fn stored(mark: &ScheduleMark) -> Result<String, Fault> {
    let stored = StoredMark {
        rule: mark.rule.clone(),
        until: mark.until.timestamp_millis(),
        last: mark.last.map(|last| last.timestamp_millis()),
    };
    serde_json::to_string(&stored)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write the mark of a schedule").because(error))
}

fn mark(name: &str, text: &str) -> Result<ScheduleMark, Fault> {
    let unreadable =
        || Fault::new(FaultKind::Permanent, format!("read the mark `{text}` of the schedule `{name}`"));
    let stored: StoredMark = serde_json::from_str(text).map_err(|error| unreadable().because(error))?;
    let until = wire::from_millis(stored.until).ok_or_else(unreadable)?;
    Ok(ScheduleMark { rule: stored.rule, until, last: stored.last.and_then(wire::from_millis) })
}

#[async_trait]
impl Broker for Rq {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Fault> {
        self.server.enqueue(jobs).await
    }

    async fn wait(&self, queue: &QueueName, patience: Duration) -> Result<bool, Fault> {
        self.waiters.wait(&self.server, queue, patience).await
    }

    async fn fetch(&self, queue: &QueueName, max: u32, process: &ProcessId) -> Result<Vec<Delivery>, Fault> {
        let (server, from, process) = (Arc::clone(&self.server), queue.clone(), process.clone());
        let taking = tokio::spawn(async move {
            let taken = server.take(&from, max, &process).await?;
            Ok::<_, Fault>(Lent::new(taken, server))
        });
        match taking.await {
            Ok(lent) => Ok(lent?.received()),
            Err(died) => Err(Fault::new(FaultKind::Retryable, format!("fetch from `{queue}`")).because(died)),
        }
    }

    async fn held(&self, queue: &QueueName, process: &ProcessId) -> Result<Vec<Delivery>, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.held);
        call.arg(queue.as_str()).arg(process.as_str());
        let held: Vec<(String, String, Fields)> =
            server.link.invoke(&call, || format!("list deliveries from `{queue}`")).await?;
        let delivery = |(execution, id, fields): (String, String, Fields)| {
            server.delivery(ExecutionId::from(execution), &id, fields)
        };
        Ok(held.into_iter().map(delivery).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
        self.server.settle(settlements).await
    }

    async fn renew_lease(&self, process: &ProcessRecord, ttl: Duration) -> Result<bool, Fault> {
        let server = &self.server;
        let record = serde_json::to_string(process)
            .map_err(|error| Fault::new(FaultKind::Permanent, "write down a process").because(error))?;
        let mut call = server.prepare(&server.scripts.renew);
        call.arg(process.id.as_str()).arg(record).arg(wire::millis(ttl));
        let before: i8 =
            server.link.invoke(&call, || format!("renew the lease of process {}", process.id)).await?;
        let was_granted = !self.granted.lock().insert(process.id.clone());
        if let Err(fault) = self.beat(process).await {
            tracing::warn!(error = fault.chain(), "RQ's registers could not be told that this process lives");
        }
        Ok(match before {
            1 => true,
            0 => false,
            _ => !was_granted,
        })
    }

    async fn end_lease(&self, process: &ProcessId) -> Result<(), Fault> {
        let server = &self.server;
        let mut death = server.prepare(&server.scripts.death);
        let queues: Vec<QueueName> = self
            .processes()
            .await?
            .into_iter()
            .filter(|record| record.id == *process)
            .flat_map(|record| record.queues)
            .collect();
        death.arg(queue_list(&queues)).arg(server.workers.names());
        let mut call = server.prepare(&server.scripts.end_lease);
        call.arg(process.as_str());
        let _: u8 = server.link.invoke(&call, || format!("end the lease of process {process}")).await?;
        let _: u8 = server.link.invoke(&death, || "take RQ workers off the registers".to_owned()).await?;
        self.granted.lock().remove(process);
        *self.beaten.lock() = None;
        Ok(())
    }

    async fn processes(&self) -> Result<Vec<ProcessRecord>, Fault> {
        let server = &self.server;
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

    async fn orphans(&self, max: u32) -> Result<Vec<Orphan>, Fault> {
        let server = &self.server;
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

    async fn promote_due(&self, max: u32) -> Result<u32, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.promote);
        call.arg(max).arg(gethostname::gethostname().to_string_lossy().as_ref()).arg(std::process::id());
        server.link.invoke(&call, || "promote due jobs".to_owned()).await
    }

    async fn expire(&self, max: u32) -> Result<u32, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.expire);
        call.arg(max);
        server.link.invoke(&call, || "drop ended jobs".to_owned()).await
    }

    async fn trim(&self, budget: Budget, max: u32) -> Result<u32, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.trim);
        call.arg(max).arg(budget.finished).arg(budget.failed);
        server.link.invoke(&call, || "drop ended jobs beyond the budget".to_owned()).await
    }

    async fn pause(&self, queue: &QueueName, by: &str) -> Result<bool, Fault> {
        let server = &self.server;
        let note = PausedQueue { by: by.to_owned(), since: chrono::Utc::now() };
        let note = serde_json::to_string(&note)
            .map_err(|error| Fault::new(FaultKind::Permanent, "write down a pause").because(error))?;
        let mut commands = redis::pipe();
        commands.hset_nx(server.keys.paused(), queue.as_str(), note);
        let (paused,): (bool,) = server.link.ask(&commands, || format!("pause `{queue}`")).await?;
        Ok(paused)
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, Fault> {
        let mut commands = redis::pipe();
        commands.hdel(self.server.keys.paused(), queue.as_str());
        let (resumed,): (bool,) = self.server.link.ask(&commands, || format!("resume `{queue}`")).await?;
        Ok(resumed)
    }

    async fn paused(&self) -> Result<BTreeMap<QueueName, PausedQueue>, Fault> {
        let mut commands = redis::pipe();
        commands.hgetall(self.server.keys.paused());
        let (found,): (BTreeMap<String, String>,) =
            self.server.link.ask(&commands, || "list paused queues".to_owned()).await?;
        let read = |(name, text): (String, String)| {
            let note: PausedQueue = serde_json::from_str(&text).map_err(|error| {
                Fault::new(FaultKind::Permanent, format!("read the pause `{text}`")).because(error)
            })?;
            Ok((QueueName::from(name), note))
        };
        found.into_iter().map(read).collect()
    }

    async fn schedule_marks(&self) -> Result<BTreeMap<String, ScheduleMark>, Fault> {
        let mut commands = redis::pipe();
        commands.hgetall(self.server.keys.schedules());
        let (found,): (BTreeMap<String, String>,) =
            self.server.link.ask(&commands, || "list schedules".to_owned()).await?;
        found.into_iter().map(|(name, text)| Ok((name.clone(), mark(&name, &text)?))).collect()
    }

    async fn mark_schedule(&self, step: &ScheduleStep) -> Result<bool, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.mark_schedule);
        let before = step.from.as_ref().map(stored).transpose()?.unwrap_or_default();
        call.arg(&step.name).arg(before).arg(stored(&step.to)?);
        server.add_jobs(&mut call, &step.jobs)?;
        server.link.invoke(&call, || format!("move the schedule `{}`", step.name)).await
    }

    async fn lead(&self, role: &str, process: &ProcessId, ttl: Duration) -> Result<bool, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.lead);
        call.arg(role).arg(process.as_str()).arg(wire::millis(ttl));
        server.link.invoke(&call, || format!("lead as `{role}`")).await
    }

    async fn resign(&self, role: &str, process: &ProcessId) -> Result<(), Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.resign);
        call.arg(role).arg(process.as_str());
        let _: u8 = server.link.invoke(&call, || format!("resign as `{role}`")).await?;
        Ok(())
    }

    async fn leadership(&self, role: &str) -> Result<Option<LeadershipState>, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.leadership);
        call.arg(role);
        let found: Vec<String> = server.link.invoke(&call, || format!("look who leads as `{role}`")).await?;
        let [holder, ttl, tick] = found.as_slice() else { return Ok(None) };
        Ok(Some(LeadershipState {
            holder: ProcessId::from(holder),
            ttl: Duration::from_millis(ttl.parse().unwrap_or(0)),
            last_tick: tick.parse().ok().and_then(wire::from_millis),
        }))
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Fault> {
        self.server.job(id).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, Fault> {
        self.server.jobs(filter).await
    }

    async fn open_jobs(&self, kind: &KindName) -> Result<Vec<JobRecord>, Fault> {
        self.server.open_jobs(kind).await
    }

    async fn cancel(&self, id: &JobId) -> Result<Option<JobState>, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.cancel);
        call.arg(id.as_str());
        let status: Option<String> = server.link.invoke(&call, || format!("cancel job {id}")).await?;
        Ok(status.as_deref().map(wire::state))
    }

    async fn requeue(&self, ids: &[JobId]) -> Result<Vec<Requeued>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.requeue);
        for id in ids {
            call.arg(id.as_str());
        }
        let answers: Vec<String> =
            server.link.invoke(&call, || format!("put {} jobs back", ids.len())).await?;
        let answer = |text: String| match text.as_str() {
            "1" => Requeued::Waits,
            "" => Requeued::Missing,
            word => match word.strip_prefix('!') {
                Some(holder) => Requeued::Duplicate(JobId::from(holder)),
                None => Requeued::Is(wire::state(word)),
            },
        };
        Ok(answers.into_iter().map(answer).collect())
    }

    async fn counts(&self) -> Result<BTreeMap<QueueName, QueueCounts>, Fault> {
        let server = &self.server;
        let call = server.prepare(&server.scripts.counts);
        type Row = (String, u64, u64, u64, u64, u64, u64);
        let rows: Vec<Row> = server.link.invoke(&call, || "count jobs".to_owned()).await?;
        let counts = |(queue, queued, scheduled, started, finished, failed, canceled): Row| {
            (QueueName::from(queue), QueueCounts { queued, scheduled, started, finished, failed, canceled })
        };
        Ok(rows.into_iter().map(counts).collect())
    }

    async fn check(&self) -> Result<(), Fault> {
        let mut commands = redis::pipe();
        commands.set(self.server.keys.check(), chrono::Utc::now().timestamp());
        self.server.link.ask::<(String,)>(&commands, || "check the queue".to_owned()).await?;
        Ok(())
    }
}
