//! From fetch to settlement: takes jobs for free slots, runs each, and writes how it ended.
//!
//! [`QueueListener`] takes the jobs of one queue for the slots of a [`SlotPool`]. A [`JobRunner`] runs one
//! job at a time. [`RunnerWatch`] replaces a thread whose job never yields. Each delivery is handed
//! to the [`Completer`] of its queue, and settled by the call that takes the next jobs.

mod attempt;
mod attempt_metrics;
mod calls;
mod carrying;
mod command_listener;
mod completer;
mod dispatch;
mod isolated_threads;
mod job_runner;
mod listener_ports;
mod next_call;
mod outage;
mod payloads;
mod queue_listener;
mod queue_state;
mod reclaimer;
mod runner_place;
mod runner_watch;
mod settler;
mod slots;
mod unfolding;
mod waiting;

pub use attempt::{ATTEMPT, Blamed, EndLost, Fence, Loss, RunJob, Running, RunningJob, StopForDrain};
pub(crate) use attempt::{Called, Ended, NotRunning, after_death};
pub use command_listener::CommandListener;
pub use completer::Completer;
pub(crate) use isolated_threads::{AT_ONCE, COMES_BACK, Isolated, IsolatedThreads};
pub use job_runner::JobRunner;
pub use listener_ports::{ListenerPorts, ListenerSettings};
pub use outage::{Outages, Unserved};
pub use payloads::Payloads;
pub use queue_listener::{Drain, QueueListener};
pub use runner_place::{Post, RunnerPlace};
pub use runner_watch::{RunnerThreads, RunnerWatch};
pub use slots::{Slot, SlotPool};
