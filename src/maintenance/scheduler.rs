//! Moves due jobs to their queues, enqueues the jobs of schedules, and drops ended jobs that have been kept
//! long enough. One process leads; the others stand by. No state is kept across restarts: all of it is in the
//! broker.

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
use crate::fault::Fault;
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
        let mut out_of_reach = false;
        let mut lead = Lead::default();
        loop {
            self.turn.beat();
            failpoint::reach("scheduler.tick");
            match self.tick(&mut lead).await {
                Ok(()) => out_of_reach = false,
                Err(fault) => {
                    // The failed call may have taken effect.
                    lead = Lead::default();
                    SCHEDULER_LEADS.gauge(&[]).set(0.0);
                    if !out_of_reach {
                        tracing::warn!(
                            error = fault.chain(),
                            "the scheduler cannot reach the broker; waiting"
                        );
                    }
                    out_of_reach = true;
                }
            }
            tokio::time::sleep(self.settings.interval).await;
        }
    }

    async fn tick(&self, lead: &mut Lead) -> Result<(), Fault> {
        if !self.leads(lead).await? {
            return Ok(());
        }
        let deadline = self.deadline;
        self.enqueue_due(lead).await?;
        while answer_in(deadline, "promote due jobs", self.broker.promote_due(BATCH)).await? == BATCH {
            self.turn.beat();
        }
        if lead.tidied.is_none_or(|tidied| tidied.elapsed() >= TIDY_EVERY) {
            self.tidy().await?;
            lead.tidied = Some(Instant::now());
        }
        Ok(())
    }

    async fn tidy(&self) -> Result<(), Fault> {
        let Self { deadline, budget, .. } = *self;
        while answer_in(deadline, "drop old jobs", self.broker.expire(BATCH)).await? == BATCH {
            self.turn.beat();
        }
        while answer_in(deadline, "keep within the budget", self.broker.trim(budget, BATCH)).await? == BATCH {
            self.turn.beat();
        }
        Ok(())
    }

    /// Asks the broker only if the last answer is old, because a renewal is a write to disk.
    async fn leads(&self, lead: &mut Lead) -> Result<bool, Fault> {
        let (asked, ttl) = (Instant::now(), self.settings.leadership_ttl);
        if lead.leader_lease.holds(asked, ttl) {
            return Ok(true);
        }
        let leads = self.broker.lead(SCHEDULER_ROLE, &self.process, ttl);
        let leads = answer_in(self.deadline, "lead the schedule", leads).await?;
        SCHEDULER_LEADS.gauge(&[]).set(if leads { 1.0 } else { 0.0 });
        if lead.leader_lease.answered(leads, asked) {
            lead.timetable = None;
        }
        Ok(leads)
    }

    /// Enqueues the jobs of schedules that are due.
    async fn enqueue_due(&self, lead: &mut Lead) -> Result<(), Fault> {
        let schedules = &self.schedules;
        if schedules.is_empty() {
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
        for planned in timetable.due(self.clock.now()) {
            self.turn.beat();
            failpoint::reach("scheduler.step");
            let taken = self.broker.mark_schedule(&planned.step);
            if !answer_in(self.deadline, "move a schedule", taken).await? {
                // Another process has led in the meantime; the marks are read again in the next check.
                return Ok(());
            }
            tell(&planned);
            timetable.taken(&planned);
        }
        lead.timetable = Some(timetable);
        Ok(())
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
