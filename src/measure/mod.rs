//! What machines watch: every figure of `/metrics`, what it means, and the few hands that count.
//!
//! [`list`] holds all of them, with their words, units and buckets; nothing is counted that is not in it. Counting
//! goes through the global recorder of the crate `metrics`: while there is none it costs nothing and leads nowhere.
//! Labels are closed sets: queues and schedules of the configuration, functions of the registry, operations of ports.
//! No job, tenant, key or secret is ever a label.

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
