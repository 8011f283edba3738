//! Tries everything that a job needs, on the configured back ends and through the real actors, and leaves
//! nothing behind.
//!
//! Each step has a time limit and rests on those before it: after the first that fails the others are
//! skipped, but what was made is cleaned up all the same. For the time of the test this is a process like
//! any other: it also rescues jobs of dead ones.

mod report;
mod trial;

pub use report::{Line, Outcome, Report, Step};
pub use trial::run;
