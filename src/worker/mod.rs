//! From fetch to settlement: takes jobs for free slots, runs each, and has its end written down.
//!
//! [`QueueListener`] takes the jobs of one queue for the slots of a [`SlotPool`]; a [`JobRunner`] runs one job at a time, and
//! [`RunnerWatch`] has a thread replaced whose job never yields; the completer of the queue settles each end.

mod aside;
mod attempt;
mod backlog;
mod carrier;
mod completer;
mod job_runner;
mod listener_ports;
mod order_taker;
mod outage;
mod queue_listener;
mod queue_state;
mod reclaimer;
mod runner_place;
mod runner_watch;
mod slots;
mod tally;
mod unfolding;
mod waiting;

pub(crate) use aside::{AT_ONCE, Aside, Asides, COMES_BACK};
pub use attempt::{
    ATTEMPT, Blamed, EndLost, Fence, JobEnded, Loss, RunJob, Running, RunningJob, StopForDrain,
};
pub(crate) use attempt::{Called, Ended, NotRunning, after_death};
pub use completer::Settle;
pub use job_runner::JobRunner;
pub use listener_ports::{ListenerPorts, ListenerSettings};
pub use order_taker::OrderTaker;
pub use queue_listener::{Drain, QueueListener};
pub use runner_place::{Post, RunnerPlace};
pub use runner_watch::{RunnerThreads, RunnerWatch};
pub use slots::{Slot, SlotPool};
