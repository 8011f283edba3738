//! Imports modules once, in the process that forks, so that no job pays for them: those of a list, or those that
//! jobs have imported by themselves.
//!
//! What jobs import is told by their children. Such modules are tried in a child first, since an import can do
//! anything: what it brings besides code (threads, connections) would be in the process that forks for good. Only
//! what passes is imported there, between two forks.

mod answers;
mod hazards;
mod imported;
mod rounds;
mod trial;

pub use answers::{Preloaded, Trial};
pub use hazards::Hazards;
pub(super) use imported::Imported;
pub use rounds::{Preload, PreloadPlan, PreloadRound, PreloadSnapshot};
