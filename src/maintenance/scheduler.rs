//! Moves due jobs to their queues, enqueues the jobs of schedules, and drops ended jobs beyond the budget. One
//! process leads; the others stand by. Of those that have the same schedules one leads them: who leads in all else may
//! have none, or others. No state is kept across restarts: all of it is in the broker.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};
use tokio::time::Instant;

use super::clock::Clock;
use super::cron_plan::{Planned, Timetable};
use super::leader_lease::LeaderLease;
use crate::config::SchedulerSettings;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::{ProcessId, Schedule};
use crate::measure::list::SCHEDULER_LEADS;
use crate::queue::{Broker, Budget};
use crate::supervision::Turn;

/// The name of the scheduler's leader lease.
pub const SCHEDULER_ROLE: &str = "scheduler";

/// The most jobs moved or dropped in one call; it limits the size of a transaction.
const BATCH: u32 = 1000;

/// The time between two checks for jobs to drop, which is not urgent.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// The actor that enqueues due jobs.
#[derive(Clone)]
pub struct Scheduler {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// This process.
    pub process: ProcessId,
    /// `[scheduler]`.
    pub settings: SchedulerSettings,
    /// The time limit of one call to the broker.
    pub deadline: Duration,
    /// How many ended jobs each queue keeps.
    pub budget: Budget,
    /// The schedules.
    pub schedules: Arc<[Schedule]>,
    /// The clock for the schedules.
    pub clock: Clock,
    /// Its sign of life, in each iteration.
    pub turn: Turn,
}

/// What a leader keeps between two checks. It is reset after a fault, because it may be out of date.
#[derive(Debug, Default)]
struct Lead {
    leader_lease: LeaderLease,
    of_schedules: LeaderLease,
    timetable: Option<Timetable>,
    tidied: Option<Instant>,
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        failpoint::reach("scheduler.started");
        ctx.spawn(self.clone().keep_time().into_actor(self));
    }
}

impl Supervised for Scheduler {}

impl Scheduler {
    async fn keep_time(self) {
        let mut failing = false;
        let mut lead = Lead::default();
        loop {
            self.turn.beat();
            failpoint::reach("scheduler.tick");
            match self.tick(&mut lead).await {
                Ok(()) => failing = false,
                Err(fault) => {
                    // The failed call may have taken effect.
                    lead = Lead { tidied: lead.tidied, ..Lead::default() };
                    if !failing {
                        tell_fault(&fault);
                    }
                    failing = true;
                }
            }
            tokio::time::sleep(self.settings.interval).await;
        }
    }

    /// What the broker refuses to one step, as a full server refuses new jobs, is no reason to leave the others out: they
    /// may make room.
    async fn tick(&self, lead: &mut Lead) -> Result<(), Fault> {
        let leads = self.leads(SCHEDULER_ROLE, &mut lead.leader_lease).await;
        SCHEDULER_LEADS.gauge(&[]).set(if matches!(leads, Ok(true)) { 1.0 } else { 0.0 });
        let leads = leads?;
        let enqueued = self.enqueue_due(lead).await;
        if is_away(&enqueued) || !leads {
            return enqueued;
        }
        let promoted = self.promote().await;
        if is_away(&promoted) {
            return promoted;
        }
        let mut tidied = Ok(());
        if lead.tidied.is_none_or(|tidied| tidied.elapsed() >= TIDY_EVERY) {
            tidied = self.trim().await;
            lead.tidied = Some(Instant::now());
        }
        enqueued.and(promoted).and(tidied)
    }

    async fn promote(&self) -> Result<(), Fault> {
        while answer_in(self.deadline, "promote due jobs", self.broker.promote_due(BATCH)).await? == BATCH {
            self.turn.beat();
        }
        Ok(())
    }

    async fn trim(&self) -> Result<(), Fault> {
        let trim = || self.broker.trim(self.budget, BATCH);
        while answer_in(self.deadline, "keep within the budget", trim()).await? == BATCH {
            self.turn.beat();
        }
        Ok(())
    }

    /// Asks the broker only if the last answer is old, because a renewal is a write to disk.
    async fn leads(&self, role: &str, lease: &mut LeaderLease) -> Result<bool, Fault> {
        let (asked, ttl) = (Instant::now(), self.settings.leadership_ttl);
        if lease.holds(asked, ttl) {
            return Ok(true);
        }
        let leads = self.broker.lead(role, &self.process, ttl);
        let leads = answer_in(self.deadline, "lead the schedule", leads).await?;
        lease.answered(leads, asked);
        Ok(leads)
    }

    /// Enqueues the jobs of schedules that are due. One that is refused keeps no other waiting.
    async fn enqueue_due(&self, lead: &mut Lead) -> Result<(), Fault> {
        let schedules = &self.schedules;
        let Some(role) = Schedule::role_of(schedules) else { return Ok(()) };
        if !self.leads(&role, &mut lead.of_schedules).await? {
            lead.timetable = None;
            return Ok(());
        }
        let mut timetable = match lead.timetable.take() {
            Some(timetable) => timetable,
            None => {
                let marks = self.broker.schedule_marks();
                let marks = answer_in(self.deadline, "list schedules", marks).await?;
                Timetable::new(Arc::clone(schedules), &marks)
            }
        };
        let mut refused = Ok(());
        for planned in timetable.due(self.clock.now()) {
            self.turn.beat();
            failpoint::reach("scheduler.step");
            let taken = self.broker.mark_schedule(&planned.step);
            let taken = answer_in(self.deadline, "move a schedule", taken).await;
            match taken {
                Ok(true) => {
                    tell(&planned);
                    timetable.taken(&planned);
                }
                // Another process has led in the meantime; the marks are read again in the next check.
                Ok(false) => return refused,
                Err(fault) if fault.kind() == FaultKind::Unavailable => return Err(fault),
                Err(fault) => refused = refused.and(Err(fault)),
            }
        }
        if refused.is_ok() {
            lead.timetable = Some(timetable);
        }
        refused
    }
}

/// Whether the broker is out of reach, so that nothing else needs to be tried.
fn is_away(done: &Result<(), Fault>) -> bool {
    done.as_ref().is_err_and(|fault| fault.kind() == FaultKind::Unavailable)
}

fn tell_fault(fault: &Fault) {
    let error = fault.chain();
    if fault.kind() == FaultKind::Unavailable {
        tracing::warn!(error, "the scheduler cannot reach the broker; waiting");
    } else {
        tracing::warn!(error, "the scheduler cannot do all of its work; trying again");
    }
}

fn tell(Planned { step, left_out, .. }: &Planned) {
    for job in &step.jobs {
        tracing::info!(schedule.name = step.name, job.id = %job.id, queue.name = %job.queue, "a schedule is due");
    }
    if *left_out > 0 {
        tracing::warn!(
            schedule.name = step.name,
            left_out,
            "times of a schedule passed while no scheduler was running, and get no job by its `missed`"
        );
    }
}
