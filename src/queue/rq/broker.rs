//! The broker on Redis in RQ's own format.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::commands::Orders;
use super::exchange::{Ended, Ends, Take, ended};
use super::fitness::{self, Fitness};
use super::leases::{self, Leases};
use super::memory::Memory;
use super::server::{Fields, Server};
use super::steps::{self, KeyLook};
use super::troubles::Troubles;
use super::wait::Waiters;
use super::{pauses, risks, schedules, tend, wire};
use crate::fault::Fault;
use crate::job::{
    Args, ArgsError, ExecutionId, JobId, JobRecord, JobState, KindName, NewJob, ProcessId, QueueName,
};
use crate::queue::broker::Broker;
use crate::queue::delivery::{Delivery, Enqueued, Order, Orphan, Requeued, Settled, Settlement, StopAsked};
use crate::queue::seen::{
    AttemptRecord, JobFilter, JobsFound, LeadershipState, Overdue, ProcessRecord, QueueCounts,
};
use crate::queue::upkeep::{Abandoned, Budget, PausedQueue, Risk, ScheduleMark, ScheduleStep};

/// The broker on Redis.
pub(super) struct Rq {
    server: Arc<Server>,
    memory: Arc<Memory>,
    waiters: Waiters,
    orders: Orders,
    leases: Leases,
    fitness: Fitness,
    key_look: KeyLook,
    not_promoted: Troubles,
    not_rescued: Troubles,
    not_tended: Troubles,
}

impl Rq {
    pub(super) fn new(server: Server, orders: Orders) -> Self {
        let server = Arc::new(server);
        Self {
            memory: Arc::new(Memory::new(Arc::clone(&server))),
            server,
            waiters: Waiters::default(),
            orders,
            leases: Leases::default(),
            fitness: Fitness::default(),
            key_look: KeyLook::default(),
            not_promoted: Troubles::default(),
            not_rescued: Troubles::default(),
            not_tended: Troubles::default(),
        }
    }

    async fn lend(&self, take: Take) -> Result<Vec<Delivery>, Fault> {
        let (_, lent) = self.memory.lend(Ends::default(), take).await?;
        Ok(lent.received())
    }

    fn released(&self, ended: Ended) -> Vec<Settled> {
        if ended.more_to_release {
            steps::release_the_rest(&self.server);
        }
        ended.settled
    }
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
        self.lend(Take::light(queue, max, process)).await
    }

    async fn fetch_heavy(
        &self,
        queue: &QueueName,
        weight: usize,
        process: &ProcessId,
    ) -> Result<Vec<Delivery>, Fault> {
        self.lend(Take { weight, ..Take::light(queue, 1, process) }).await
    }

    fn left(&self, queue: Option<&QueueName>) -> usize {
        queue.map_or_else(|| self.leases.size_of_orphans(), |queue| self.server.left.of(queue))
    }

    async fn unfold(&self, delivery: &Delivery) -> Result<Result<Args, ArgsError>, Fault> {
        if let Some(args) = self.server.unfold(delivery) {
            return Ok(args);
        }
        let gone = || ArgsError::undecodable("of a job", "its hash is gone from Redis");
        Ok(self.job(&delivery.job.id).await?.map_or_else(|| Err(gone()), |job| job.args))
    }

    async fn held(&self, queue: &QueueName, process: &ProcessId) -> Result<Vec<Delivery>, Fault> {
        let server = &self.server;
        let mut call = server.prepare(&server.scripts.held);
        call.arg(queue.as_str()).arg(process.as_str());
        let held: Vec<(String, String, Fields)> =
            server.link.invoke(&call, || format!("list deliveries from `{queue}`")).await?;
        let delivery = |(execution, id, fields): (String, String, Fields)| {
            server.shown(ExecutionId::from(execution), queue, &id, fields)
        };
        Ok(held.into_iter().map(delivery).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
        Ok(self.released(self.memory.settle(settlements).await?))
    }

    async fn exchange(
        &self,
        settlements: &[Settlement],
        queue: &QueueName,
        max: u32,
        process: &ProcessId,
    ) -> Result<(Vec<Settled>, Vec<Delivery>), Fault> {
        let (server, memory, before) = (&self.server, &self.memory, self.memory.known());
        let asking = server.lost_answers.ask(settlements);
        let take = Take::light(queue, max, process);
        let (answers, lent) = memory.lend(server.ends(settlements, &asking.again)?, take).await?;
        let settled = memory.settled(&before, settlements, ended(settlements, asking, answers)).await?;
        Ok((self.released(settled), lent.received()))
    }

    async fn renew_lease(&self, process: &ProcessRecord, ttl: Duration) -> Result<bool, Fault> {
        self.fitness.look_once(&self.server).await?;
        self.server.workers.named_after(process);
        self.orders.begin(&self.server, process).await?;
        self.leases.renew((&self.server, &self.memory), process, ttl).await
    }

    async fn orders(&self, process: &ProcessId, patience: Duration) -> Result<Vec<Order>, Fault> {
        self.orders.next(&self.server, process, patience).await
    }

    async fn stop(&self, id: &JobId) -> Result<StopAsked, Fault> {
        self.server.stop(id).await
    }

    async fn announce_leave(&self, _: &ProcessId) -> Result<(), Fault> {
        Leases::leave(&self.server).await
    }

    async fn end_lease(&self, process: &ProcessId) -> Result<(), Fault> {
        self.leases.end(&self.server, process).await
    }

    async fn processes(&self) -> Result<Vec<ProcessRecord>, Fault> {
        leases::processes(&self.server).await
    }

    async fn overdue(&self) -> Result<Vec<Overdue>, Fault> {
        leases::overdue(&self.server).await
    }

    async fn orphans(&self, max: u32) -> Result<Vec<Orphan>, Fault> {
        self.leases.orphans((&self.server, &self.memory), max, &self.not_rescued).await
    }

    fn leave_orphans(&self, executions: Vec<ExecutionId>) {
        self.leases.leave_to_others(executions);
    }

    async fn tend(&self, max: u32) -> Result<Vec<Abandoned>, Fault> {
        tend::tend(&self.server, max, self.memory.known().ttl, &self.not_tended).await
    }

    async fn promote_due(&self, max: u32) -> Result<u32, Fault> {
        let (promoted, troubles) = steps::promote(&self.server, max).await?;
        self.not_promoted.tell(troubles, "due jobs of a queue cannot be put into it");
        Ok(promoted)
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
        let dropped = server.link.invoke(&call, || "drop ended jobs beyond the budget".to_owned()).await?;
        self.key_look.free_keys(server, dropped == max).await?;
        Ok(dropped)
    }

    async fn pause(&self, queue: &QueueName, by: &str) -> Result<bool, Fault> {
        pauses::pause(&self.server, queue, by).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, Fault> {
        pauses::resume(&self.server, queue).await
    }

    async fn paused(&self) -> Result<BTreeMap<QueueName, PausedQueue>, Fault> {
        pauses::paused(&self.server).await
    }

    async fn schedule_marks(&self) -> Result<BTreeMap<String, ScheduleMark>, Fault> {
        schedules::schedule_marks(&self.server).await
    }

    async fn mark_schedule(&self, step: &ScheduleStep) -> Result<bool, Fault> {
        schedules::mark_schedule(&self.server, step).await
    }

    async fn lead(&self, role: &str, process: &ProcessId, ttl: Duration) -> Result<bool, Fault> {
        schedules::lead(&self.server, role, process, ttl).await
    }

    async fn resign(&self, role: &str, process: &ProcessId) -> Result<(), Fault> {
        schedules::resign(&self.server, role, process).await
    }

    async fn leadership(&self, role: &str) -> Result<Option<LeadershipState>, Fault> {
        schedules::leadership(&self.server, role).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Fault> {
        self.server.job(id).await
    }

    async fn search(&self, filter: &JobFilter) -> Result<JobsFound, Fault> {
        self.server.jobs(filter).await
    }

    async fn attempts(&self, id: &JobId) -> Result<Vec<AttemptRecord>, Fault> {
        self.server.attempts(id).await
    }

    async fn open_of(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, Fault> {
        self.server.open_of(ids).await
    }

    async fn open_jobs(&self, kind: &KindName) -> Result<Vec<JobRecord>, Fault> {
        self.server.open_jobs(kind).await
    }

    async fn cancel(&self, id: &JobId) -> Result<Option<JobState>, Fault> {
        let mut call = self.server.prepare(&self.server.scripts.cancel);
        call.arg(id.as_str());
        let status: Option<String> = self.server.link.invoke(&call, || format!("cancel job {id}")).await?;
        Ok(status.as_deref().map(wire::state))
    }

    async fn requeue(&self, ids: &[JobId]) -> Result<Vec<Requeued>, Fault> {
        self.server.requeue(ids).await
    }

    async fn counts(&self) -> Result<BTreeMap<QueueName, QueueCounts>, Fault> {
        steps::counts(&self.server).await
    }

    async fn forgotten(&self) -> Result<Option<String>, Fault> {
        let call = self.server.prepare(&self.server.scripts.forgotten);
        self.server.link.invoke(&call, || "look what Redis has forgotten".to_owned()).await
    }

    async fn brought_back(&self, memory: &str) -> Result<(), Fault> {
        let mut call = self.server.prepare(&self.server.scripts.brought_back);
        call.arg(memory);
        self.server.link.invoke(&call, || "note what is back in Redis".to_owned()).await.map(|_: u8| ())
    }

    async fn risks(&self, queues: &[QueueName]) -> Result<Vec<Risk>, Fault> {
        risks::of(&self.server, queues).await
    }

    async fn check(&self) -> Result<(), Fault> {
        let mut commands = redis::pipe();
        commands.set(self.server.keys.check(), chrono::Utc::now().timestamp());
        self.server.link.ask::<(String,)>(&commands, || "check the queue".to_owned()).await.map(|_| ())
    }

    async fn prove(&self) -> Result<(), Fault> {
        fitness::prove(&self.server).await
    }

    async fn prove_length(&self) -> Result<bool, Fault> {
        fitness::prove_length(&self.server).await.map(|()| true)
    }
}
