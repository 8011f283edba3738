//! Who does the work: one file per actor, in the order in which a job meets them.
//!
//! [`QueueListener`] takes jobs for free slots and alone settles them; [`JobRunner`] runs one job at a
//! time, and [`RunnerWatch`] has a thread replaced whose job never yields; [`DeletionBatch`] deletes one batch of receipts at a time,
//! and the objects of those before it meanwhile; [`StatusTracker`] alone moves the
//! status of a row that people watch; [`Scheduler`] and [`Rescuer`] keep time and bring back what is
//! lost; [`LeaseKeeper`] tells the others that this process lives.
//!
//! Actors know ports and messages, never an adapter, and not who supervises them.

mod aside;
mod attempt;
mod attempt_control;
#[cfg(feature = "opentelemetry")]
mod attempt_export;
mod attempt_span;
mod backlog;
mod batch_ports;
mod callback;
mod carrier;
mod clean_up;
mod clean_up_lane;
mod clock;
mod completer;
mod cron_plan;
mod deadline;
mod deletion_batch;
mod fence;
mod found;
mod job_runner;
mod journal;
mod lease_keeper;
mod listener_ports;
mod not_running;
mod order_taker;
mod orphans;
mod outage;
mod outbox_alarm;
mod queue_listener;
mod queue_state;
mod reclaimer;
mod reconcile;
mod requests;
mod rescuer;
mod rescuer_ports;
mod runner_messages;
mod runner_place;
mod runner_watch;
mod running;
mod scheduler;
mod slots;
mod status_tracker;
mod tally;
mod tending;
mod tenure;
mod tracker_messages;
mod unfolding;
mod verdict;
mod waiting;

pub use attempt_span::ATTEMPT;
pub use batch_ports::{BatchDone, BatchPorts, CleanUpMode};
pub use clean_up::{CleanUpLimits, CleanedUp, delete_objects};
pub use clock::Clock;
pub use completer::Settle;
pub use deletion_batch::{DeletionBatch, FinishCleanUp, RunBatch};
pub use fence::{Blamed, Fence};
pub use job_runner::JobRunner;
pub use journal::Journal;
pub use lease_keeper::LeaseKeeper;
pub use listener_ports::{ListenerPorts, ListenerSettings};
pub use order_taker::OrderTaker;
pub use queue_listener::{Drain, QueueListener};
pub use reconcile::TrackedKind;
pub use requests::{RequestFault, Requests, new_queue_job};
pub use rescuer::{Rescuer, RescuerSettings};
pub use rescuer_ports::RescuerPorts;
pub use runner_messages::{EndLost, JobEnded, Loss, RunJob, StopForDrain};
pub use runner_place::{Post, RunnerPlace};
pub use runner_watch::{RunnerThreads, RunnerWatch};
pub use running::{Running, RunningJob};
pub use scheduler::{SCHEDULER_ROLE, Scheduler, SchedulerSettings};
pub use slots::{Slot, SlotPool};
pub use status_tracker::{StatusTracker, TrackerSettings};
pub use tracker_messages::{
    AskPerson, BeginAttempt, EndedAttempt, FailUnqueued, Progressed, RequestJob, Revive, Waiting,
};
