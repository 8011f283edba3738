//! The metrics at `/metrics`, their meaning, and the types that record them.
//!
//! [`list`] defines all metrics with their texts, units and buckets. They are recorded through the global
//! recorder of the crate `metrics`; without one, recording costs nothing and has no effect. Labels are closed
//! sets: queues and schedules of the configuration, functions of the registry, operations of ports. A job,
//! tenant, key or secret is never a label.

mod backend_calls;
mod exposition;
pub mod list;
mod mailbox;
mod metric;
mod queue_meter;
mod reference;

pub use backend_calls::{BackendCalls, kind_word};
pub use exposition::{Exposition, install};
pub use mailbox::Unanswered;
pub use metric::{Kind, Metric};
pub use queue_meter::{AttemptEnd, QueueMeter, UnderWay};
pub use reference::reference;
