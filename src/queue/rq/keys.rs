//! The names of RQ's keys, and of our own.

/// Builds key names with two prefixes.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// RQ's prefix, `rq` unless configured otherwise.
    pub(super) rq: String,
    /// The prefix of our own keys.
    pub(super) ours: String,
}

impl Keys {
    /// Names under RQ's `prefix`. Ours are under it too, so that two applications on one server are separate.
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

    /// The queue's name in a member of the set of queues.
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

    /// Jobs that wait because of a rate limit.
    pub(super) fn limited(&self, limit: &str) -> String {
        format!("{}:rl:{limit}:rate_limited", self.rq)
    }

    /// Jobs that rq-scheduler moves to their queues when they are due.
    pub(super) fn of_rq_scheduler(&self) -> String {
        format!("{}:scheduler:scheduled_jobs", self.rq)
    }

    /// The hash of a job.
    pub(super) fn job(&self, id: &str) -> String {
        format!("{}:job:{id}", self.rq)
    }

    /// The stream of a job's results.
    pub(super) fn results(&self, id: &str) -> String {
        format!("{}:results:{id}", self.rq)
    }

    /// The executions of a job.
    pub(super) fn executions(&self, id: &str) -> String {
        format!("{}:executions:{id}", self.rq)
    }

    /// One execution of a job.
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

    /// The channel with which a process tests its own subscription.
    pub(super) fn echo(&self, process: &str) -> String {
        format!("{}:echo:{process}", self.ours)
    }

    /// The key that suspends all fetching.
    pub(super) fn suspended(&self) -> String {
        format!("{}:suspended", self.rq)
    }

    /// Paused queues.
    pub(super) fn paused(&self) -> String {
        format!("{}:paused", self.ours)
    }

    /// The expiry time of each process's lease.
    pub(super) fn leases(&self) -> String {
        format!("{}:leases", self.ours)
    }

    /// The deliveries of all processes.
    pub(super) fn deliveries(&self) -> String {
        format!("{}:deliveries", self.ours)
    }

    /// The records of the processes.
    pub(super) fn processes(&self) -> String {
        format!("{}:processes", self.ours)
    }

    /// The marks of schedules.
    pub(super) fn schedules(&self) -> String {
        format!("{}:schedules", self.ours)
    }

    /// The mark that shows whether a server has lost its data.
    pub(super) fn memory(&self) -> String {
        format!("{}:memory", self.ours)
    }

    /// A list that never exists.
    pub(super) fn proof(&self) -> String {
        format!("{}:proof:nothing", self.ours)
    }

    /// The key that never exists, as the scripts name it.
    pub(super) fn nothing(&self) -> String {
        format!("{}:nothing", self.ours)
    }

    /// The key that a check writes.
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
