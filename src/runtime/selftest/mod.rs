//! Tests everything that a job needs, on the configured back ends and through the real actors, and leaves
//! nothing behind.
//!
//! Each step has a time limit and depends on the earlier ones. After the first failure the others are
//! skipped, but clean-up is done in any case. During the test this process is a full worker: it also rescues
//! jobs of dead processes.

mod report;
mod trial;

pub use report::{Line, Outcome, Report, Step};
pub use trial::run;
