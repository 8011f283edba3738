//! Supervision with restarts: supervisors with restart limits, and a table of the children's health.
//!
//! Read in this order: [`ChildSpec`] and [`SupervisorSpec`] (settings), [`Supervisor`] and [`ChildHandle`]
//! (start and stop), [`RestartLimit`] (when to give up), [`Failure`] (how a child can end), [`HealthTable`]
//! (the state of all children). Inside, a `branch` decides for one supervisor, `children` restarts and stops
//! its children, a `minder` polls one actor inside its `shell`, which catches panics, a `heart` checks that
//! the actor still answers, and the `watchdog` finds blocked threads.
//!
//! A crash costs the message being handled and all messages whose answers are pending: they get `Closed` once
//! the restart is decided. Messages in the mailbox are handled by the next life, at the same address. A
//! future spawned outside the actor's context outlives it, so a supervised actor answers with
//! `ResponseActFuture` or `AtomicResponse`, never with `ResponseFuture`.
//!
//! An outage is no crash: an actor that cannot reach something waits, and uses up no restart.

mod branch;
mod child;
mod children;
mod failure;
mod health;
mod heart;
mod limit;
mod looping;
mod minder;
mod panic;
mod protocol;
mod pulse;
mod shell;
mod spec;
mod start_error;
mod supervisor;
#[cfg(test)]
mod tests;
mod turns;
mod watchdog;

pub use child::ChildHandle;
pub use failure::{Escalation, Failure};
pub use health::{ChildState, ChildStatus, HealthTable, PanicRecord, RoleStatus, TreeStatus};
pub use limit::RestartLimit;
pub(crate) use panic::catch;
pub use panic::{Panic, catch_panic};
pub use spec::{ChildSpec, Restart, Strategy, SupervisorSpec};
pub use start_error::StartError;
pub use supervisor::Supervisor;
pub use turns::{Turn, Turns};
pub use watchdog::{StuckThreads, WatchedWork};
