//! Where jobs wait: the port [`Broker`] and its adapters.
//!
//! A delivery is a job lent to one process under that process's lease. It ends in exactly one
//! settlement; one that shows an older execution is refused. When the lease runs out unsettled
//! deliveries are orphans, which the Rescuer settles by their kind's policy.

mod broker;
mod embedded;

pub use broker::{
    Broker, Budget, Delivery, Enqueued, JobFilter, LeadershipState, Orphan, PausedQueue, ProcessRecord,
    QueueCounts, ScheduleMark, ScheduleStep, Settled, Settlement, Verdict,
};
pub use embedded::open as open_embedded;
