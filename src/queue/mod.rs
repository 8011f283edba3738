//! The job queue: the port [`Broker`] and its adapters.
//!
//! A delivery is a job lent to one process under that process's lease. It ends in exactly one settlement; a
//! settlement with an older execution is refused. When the lease expires, unsettled deliveries are orphans,
//! which the Rescuer settles by the policy of their kind.

mod broker;
mod delivery;
mod embedded;
mod incarnation;
mod lease_watch;
mod lent;
mod lost_answers;
mod measured;
mod rq;
mod seen;
mod upkeep;

pub use broker::{Broker, EVERY_LENGTH};
pub use delivery::{
    Delivery, Disposition, Enqueued, Order, Orphan, RawHash, Requeued, Settled, Settlement, StopAsked,
};
pub use embedded::open as open_embedded;
pub use rq::{RqSettings, open as open_rq, webhook_requests};
pub use seen::{
    AttemptOutcome, AttemptRecord, JobFilter, JobsFound, LeadershipState, Overdue, ProcessRecord, QueueCounts,
};
pub use upkeep::{Abandoned, Budget, Fate, PausedQueue, Risk, ScheduleMark, ScheduleStep};
