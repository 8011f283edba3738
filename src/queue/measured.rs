//! A broker that counts each call under its own name and changes nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::broker::Broker;
use super::delivery::{Delivery, Enqueued, Order, Orphan, Requeued, Settled, Settlement, StopAsked};
use super::seen::{
    AttemptRecord, JobFilter, JobsFound, LeadershipState, Overdue, ProcessRecord, QueueCounts,
};
use super::upkeep::{Abandoned, Budget, PausedQueue, Risk, ScheduleMark, ScheduleStep};
use crate::fault::Fault;
use crate::job::{
    Args, ArgsError, ExecutionId, JobId, JobRecord, JobState, KindName, NewJob, ProcessId, QueueName,
};
use crate::measure::BackendCalls;

/// A broker with its counters.
struct Measured<B> {
    broker: B,
    calls: BackendCalls,
}

/// Wraps a broker so that calls are counted for this engine.
pub(super) fn measured(broker: impl Broker, engine: &'static str) -> Arc<dyn Broker> {
    Arc::new(Measured { broker, calls: BackendCalls::to("queue", engine) })
}

macro_rules! count {
    ($($how:ident $call:ident($($name:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl<B: Broker> Broker for Measured<B> {
            fn left(&self, queue: Option<&QueueName>) -> usize {
                self.broker.left(queue)
            }

            fn leave_orphans(&self, executions: Vec<ExecutionId>) {
                self.broker.leave_orphans(executions);
            }

            $(async fn $call(&self, $($name: $type),*) -> Result<$answer, Fault> {
                self.calls.$how(stringify!($call), self.broker.$call($($name),*)).await
            })*
        }
    };
}

count! {
    timed enqueue(jobs: &[NewJob]) -> Vec<Enqueued>;
    patient wait(queue: &QueueName, patience: Duration) -> bool;
    timed fetch(queue: &QueueName, max: u32, process: &ProcessId) -> Vec<Delivery>;
    timed fetch_heavy(queue: &QueueName, weight: usize, process: &ProcessId) -> Vec<Delivery>;
    timed unfold(delivery: &Delivery) -> Result<Args, ArgsError>;
    timed held(queue: &QueueName, process: &ProcessId) -> Vec<Delivery>;
    timed settle(settlements: &[Settlement]) -> Vec<Settled>;
    timed exchange(settlements: &[Settlement], queue: &QueueName, max: u32, process: &ProcessId)
        -> (Vec<Settled>, Vec<Delivery>);
    timed renew_lease(process: &ProcessRecord, ttl: Duration) -> bool;
    patient orders(process: &ProcessId, patience: Duration) -> Vec<Order>;
    timed stop(id: &JobId) -> StopAsked;
    timed announce_leave(process: &ProcessId) -> ();
    timed end_lease(process: &ProcessId) -> ();
    timed processes() -> Vec<ProcessRecord>;
    timed overdue() -> Vec<Overdue>;
    timed orphans(max: u32) -> Vec<Orphan>;
    timed tend(max: u32) -> Vec<Abandoned>;
    timed promote_due(max: u32) -> u32;
    timed expire(max: u32) -> u32;
    timed trim(budget: Budget, max: u32) -> u32;
    timed pause(queue: &QueueName, by: &str) -> bool;
    timed resume(queue: &QueueName) -> bool;
    timed paused() -> BTreeMap<QueueName, PausedQueue>;
    timed schedule_marks() -> BTreeMap<String, ScheduleMark>;
    timed mark_schedule(step: &ScheduleStep) -> bool;
    timed lead(role: &str, process: &ProcessId, ttl: Duration) -> bool;
    timed resign(role: &str, process: &ProcessId) -> ();
    timed leadership(role: &str) -> Option<LeadershipState>;
    timed job(id: &JobId) -> Option<JobRecord>;
    timed attempts(id: &JobId) -> Vec<AttemptRecord>;
    timed jobs(filter: &JobFilter) -> Vec<JobRecord>;
    timed search(filter: &JobFilter) -> JobsFound;
    timed open_of(ids: &[JobId]) -> Vec<JobRecord>;
    timed open_jobs(kind: &KindName) -> Vec<JobRecord>;
    timed cancel(id: &JobId) -> Option<JobState>;
    timed requeue(ids: &[JobId]) -> Vec<Requeued>;
    timed counts() -> BTreeMap<QueueName, QueueCounts>;
    timed forgotten() -> Option<String>;
    timed brought_back(memory: &str) -> ();
    timed risks(queues: &[QueueName]) -> Vec<Risk>;
    timed check() -> ();
    timed prove() -> ();
    timed prove_length() -> bool;
    timed takes_jobs() -> ();
}

#[cfg(test)]
mod tests {
    /// A port method with a default implementation could be forgotten without notice.
    #[test]
    fn no_call_of_the_port_is_left_out() {
        let (port, counted) = (include_str!("broker.rs"), include_str!("measured.rs"));
        let calls = port.split("async fn ").skip(1).filter_map(|rest| rest.split('(').next());
        let calls: Vec<_> = calls.collect();
        assert!(calls.len() > 30, "{calls:?}");
        for call in calls {
            let lines = [format!("    timed {call}("), format!("    patient {call}(")];
            assert!(lines.iter().any(|line| counted.contains(line)), "{call} is not counted");
        }
    }
}
