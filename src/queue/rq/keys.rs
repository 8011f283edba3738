//! The names of RQ's keys, and of ours beside them.

/// Builds names under two prefixes.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// RQ's own, `rq` unless the application says otherwise.
    pub(super) rq: String,
    /// What RQ does not know of.
    pub(super) ours: String,
}

impl Keys {
    /// Names under RQ's `prefix`; ours are under it too, so that two applications on one server stay apart.
    pub(super) fn new(prefix: &str) -> Self {
        Self { rq: prefix.to_owned(), ours: format!("{prefix}:tikkun") }
    }

    /// The set of queues.
    pub(super) fn queues(&self) -> String {
        format!("{}:queues", self.rq)
    }

    /// The list of a queue.
    pub(super) fn queue(&self, name: &str) -> String {
        format!("{}:queue:{name}", self.rq)
    }

    /// The queue that a member of the set of queues names.
    pub(super) fn queue_of<'a>(&self, member: &'a str) -> Option<&'a str> {
        member.strip_prefix(self.rq.as_str())?.strip_prefix(":queue:")
    }

    /// A registry of a queue: `wip`, `finished`, `failed`, `deferred`, `scheduled` or `canceled`.
    pub(super) fn registry(&self, kind: &str, queue: &str) -> String {
        format!("{}:{kind}:{queue}", self.rq)
    }

    /// The set of rate limits in use.
    pub(super) fn limits(&self) -> String {
        format!("{}:rl-keys", self.rq)
    }

    /// Jobs that wait for a place under a rate limit.
    pub(super) fn limited(&self, limit: &str) -> String {
        format!("{}:rl:{limit}:rate_limited", self.rq)
    }

    /// Jobs that rq-scheduler puts into their queues at their time.
    pub(super) fn of_rq_scheduler(&self) -> String {
        format!("{}:scheduler:scheduled_jobs", self.rq)
    }

    /// The hash of a job.
    pub(super) fn job(&self, id: &str) -> String {
        format!("{}:job:{id}", self.rq)
    }

    /// The stream of a job's outcomes.
    pub(super) fn results(&self, id: &str) -> String {
        format!("{}:results:{id}", self.rq)
    }

    /// The executions of a job.
    pub(super) fn executions(&self, id: &str) -> String {
        format!("{}:executions:{id}", self.rq)
    }

    /// One of them.
    pub(super) fn execution(&self, id: &str, execution: &str) -> String {
        format!("{}:execution:{id}:{execution}", self.rq)
    }

    /// The channel on which a worker gets commands.
    pub(super) fn commands(&self, worker: &str) -> String {
        format!("{}:pubsub:{worker}", self.rq)
    }

    /// The worker that a channel belongs to.
    pub(super) fn worker_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(self.rq.as_str())?.strip_prefix(":pubsub:")
    }

    /// The channel by which a process makes sure of its own subscription.
    pub(super) fn echo(&self, process: &str) -> String {
        format!("{}:echo:{process}", self.ours)
    }

    /// The switch that stops all fetching.
    pub(super) fn suspended(&self) -> String {
        format!("{}:suspended", self.rq)
    }

    /// Queues that people have paused.
    pub(super) fn paused(&self) -> String {
        format!("{}:paused", self.ours)
    }

    /// Until when the lease of each process holds.
    pub(super) fn leases(&self) -> String {
        format!("{}:leases", self.ours)
    }

    /// Who the processes are.
    pub(super) fn processes(&self) -> String {
        format!("{}:processes", self.ours)
    }

    /// How far each schedule has come.
    pub(super) fn schedules(&self) -> String {
        format!("{}:schedules", self.ours)
    }

    /// The mark by which a server that has forgotten everything is known.
    pub(super) fn memory(&self) -> String {
        format!("{}:memory", self.ours)
    }

    /// A list that there never is.
    pub(super) fn proof(&self) -> String {
        format!("{}:proof:nothing", self.ours)
    }

    /// What a check writes.
    pub(super) fn check(&self) -> String {
        format!("{}:check", self.ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_again_in_its_key() {
        let keys = Keys::new("rq");
        assert_eq!(keys.queue_of(&keys.queue("a:b")), Some("a:b"));
        assert_eq!(keys.queue_of("other:queue:a"), None);
    }
}
