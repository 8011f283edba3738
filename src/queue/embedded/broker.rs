//! The broker on one SQLite file. It adds context to errors and wakes waiting listeners when work arrives.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::task::AbortOnDropHandle;

use crate::fault::{Fault, FaultKind};
use crate::job::{JobId, JobRecord, JobState, KindName, NewJob, ProcessId, QueueName};

use super::database::{self, Database, fault};
use super::doorbell::Doorbell;
use super::leases::{Leases, overdue, processes};
use super::resettled;
use super::stops::Stops;
use super::{enqueue, history, lending, look, pauses, requeue, role, schedules, upkeep};
use crate::queue::broker::Broker;
use crate::queue::delivery::{
    Delivery, Disposition, Enqueued, Order, Orphan, Requeued, Settled, Settlement, StopAsked,
};
use crate::queue::lost_answers::{Asking, LostAnswers};
use crate::queue::seen::{
    AttemptRecord, JobFilter, JobsFound, LeadershipState, Overdue, ProcessRecord, QueueCounts,
};
use crate::queue::upkeep::{Budget, PausedQueue, ScheduleMark, ScheduleStep};

/// The broker on one SQLite file.
pub struct Embedded {
    database: Arc<Database>,
    leases: Leases,
    doorbell: Arc<Doorbell>,
    stops: Stops,
    lost_answers: LostAnswers,
    /// Aborted when the broker is dropped.
    _watcher: AbortOnDropHandle<()>,
}

impl Embedded {
    /// Opens the file in `folder` and starts to watch it.
    pub async fn open(folder: &Path) -> Result<Self, Fault> {
        let database = Arc::new(database::open(folder).await?);
        let doorbell = Arc::new(Doorbell::default());
        let watcher = tokio::spawn(Arc::clone(&doorbell).watch(Arc::clone(&database)));
        let _watcher = AbortOnDropHandle::new(watcher);
        let (leases, stops, lost_answers) = (Leases::default(), Stops::default(), LostAnswers::default());
        Ok(Self { database, leases, doorbell, stops, lost_answers, _watcher })
    }
}

impl Embedded {
    /// What these answers mean, where an earlier one was lost; and wakes listeners for jobs that wait again.
    async fn settled(
        &self,
        settlements: &[Settlement],
        asking: Asking<'_>,
        mut answers: Vec<Settled>,
    ) -> Result<Vec<Settled>, sqlx::Error> {
        resettled::put_right(&self.database, settlements, &asking.again, &mut answers).await?;
        asking.answered();
        for one in settlements {
            match &one.verdict {
                Disposition::Ack { .. }
                | Disposition::Discard { .. }
                | Disposition::Exhaust { .. }
                | Disposition::Stop { .. } => {}
                Disposition::Forward { queue } => self.doorbell.ring(queue),
                Disposition::RetryAt { .. }
                | Disposition::RunAgain { .. }
                | Disposition::Release { .. }
                | Disposition::Rescue => {
                    self.doorbell.ring(&one.queue);
                }
            }
        }
        Ok(answers)
    }
}

#[async_trait]
impl Broker for Embedded {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Fault> {
        let answers = enqueue::enqueue(&self.database, jobs)
            .await
            .map_err(|error| fault(error, format!("enqueue {} jobs", jobs.len())))?;
        jobs.iter().for_each(|job| self.doorbell.ring(&job.queue));
        Ok(answers)
    }

    async fn wait(&self, queue: &QueueName, patience: Duration) -> Result<bool, Fault> {
        let bell = self.doorbell.of(queue);
        let mut rung = pin!(bell.notified());
        // Listening begins before the query, so that work which arrives in between rings.
        rung.as_mut().enable();
        let _waiting = self.doorbell.wait();
        let is_there = look::has_work(&self.database, queue).await;
        let is_there = is_there.map_err(|error| fault(error, format!("wait for `{queue}`")))?;
        Ok(is_there || tokio::time::timeout(patience, rung).await.is_ok())
    }

    async fn fetch(&self, queue: &QueueName, max: u32, process: &ProcessId) -> Result<Vec<Delivery>, Fault> {
        let context = || format!("fetch from `{queue}`");
        let database = Arc::clone(&self.database);
        let lent = tokio::spawn(lending::fetch(database, queue.clone(), max, process.clone())).await;
        match lent {
            Ok(lent) => Ok(lent.map_err(|error| fault(error, context()))?.received()),
            Err(died) => Err(Fault::new(FaultKind::Retryable, context()).because(died)),
        }
    }

    async fn held(&self, queue: &QueueName, process: &ProcessId) -> Result<Vec<Delivery>, Fault> {
        look::held(&self.database, queue, process)
            .await
            .map_err(|error| fault(error, format!("list deliveries from `{queue}`")))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
        let context = || format!("settle {} deliveries", settlements.len());
        let asking = self.lost_answers.ask(settlements);
        let answers = lending::settle(&self.database, settlements).await;
        let answers = answers.map_err(|error| fault(error, context()))?;
        self.settled(settlements, asking, answers).await.map_err(|error| fault(error, context()))
    }

    async fn exchange(
        &self,
        settlements: &[Settlement],
        queue: &QueueName,
        max: u32,
        process: &ProcessId,
    ) -> Result<(Vec<Settled>, Vec<Delivery>), Fault> {
        let context = || format!("settle {} deliveries and fetch from `{queue}`", settlements.len());
        let failed = |error| fault(error, context());
        let (database, asking) = (Arc::clone(&self.database), self.lost_answers.ask(settlements));
        let (given, queue, process) = (settlements.to_vec(), queue.clone(), process.clone());
        let exchanged = tokio::spawn(lending::exchange(database, given, queue, max, process)).await;
        let exchanged =
            exchanged.map_err(|died| Fault::new(FaultKind::Retryable, context()).because(died))?;
        let (answers, lent) = exchanged.map_err(failed)?;
        let settled = self.settled(settlements, asking, answers).await.map_err(failed)?;
        Ok((settled, lent.received()))
    }

    async fn renew_lease(&self, process: &ProcessRecord, ttl: Duration) -> Result<bool, Fault> {
        self.leases
            .renew(&self.database, process, ttl)
            .await
            .map_err(|error| fault(error, format!("renew the lease of process {}", process.id)))
    }

    async fn orders(&self, process: &ProcessId, patience: Duration) -> Result<Vec<Order>, Fault> {
        let orders = self.stops.next(&self.database, process, patience).await;
        orders.map_err(|error| fault(error, "look for jobs to stop"))
    }

    async fn stop(&self, id: &JobId) -> Result<StopAsked, Fault> {
        self.stops.ask(&self.database, id).await.map_err(|error| fault(error, format!("stop job {id}")))
    }

    async fn end_lease(&self, process: &ProcessId) -> Result<(), Fault> {
        self.leases
            .end(&self.database, process)
            .await
            .map_err(|error| fault(error, format!("end the lease of process {process}")))
    }

    async fn processes(&self) -> Result<Vec<ProcessRecord>, Fault> {
        processes(&self.database).await.map_err(|error| fault(error, "list processes"))
    }

    async fn overdue(&self) -> Result<Vec<Overdue>, Fault> {
        overdue(&self.database).await.map_err(|error| fault(error, "list processes without a lease"))
    }

    async fn orphans(&self, max: u32) -> Result<Vec<Orphan>, Fault> {
        self.leases.orphans(&self.database, max).await.map_err(|error| fault(error, "look for orphans"))
    }

    async fn promote_due(&self, max: u32) -> Result<u32, Fault> {
        let (promoted, queues) = upkeep::promote_due(&self.database, max)
            .await
            .map_err(|error| fault(error, "promote due jobs"))?;
        queues.iter().for_each(|queue| self.doorbell.ring(queue));
        Ok(promoted)
    }

    async fn expire(&self, max: u32) -> Result<u32, Fault> {
        upkeep::expire(&self.database, max).await.map_err(|error| fault(error, "drop ended jobs"))
    }

    async fn trim(&self, budget: Budget, max: u32) -> Result<u32, Fault> {
        upkeep::trim(&self.database, budget, max)
            .await
            .map_err(|error| fault(error, "drop ended jobs beyond the budget"))
    }

    async fn pause(&self, queue: &QueueName, by: &str) -> Result<bool, Fault> {
        pauses::pause(&self.database, queue, by)
            .await
            .map_err(|error| fault(error, format!("pause `{queue}`")))
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, Fault> {
        let resumed = pauses::resume(&self.database, queue)
            .await
            .map_err(|error| fault(error, format!("resume `{queue}`")))?;
        self.doorbell.ring(queue);
        Ok(resumed)
    }

    async fn paused(&self) -> Result<BTreeMap<QueueName, PausedQueue>, Fault> {
        pauses::paused(&self.database).await.map_err(|error| fault(error, "list paused queues"))
    }

    async fn schedule_marks(&self) -> Result<BTreeMap<String, ScheduleMark>, Fault> {
        schedules::marks(&self.database).await.map_err(|error| fault(error, "list schedules"))
    }

    async fn mark_schedule(&self, step: &ScheduleStep) -> Result<bool, Fault> {
        let moved = schedules::step(&self.database, step)
            .await
            .map_err(|error| fault(error, format!("move the schedule `{}`", step.name)))?;
        step.jobs.iter().for_each(|job| self.doorbell.ring(&job.queue));
        Ok(moved)
    }

    async fn lead(&self, role: &str, process: &ProcessId, ttl: Duration) -> Result<bool, Fault> {
        role::lead(&self.database, role, process, ttl)
            .await
            .map_err(|error| fault(error, format!("lead as `{role}`")))
    }

    async fn resign(&self, role: &str, process: &ProcessId) -> Result<(), Fault> {
        role::resign(&self.database, role, process)
            .await
            .map_err(|error| fault(error, format!("resign as `{role}`")))
    }

    async fn leadership(&self, role: &str) -> Result<Option<LeadershipState>, Fault> {
        role::leadership(&self.database, role)
            .await
            .map_err(|error| fault(error, format!("look who leads as `{role}`")))
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Fault> {
        look::job(&self.database, id).await.map_err(|error| fault(error, format!("look at job {id}")))
    }

    async fn attempts(&self, id: &JobId) -> Result<Vec<AttemptRecord>, Fault> {
        history::attempts(&self.database, id)
            .await
            .map_err(|error| fault(error, format!("look at the attempts at job {id}")))
    }

    async fn search(&self, filter: &JobFilter) -> Result<JobsFound, Fault> {
        let jobs = look::jobs(&self.database, filter).await.map_err(|error| fault(error, "list jobs"))?;
        let complete = match filter.after.as_ref().filter(|_| jobs.is_empty()) {
            Some(after) => self.job(after).await?.is_some(),
            None => true,
        };
        Ok(JobsFound { jobs, complete })
    }

    async fn open_jobs(&self, kind: &KindName) -> Result<Vec<JobRecord>, Fault> {
        look::open_jobs(&self.database, kind)
            .await
            .map_err(|error| fault(error, format!("list open jobs of {kind}")))
    }

    async fn cancel(&self, id: &JobId) -> Result<Option<JobState>, Fault> {
        look::cancel(&self.database, id).await.map_err(|error| fault(error, format!("cancel job {id}")))
    }

    async fn requeue(&self, ids: &[JobId]) -> Result<Vec<Requeued>, Fault> {
        let done = requeue::requeue(&self.database, ids)
            .await
            .map_err(|error| fault(error, format!("put {} jobs back", ids.len())))?;
        done.queues.iter().for_each(|queue| self.doorbell.ring(queue));
        Ok(done.answers)
    }

    async fn counts(&self) -> Result<BTreeMap<QueueName, QueueCounts>, Fault> {
        look::counts(&self.database).await.map_err(|error| fault(error, "count jobs"))
    }

    async fn check(&self) -> Result<(), Fault> {
        look::check(&self.database).await.map_err(|error| fault(error, "write to the queue file"))
    }

    async fn takes_jobs(&self) -> Result<(), Fault> {
        let room = self.database.has_room_to_add(|| 0).await;
        room.map_err(|error| fault(error, "look for room for new jobs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Args, QueueEnd};

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Without the watcher only a ring can end this wait in time.
    async fn assert_rings<T>(
        embedded: &Embedded,
        what: &str,
        change: impl Future<Output = Result<T, Fault>>,
    ) {
        let queue = QueueName::from("q");
        let waiting = async { tokio::time::timeout(DEADLINE, embedded.wait(&queue, DEADLINE * 2)).await };
        let (woken, changed) = tokio::join!(waiting, change);
        assert!(changed.is_ok(), "{what}");
        assert!(matches!(woken, Ok(Ok(true))), "waited {DEADLINE:?} for this: {what}");
    }

    #[tokio::test]
    async fn work_from_this_process_wakes_without_the_watcher() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(folder.path()).await.unwrap();
        embedded._watcher.abort();
        let me = ProcessRecord {
            id: "me".into(),
            host: "host".into(),
            pid: std::process::id(),
            queues: vec![],
            started_at: chrono::Utc::now(),
            lease_until: chrono::Utc::now(),
        };
        embedded.renew_lease(&me, DEADLINE * 10).await.unwrap();
        let job = NewJob::new("a", "q", "k", Args::default());
        assert_rings(&embedded, "a ring for a new job", embedded.enqueue(&[job])).await;
        let lent = embedded.fetch(&"q".into(), 1, &me.id).await.unwrap().remove(0);
        let back = Settlement {
            job: lent.job.id,
            queue: lent.job.queue,
            execution: lent.execution,
            verdict: Disposition::Release { end: QueueEnd::Tail },
            remark: None,
            verbatim: None,
        };
        assert_rings(&embedded, "a ring for a job given back", embedded.settle(&[back])).await;
        embedded.fetch(&"q".into(), 1, &me.id).await.unwrap();
        let delay = Some(Duration::from_millis(1));
        embedded.enqueue(&[NewJob { delay, ..NewJob::new("b", "q", "k", Args::default()) }]).await.unwrap();
        let promoted = async {
            while embedded.promote_due(1).await? == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        assert_rings(&embedded, "a ring for a job that is due", promoted).await;
    }
}
