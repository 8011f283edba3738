//! Children that begin again: supervisors with restart limits, and a table of who is alive.
//!
//! Read in this order: [`ChildSpec`] and [`SupervisorSpec`] (what is wanted), [`Supervisor`] and
//! [`ChildHandle`] (how to start and stop), [`RestartLimit`] (when enough is enough),
//! [`Failure`] (how a child can end), [`HealthTable`] (what became of all of them). Inside: a `branch` decides
//! for one supervisor, its `children` begin again and stop, a `minder` gives one actor its turns within the net
//! of its `shell`, a `heart` asks it for a sign of life, and the `watchdog` looks for threads that do not come
//! back.
//!
//! What a crash costs: the message in hand, and every other message whose answer the actor still owed, are
//! answered with `Closed`, when the restart is decided. What waits in the mailbox is handled by the next life,
//! at the same address. A future spawned outside the actor's context outlives it: a supervised actor answers
//! with `ResponseActFuture` or `AtomicResponse`, never with `ResponseFuture`.
//!
//! An outage is no crash: an actor that cannot reach something waits, and spends no restart.

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
