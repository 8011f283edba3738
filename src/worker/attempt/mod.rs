//! One attempt at a job: the runner's messages, the run with its limits, requests to stop, and its end.

mod callback;
mod control;
mod disposition;
#[cfg(feature = "opentelemetry")]
mod export;
mod fence;
mod foreign;
mod found;
mod messages;
mod not_running;
mod run;
mod running;
mod span;

pub(crate) use callback::{Called, Ended};
pub(super) use control::AttemptControl;
pub(crate) use disposition::after_death;
pub use fence::{Blamed, Fence};
pub(super) use foreign::run_foreign;
pub(super) use found::{Found, NotFound, look_up};
pub use messages::{EndLost, Loss, RunJob, StopForDrain};
pub(crate) use not_running::NotRunning;
pub(super) use run::Attempt;
pub(super) use running::InHand;
pub use running::{Running, RunningJob};
pub use span::ATTEMPT;
pub(super) use span::attempt_span;
